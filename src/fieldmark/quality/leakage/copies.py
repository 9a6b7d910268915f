"""Copies as a side feature: predict the label of a photo from the labels of its copies in other rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from fieldmark.quality.leakage.leaks import Gain, Target, blind, reached, weighed
from fieldmark.quality.leakage.ngrams import Sparse
from fieldmark.quality.leakage.side_features import check_lengths


@dataclass(frozen=True, slots=True)
class Copied:
    """Prediction of one target from copies in other groups.

    Attributes:
        gain: Gain of using the labels of copies; photos without copies get the commonest label.
        n_same: Number of photos whose label equals the commonest label of their copies.
        n_other: Number of photos whose label differs. If the pictures are the same, one of the labels is wrong.
    """

    gain: Gain
    n_same: int
    n_other: int


@dataclass(frozen=True, slots=True)
class Crossing:
    """Photos of one part of a table that have a copy in another part.

    Attributes:
        part: Part whose photos are counted.
        other: Part that contains the copies.
        n_photos: Number of photos in ``part``.
        n_copied: Number of these photos with a copy in ``other``.
    """

    part: str
    other: str
    n_photos: int
    n_copied: int


def joined(n_photos: int, similar: Iterable[Sequence[int] | np.ndarray]) -> Int64[np.ndarray, " photo"]:
    """Return a group number for each photo; overlapping groups are joined.

    Args:
        n_photos: Number of photos.
        similar: Groups of rows. A row in no group gets its own number.
    """
    pairs = np.array([(rows[0], row) for rows in similar for row in rows[1:]], np.int64).reshape(-1, 2)
    ones = np.ones(len(pairs), np.int8)
    graph = csr_matrix((ones, (pairs[:, 0], pairs[:, 1])), shape=(n_photos, n_photos))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def compare_copies(
    content: Int64[np.ndarray, " photo"], target: Target, *, name: str, groups: Int64[np.ndarray, " photo"]
) -> Copied:
    """Measure how well the labels of copies predict a target.

    Copies in the group of the photo are ignored, because groups are never split between training and validation.

    Args:
        content: Picture number of each photo, equal for copies.
        target: The true labels.
        name: Name of this side feature.
        groups: Group number of each photo.

    Raises:
        ShapeError: The arrays and the target have different numbers of photos.
    """
    check_lengths(len(target), content=content, groups=groups)
    labelled = target.labelled
    votes = _sums(content, labelled, target)[content[labelled]]
    own, member = np.unique(np.stack([content, groups]), axis=1, return_inverse=True)
    member = member.ravel()
    others: Sparse = csr_matrix(votes - _sums(member, labelled, target, n=own.shape[1])[member[labelled]])
    others.eliminate_zeros()
    with_copies = np.flatnonzero(np.diff(others.indptr) > 0)
    floor = blind(target)
    found = floor.copy()
    for start in range(0, len(with_copies), 1024):
        some = with_copies[start : start + 1024]
        found[some] = reached(others[some].toarray(), labelled[some], target)
    right = found[with_copies] >= 0.5
    gain = weighed(
        target,
        name,
        floor,
        found,
        groups=joined(len(target), [*_members(content), *_members(groups)]),
        n_given=len(with_copies),
        n_distinct=len(np.unique(content[labelled[with_copies]])),
    )
    return Copied(gain, int(right.sum()), int((~right).sum()))


def crossings(content: Int64[np.ndarray, " photo"], parts: Sequence[str]) -> list[Crossing]:
    """Count the photos of one part of a table, such as the test photos, that have a copy in another part.

    Args:
        content: Picture number of each photo, equal for copies.
        parts: Part of each photo; "" means no part.

    Returns:
        One entry for every ordered pair of parts that share a picture, sorted by name.
    """
    check_lengths(len(content), parts=parts)
    names = sorted(set(parts) - {""})
    number = {name: place for place, name in enumerate(names)}
    part_of = np.array([number.get(part, -1) for part in parts], np.int64)
    here = [np.unique(content[part_of == place]) for place in range(len(names))]
    found = []
    for one, name in enumerate(names):
        rows = content[part_of == one]
        for other, other_name in enumerate(names):
            n_copied = int(np.isin(rows, here[other]).sum()) if one != other else 0
            found += [Crossing(name, other_name, len(rows), n_copied)] if n_copied else []
    return found


def _sums(of: Int64[np.ndarray, " photo"], rows: np.ndarray, target: Target, *, n: int | None = None) -> Sparse:
    """Count how many of the photos ``rows`` with each number have each label."""
    n = int(of.max(initial=-1)) + 1 if n is None else n
    member: Sparse = csr_matrix(
        (np.ones(len(rows), np.float32), (of[rows], np.arange(len(rows)))), shape=(n, len(rows))
    )
    return csr_matrix(member @ target.truth[rows])


def _members(numbers: Int64[np.ndarray, " photo"]) -> list[np.ndarray]:
    """Return the rows of each number that at least two photos have."""
    order = np.argsort(numbers, kind="stable")
    ends = np.flatnonzero(np.diff(numbers[order])) + 1
    return [rows for rows in np.split(order, ends) if len(rows) > 1]

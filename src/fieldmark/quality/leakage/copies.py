"""Copies as a side feature: one picture in several rows tells the answer of one row by the other's."""

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
    """What copies in other groups say of one target.

    Attributes:
        gain: Of asking a photo's copies; photos without any get the commonest answer.
        n_same: Photos of which the copies' commonest answer is right.
        n_other: Photos of which it is wrong: at least one of the two tables' answers must be, if the pictures are one.
    """

    gain: Gain
    n_same: int
    n_other: int


@dataclass(frozen=True, slots=True)
class Crossing:
    """Photos of one part of a table that have a copy in another part.

    Attributes:
        part: The part whose photos are counted.
        other: The part where their copies lie.
        n_photos: Photos of ``part``.
        n_copied: Those that have a copy in ``other``.
    """

    part: str
    other: str
    n_photos: int
    n_copied: int


def joined(n_photos: int, similar: Iterable[Sequence[int] | np.ndarray]) -> Int64[np.ndarray, " photo"]:
    """A number that photos share which any of the groups, or a chain of them, puts together.

    Args:
        n_photos: How many there are.
        similar: Rows that belong together; rows in none stay alone.
    """
    pairs = np.array([(rows[0], row) for rows in similar for row in rows[1:]], np.int64).reshape(-1, 2)
    ones = np.ones(len(pairs), np.int8)
    graph = csr_matrix((ones, (pairs[:, 0], pairs[:, 1])), shape=(n_photos, n_photos))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def ask_copies(
    content: Int64[np.ndarray, " photo"], target: Target, *, name: str, groups: Int64[np.ndarray, " photo"]
) -> Copied:
    """How well a target can be guessed by looking a photo's copies up.

    Copies of the photo's own group do not count: whoever keeps groups together has taken care of them.

    Args:
        content: A number that copies of one picture share.
        target: The right answers.
        name: What this side feature is called.
        groups: A number that photos share that are kept together.

    Raises:
        ShapeError: The arrays are of other photos than the target.
    """
    check_lengths(len(target), content=content, groups=groups)
    told = target.told
    votes = _sums(content, told, target)[content[told]]
    own, member = np.unique(np.stack([content, groups]), axis=1, return_inverse=True)
    member = member.ravel()
    others: Sparse = csr_matrix(votes - _sums(member, told, target, n=own.shape[1])[member[told]])
    others.eliminate_zeros()
    asked = np.flatnonzero(np.diff(others.indptr) > 0)
    floor = blind(target)
    found = floor.copy()
    for start in range(0, len(asked), 1024):
        some = asked[start : start + 1024]
        found[some] = reached(others[some].toarray(), told[some], target)
    right = found[asked] >= 0.5
    gain = weighed(
        target,
        name,
        floor,
        found,
        groups=joined(len(target), [*_members(content), *_members(groups)]),
        n_given=len(asked),
        n_distinct=len(np.unique(content[told[asked]])),
    )
    return Copied(gain, int(right.sum()), int((~right).sum()))


def crossings(content: Int64[np.ndarray, " photo"], parts: Sequence[str]) -> list[Crossing]:
    """For each two parts of a table (its training and its test photos) how many photos of one lie in the other too.

    Args:
        content: A number that copies of one picture share.
        parts: The part of each photo; "" is none.

    Returns:
        Every ordered pair of parts that share a picture, in the order of names.
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
    """How many of the photos ``rows`` with each number have each answer."""
    n = int(of.max(initial=-1)) + 1 if n is None else n
    member: Sparse = csr_matrix(
        (np.ones(len(rows), np.float32), (of[rows], np.arange(len(rows)))), shape=(n, len(rows))
    )
    return csr_matrix(member @ target.truth[rows])


def _members(numbers: Int64[np.ndarray, " photo"]) -> list[np.ndarray]:
    """The rows of each number that several share."""
    order = np.argsort(numbers, kind="stable")
    ends = np.flatnonzero(np.diff(numbers[order])) + 1
    return [rows for rows in np.split(order, ends) if len(rows) > 1]

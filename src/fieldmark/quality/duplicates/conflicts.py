"""Compare the names of near-duplicate photos: conflicts, missing names, and individuals that may have two names.

The functions only report. A person decides; no table is changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from jaxtyping import Float, Int64

from fieldmark.core.errors import FieldmarkError, ShapeError

UNKNOWN_INDIVIDUAL, UNLABELLED = -1, -2
"""Class numbers of unknown individuals and of photos without a name, as in a collection."""

Verdict = Literal["two names", "unknown and named", "same name", "no name"]
ABOVE_REST = 3.5


def verdict(classes: Sequence[int]) -> Verdict:
    """Return the verdict on the names of all photos of one picture. Photos without a name are ignored.

    Example:
        >>> verdict([4, 4, -2]), verdict([4, -1]), verdict([4, 7]), verdict([-2, -2])
        ('same name', 'unknown and named', 'two names', 'no name')
    """
    labelled = {one for one in classes if one != UNLABELLED}
    if len(labelled - {UNKNOWN_INDIVIDUAL}) > 1:
        return "two names"
    if len(labelled) > 1:
        return "unknown and named"
    return "same name" if labelled else "no name"


def taken_over(group: Int64[np.ndarray, " image"], classes: Int64[np.ndarray, " image"]) -> Int64[np.ndarray, " image"]:
    """Return the classes, filled from near-duplicates where a photo has no class.

    A class is copied only where all near-duplicates of the photo agree. A near-duplicate of an unknown individual
    is also unknown. The caller decides whether to use the result: in a contest it is a leak.

    Raises:
        ShapeError: The number of classes differs from the number of photos.
    """
    group, classes = np.asarray(group), np.asarray(classes)
    if group.shape != classes.shape:
        raise ShapeError(
            "Argument 'classes' needs one class for every photo in 'group'.",
            got=f"group {group.shape}, classes {classes.shape}",
            fix="pass the groups of same_pictures() and the classes of the same photos; -2 for a photo without a name.",
        )
    labelled = classes != UNLABELLED
    n = int(group.max()) + 1 if len(group) else 0
    highest = np.full(n, np.iinfo(np.int64).min)
    lowest = np.full(n, np.iinfo(np.int64).max)
    np.maximum.at(highest, group[labelled], classes[labelled])
    np.minimum.at(lowest, group[labelled], classes[labelled])
    agreed = (highest == lowest)[group] & ~labelled
    return np.where(agreed, highest[group], classes)


@dataclass(frozen=True, slots=True)
class IdentityPair:
    """Two identities that may be the same individual.

    Attributes:
        first: Class of the first identity, the lower number.
        second: Class of the second identity.
        n_shared: Number of pictures that appear under both identities.
        cosine: Cosine similarity of the two identities; nan if it was not computed.
        score: Sort key. The number of shared pictures, plus a value below 1 for an unusually high cosine.
    """

    first: int
    second: int
    n_shared: int = 0
    cosine: float = float("nan")
    score: float = 0.0


def sharing(group: Int64[np.ndarray, " image"], classes: Int64[np.ndarray, " image"]) -> list[IdentityPair]:
    """Return the pairs of identities that share a picture, the pairs with the most shared pictures first.

    Args:
        group: Picture number of each photo; see ``same_pictures``.
        classes: Class of each photo; a negative class means no identity.

    Source:
        Kaggle Humpback Whale Identification 2018/19: lists of whales with two ids were shared by participants.
    """
    n_shared: dict[tuple[int, int], int] = {}
    names_of: dict[int, set[int]] = {}
    for picture, name in zip(np.asarray(group).tolist(), np.asarray(classes).tolist(), strict=True):
        if name >= 0:
            names_of.setdefault(picture, set()).add(name)
    for names in names_of.values():
        for pair in combinations(sorted(names), 2):
            n_shared[pair] = n_shared.get(pair, 0) + 1
    found = [IdentityPair(*pair, n_shared=n, score=float(n)) for pair, n in n_shared.items()]
    return sorted(found, key=lambda one: (-one.n_shared, one.first, one.second))


def similar(likeness: Float[np.ndarray, "identity identity"], *, above_rest: float = ABOVE_REST) -> list[IdentityPair]:
    """Return pairs of identities that may be the same individual, by image similarity.

    Two identities form a pair if each is the nearest neighbour of the other and their similarity is unusually high.
    The usual similarity is the median over all identities, and its spread is the median absolute deviation. Both
    change little when a few identities really are the same individual.

    Args:
        likeness: Similarity between identities, such as cosines. The matrix is made symmetric by averaging both
            directions. nan marks unknown values. The diagonal is ignored.
        above_rest: Smallest similarity of a pair, in robust standard deviations above the median.

    Returns:
        Pairs, the most similar first. ``score`` is the share of identities whose nearest neighbour is less similar,
        at most 0.999.

    Raises:
        ShapeError: ``likeness`` is not square.
        FieldmarkError: Fewer than three identities can be compared.

    Source:
        Ours; mutual nearest neighbours as in matching of key points.
    """
    nearest, cosine = _nearest_other(np.asarray(likeness))
    known = np.isfinite(cosine)
    if np.count_nonzero(known) < 3:
        raise FieldmarkError(
            "Argument 'likeness' has too few identities to compare.",
            got=f"{np.count_nonzero(known)} identities that can be compared",
            fix="use a table in which at least three identities have photos.",
        )
    ranked = np.sort(cosine[known])
    middle = float(np.median(ranked))
    spread = max(1.4826 * float(np.median(np.abs(ranked - middle))), 1e-6)
    found = []
    for one, other in enumerate(nearest.tolist()):
        if one < other and nearest[other] == one and cosine[one] > middle + above_rest * spread:
            share = float(np.searchsorted(ranked, cosine[one])) / len(ranked)
            found.append(IdentityPair(one, other, cosine=float(cosine[one]), score=min(share, 0.999)))
    return sorted(found, key=lambda each: (-each.cosine, each.first, each.second))


def merge_pairs(shared: Sequence[IdentityPair], by_similarity: Sequence[IdentityPair]) -> list[IdentityPair]:
    """Merge two lists of pairs. A pair that is in both lists appears once, with the sum of its scores."""
    found = {(one.first, one.second): one for one in by_similarity}
    for one in shared:
        pair = one.first, one.second
        cosine = found[pair].cosine if pair in found else float("nan")
        extra = found[pair].score if pair in found else 0.0
        found[pair] = IdentityPair(*pair, n_shared=one.n_shared, cosine=cosine, score=one.score + extra)
    return sorted(found.values(), key=lambda one: (-one.score, one.first, one.second))


def _nearest_other(likeness: np.ndarray, *, at_once: int = 2**22) -> tuple[np.ndarray, np.ndarray]:
    """Return the most similar other identity of each identity, and the similarity; -inf where none is known."""
    if likeness.ndim != 2 or len(likeness) != likeness.shape[1]:
        raise ShapeError(
            "Argument 'likeness' must be a square matrix.",
            got=f"shape {likeness.shape}",
            fix="pass a square matrix with one row and one column for each identity.",
        )
    nearest = np.zeros(len(likeness), np.int64)
    best = np.full(len(likeness), -np.inf)
    step = max(1, at_once // max(1, len(likeness)))
    for start in range(0, len(likeness), step):
        there, back = likeness[start : start + step], likeness[:, start : start + step].T
        both_ways = np.where(np.isfinite(there), np.where(np.isfinite(back), (there + back) / 2, there), back)
        block = np.where(np.isfinite(both_ways), both_ways, -np.inf)
        own = np.arange(len(block))
        block[own, own + start] = -np.inf
        nearest[start : start + len(block)] = block.argmax(axis=1)
        best[start : start + len(block)] = block.max(axis=1)
    return nearest, best

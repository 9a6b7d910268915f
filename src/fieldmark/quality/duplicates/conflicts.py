"""What near-duplicates say about names: one picture under two names, names that a photo could take over, two names for one.

All of it is for a person to judge; nothing is changed here.
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
"""As in a collection: nobody we know; nothing said."""

Verdict = Literal["two names", "unknown and named", "same name", "no name"]
ABOVE_REST = 3.5


def verdict(classes: Sequence[int]) -> Verdict:
    """What the names of one picture's photos say together; photos of which nothing is said do not count.

    Example:
        >>> verdict([4, 4, -2]), verdict([4, -1]), verdict([4, 7]), verdict([-2, -2])
        ('same name', 'unknown and named', 'two names', 'no name')
    """
    told = {one for one in classes if one != UNLABELLED}
    if len(told - {UNKNOWN_INDIVIDUAL}) > 1:
        return "two names"
    if len(told) > 1:
        return "unknown and named"
    return "same name" if told else "no name"


def taken_over(group: Int64[np.ndarray, " image"], classes: Int64[np.ndarray, " image"]) -> Int64[np.ndarray, " image"]:
    """The classes with those of near-duplicates where nothing is said; where near-duplicates disagree nothing is taken over.

    An unknown individual's near-duplicate is an unknown individual too. Whether to use it is the caller's decision: in a contest it is a leak.

    Raises:
        ShapeError: There is not one class for every photo.
    """
    group, classes = np.asarray(group), np.asarray(classes)
    if group.shape != classes.shape:
        raise ShapeError(
            "Every photo needs a group and a class.",
            got=f"group {group.shape}, classes {classes.shape}",
            fix="pass the groups of same_pictures() and the classes of the same photos; -2 where nothing is said.",
        )
    told = classes != UNLABELLED
    n = int(group.max()) + 1 if len(group) else 0
    highest = np.full(n, np.iinfo(np.int64).min)
    lowest = np.full(n, np.iinfo(np.int64).max)
    np.maximum.at(highest, group[told], classes[told])
    np.minimum.at(lowest, group[told], classes[told])
    agreed = (highest == lowest)[group] & ~told
    return np.where(agreed, highest[group], classes)


@dataclass(frozen=True, slots=True)
class OneIdentity:
    """Two identities that are perhaps one.

    Attributes:
        first: The class of the one, the lower number.
        second: The class of the other.
        n_shared: Pictures that both have.
        cosine: How similar they look; nan where that was not asked.
        score: Sure evidence first: the number of shared pictures, or else, below 1, how far the cosine stands out.
    """

    first: int
    second: int
    n_shared: int = 0
    cosine: float = float("nan")
    score: float = 0.0


def sharing(group: Int64[np.ndarray, " image"], classes: Int64[np.ndarray, " image"]) -> list[OneIdentity]:
    """Identities that have a picture in common, those with the most first.

    Args:
        group: Of each photo; see ``same_pictures``.
        classes: Of each photo; below 0: no identity.

    Source:
        Kaggle Humpback Whale Identification 2018/19: lists of whales with two ids were shared by participants.
    """
    n_shared: dict[tuple[int, int], int] = {}
    whose: dict[int, set[int]] = {}
    for picture, name in zip(np.asarray(group).tolist(), np.asarray(classes).tolist(), strict=True):
        if name >= 0:
            whose.setdefault(picture, set()).add(name)
    for names in whose.values():
        for pair in combinations(sorted(names), 2):
            n_shared[pair] = n_shared.get(pair, 0) + 1
    found = [OneIdentity(*pair, n_shared=n, score=float(n)) for pair, n in n_shared.items()]
    return sorted(found, key=lambda one: (-one.n_shared, one.first, one.second))


def similar(likeness: Float[np.ndarray, "identity identity"], *, above_rest: float = ABOVE_REST) -> list[OneIdentity]:
    """Identities that look like one: each the other's nearest, and nearer than the nearest of the rest are.

    How near the nearest other identity usually is, and how much that varies, is told by the median over all
    identities and by the median distance from it, which the few true doubles hardly move.

    Args:
        likeness: How similar the photos of one identity are to those of another, such as cosines; made symmetric by the
            mean of both ways. nan where nothing is known. The diagonal is not looked at.
        above_rest: In robust deviations above the median.

    Returns:
        The most similar first; ``score`` is the share of identities whose nearest is less similar, at most 0.999.

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
            "Two identities that are one show only beside others.",
            got=f"{np.count_nonzero(known)} identities that can be compared",
            fix="give at least three identities with photos.",
        )
    ranked = np.sort(cosine[known])
    middle = float(np.median(ranked))
    spread = max(1.4826 * float(np.median(np.abs(ranked - middle))), 1e-6)
    found = []
    for one, other in enumerate(nearest.tolist()):
        if one < other and nearest[other] == one and cosine[one] > middle + above_rest * spread:
            share = float(np.searchsorted(ranked, cosine[one])) / len(ranked)
            found.append(OneIdentity(one, other, cosine=float(cosine[one]), score=min(share, 0.999)))
    return sorted(found, key=lambda each: (-each.cosine, each.first, each.second))


def both(shared: Sequence[OneIdentity], looks: Sequence[OneIdentity]) -> list[OneIdentity]:
    """Two lists as one, each pair once: what both lists say of it counts together."""
    found = {(one.first, one.second): one for one in looks}
    for one in shared:
        pair = one.first, one.second
        cosine = found[pair].cosine if pair in found else float("nan")
        extra = found[pair].score if pair in found else 0.0
        found[pair] = OneIdentity(*pair, n_shared=one.n_shared, cosine=cosine, score=one.score + extra)
    return sorted(found.values(), key=lambda one: (-one.score, one.first, one.second))


def _nearest_other(likeness: np.ndarray, *, at_once: int = 2**22) -> tuple[np.ndarray, np.ndarray]:
    """The most similar other identity of each, and how similar; -inf where none is known."""
    if likeness.ndim != 2 or len(likeness) != likeness.shape[1]:
        raise ShapeError(
            "Identities are compared each with each.", got=f"likeness {likeness.shape}", fix="pass a square matrix."
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

"""Splits by individual: within individuals, of whole individuals, and open-set splits with unknown individuals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64

from fieldmark.core.errors import DataError
from fieldmark.data.shuffled_rows import spread
from fieldmark.data.vocabulary import UNKNOWN

_NO_PAIR = "add second photos (of other groups) of some individuals, or use folds = {kind = 'disjoint'} in a plan."


@dataclass(frozen=True)
class Groups:
    """The identities in the groups of a collection.

    Attributes:
        member: Group of each photo, numbered from 0.
        identity: Class of the photos of each group; for groups with contradicting labels the lowest class.
        is_clean: Whether all photos of the group have the same class.
        n_groups_of: Number of groups of each identity (by class), including contradicting groups.
    """

    member: Int64[np.ndarray, " image"]
    identity: Int64[np.ndarray, " group"]
    is_clean: Bool[np.ndarray, " group"]
    n_groups_of: Int64[np.ndarray, " identity"]

    @classmethod
    def of(cls, classes: Int64[np.ndarray, " image"], groups: Int64[np.ndarray, " image"]) -> Groups:
        """Create the groups of photos with the given classes."""
        _, member = np.unique(groups, return_inverse=True)
        n_groups = int(member.max()) + 1
        highest = np.full(n_groups, np.iinfo(np.int64).min)
        lowest = np.full(n_groups, np.iinfo(np.int64).max)
        np.maximum.at(highest, member, classes)
        np.minimum.at(lowest, member, classes)
        pairs = np.unique(np.stack([classes, member], axis=1), axis=0)
        known = pairs[pairs[:, 0] >= 0, 0]
        return cls(member, lowest, lowest == highest, np.bincount(known, minlength=int(classes.max(initial=-1)) + 1))

    def of_repeated_identities(self) -> Int64[np.ndarray, " group"]:
        """The clean groups of identities that have at least one other group. Some of them can become validation."""
        known = np.flatnonzero(self.is_clean & (self.identity >= 0))
        return known[self.n_groups_of[self.identity[known]] >= 2]

    def of_unknowns(self) -> Int64[np.ndarray, " group"]:
        """The clean groups of unknown individuals."""
        return np.flatnonzero(self.is_clean & (self.identity == UNKNOWN))


def within_identities(
    classes: Int64[np.ndarray, " image"], groups: Int64[np.ndarray, " image"], n_folds: int, rng: np.random.Generator
) -> Int64[np.ndarray, " image"]:
    """K folds over the photos of each individual.

    Individuals with a single group stay in training. Unknown individuals are spread over all folds. The groups of an
    individual go to consecutive folds, so two or more groups are never all in one fold. Therefore every individual in
    the validation part also has training photos.

    Raises:
        DataError: No individual has photos in two groups.
    """
    of_groups = Groups.of(classes, groups)
    repeated = of_groups.of_repeated_identities()
    if not len(repeated):
        raise _no_second_photo(of_groups)
    repeated = rng.permutation(repeated)
    turn = rng.permutation(len(of_groups.n_groups_of))  # random order, else fold 0 gets the first names of the alphabet
    repeated = repeated[np.argsort(turn[of_groups.identity[repeated]], kind="stable")]
    fold = np.full(len(of_groups.identity), -1, dtype=np.int64)
    fold[repeated] = np.arange(len(repeated)) % n_folds
    unknowns = rng.permutation(of_groups.of_unknowns())
    fold[unknowns] = np.arange(len(unknowns)) % n_folds
    return fold[of_groups.member]


def humpback_split(
    classes: Int64[np.ndarray, " image"],
    groups: Int64[np.ndarray, " image"],
    *,
    n_known: int,
    n_unknown: int,
    rng: np.random.Generator,
) -> Int64[np.ndarray, " image"]:
    """Fold 0: one group of each of ``n_known`` individuals, and ``n_unknown`` groups of unknown individuals.

    All other photos are training. One group counts as one photo. Its other photos are copies of the query (or photos of
    the same encounter), so they also go to validation. At most half of the individuals with two groups are used. If
    these are fewer than ``n_known``, ``n_unknown`` is reduced in proportion. At most half of the unknown individuals
    are used.

    **Source:** humpback_classify_and_metric_notes, "Local Validation" (512 identities, 230 new_whale); the reduction
    is ours.

    Raises:
        DataError: No individual has photos in two groups.
    """
    of_groups = Groups.of(classes, groups)
    repeated = rng.permutation(of_groups.of_repeated_identities())
    if not len(repeated):
        raise _no_second_photo(of_groups)
    # The order is random, so the first group of each identity is a random one.
    identities, first = np.unique(of_groups.identity[repeated], return_index=True)
    known = min(n_known, max(len(identities) // 2, 1))
    chosen = repeated[first[rng.choice(len(identities), size=known, replace=False)]]
    unknowns = of_groups.of_unknowns()
    wanted = n_unknown if known == n_known else max(round(n_unknown * known / n_known), min(n_unknown, 1))
    unknown = rng.choice(unknowns, size=min(wanted, len(unknowns) // 2), replace=False)
    fold = np.full(len(of_groups.identity), -1, dtype=np.int64)
    fold[chosen] = 0
    fold[unknown] = 0
    return fold[of_groups.member]


def open_set(
    classes: Int64[np.ndarray, " image"],
    groups: Int64[np.ndarray, " image"],
    *,
    n_known: int,
    n_unknown: int,
    rng: np.random.Generator,
) -> Int64[np.ndarray, " image"]:
    """Fold 0 as in ``humpback_split``. If there are few unknown individuals, whole individuals are held out as unknown.

    Individuals with a single group are held out first, then any others, at most a tenth of all. Individuals in a
    group with contradicting labels, and individuals that are validation queries, are never held out.

    **Source:** ours; the threshold for unknown individuals is found on unknown individuals in validation.

    Raises:
        DataError: No individual has photos in two groups.
    """
    fold = humpback_split(classes, groups, n_known=n_known, n_unknown=n_unknown, rng=rng)
    of_groups = Groups.of(classes, groups)
    n_queries = len(np.unique(of_groups.member[(fold == 0) & (classes >= 0)]))
    wanted = n_unknown if n_queries == n_known else round(n_unknown * n_queries / n_known)
    wanted -= int(((fold == 0) & (classes == UNKNOWN)).sum())
    contradicting = classes[~of_groups.is_clean[of_groups.member]]
    taken = np.concatenate([classes[fold == 0], contradicting])
    free = np.setdiff1d(np.unique(classes[classes >= 0]), taken)
    most = len(np.unique(classes[classes >= 0])) // 10
    order = rng.permutation(free)
    order = order[np.argsort(of_groups.n_groups_of[order] > 1, kind="stable")][:most]
    n_photos = np.cumsum(np.bincount(classes[classes >= 0])[order])
    n_taken = int(np.searchsorted(n_photos, wanted)) + 1 if wanted > 0 else 0
    fold[np.isin(classes, order[:n_taken])] = 0
    return fold


def disjoint(
    classes: Int64[np.ndarray, " image"], groups: Int64[np.ndarray, " image"], n_folds: int, rng: np.random.Generator
) -> Int64[np.ndarray, " image"]:
    """K folds of whole individuals with similar numbers of photos. Unknown individuals are spread over the folds.

    An individual with photos in a group with contradicting labels stays in training. That group cannot be in a
    validation part, and an individual must not be in both parts.

    Raises:
        DataError: There are fewer such individuals than folds.
    """
    of_groups = Groups.of(classes, groups)
    contradicting = np.unique(classes[~of_groups.is_clean[of_groups.member]])
    whole = np.setdiff1d(np.unique(classes[classes >= 0]), contradicting)
    if len(whole) < n_folds:
        raise DataError(
            "There are fewer identities than folds.",
            got=f"{len(whole)} identities without contradicting groups, {n_folds} folds",
            fix=f"use n_folds={len(whole)} or fewer."
            if len(whole) >= 2
            else "add photos of more identities, or use kind='plain'.",
        )
    fold_of = np.full(max(int(classes.max()), 0) + 1, -1, dtype=np.int64)
    sizes = np.bincount(classes[classes >= 0], minlength=len(fold_of))[whole]
    fold_of[whole] = spread(sizes, n_folds, rng)
    is_known = of_groups.is_clean & (of_groups.identity >= 0)
    fold = np.where(is_known, fold_of[np.maximum(of_groups.identity, 0)], -1)
    unknowns = rng.permutation(of_groups.of_unknowns())
    fold[unknowns] = np.arange(len(unknowns)) % n_folds
    return fold[of_groups.member]


def _no_second_photo(of_groups: Groups) -> DataError:
    """The error of a split that needs individuals with at least two photos."""
    n_single = int((of_groups.n_groups_of == 1).sum())
    return DataError(
        "No identity has two photos (of two groups).",
        got=f"{n_single} identities with one photo each",
        fix=_NO_PAIR,
    )

"""Splits that know individuals: who has photos enough to be asked for, and who stays an unknown individual."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64

from fieldmark.core.errors import DataError
from fieldmark.data.shuffled_rows import spread
from fieldmark.data.vocabulary import UNKNOWN

_NO_PAIR = "give some individuals two photos (of two groups); a plan with folds = {kind = 'disjoint'} needs none."


@dataclass(frozen=True)
class Groups:
    """What the groups of a collection hold.

    Attributes:
        member: The group of each photo, counted from 0.
        identity: The class of each group's photos; of groups that contradict themselves the lowest.
        is_clean: Whether all photos of the group are of one class.
        n_groups_of: For each identity (by class) the number of groups it is in, the contradicting ones too.
    """

    member: Int64[np.ndarray, " image"]
    identity: Int64[np.ndarray, " group"]
    is_clean: Bool[np.ndarray, " group"]
    n_groups_of: Int64[np.ndarray, " identity"]

    @classmethod
    def of(cls, classes: Int64[np.ndarray, " image"], groups: Int64[np.ndarray, " image"]) -> Groups:
        """The groups of photos with these classes."""
        _, member = np.unique(groups, return_inverse=True)
        n_groups = int(member.max()) + 1
        highest = np.full(n_groups, np.iinfo(np.int64).min)
        lowest = np.full(n_groups, np.iinfo(np.int64).max)
        np.maximum.at(highest, member, classes)
        np.minimum.at(lowest, member, classes)
        pairs = np.unique(np.stack([classes, member], axis=1), axis=0)
        known = pairs[pairs[:, 0] >= 0, 0]
        return cls(member, lowest, lowest == highest, np.bincount(known, minlength=int(classes.max(initial=-1)) + 1))

    def askable(self) -> Int64[np.ndarray, " group"]:
        """The clean groups of identities that are in another group as well: validation may take some of them."""
        known = np.flatnonzero(self.is_clean & (self.identity >= 0))
        return known[self.n_groups_of[self.identity[known]] >= 2]

    def strange(self) -> Int64[np.ndarray, " group"]:
        """The clean groups of the unknown identity."""
        return np.flatnonzero(self.is_clean & (self.identity == UNKNOWN))


def within_identities(
    classes: Int64[np.ndarray, " image"], groups: Int64[np.ndarray, " image"], n_folds: int, rng: np.random.Generator
) -> Int64[np.ndarray, " image"]:
    """K folds over the photos of each identity; who has a single group stays in training; unknown individuals in all folds.

    The groups of an identity are dealt to consecutive folds, like cards, so two or more never all lie in one fold:
    every identity that is asked for is also in the training part.

    Raises:
        DataError: No identity is in two groups.
    """
    held = Groups.of(classes, groups)
    askable = held.askable()
    if not len(askable):
        raise _unknown_twice(held)
    askable = rng.permutation(askable)
    turn = rng.permutation(len(held.n_groups_of))  # identities in random order, else fold 0 gets the first letters
    askable = askable[np.argsort(turn[held.identity[askable]], kind="stable")]
    fold = np.full(len(held.identity), -1, dtype=np.int64)
    fold[askable] = np.arange(len(askable)) % n_folds
    strange = rng.permutation(held.strange())
    fold[strange] = np.arange(len(strange)) % n_folds
    return fold[held.member]


def humpback_split(
    classes: Int64[np.ndarray, " image"],
    groups: Int64[np.ndarray, " image"],
    *,
    n_known: int,
    n_unknown: int,
    rng: np.random.Generator,
) -> Int64[np.ndarray, " image"]:
    """Fold 0: one group of each of ``n_known`` identities and ``n_unknown`` groups of unknown individuals; the rest is training.

    One group counts as one photo: its other photos are copies of the query (or of its encounter), so they go to
    validation with it rather than stay in training. At most half of the identities with two groups are asked for;
    where that is fewer than ``n_known``, ``n_unknown`` shrinks in the same proportion; at most half of the unknown individuals
    are taken.

    **Source:** humpback_classify_and_metric_notes, "Local Validation" (512 identities, 230 new_whale); shrinking is
    ours.

    Raises:
        DataError: No identity is in two groups.
    """
    held = Groups.of(classes, groups)
    askable = rng.permutation(held.askable())
    if not len(askable):
        raise _unknown_twice(held)
    identities, first = np.unique(held.identity[askable], return_index=True)  # first of a random order: a random group
    known = min(n_known, max(len(identities) // 2, 1))
    chosen = askable[first[rng.choice(len(identities), size=known, replace=False)]]
    strange = held.strange()
    wanted = n_unknown if known == n_known else max(round(n_unknown * known / n_known), min(n_unknown, 1))
    unknown = rng.choice(strange, size=min(wanted, len(strange) // 2), replace=False)
    fold = np.full(len(held.identity), -1, dtype=np.int64)
    fold[chosen] = 0
    fold[unknown] = 0
    return fold[held.member]


def open_set(
    classes: Int64[np.ndarray, " image"],
    groups: Int64[np.ndarray, " image"],
    *,
    n_known: int,
    n_unknown: int,
    rng: np.random.Generator,
) -> Int64[np.ndarray, " image"]:
    """Fold 0: as ``humpback_split``, and where unknown individuals are few whole identities are held back to be unknown individuals.

    They are those of a single group first, else any; an identity in a group that contradicts itself is never taken,
    nor one that is asked for.

    **Source:** ours; unknown individuals in validation are what a threshold for "nobody we know" is found by.

    Raises:
        DataError: No identity is in two groups.
    """
    fold = humpback_split(classes, groups, n_known=n_known, n_unknown=n_unknown, rng=rng)
    held = Groups.of(classes, groups)
    asked = len(np.unique(held.member[(fold == 0) & (classes >= 0)]))
    wanted = n_unknown if asked == n_known else round(n_unknown * asked / n_known)
    wanted -= int(((fold == 0) & (classes == UNKNOWN)).sum())
    likely_label_errors = classes[~held.is_clean[held.member]]
    taken = np.concatenate([classes[fold == 0], likely_label_errors])
    free = np.setdiff1d(np.unique(classes[classes >= 0]), taken)
    most = len(np.unique(classes[classes >= 0])) // 10
    order = rng.permutation(free)
    order = order[np.argsort(held.n_groups_of[order] > 1, kind="stable")][:most]
    n_photos = np.cumsum(np.bincount(classes[classes >= 0])[order])
    n_taken = int(np.searchsorted(n_photos, wanted)) + 1 if wanted > 0 else 0
    fold[np.isin(classes, order[:n_taken])] = 0
    return fold


def disjoint(
    classes: Int64[np.ndarray, " image"], groups: Int64[np.ndarray, " image"], n_folds: int, rng: np.random.Generator
) -> Int64[np.ndarray, " image"]:
    """K folds of whole identities, similar in photos; unknown individuals are spread over the folds.

    An identity that is in a group which contradicts itself stays in training as a whole: that group can be in no
    validation part, and an identity may not be on both sides.

    Raises:
        DataError: There are fewer such identities than folds.
    """
    held = Groups.of(classes, groups)
    likely_label_errors = np.unique(classes[~held.is_clean[held.member]])
    whole = np.setdiff1d(np.unique(classes[classes >= 0]), likely_label_errors)
    if len(whole) < n_folds:
        raise DataError(
            "There are fewer identities than folds.",
            got=f"{len(whole)} identities without contradicting groups, {n_folds} folds",
            fix=f"use n_folds={len(whole)} or fewer."
            if len(whole) >= 2
            else "give photos of more identities, or use kind='plain'.",
        )
    fold_of = np.full(max(int(classes.max()), 0) + 1, -1, dtype=np.int64)
    sizes = np.bincount(classes[classes >= 0], minlength=len(fold_of))[whole]
    fold_of[whole] = spread(sizes, n_folds, rng)
    fold = np.where(held.is_clean & (held.identity >= 0), fold_of[np.maximum(held.identity, 0)], -1)
    strange = rng.permutation(held.strange())
    fold[strange] = np.arange(len(strange)) % n_folds
    return fold[held.member]


def _unknown_twice(held: Groups) -> DataError:
    """The refusal of a split that needs a second photo of somebody."""
    singles = int((held.n_groups_of == 1).sum())
    return DataError("No identity has two photos (of two groups).", got=f"{singles} identities, all once", fix=_NO_PAIR)

"""Which photos judge and which teach: one fold number a photo, and never a group on both sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from fieldmark.core.errors import DataError, ShapeError
from fieldmark.core.seeds import generator
from fieldmark.data.identity_folds import disjoint, humpback_split, open_set, within_identities
from fieldmark.data.shuffled_rows import spread
from fieldmark.data.specs import (
    ByDate,
    DisjointIdentities,
    Folds,
    HumpbackSplit,
    IdentityFolds,
    OpenSetSplit,
    PlainFolds,
    StratifiedFolds,
)
from fieldmark.data.stratified import Truth, positives, stratify

TRAINING = -1
"""The fold of a photo that is training in every fold."""
_SEED_TEXT = {"humpback": "humpback_holdout", "open_set": "open_holdout"}
"""Part of the random seed. Other text would change the folds, and with them every measured number."""


@dataclass(frozen=True, slots=True)
class FoldCounts:
    """How many photos one fold judges with, and how many it learns from.

    Attributes:
        fold: Its number.
        known: Validation photos of identities that are in the fold's training part.
        unknown individuals: Validation photos of the unknown identity, or of identities that are not in the training part.
        unlabelled: Validation photos without identity (tags, questions).
        training: Photos of its training part.
    """

    fold: int
    known: int
    unknowns: int
    unlabelled: int
    training: int


def assign(  # noqa: PLR0911 - one a split
    spec: Folds,
    *,
    classes: Int64[np.ndarray, " image"],
    groups: Int64[np.ndarray, " image"],
    dates: np.ndarray | None = None,
    truth: Truth | None = None,
    seed: int,
) -> Int64[np.ndarray, " image"]:
    """The fold of each photo: k >= 0 is validation of fold k and training of the others; -1 is training in all.

    A group (an encounter, copies of one picture) is never split. The splits over identities also leave groups that
    contradict themselves (two identities, or an identity and an unknown individual) in training, as nobody could say what the
    right answer is, and photos without identity.

    Args:
        spec: Which split.
        classes: Class of each photo; -1 the unknown identity, -2 none given.
        groups: A number that the photos of a group share.
        dates: Day of each photo; only ``ByDate`` needs it.
        truth: 1 where a photo has a label; ``StratifiedFolds`` balances these instead of the classes.
        seed: Same seed, same folds.

    Raises:
        DataError: The photos do not allow the split; ``fix`` says which one they allow.
        ShapeError: The arrays differ in length.
    """
    lengths = {"classes": classes, "groups": groups, "dates": dates, "truth": truth}
    counted = {name: len(array) for name, array in lengths.items() if array is not None}
    if len(set(counted.values())) > 1:
        raise ShapeError(
            "Folds need one value of each kind for every photo.", got=counted, fix="pass arrays of one collection."
        )
    if not len(classes):
        raise DataError("There are no photos to split.", got="0 photos", fix="give a collection with photos.")
    rng = generator(seed, "folds", _SEED_TEXT.get(spec.kind, spec.kind))
    match spec:
        case PlainFolds():
            return _plain(groups, spec.n_folds, rng)
        case StratifiedFolds():
            return _stratified(classes, groups, truth, spec, rng)
        case IdentityFolds():
            return within_identities(classes, groups, spec.n_folds, rng)
        case HumpbackSplit():
            return humpback_split(classes, groups, n_known=spec.n_known, n_unknown=spec.n_unknown, rng=rng)
        case OpenSetSplit():
            return open_set(classes, groups, n_known=spec.n_known, n_unknown=spec.n_unknown, rng=rng)
        case DisjointIdentities():
            return disjoint(classes, groups, spec.n_folds, rng)
        case ByDate():
            return _by_date(groups, dates, spec.share)


def describe(fold: Int64[np.ndarray, " image"], classes: Int64[np.ndarray, " image"]) -> list[FoldCounts]:
    """The counts of every fold, in order."""
    counts = []
    for number in range(int(fold.max(initial=-1)) + 1):
        judged = classes[fold == number]
        taught = classes[fold != number]
        known = int((np.isin(judged, taught) & (judged >= 0)).sum())
        unlabelled = int((judged == -2).sum())
        unknowns = len(judged) - known - unlabelled
        counts.append(FoldCounts(number, known, unknowns, unlabelled, len(taught)))
    return counts


def _plain(groups: Int64[np.ndarray, " image"], n_folds: int, rng: np.random.Generator) -> Int64[np.ndarray, " image"]:
    """Groups in random order, large ones first, each into the fold with the fewest photos."""
    _, member, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    _enough(len(sizes), n_folds, "groups of photos")
    return spread(sizes, n_folds, rng)[member]


def _stratified(
    classes: Int64[np.ndarray, " image"],
    groups: Int64[np.ndarray, " image"],
    truth: Truth | None,
    spec: StratifiedFolds,
    rng: np.random.Generator,
) -> Int64[np.ndarray, " image"]:
    """Groups so that every fold has the same share of each label, or of each class where there is no ``truth``.

    The unknown identity, photos without identity, and photos without any label count as labels of their own.
    """
    _enough(len(np.unique(groups)), spec.n_folds, "groups of photos")
    rows, labels = (np.arange(len(classes)), classes) if truth is None else positives(truth)
    return stratify(rows, labels, groups, n_folds=spec.n_folds, method=spec.method, rng=rng)


def _by_date(
    groups: Int64[np.ndarray, " image"], dates: np.ndarray | None, share: float
) -> Int64[np.ndarray, " image"]:
    """Fold 0: the fewest latest days that hold at least ``share`` of the photos.

    A group that spans several days counts as taken on its last one, so that no training photo is younger than the
    border.
    """
    missing = len(groups) if dates is None else int(np.isnat(dates.astype("datetime64[D]")).sum())
    if dates is None or missing:
        raise DataError(
            "A split by date needs the date of every photo.",
            got=f"{missing} of {len(groups)} photos have no date",
            fix="fill in the date column, or use another split such as kind='identity'.",
        )
    day = dates.astype("datetime64[D]").astype(np.int64)
    _, member = np.unique(groups, return_inverse=True)
    last = np.full(int(member.max()) + 1, day.min(), dtype=np.int64)
    np.maximum.at(last, member, day)
    day = last[member]
    days, counts = np.unique(day, return_counts=True)
    from_here = np.cumsum(counts[::-1])[::-1]  # photos on that day or later
    enough = np.flatnonzero(from_here >= share * len(day))
    border = days[enough[-1]]
    validation = day >= border
    if share <= 0 or validation.all():
        raise DataError(
            "A split by date needs photos before and after the border.",
            got=f"share {share:g} of {len(days)} day(s)",
            fix="give a share between 0 and 1 that leaves whole days on both sides, or use another split such as "
            "kind='identity'.",
        )
    return np.where(validation, 0, TRAINING)


def _enough(number: int, n_folds: int, what: str) -> None:
    """Refuse more folds than things to put into them."""
    if number < n_folds:
        raise DataError(
            f"There are fewer {what} than folds.",
            got=f"{number} {what}, {n_folds} folds",
            fix=f"use n_folds={number} or fewer." if number >= 2 else "give more photos; two folds need two at least.",
        )


__all__: Sequence[str] = ("TRAINING", "FoldCounts", "assign", "describe")

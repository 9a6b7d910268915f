"""Cross-validation folds: one fold number per photo. Photos of one group are never split."""

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
"""Fold number of a photo that is used for training in every fold."""
_SEED_TEXT = {"humpback": "humpback_holdout", "open_set": "open_holdout"}
"""Part of the random seed. Other text would change the folds, and with them every measured number."""


@dataclass(frozen=True, slots=True)
class FoldCounts:
    """Numbers of validation and training photos of one fold.

    Attributes:
        fold: Number of the fold.
        known: Number of validation photos of individuals that also have training photos.
        unknowns: Number of validation photos of unknown individuals, or of individuals without training photos.
        unlabelled: Number of validation photos without identity (tags, questions).
        training: Number of training photos.
    """

    fold: int
    known: int
    unknowns: int
    unlabelled: int
    training: int


def assign(  # noqa: PLR0911 - one return per split
    spec: Folds,
    *,
    classes: Int64[np.ndarray, " image"],
    groups: Int64[np.ndarray, " image"],
    dates: np.ndarray | None = None,
    truth: Truth | None = None,
    seed: int,
) -> Int64[np.ndarray, " image"]:
    """Assign each photo to a fold.

    A photo with fold k >= 0 is in the validation part of fold k and in the training part of all others. A photo with
    -1 is in the training part of every fold. A group (an encounter, or copies of one photo) is never split. Splits by
    identity also keep two kinds of photos in training: photos without identity, and groups with contradicting labels
    (two identities, or an identity and an unknown individual), because their right answer is not known.

    Args:
        spec: The split.
        classes: Class of each photo; -1: unknown individual, -2: no identity.
        groups: Group number of each photo.
        dates: Date of each photo; required for ``ByDate`` only.
        truth: Label matrix; ``StratifiedFolds`` balances these labels instead of the classes.
        seed: Random seed.

    Raises:
        DataError: The split is not possible with these photos; ``fix`` names a possible one.
        ShapeError: The arrays differ in length.
    """
    lengths = {"classes": classes, "groups": groups, "dates": dates, "truth": truth}
    counted = {name: len(array) for name, array in lengths.items() if array is not None}
    if len(set(counted.values())) > 1:
        raise ShapeError(
            "classes, groups, dates and truth differ in length.", got=counted, fix="pass arrays of the same collection."
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
    """Count the validation and training photos of each fold."""
    counts = []
    for number in range(int(fold.max(initial=-1)) + 1):
        validation = classes[fold == number]
        training = classes[fold != number]
        known = int((np.isin(validation, training) & (validation >= 0)).sum())
        unlabelled = int((validation == -2).sum())
        unknowns = len(validation) - known - unlabelled
        counts.append(FoldCounts(number, known, unknowns, unlabelled, len(training)))
    return counts


def _plain(groups: Int64[np.ndarray, " image"], n_folds: int, rng: np.random.Generator) -> Int64[np.ndarray, " image"]:
    """Random folds: groups in order of falling size, each placed into the fold with the fewest photos."""
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
    """Folds with equal shares of each label, or of each class if ``truth`` is None.

    Unknown individuals, photos without identity and photos without labels each count as one more label.
    """
    _enough(len(np.unique(groups)), spec.n_folds, "groups of photos")
    rows, labels = (np.arange(len(classes)), classes) if truth is None else positives(truth)
    return stratify(rows, labels, groups, n_folds=spec.n_folds, method=spec.method, rng=rng)


def _by_date(
    groups: Int64[np.ndarray, " image"], dates: np.ndarray | None, share: float
) -> Int64[np.ndarray, " image"]:
    """Fold 0: the latest days, as few as contain at least ``share`` of the photos.

    A group that spans several days counts for its last day. So no training photo is later than the border.
    """
    missing = len(groups) if dates is None else int(np.isnat(dates.astype("datetime64[D]")).sum())
    if dates is None or missing:
        raise DataError(
            "A split by date needs the date of every photo.",
            got=f"{missing} of {len(groups)} photos have no date",
            fix="fill in the column date, or use another split such as kind='identity'.",
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
            fix="use a share between 0 and 1 that leaves whole days before and after the border, or use another split "
            "such as kind='identity'.",
        )
    return np.where(validation, 0, TRAINING)


def _enough(number: int, n_folds: int, what: str) -> None:
    """Raise an error if there are more folds than items."""
    if number < n_folds:
        raise DataError(
            f"There are fewer {what} than folds.",
            got=f"{number} {what}, {n_folds} folds",
            fix=f"use n_folds={number} or fewer." if number >= 2 else f"add photos; two folds need two {what}.",
        )


__all__: Sequence[str] = ("TRAINING", "FoldCounts", "assign", "describe")

"""Stratified folds, with the same share of every label in each fold, and measures of the remaining deviation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self, TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Int64

from fieldmark.core.errors import DataError, ShapeError

Truth: TypeAlias = Bool[np.ndarray, "image label"] | Float[np.ndarray, "image label"]
"""Label matrix: 1 if a photo has a label, else 0."""

FEW = 5
"""Labels with fewer examples are left out of the relative deviation, because a single photo would dominate it."""


@dataclass(frozen=True, slots=True)
class Deviation:
    """Deviation of folds from equal shares of every label. The best value of each number is 0.

    The ideal number of examples in a fold is the number of examples of the label divided by the number of folds. It
    need not be a whole number; ``least_deviation`` computes the possible minimum.

    Attributes:
        mean: Mean absolute difference between the number of examples and its ideal, over all labels and folds.
        worst: Largest of these differences.
        relative: Mean difference relative to the ideal, over labels with five examples or more.
        empty: Number of pairs of label and fold without an example, for labels with enough examples for all folds.
        size: Largest difference between the photos of a fold and an equal share of all photos.
    """

    mean: float
    worst: float
    relative: float
    empty: int
    size: float


def deviation(fold: Int64[np.ndarray, " image"], truth: Truth) -> Deviation:
    """Measure how far folds are from equal shares of every label.

    Args:
        fold: Fold of each photo, from 0; photos with -1 are not counted.
        truth: Label matrix, 1 if a photo has a label, else 0. Labels without examples are not counted.

    Raises:
        ShapeError: ``truth`` is not a matrix with one row per photo.
        DataError: ``truth`` holds numbers other than 0 and 1, or no photo is in a fold.
    """
    rows, labels = positives(truth)
    if len(fold) != len(truth):
        raise ShapeError(
            "fold and truth of deviation() differ in length.",
            got=f"{len(fold)} folds, {len(truth)} rows",
            fix="pass folds and truth of the same collection.",
        )
    n_folds = int(fold.max(initial=-1)) + 1
    if n_folds < 1:
        raise DataError("No photo is in a fold.", got="only -1", fix="pass folds from assign().")
    in_fold = fold[rows] >= 0
    cell = labels[in_fold] * n_folds + fold[rows[in_fold]]
    counts = np.bincount(cell, minlength=truth.shape[1] * n_folds).reshape(-1, n_folds)
    return _figures(counts, np.bincount(fold[fold >= 0], minlength=n_folds))


def least_deviation(truth: Truth, n_folds: int) -> Deviation:
    """Lower bound of the deviation for single photos, computed for each label independently.

    Raises:
        ShapeError: ``truth`` is not a matrix.
        DataError: ``truth`` holds numbers other than 0 and 1.
    """
    totals = np.bincount(positives(truth)[1], minlength=truth.shape[1])
    turn = np.arange(n_folds)
    return _figures((totals[:, None] + turn) // n_folds, (len(truth) + turn) // n_folds)


def _figures(counts: Int64[np.ndarray, "label fold"], sizes: Int64[np.ndarray, " fold"]) -> Deviation:
    """The deviation for given numbers of examples and photos."""
    counts = counts[counts.any(axis=1)]
    totals = counts.sum(axis=1, keepdims=True)
    ideal = totals / len(sizes)
    distance = np.abs(counts - ideal)
    relative = (distance / ideal)[totals[:, 0] >= FEW]
    return Deviation(
        mean=float(distance.mean()) if distance.size else 0.0,
        worst=float(distance.max(initial=0.0)),
        relative=float(relative.mean()) if relative.size else 0.0,
        empty=int(((counts == 0) & (totals >= len(sizes))).sum()),
        size=float(np.abs(sizes - sizes.mean()).max()),
    )


def positives(
    truth: Truth,
) -> tuple[Int64[np.ndarray, " pair"], Int64[np.ndarray, " pair"]]:
    """The pairs of photo and label with a 1 in ``truth``, in the order of photos. The matrix is not copied.

    Raises:
        ShapeError: ``truth`` is not a matrix.
        DataError: ``truth`` holds numbers other than 0 and 1.
    """
    if truth.ndim != 2:
        raise ShapeError(
            "truth must be a matrix with one row per photo and one column per label.",
            got=f"shape {truth.shape}",
            fix="pass Collection.truth, or pass classes instead.",
        )
    rows, labels = np.nonzero(truth)
    values = truth[rows, labels]
    if (values != 1).any():
        raise DataError(
            "truth must hold only 0 and 1.",
            got=f"{(values != 1).sum()} other values, such as {values[values != 1][0]:g}",
            fix="round soft labels first: truth >= 0.5.",
        )
    return rows, labels


def stratify(
    rows: Int64[np.ndarray, " pair"],
    labels: Int64[np.ndarray, " pair"],
    groups: Int64[np.ndarray, " image"],
    *,
    n_folds: int,
    method: Literal["iterative", "greedy"],
    rng: np.random.Generator,
) -> Int64[np.ndarray, " image"]:
    """Assign photos to folds so that every fold has the same share of every label. Groups are not split.

    Photos without labels count as one more label.

    Args:
        rows: Photo of each pair of photo and label, each pair once.
        labels: Label of each pair.
        groups: Group number of each photo; there must be at least ``n_folds`` groups.
        n_folds: Number of folds.
        method: ``iterative`` reaches or nearly reaches ``least_deviation`` for single photos, and fills every fold.
            ``greedy`` is the simpler method of the iMet 2019 baseline.
        rng: Random generator for ties.

    Raises:
        DataError: The greedy method left a fold without photos.
    """
    unlabelled = np.ones(len(groups), dtype=bool)
    unlabelled[rows] = False
    extra_label = np.full(int(unlabelled.sum()), labels.max(initial=-1) + 1, dtype=np.int64)
    units, unit = _Units.of(
        np.concatenate([rows, np.flatnonzero(unlabelled)]), np.concatenate([labels, extra_label]), groups, rng
    )
    builder = _FoldBuilder(units, n_folds, rng)
    if method == "iterative":
        _iterative(units, builder)
    else:
        _greedy(units, builder)
    return np.array(builder.fold, dtype=np.int64)[unit]


@dataclass(frozen=True, slots=True)
class _Units:
    """The labels of units (groups of photos that stay together), with one entry per unit and label.

    Units and labels are numbered at random, so the first of several equal ones is a random one.

    Attributes:
        unit: Unit of each entry, ascending.
        label: Label of each entry.
        count: Number of photos of the unit with the label, for each entry.
        size: Number of photos of each unit.
    """

    unit: Int64[np.ndarray, " entry"]
    label: Int64[np.ndarray, " entry"]
    count: Int64[np.ndarray, " entry"]
    size: Int64[np.ndarray, " unit"]

    @classmethod
    def of(
        cls,
        rows: Int64[np.ndarray, " pair"],
        labels: Int64[np.ndarray, " pair"],
        groups: Int64[np.ndarray, " image"],
        rng: np.random.Generator,
    ) -> tuple[Self, Int64[np.ndarray, " image"]]:
        """Create the units, and return them with the unit of each photo."""
        group_names, unit = np.unique(groups, return_inverse=True)
        label_names, label = np.unique(labels, return_inverse=True)
        unit = rng.permutation(len(group_names))[unit]
        label = rng.permutation(len(label_names))[label]
        entries, count = np.unique(unit[rows] * len(label_names) + label, return_counts=True)
        return cls(*np.divmod(entries, len(label_names)), count, np.bincount(unit)), unit


class _FoldBuilder:
    """Unfinished folds: it places one unit after another into the fold that lacks its labels most.

    The data are plain lists. Units are placed one by one, because their order matters, and lists are faster than arrays
    for single numbers (the 109,237 photos of iMet 2019 take about a second).
    """

    def __init__(self, units: _Units, n_folds: int, rng: np.random.Generator) -> None:
        totals = np.bincount(units.label, weights=units.count)
        self.fold = [-1] * len(units.size)
        self._label = units.label.tolist()
        self._count = units.count.tolist()
        self._weight = (units.count / totals[units.label]).tolist()
        self._start = np.searchsorted(units.unit, np.arange(len(units.size) + 1)).tolist()
        self._size = units.size.tolist()
        self._weight_of_size = (units.size / units.size.sum()).tolist()
        self._chance = rng.random(len(units.size)).tolist()
        self._has = [[0] * n_folds for _ in totals]
        self.photos = [0] * n_folds

    def place(self, unit: int, label: int, *, by_shares: bool) -> list[int]:
        """Put a unit into the fold with the fewest photos of ``label``, and return all labels of the unit.

        Ties are broken at random. With ``by_shares`` they are first broken by the smallest sum of shares: the shares
        of all labels of the unit and of all photos in the fold.
        """
        entries = slice(self._start[unit], self._start[unit + 1])
        labels = self._label[entries]
        rows = [self._has[each] for each in labels]
        own = self._has[label]
        fewest = min(own)
        ties = [fold for fold, has in enumerate(own) if has == fewest]
        if by_shares and len(ties) > 1:
            weights = self._weight[entries]
            of_size = self._weight_of_size[unit]
            shares = [
                sum(
                    [row[fold] * weight for row, weight in zip(rows, weights, strict=True)], self.photos[fold] * of_size
                )
                for fold in ties
            ]
            least = min(shares)
            ties = [fold for fold, share in zip(ties, shares, strict=True) if share == least]
        fold = ties[int(self._chance[unit] * len(ties))]
        for row, count in zip(rows, self._count[entries], strict=True):
            row[fold] += count
        self.photos[fold] += self._size[unit]
        self.fold[unit] = fold
        return labels


def _iterative(units: _Units, builder: _FoldBuilder) -> None:
    """Place all units of the label with the fewest remaining units, then of the next such label, and so on.

    The photos of a rare label also have common labels, so the rare label is placed first. Common labels have enough
    photos left to balance the folds. Within a label, units with the most photos of the label come first. The tie-break
    by shares balances the common labels. Without it most of their photos are placed at random by rarer labels.

    **Source:** Sechidis, Tsoumakas, Vlahavas 2011, "On the stratification of multi-label data", algorithm 1. Ours:
    groups instead of examples, and ties by shares of all labels instead of the number of photos alone.
    """
    of_label = np.lexsort((-units.size[units.unit], -units.count, units.label))
    ordered = units.unit[of_label]
    waiting = np.bincount(units.label)
    start = np.concatenate([[0], np.cumsum(waiting)])
    is_waiting = np.ones(len(units.size), dtype=bool)
    done = len(units.size) + 1  # larger than the number of units of any label
    while waiting[label := int(waiting.argmin())] < done:
        now = ordered[start[label] : start[label + 1]]
        now = now[is_waiting[now]]
        is_waiting[now] = False
        placed: list[int] = []
        for unit in now.tolist():
            placed += builder.place(unit, label, by_shares=True)
        np.subtract.at(waiting, placed, 1)
        waiting[waiting == 0] = done


def _greedy(units: _Units, builder: _FoldBuilder) -> None:
    """Place units in random order, each into the fold with the fewest photos of its rarest label; ties at random.

    **Source:** K. Lopuhin's baseline for iMet 2019; groups instead of photos are ours.

    Raises:
        DataError: A fold has no photos.
    """
    totals = np.bincount(units.label, weights=units.count)
    rarest_first = np.lexsort((totals[units.label], units.unit))
    rarest = units.label[rarest_first[np.searchsorted(units.unit, np.arange(len(units.size)))]]
    for unit, label in enumerate(rarest.tolist()):
        builder.place(unit, label, by_shares=False)
    empty = [fold for fold, photos in enumerate(builder.photos) if not photos]
    if empty:
        raise DataError(
            "The greedy split left folds without photos.",
            got=f"fold {', '.join(map(str, empty))} of {len(builder.photos)}, {len(units.size)} groups of photos",
            fix="use method='iterative', which fills every fold.",
        )


__all__: Sequence[str] = ("Deviation", "Truth", "deviation", "least_deviation", "positives", "stratify")

"""Folds that hold the same share of every label, and the figures that say how nearly they do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self, TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Int64

from fieldmark.core.errors import DataError, ShapeError

Truth: TypeAlias = Bool[np.ndarray, "image label"] | Float[np.ndarray, "image label"]
"""1 where a photo has a label, else 0."""

FEW = 5
"""Labels with fewer examples are left out of the relative deviation: one photo more or less would be all of it."""


@dataclass(frozen=True, slots=True)
class Deviation:
    """How far folds are from equal shares; 0 is best everywhere.

    The ideal share of a fold is its label's examples divided by the number of folds, which need not be whole: see
    ``least_deviation`` for what is possible.

    Attributes:
        mean: Mean distance between a fold's examples of a label and its ideal share, over all labels and folds.
        worst: The largest of these distances.
        relative: Mean distance as a part of the ideal share, over labels with five examples or more.
        empty: How many folds lack a label that has examples enough for all folds, summed over labels.
        size: The largest distance between a fold's photos and an equal share of all photos.
    """

    mean: float
    worst: float
    relative: float
    empty: int
    size: float


def deviation(fold: Int64[np.ndarray, " image"], truth: Truth) -> Deviation:
    """How far these folds are from equal shares of every label.

    Args:
        fold: Fold of each photo, from 0; photos with -1 are in no fold and are not counted.
        truth: 1 where a photo has a label, else 0. Labels without examples are not counted.

    Raises:
        ShapeError: ``truth`` is no matrix with one row a photo.
        DataError: ``truth`` holds other numbers than 0 and 1, or no photo is in a fold.
    """
    rows, labels = positives(truth)
    if len(fold) != len(truth):
        raise ShapeError(
            "deviation() needs one fold for every row of the truth.",
            got=f"{len(fold)} folds, {len(truth)} rows",
            fix="pass folds and truth of one collection.",
        )
    n_folds = int(fold.max(initial=-1)) + 1
    if n_folds < 1:
        raise DataError("No photo is in a fold.", got="only -1", fix="pass folds that assign() made.")
    judged = fold[rows] >= 0
    cell = labels[judged] * n_folds + fold[rows[judged]]
    counts = np.bincount(cell, minlength=truth.shape[1] * n_folds).reshape(-1, n_folds)
    return _figures(counts, np.bincount(fold[fold >= 0], minlength=n_folds))


def least_deviation(truth: Truth, n_folds: int) -> Deviation:
    """What no assignment of single photos to folds can fall below: every label dealt out one by one on its own.

    Raises:
        ShapeError: ``truth`` is no matrix.
        DataError: ``truth`` holds other numbers than 0 and 1.
    """
    totals = np.bincount(positives(truth)[1], minlength=truth.shape[1])
    turn = np.arange(n_folds)
    return _figures((totals[:, None] + turn) // n_folds, (len(truth) + turn) // n_folds)


def _figures(counts: Int64[np.ndarray, "label fold"], sizes: Int64[np.ndarray, " fold"]) -> Deviation:
    """The figures of a table of examples."""
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
    """The pairs of photo and label where ``truth`` is 1, in order of photos; the matrix is not copied.

    Raises:
        ShapeError: ``truth`` is no matrix.
        DataError: It holds something else than 0 and 1.
    """
    if truth.ndim != 2:
        raise ShapeError(
            "Truth is a matrix with one row a photo and one column a label.",
            got=f"shape {truth.shape}",
            fix="pass the truth of a collection, or classes instead.",
        )
    rows, labels = np.nonzero(truth)
    values = truth[rows, labels]
    if (values != 1).any():
        raise DataError(
            "Truth says 1 where a photo has a label, else 0.",
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
    """A fold for each photo, so that every fold has the same share of every label; groups stay whole.

    Photos without any label count as a label of their own.

    Args:
        rows: Photo of each pair of photo and label, each pair once.
        labels: Label of each pair.
        groups: A number that the photos of a group share; at least ``n_folds`` different ones.
        n_folds: How many folds.
        method: ``iterative`` reaches, or nearly reaches, ``least_deviation`` where groups are single photos, and fills
            every fold; ``greedy`` is the simpler way of the iMet 2019 baseline.
        rng: Breaks ties.

    Raises:
        DataError: The greedy way left a fold without photos.
    """
    bare = np.ones(len(groups), dtype=bool)
    bare[rows] = False
    of_their_own = np.full(int(bare.sum()), labels.max(initial=-1) + 1, dtype=np.int64)
    held, unit = _Held.of(
        np.concatenate([rows, np.flatnonzero(bare)]), np.concatenate([labels, of_their_own]), groups, rng
    )
    dealer = _Dealer(held, n_folds, rng)
    if method == "iterative":
        _iterative(held, dealer)
    else:
        _greedy(held, dealer)
    return np.array(dealer.fold, dtype=np.int64)[unit]


@dataclass(frozen=True, slots=True)
class _Held:
    """What each unit (a group of photos that stays together) holds: one entry for every unit and label of it.

    Units and labels are numbered at random, so that the first of several equals is a random one.

    Attributes:
        unit: Unit of each entry, ascending.
        label: Label of each entry.
        count: Photos of the unit that have the label.
        size: Photos of each unit.
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
        """What the units hold, and the unit of each photo."""
        group_names, unit = np.unique(groups, return_inverse=True)
        label_names, label = np.unique(labels, return_inverse=True)
        unit = rng.permutation(len(group_names))[unit]
        label = rng.permutation(len(label_names))[label]
        entries, count = np.unique(unit[rows] * len(label_names) + label, return_counts=True)
        return cls(*np.divmod(entries, len(label_names)), count, np.bincount(unit)), unit


class _Dealer:
    """Folds in the making: puts one unit after another where its labels are wanted most.

    Plain lists: the order of units matters, so nothing can be done at once, and lists are quicker than arrays for
    one number at a time (the 109,237 photos of iMet 2019 take about a second).
    """

    def __init__(self, held: _Held, n_folds: int, rng: np.random.Generator) -> None:
        totals = np.bincount(held.label, weights=held.count)
        self.fold = [-1] * len(held.size)
        self._label = held.label.tolist()
        self._count = held.count.tolist()
        self._weight = (held.count / totals[held.label]).tolist()
        self._start = np.searchsorted(held.unit, np.arange(len(held.size) + 1)).tolist()
        self._size = held.size.tolist()
        self._weight_of_size = (held.size / held.size.sum()).tolist()
        self._chance = rng.random(len(held.size)).tolist()
        self._has = [[0] * n_folds for _ in totals]
        self.photos = [0] * n_folds

    def place(self, unit: int, label: int, *, by_shares: bool) -> list[int]:
        """Put a unit into the fold with the fewest photos of ``label``, and return all labels of the unit.

        Ties go to chance; with ``by_shares`` first to the fold that would profit most: the one with the smallest
        shares of all the unit's labels and of all photos, added up.
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


def _iterative(held: _Held, dealer: _Dealer) -> None:
    """Deal out all units of the label that the fewest waiting units have, then of the next such label, and so on.

    A rare label that shares its photos with common ones has no second chance, so it chooses first; common labels
    have photos enough to fill the holes. Within a label the units with most photos of it go first. The tie-break by
    shares is what brings common labels home: without it, by the time they are dealt out most of their photos have
    been placed by rarer labels, at random.

    **Source:** Sechidis, Tsoumakas, Vlahavas 2011, "On the stratification of multi-label data", algorithm 1. Ours:
    groups in the place of examples, and ties by shares of all labels instead of by the number of photos alone.
    """
    of_label = np.lexsort((-held.size[held.unit], -held.count, held.label))
    units = held.unit[of_label]
    waiting = np.bincount(held.label)
    start = np.concatenate([[0], np.cumsum(waiting)])
    is_waiting = np.ones(len(held.size), dtype=bool)
    done = len(held.size) + 1  # more than any label has units
    while waiting[label := int(waiting.argmin())] < done:
        now = units[start[label] : start[label + 1]]
        now = now[is_waiting[now]]
        is_waiting[now] = False
        placed: list[int] = []
        for unit in now.tolist():
            placed += dealer.place(unit, label, by_shares=True)
        np.subtract.at(waiting, placed, 1)
        waiting[waiting == 0] = done


def _greedy(held: _Held, dealer: _Dealer) -> None:
    """In random order, each unit goes by its rarest label to the fold with the fewest photos of it; ties to chance.

    **Source:** K. Lopuhin's baseline for iMet 2019; groups in the place of photos are ours.

    Raises:
        DataError: A fold got nothing.
    """
    totals = np.bincount(held.label, weights=held.count)
    rarest_first = np.lexsort((totals[held.label], held.unit))
    rarest = held.label[rarest_first[np.searchsorted(held.unit, np.arange(len(held.size)))]]
    for unit, label in enumerate(rarest.tolist()):
        dealer.place(unit, label, by_shares=False)
    empty = [fold for fold, photos in enumerate(dealer.photos) if not photos]
    if empty:
        raise DataError(
            "The greedy split left folds without photos.",
            got=f"fold {', '.join(map(str, empty))} of {len(dealer.photos)}, {len(held.size)} groups of photos",
            fix="use method='iterative', which fills every fold.",
        )


__all__: Sequence[str] = ("Deviation", "Truth", "deviation", "least_deviation", "positives", "stratify")

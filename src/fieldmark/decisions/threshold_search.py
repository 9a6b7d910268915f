"""Exact search for the best threshold of all labels or of each group, or for a given number of labels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int64

from fieldmark.decisions import threshold_scans as scans

ROWS_AT_ONCE = 2048
DEEPER = 4  # factor for the number of sorted scores if a bound does not exclude the rest

Given = tuple[np.ndarray, np.ndarray]
"""For each image, the number of correct labels and of all labels it is given."""


@dataclass(frozen=True)
class SearchSheet:
    """Input of a search: some images of a score table, and how they are scored.

    Attributes:
        proba: Scores, finite.
        truth: Which labels are correct.
        rows: Row numbers of the images to use.
        groups: The columns of each group.
        beta: Beta of F-beta.
        if_empty: F of an image without any correct and any given label.
    """

    proba: Float32[np.ndarray, "image label"]
    truth: Bool[np.ndarray, "image label"]
    rows: Int64[np.ndarray, " row"]
    groups: dict[str, Int64[np.ndarray, " column"]]
    beta: float = 2.0
    if_empty: float = 0.0

    def count_right(self) -> dict[str, np.ndarray]:
        """Return the number of correct labels of each group for each image."""
        counts = {name: np.empty(len(self.rows), np.int32) for name in self.groups}
        for start in range(0, len(self.rows), ROWS_AT_ONCE):
            block = self.truth[self.rows[start : start + ROWS_AT_ONCE]]
            for name, columns in self.groups.items():
                counts[name][start : start + ROWS_AT_ONCE] = np.count_nonzero(block[:, columns], axis=1)
        return counts

    def count_above(self, columns: np.ndarray, at: np.ndarray) -> Given:
        """Return the number of correct labels, and of all labels, above ``at`` (one per column) for each image."""
        found, given = np.empty(len(self.rows), np.int32), np.empty(len(self.rows), np.int32)
        for start in range(0, len(self.rows), ROWS_AT_ONCE):
            here = slice(start, start + ROWS_AT_ONCE)
            above = self.proba[self.rows[here]][:, columns] > at
            given[here] = np.count_nonzero(above, axis=1)
            found[here] = np.count_nonzero(above & self.truth[self.rows[here]][:, columns], axis=1)
        return found, given

    def cells_above(self, low: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return all scores above ``low``, highest first: score, image (index in ``rows``), column, correctness."""
        parts = []
        for start in range(0, len(self.rows), ROWS_AT_ONCE):
            rows = self.rows[start : start + ROWS_AT_ONCE]
            block = self.proba[rows]
            image, column = np.divmod(np.flatnonzero(block.ravel() > np.float32(low)).astype(np.int32), block.shape[1])
            parts.append((block[image, column], image + np.int32(start), column, self.truth[rows[image], column]))
        scores, images, columns, hits = (np.concatenate(part) for part in zip(*parts, strict=True))
        order = np.argsort(-scores)
        return scores[order], images[order], columns[order], hits[order]


class SortedSheet:
    """A sheet with its highest scores sorted, so that every search is a pass over a short list.

    Only scores above ``low`` are sorted. A search that cannot exclude a lower threshold sorts more with ``deepen``. So
    the sorting saves time and memory, and never changes a result.
    """

    def __init__(self, sheet: SearchSheet, *, depth: float = 24.0) -> None:
        self.sheet = sheet
        self.right_of = sheet.count_right()
        self.scoring = (
            self._count_right(tuple(sheet.groups)),
            sheet.beta**2,
            np.int64(round(sheet.if_empty * scans.POINTS)),
        )
        self._sort(depth)

    def _count_right(self, names: tuple[str, ...]) -> np.ndarray:
        counts = np.zeros(len(self.sheet.rows), np.int32)
        for name in names:
            counts += self.right_of[name]
        return counts

    def _sort(self, depth: float) -> None:
        """Sort about ``depth`` labels per image."""
        n_labels = self.sheet.proba.shape[1]
        self.depth, self.low = depth, -math.inf
        if depth < n_labels / 2:
            some = self.sheet.proba[self.sheet.rows[:: max(1, len(self.sheet.rows) // 1000)]].ravel()
            place = len(some) - 1 - int(depth * len(some) / n_labels)
            self.low = float(np.partition(some, place)[place])
        self.scores, self.images, columns, self.hits = self.sheet.cells_above(self.low)
        self.cells_of = {name: np.flatnonzero(np.isin(columns, of)) for name, of in self.sheet.groups.items()}

    def deepen(self) -> None:
        """Sort four times as many scores."""
        self._sort(self.depth * DEEPER)

    @property
    def is_whole(self) -> bool:
        """Whether all scores are sorted."""
        return self.low == -math.inf

    def nothing(self) -> Given:
        """Return counts of 0: no image is given any label."""
        return np.zeros_like(self.scoring[0]), np.zeros_like(self.scoring[0])

    def above(self, name: str, at: float) -> Given:
        """Return the labels of a group above ``at``, which must be at least ``low``."""
        cells = self.cells_of[name]
        cells = cells[: np.searchsorted(-self.scores[cells], -np.float32(at), side="left")]
        n_images = len(self.scoring[0])
        found = np.bincount(self.images[cells[self.hits[cells]]], minlength=n_images).astype(np.int32)
        return found, np.bincount(self.images[cells], minlength=n_images).astype(np.int32)

    def worth(self, given: Given) -> int:
        """Return the points of all images."""
        return int(scans.total_points(*given, self.scoring))

    def best_threshold(self, names: tuple[str, ...], elsewhere: Given) -> float:
        """Return the exact best single threshold for the groups of ``names``, given the labels of ``elsewhere``.

        Of equally good thresholds the highest is returned.
        """
        missing = self._count_right(names)
        while True:
            cells = np.sort(np.concatenate([self.cells_of[name] for name in names]))
            scores = self.scores[cells]
            taken, best, ceiling = scans.best_prefix(
                scores, self.images[cells], self.hits[cells], missing, *elsewhere, self.scoring
            )
            if self.is_whole or ceiling <= best:
                return cut_after(scores, taken, self.low)
            self.deepen()


def together(*given: Given) -> Given:
    """Return the sum of all counts; they must come from different groups."""
    found, count = given[0]
    for more_found, more in given[1:]:
        found, count = found + more_found, count + more
    return found, count


def cut_after(descending: np.ndarray, taken: int, low: float = -math.inf) -> float:
    """Return a threshold halfway between the first ``taken`` scores and the next; ``low`` follows the last score."""
    next_lower = descending[taken] if taken < len(descending) else np.float32(low)
    if not taken:
        return float(next_lower)
    above = descending[taken - 1]
    if np.isinf(next_lower):
        return float(np.nextafter(above, next_lower))
    middle = np.float32((float(next_lower) + float(above)) / 2)
    return float(middle if next_lower <= middle < above else next_lower)


def group_thresholds(sorted_sheet: SortedSheet) -> dict[str, float]:
    """Return the best threshold of each group: one after another, exactly, until none changes.

    The groups depend on each other through F: a wrong culture weighs less where many tags are correct. The search
    starts from the best common threshold.
    """
    names = tuple(sorted_sheet.sheet.groups)
    at = dict.fromkeys(names, sorted_sheet.best_threshold(names, sorted_sheet.nothing()))
    given = {name: sorted_sheet.above(name, at[name]) for name in names}
    worth, before = sorted_sheet.worth(together(*given.values())), -1
    while worth > before and len(names) > 1:
        before = worth
        for name in names:
            elsewhere = together(*(given[other] for other in names if other != name))
            at[name] = sorted_sheet.best_threshold((name,), elsewhere)
            given[name] = sorted_sheet.above(name, at[name])
        worth = sorted_sheet.worth(together(*given.values()))
    return at


def count_threshold(sorted_sheet: SortedSheet, names: tuple[str, ...], mean: float) -> float:
    """Return the threshold that gives a mean number of labels per image as close to ``mean`` as ties allow.

    If two numbers are equally close, the smaller one is used.
    """
    wanted = mean * len(sorted_sheet.sheet.rows)
    while True:
        scores = sorted_sheet.scores[np.sort(np.concatenate([sorted_sheet.cells_of[name] for name in names]))]
        if len(scores) > wanted or sorted_sheet.is_whole:
            break
        sorted_sheet.deepen()
    ends = np.flatnonzero(np.append(scores[1:] != scores[:-1], True)) + 1
    ends = np.append(0, ends)
    return cut_after(scores, int(ends[np.argmin(np.abs(ends - wanted))]), sorted_sheet.low)

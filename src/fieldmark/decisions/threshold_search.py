"""The exact best threshold, for all labels or for each group; and the threshold that gives a number of labels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int64

from fieldmark.decisions import threshold_scans as scans

ROWS_AT_ONCE = 2048
DEEPER = 4  # how many times as many scores are looked at where a bound proves nothing yet

Given = tuple[np.ndarray, np.ndarray]
"""How many right and how many labels in all are given to each image."""


@dataclass(frozen=True)
class SearchSheet:
    """What a search looks at: some images of a table of scores, and how they are judged.

    Attributes:
        proba: Scores, finite.
        truth: Which labels are right.
        rows: The images that count.
        groups: The columns of each group.
        beta: Of F-beta.
        if_empty: F of an image without any right and any given label.
    """

    proba: Float32[np.ndarray, "image label"]
    truth: Bool[np.ndarray, "image label"]
    rows: Int64[np.ndarray, " row"]
    groups: dict[str, Int64[np.ndarray, " column"]]
    beta: float = 2.0
    if_empty: float = 0.0

    def count_right(self) -> dict[str, np.ndarray]:
        """How many labels of each group each image should have."""
        counts = {name: np.empty(len(self.rows), np.int32) for name in self.groups}
        for start in range(0, len(self.rows), ROWS_AT_ONCE):
            block = self.truth[self.rows[start : start + ROWS_AT_ONCE]]
            for name, columns in self.groups.items():
                counts[name][start : start + ROWS_AT_ONCE] = np.count_nonzero(block[:, columns], axis=1)
        return counts

    def count_above(self, columns: np.ndarray, at: np.ndarray) -> Given:
        """How many right labels, and how many in all, each image has above ``at`` (one a column)."""
        found, given = np.empty(len(self.rows), np.int32), np.empty(len(self.rows), np.int32)
        for start in range(0, len(self.rows), ROWS_AT_ONCE):
            here = slice(start, start + ROWS_AT_ONCE)
            above = self.proba[self.rows[here]][:, columns] > at
            given[here] = np.count_nonzero(above, axis=1)
            found[here] = np.count_nonzero(above & self.truth[self.rows[here]][:, columns], axis=1)
        return found, given

    def cells_above(self, low: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """All scores above ``low``, highest first: score, image (place in ``rows``), column, whether right."""
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
    """A sheet with its likely scores laid out in order, so that every search is a walk down a short list.

    Only scores above ``low`` are laid out. A search that cannot prove that no lower threshold is better asks for more
    with ``deepen``; so the layout saves time and memory, and never changes an answer.
    """

    def __init__(self, sheet: SearchSheet, *, depth: float = 24.0) -> None:
        self.sheet = sheet
        self.right_of = sheet.count_right()
        self.judge = (
            self._count_right(tuple(sheet.groups)),
            sheet.beta**2,
            np.int64(round(sheet.if_empty * scans.POINTS)),
        )
        self._lay_out(depth)

    def _count_right(self, names: tuple[str, ...]) -> np.ndarray:
        counts = np.zeros(len(self.sheet.rows), np.int32)
        for name in names:
            counts += self.right_of[name]
        return counts

    def _lay_out(self, depth: float) -> None:
        """Lay out about ``depth`` labels an image."""
        n_labels = self.sheet.proba.shape[1]
        self.depth, self.low = depth, -math.inf
        if depth < n_labels / 2:
            some = self.sheet.proba[self.sheet.rows[:: max(1, len(self.sheet.rows) // 1000)]].ravel()
            place = len(some) - 1 - int(depth * len(some) / n_labels)
            self.low = float(np.partition(some, place)[place])
        self.scores, self.images, columns, self.hits = self.sheet.cells_above(self.low)
        self.cells_of = {name: np.flatnonzero(np.isin(columns, of)) for name, of in self.sheet.groups.items()}

    def deepen(self) -> None:
        """Lay out four times as many scores."""
        self._lay_out(self.depth * DEEPER)

    @property
    def is_whole(self) -> bool:
        """Whether all scores are laid out."""
        return self.low == -math.inf

    def nothing(self) -> Given:
        """No label given to anyone."""
        return np.zeros_like(self.judge[0]), np.zeros_like(self.judge[0])

    def above(self, name: str, at: float) -> Given:
        """The labels of a group above ``at``, which must be at least ``low``."""
        cells = self.cells_of[name]
        cells = cells[: np.searchsorted(-self.scores[cells], -np.float32(at), side="left")]
        n_images = len(self.judge[0])
        found = np.bincount(self.images[cells[self.hits[cells]]], minlength=n_images).astype(np.int32)
        return found, np.bincount(self.images[cells], minlength=n_images).astype(np.int32)

    def worth(self, given: Given) -> int:
        """Points of all images."""
        return int(scans.total_points(*given, self.judge))

    def best_threshold(self, names: tuple[str, ...], elsewhere: Given) -> float:
        """The exact best single threshold for the groups of ``names``, with the labels of ``elsewhere`` given.

        Of equally good thresholds the highest is found.
        """
        missing = self._count_right(names)
        while True:
            cells = np.sort(np.concatenate([self.cells_of[name] for name in names]))
            scores = self.scores[cells]
            taken, best, ceiling = scans.best_prefix(
                scores, self.images[cells], self.hits[cells], missing, *elsewhere, self.judge
            )
            if self.is_whole or ceiling <= best:
                return cut_after(scores, taken, self.low)
            self.deepen()


def together(*given: Given) -> Given:
    """The labels of all of them; the groups they come from must differ."""
    found, count = given[0]
    for more_found, more in given[1:]:
        found, count = found + more_found, count + more
    return found, count


def cut_after(descending: np.ndarray, taken: int, low: float = -math.inf) -> float:
    """A threshold with the first ``taken`` scores above it, halfway to the next; ``low`` follows after the last."""
    below = descending[taken] if taken < len(descending) else np.float32(low)
    if not taken:
        return float(below)
    above = descending[taken - 1]
    if np.isinf(below):
        return float(np.nextafter(above, below))
    middle = np.float32((float(below) + float(above)) / 2)
    return float(middle if below <= middle < above else below)


def group_thresholds(bench: SortedSheet) -> dict[str, float]:
    """The best threshold of each group: one after another, exactly, until none moves any more.

    F couples the groups: a wrong culture weighs less where many tags are right. The start is the best threshold for all.
    """
    names = tuple(bench.sheet.groups)
    at = dict.fromkeys(names, bench.best_threshold(names, bench.nothing()))
    given = {name: bench.above(name, at[name]) for name in names}
    worth, before = bench.worth(together(*given.values())), -1
    while worth > before and len(names) > 1:
        before = worth
        for name in names:
            elsewhere = together(*(given[other] for other in names if other != name))
            at[name] = bench.best_threshold((name,), elsewhere)
            given[name] = bench.above(name, at[name])
        worth = bench.worth(together(*given.values()))
    return at


def count_threshold(bench: SortedSheet, names: tuple[str, ...], mean: float) -> float:
    """The threshold that gives as nearly ``mean`` labels of these groups an image as equal scores allow.

    Of two numbers equally near the smaller is taken.
    """
    wanted = mean * len(bench.sheet.rows)
    while True:
        scores = bench.scores[np.sort(np.concatenate([bench.cells_of[name] for name in names]))]
        if len(scores) > wanted or bench.is_whole:
            break
        bench.deepen()
    ends = np.flatnonzero(np.append(scores[1:] != scores[:-1], True)) + 1
    ends = np.append(0, ends)
    return cut_after(scores, int(ends[np.argmin(np.abs(ends - wanted))]), bench.low)

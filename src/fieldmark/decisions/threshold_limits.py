"""Search for the best threshold of each group together with its minimum and maximum number of labels."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from fieldmark.decisions import threshold_scans as scans
from fieldmark.decisions.specs import GroupF2, LabelThreshold
from fieldmark.decisions.threshold_search import (
    ROWS_AT_ONCE,
    Given,
    SearchSheet,
    SortedSheet,
    cut_after,
    group_thresholds,
    together,
)

PAIR_LEVELS = 64


@dataclass(frozen=True)
class _TopScores:
    """The highest scores of each image in one group, best first, with their correctness and columns."""

    scores: np.ndarray
    hits: np.ndarray
    labels: np.ndarray
    n_columns: int

    @classmethod
    def of(cls, sheet: SearchSheet, columns: np.ndarray, n_ranks: int) -> _TopScores:
        """Build it for all images of a sheet."""
        parts = []
        for start in range(0, len(sheet.rows), ROWS_AT_ONCE):
            rows = sheet.rows[start : start + ROWS_AT_ONCE]
            parts.append(scans.top_scores(sheet.proba[rows], sheet.truth[rows], columns, min(n_ranks, len(columns))))
        scores, hits, labels = (np.concatenate(part) for part in zip(*parts, strict=True))
        return cls(scores, hits, labels, len(columns))

    def with_limits(self, threshold: LabelThreshold) -> Given:
        """Return the labels given with a threshold, least and most."""
        n_ranks = self.scores.shape[1]
        given = np.count_nonzero(self.scores > np.float32(threshold.at), axis=1)
        given = given.clip(threshold.least, n_ranks if threshold.most is None else min(threshold.most, n_ranks))
        found = np.count_nonzero(self.hits & (np.arange(n_ranks) < given[:, None]), axis=1)
        return found.astype(np.int32), given.astype(np.int32)

    def threshold(self, at: float, least: int, most: int) -> LabelThreshold:
        return LabelThreshold(at=float(at), least=int(least), most=None if most >= self.n_columns else int(most))

    def levels(self) -> np.ndarray:
        """Return thresholds with the same number of scores between them."""
        scores = np.sort(self.scores.ravel())
        places = np.linspace(0, len(scores) - 1, PAIR_LEVELS).astype(np.int64)
        return np.unique(np.append(scores[places], np.nextafter(scores[0], np.float32(-np.inf))))


def limited_thresholds(sorted_sheet: SortedSheet, rule: GroupF2) -> dict[str, LabelThreshold]:
    """Return the best threshold, least and most of each group.

    Every pair of groups is first searched jointly: 64 x 64 thresholds with every least and most of both. Then one group
    after another is searched exactly, over every threshold, least and most, until nothing improves. Thresholds without
    limits may give more than ``rule.most_up_to`` labels; they are returned if they are better.
    """
    sheet, free = sorted_sheet.sheet, group_thresholds(sorted_sheet)
    tops = {name: _TopScores.of(sheet, columns, rule.most_up_to) for name, columns in sheet.groups.items()}
    chosen = {name: top.threshold(free[name], 0, top.scores.shape[1]) for name, top in tops.items()}
    given = {name: top.with_limits(chosen[name]) for name, top in tops.items()}

    def others(*names: str) -> Given:
        return together(sorted_sheet.nothing(), *(labels for name, labels in given.items() if name not in names))

    def improves(choice: dict[str, LabelThreshold]) -> bool:
        trial = given | {name: tops[name].with_limits(threshold) for name, threshold in choice.items()}
        if sorted_sheet.worth(together(*trial.values())) <= sorted_sheet.worth(together(*given.values())):
            return False
        given.update(trial)
        chosen.update(choice)
        return True

    for one, two in itertools.combinations(tops, 2):
        improves(_best_of_pair(sorted_sheet, {name: tops[name] for name in (one, two)}, others(one, two), rule))
    better = [True]
    while any(better):
        better = [improves({name: _best_of_one(sorted_sheet, tops[name], others(name), rule)}) for name in tops]
    unlimited = together(*(sorted_sheet.above(name, at) for name, at in free.items()))
    if sorted_sheet.worth(unlimited) > sorted_sheet.worth(together(*given.values())):
        return {name: LabelThreshold(at=at) for name, at in free.items()}
    return chosen


def _best_of_one(sorted_sheet: SortedSheet, top: _TopScores, elsewhere: Given, rule: GroupF2) -> LabelThreshold:
    scores = top.scores.ravel()
    order = np.argsort(-scores)
    worth = scans.worth_of_ranks(top.hits, *elsewhere, sorted_sheet.scoring)
    taken, least, most = scans.best_limits(order, scores, worth, rule.least_up_to)
    return top.threshold(cut_after(scores[order], taken), least, most)


def _best_of_pair(
    sorted_sheet: SortedSheet, tops: dict[str, _TopScores], elsewhere: Given, rule: GroupF2
) -> dict[str, LabelThreshold]:
    (one, top_one), (two, top_two) = tops.items()
    levels_one, levels_two = top_one.levels(), top_two.levels()
    table = scans.pair_steps(
        (top_one.hits, np.searchsorted(levels_one, top_one.scores), len(levels_one)),
        (top_two.hits, np.searchsorted(levels_two, top_two.scores), len(levels_two)),
        *elsewhere,
        sorted_sheet.scoring,
    )
    for axis in (1, 3):  # a score at place i is above all levels before i; at place 0 it is above none
        table = np.flip(np.cumsum(np.flip(table, axis), axis=axis), axis)
    for axis in (0, 2):
        table = np.cumsum(table, axis=axis)
    i, least_one, most_one, j, least_two, most_two = _best_of_table(table, rule.least_up_to)
    return {
        one: top_one.threshold(levels_one[i], least_one, most_one),
        two: top_two.threshold(levels_two[j], least_two, most_two),
    }


def _best_of_table(table: np.ndarray, least_up_to: int) -> tuple[int, int, int, int, int, int]:
    """Return the best level, least and most of two groups, over all combinations.

    ``table[r, i, s, j]`` is the value of the first r labels above level i of one group with the first s labels above
    level j of the other. A group gives its first ``least`` labels at any level, and those up to ``most`` at its own
    level. Their value is the sum of two entries minus a third.
    """
    best, choice = -1, (0, 0, 0, 0, 0, 0)
    for least_one, most_one in _limits(table.shape[0] - 1, least_up_to):
        side = table[least_one, :1] + table[most_one, 1:] - table[least_one, 1:]
        for least_two, most_two in _limits(table.shape[2] - 1, least_up_to):
            worth = side[:, least_two, :1] + side[:, most_two, 1:] - side[:, least_two, 1:]
            place = int(worth.argmax())
            if worth.flat[place] > best:
                best = worth.flat[place]
                i, j = divmod(place, worth.shape[1])
                choice = (i, least_one, most_one, j, least_two, most_two)
    return choice


def _limits(n_ranks: int, least_up_to: int) -> list[tuple[int, int]]:
    """Return every combination of least and most."""
    return [
        (least, most)
        for least in range(min(least_up_to, n_ranks) + 1)
        for most in range(n_ranks, max(least, 1) - 1, -1)
    ]


# ---------------------------------------------------------------------------- limits with one threshold per label


def limits_beside(
    sorted_sheet: SortedSheet, at: np.ndarray, *, least_up_to: int, most_up_to: int
) -> dict[str, tuple[int, int | None]]:
    """Return the best least and most of each group, for given thresholds per label (``at``, one per column).

    One group after another is searched, over every least and most, until nothing improves. The search starts without
    limits, so the result is never worse than that.
    """
    sheet = sorted_sheet.sheet
    choices: dict[str, dict[tuple[int, int | None], Given]] = {}
    for name, columns in sheet.groups.items():
        top = _TopScores.of(sheet, columns, most_up_to)
        whole = sheet.count_above(columns, at[columns])
        above = top.scores > at[top.labels]
        choices[name] = {(0, None): whole}
        for least, most in _limits(top.scores.shape[1], least_up_to):
            by_force = ~above & (np.arange(above.shape[1]) < least)
            kept = above & (np.arange(above.shape[1]) < most)
            choices[name][least, most] = _counted(top, by_force | kept)
            choices[name][least, None] = together(whole, _counted(top, by_force))
    chosen: dict[str, tuple[int, int | None]] = dict.fromkeys(choices, (0, None))
    worth, before = 0, -1
    while worth > before:
        before = worth
        for name, of in choices.items():
            others = [choices[other][chosen[other]] for other in choices if other != name]
            worths = {limits: sorted_sheet.worth(together(given, *others)) for limits, given in of.items()}
            best = max(worths, key=lambda limits: worths[limits])
            if worths[best] > worths[chosen[name]]:
                chosen[name] = best
            worth = worths[chosen[name]]
    return chosen


def _counted(top: _TopScores, given: np.ndarray) -> Given:
    found = np.count_nonzero(given & top.hits, axis=1)
    return found.astype(np.int32), np.count_nonzero(given, axis=1).astype(np.int32)

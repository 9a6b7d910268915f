"""The best threshold of each group together with how many labels it gives at least and at most."""

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
class _Ladder:
    """The highest scores of each image in one group, best first, whether they are right, and their columns."""

    scores: np.ndarray
    hits: np.ndarray
    labels: np.ndarray
    n_columns: int

    @classmethod
    def of(cls, sheet: SearchSheet, columns: np.ndarray, n_rungs: int) -> _Ladder:
        """The ladder of all images of a sheet."""
        parts = []
        for start in range(0, len(sheet.rows), ROWS_AT_ONCE):
            rows = sheet.rows[start : start + ROWS_AT_ONCE]
            parts.append(scans.ladder(sheet.proba[rows], sheet.truth[rows], columns, min(n_rungs, len(columns))))
        scores, hits, labels = (np.concatenate(part) for part in zip(*parts, strict=True))
        return cls(scores, hits, labels, len(columns))

    def climb(self, threshold: LabelThreshold) -> Given:
        """The labels given with a threshold, least and most."""
        n_rungs = self.scores.shape[1]
        given = np.count_nonzero(self.scores > np.float32(threshold.at), axis=1)
        given = given.clip(threshold.least, n_rungs if threshold.most is None else min(threshold.most, n_rungs))
        found = np.count_nonzero(self.hits & (np.arange(n_rungs) < given[:, None]), axis=1)
        return found.astype(np.int32), given.astype(np.int32)

    def threshold(self, at: float, least: int, most: int) -> LabelThreshold:
        return LabelThreshold(at=float(at), least=int(least), most=None if most >= self.n_columns else int(most))

    def levels(self) -> np.ndarray:
        """Thresholds with equally many scores between them."""
        scores = np.sort(self.scores.ravel())
        places = np.linspace(0, len(scores) - 1, PAIR_LEVELS).astype(np.int64)
        return np.unique(np.append(scores[places], np.nextafter(scores[0], np.float32(-np.inf))))


def limited_thresholds(bench: SortedSheet, rule: GroupF2) -> dict[str, LabelThreshold]:
    """The best threshold, least and most of each group.

    Every pair of groups is first searched jointly: 64 x 64 thresholds and every least and most of both, all of them. Then
    group after group is searched exactly, over every threshold, least and most, until nothing improves. If thresholds
    without limits (which may give more than ``rule.most_up_to`` labels) do better, those are the answer.
    """
    sheet, free = bench.sheet, group_thresholds(bench)
    ladders = {name: _Ladder.of(sheet, columns, rule.most_up_to) for name, columns in sheet.groups.items()}
    chosen = {name: ladder.threshold(free[name], 0, ladder.scores.shape[1]) for name, ladder in ladders.items()}
    given = {name: ladder.climb(chosen[name]) for name, ladder in ladders.items()}

    def others(*names: str) -> Given:
        return together(bench.nothing(), *(labels for name, labels in given.items() if name not in names))

    def improves(choice: dict[str, LabelThreshold]) -> bool:
        trial = given | {name: ladders[name].climb(threshold) for name, threshold in choice.items()}
        if bench.worth(together(*trial.values())) <= bench.worth(together(*given.values())):
            return False
        given.update(trial)
        chosen.update(choice)
        return True

    for one, two in itertools.combinations(ladders, 2):
        improves(_best_of_pair(bench, {name: ladders[name] for name in (one, two)}, others(one, two), rule))
    better = [True]
    while any(better):
        better = [improves({name: _best_of_one(bench, ladders[name], others(name), rule)}) for name in ladders]
    unlimited = together(*(bench.above(name, at) for name, at in free.items()))
    if bench.worth(unlimited) > bench.worth(together(*given.values())):
        return {name: LabelThreshold(at=at) for name, at in free.items()}
    return chosen


def _best_of_one(bench: SortedSheet, ladder: _Ladder, elsewhere: Given, rule: GroupF2) -> LabelThreshold:
    scores = ladder.scores.ravel()
    order = np.argsort(-scores)
    worth = scans.worth_of_rungs(ladder.hits, *elsewhere, bench.judge)
    taken, least, most = scans.best_limits(order, scores, worth, rule.least_up_to)
    return ladder.threshold(cut_after(scores[order], taken), least, most)


def _best_of_pair(
    bench: SortedSheet, ladders: dict[str, _Ladder], elsewhere: Given, rule: GroupF2
) -> dict[str, LabelThreshold]:
    (one, ladder_one), (two, ladder_two) = ladders.items()
    levels_one, levels_two = ladder_one.levels(), ladder_two.levels()
    table = scans.pair_steps(
        (ladder_one.hits, np.searchsorted(levels_one, ladder_one.scores), len(levels_one)),
        (ladder_two.hits, np.searchsorted(levels_two, ladder_two.scores), len(levels_two)),
        *elsewhere,
        bench.judge,
    )
    for axis in (1, 3):  # a score at place i is above all levels before i; "level" 0 is none at all
        table = np.flip(np.cumsum(np.flip(table, axis), axis=axis), axis)
    for axis in (0, 2):
        table = np.cumsum(table, axis=axis)
    i, least_one, most_one, j, least_two, most_two = _best_of_table(table, rule.least_up_to)
    return {
        one: ladder_one.threshold(levels_one[i], least_one, most_one),
        two: ladder_two.threshold(levels_two[j], least_two, most_two),
    }


def _best_of_table(table: np.ndarray, least_up_to: int) -> tuple[int, int, int, int, int, int]:
    """The best level, least and most of two groups, over all of them.

    ``table[r, i, s, j]`` is the worth of the first r labels above level i of the one group with the first s above level
    j of the other. What a group gives, its first ``least`` at any level and those up to ``most`` at its own, is the sum
    of two entries less a third.
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


def _limits(n_rungs: int, least_up_to: int) -> list[tuple[int, int]]:
    """Every least and most."""
    return [
        (least, most)
        for least in range(min(least_up_to, n_rungs) + 1)
        for most in range(n_rungs, max(least, 1) - 1, -1)
    ]


# ---------------------------------------------------------------------------- beside a threshold for each label


def limits_beside(
    bench: SortedSheet, at: np.ndarray, *, least_up_to: int, most_up_to: int
) -> dict[str, tuple[int, int | None]]:
    """The best least and most of each group, where labels are given above thresholds of their own (``at``, one a column).

    Group after group, over every least and most, until nothing improves; the start is no limits, which the answer is
    therefore never worse than.
    """
    sheet = bench.sheet
    choices: dict[str, dict[tuple[int, int | None], Given]] = {}
    for name, columns in sheet.groups.items():
        ladder = _Ladder.of(sheet, columns, most_up_to)
        whole = sheet.count_above(columns, at[columns])
        above = ladder.scores > at[ladder.labels]
        choices[name] = {(0, None): whole}
        for least, most in _limits(ladder.scores.shape[1], least_up_to):
            by_force = ~above & (np.arange(above.shape[1]) < least)
            kept = above & (np.arange(above.shape[1]) < most)
            choices[name][least, most] = _counted(ladder, by_force | kept)
            choices[name][least, None] = together(whole, _counted(ladder, by_force))
    chosen: dict[str, tuple[int, int | None]] = dict.fromkeys(choices, (0, None))
    worth, before = 0, -1
    while worth > before:
        before = worth
        for name, of in choices.items():
            others = [choices[other][chosen[other]] for other in choices if other != name]
            worths = {limits: bench.worth(together(given, *others)) for limits, given in of.items()}
            best = max(worths, key=lambda limits: worths[limits])
            if worths[best] > worths[chosen[name]]:
                chosen[name] = best
            worth = worths[chosen[name]]
    return chosen


def _counted(ladder: _Ladder, given: np.ndarray) -> Given:
    found = np.count_nonzero(given & ladder.hits, axis=1)
    return found.astype(np.int32), np.count_nonzero(given, axis=1).astype(np.int32)

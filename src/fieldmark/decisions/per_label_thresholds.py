"""The best threshold of each label."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fieldmark.decisions import threshold_scans as scans
from fieldmark.decisions.specs import LabelF2, LabelThreshold
from fieldmark.decisions.threshold_limits import limits_beside
from fieldmark.decisions.threshold_search import DEEPER, SearchSheet, SortedSheet, cut_after, group_thresholds, together

LABELS_AT_ONCE = 64
LEAST_DEPTH = 100  # number of scores of a label that are sorted at first, plus ...
DEPTH_A_PHOTO = 8  # ... this number for each photo that has the label


@dataclass
class _Column:
    """The highest scores of one label, in descending order.

    Attributes:
        scores, images, hits: Score, image and correctness of the sorted cells.
        missed: Images with a lower score that have the label.
        next_lower: The highest of the lower scores.
        n_right: Number of images that have the label.
        n_usual: Number of scores above the threshold of the label's group.
        taken: Number of images that are given the label now.
    """

    scores: np.ndarray
    images: np.ndarray
    hits: np.ndarray
    missed: np.ndarray
    next_lower: float
    n_right: int
    n_usual: int
    taken: int

    @classmethod
    def of(cls, score: np.ndarray, hit: np.ndarray, *, usual: float, depth: int) -> _Column:
        """Build the column of the ``depth`` highest scores, those that tie with the last, and all above ``usual``."""
        n = len(score)
        floor = min(np.float32(usual), np.partition(score, n - depth)[n - depth]) if depth < n else -np.inf
        high = score >= floor
        images = np.flatnonzero(high)
        images = images[np.argsort(-score[images], kind="stable")]
        next_lower = float(score[~high].max()) if len(images) < n else -math.inf
        return cls(
            scores=score[images],
            images=images,
            hits=hit[images],
            missed=np.flatnonzero(hit & ~high),
            next_lower=next_lower,
            n_right=int(np.count_nonzero(hit)),
            n_usual=(n_usual := int(np.count_nonzero(score > np.float32(usual)))),
            taken=n_usual,
        )


def label_thresholds(sorted_sheet: SortedSheet, rule: LabelF2) -> tuple[dict[str, LabelThreshold], dict[int, float]]:
    """Return the threshold of each group, and of the labels (by column) that improve with their own.

    Labels are processed one after another, in several rounds. Each gets its exact best threshold while all others stay
    unchanged; labels without images keep the threshold of their group. At the end each threshold is shrunk towards that
    of its group: a weighted geometric mean, or an arithmetic one if a threshold is not positive. Least and most are
    searched last.
    """
    at_group = group_thresholds(sorted_sheet)
    usual = np.empty(sorted_sheet.sheet.proba.shape[1], np.float32)
    for name, of in sorted_sheet.sheet.groups.items():
        usual[of] = at_group[name]
    found, given = together(*(sorted_sheet.above(name, at) for name, at in at_group.items()))
    state = (found, given, sorted_sheet.scoring, np.empty(len(found), np.int64), np.empty(len(found), np.int64))
    scans.give(np.arange(len(found)), np.zeros(len(found), bool), 0, *state)
    columns = _columns(sorted_sheet.sheet, usual)
    for _ in range(rule.rounds):
        moved = [_move(sorted_sheet.sheet, label, columns, usual[label], state) for label in range(len(columns))]
        if not any(moved):
            break
    own = {
        label: _shrunk(cut_after(column.scores, column.taken, column.next_lower), float(usual[label]), column, rule)
        for label, column in enumerate(columns)
        if column.taken != column.n_usual
    }
    limits: dict[str, tuple[int, int | None]] = dict.fromkeys(at_group, (0, None))
    if rule.limits:
        usual[list(own)] = list(own.values())
        limits = limits_beside(sorted_sheet, usual, least_up_to=rule.least_up_to, most_up_to=rule.most_up_to)
    groups = {name: LabelThreshold(at=at, least=limits[name][0], most=limits[name][1]) for name, at in at_group.items()}
    return groups, own


def _shrunk(own: float, usual: float, column: _Column, rule: LabelF2) -> float:
    """Shrink a label's threshold towards its group's, which has the weight of ``rule.shrink`` photos."""
    if not rule.shrink:
        return own
    share = column.n_right / (column.n_right + rule.shrink)
    if min(own, usual) > 0:
        return float(np.float32(math.exp(share * math.log(own) + (1 - share) * math.log(usual))))
    return float(np.float32(share * own + (1 - share) * usual))


def _columns(sheet: SearchSheet, usual: np.ndarray) -> list[_Column]:
    columns = []
    for start in range(0, len(usual), LABELS_AT_ONCE):
        some = slice(start, min(start + LABELS_AT_ONCE, len(usual)))
        scores = np.ascontiguousarray(sheet.proba[sheet.rows, some].T)
        hits = np.ascontiguousarray(sheet.truth[sheet.rows, some].T)
        for score, hit, at in zip(scores, hits, usual[some], strict=True):
            depth = LEAST_DEPTH + DEPTH_A_PHOTO * int(np.count_nonzero(hit))
            columns.append(_Column.of(score, hit, usual=at, depth=depth))
    return columns


def _move(sheet: SearchSheet, label: int, columns: list[_Column], usual: float, state: tuple) -> bool:
    """Give one label its best threshold, with all others fixed; return whether that changed anything.

    A threshold among the lower scores is at most as good as giving the label to all higher ones and only the correct
    lower ones. Where this bound does not exclude the lower scores, more of the column is sorted.
    """
    column, (up, down) = columns[label], state[-2:]
    if not column.n_right:
        return False
    n_before = column.taken
    scans.give(column.images[:n_before], column.hits[:n_before], -1, *state)
    while True:
        taken, best, whole = scans.best_take(column.scores, column.images, column.hits, up, down)
        if whole + int(up[column.missed].sum()) <= best:
            break
        score, hit = sheet.proba[sheet.rows, label], sheet.truth[sheet.rows, label]
        columns[label] = column = _Column.of(score, hit, usual=usual, depth=DEEPER * len(column.scores))
    column.taken = taken
    scans.give(column.images[:taken], column.hits[:taken], 1, *state)
    return taken != n_before

"""How well answers can be guessed from what is not the picture, and by how much that beats guessing blindly.

Each side feature is tried by cross-validation: what is learnt from four fifths of the photos is asked of the others, whole
groups of photos at a time. What counts is the gain over the best that a guess without any side feature can do: the commonest
answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
from jaxtyping import Float64, Int64

from fieldmark.core.errors import FieldmarkError
from fieldmark.metrics.intervals import Interval
from fieldmark.quality.leakage.ngrams import Sparse
from fieldmark.quality.leakage.side_features import Rows, Scores, SideFeature, StackedTrees, check_lengths

WORTH = 0.01
"""One right answer more among a hundred photos is worth a warning."""
WORTH_TIMES = 1.5
"""So is being right half as often again as blindly: of thousands of individuals a blind guess finds one in hundreds."""
LEAST_PHOTOS = 20
LEAST_GROUPS = 10
SCORES_AT_ONCE = 2**22

Verdict = Literal["leak", "slight", "none"]


@dataclass(frozen=True, eq=False)
class Target:
    """What may be guessed: for each photo its right answers among all.

    Attributes:
        name: Of the question.
        truth: (photo, answer) with 1 where an answer is right. Photos without any are not told, and not asked.
        ranked: False where one answer is asked: it is right or not. True for tags, many a photo: they are ranked, and
            a photo counts by the average precision of its own tags (1 where they lead the ranking).
    """

    name: str
    truth: Sparse
    ranked: bool = False

    def __len__(self) -> int:
        return self.truth.shape[0]

    @property
    def told(self) -> Rows:
        """The photos that have an answer."""
        return np.flatnonzero(np.diff(self.truth.indptr) > 0)


@dataclass(frozen=True, slots=True)
class Gain:
    """How well a target can be guessed from one side feature.

    Attributes:
        target: What was guessed.
        side feature: From what.
        n_photos: Photos that were asked.
        n_given: Those of them that have the side feature; to lack it is a value too.
        n_distinct: How many values it has in all.
        blind: What the commonest answer reaches: the share of photos that it is right for, or (tags) the mean average
            precision of the tags from the commonest to the rarest.
        guessed: The same by the side feature.
        gain: ``guessed - blind`` with its 95 % interval.
    """

    target: str
    side_feature: str
    n_photos: int
    n_given: int
    n_distinct: int
    blind: float
    guessed: float
    gain: Interval

    @property
    def verdict(self) -> Verdict:
        """``leak`` where the gain is surely above zero and worth a warning; ``slight`` where only the former.

        Worth it is a gain of ``WORTH``, or being right ``WORTH_TIMES`` as often as blindly.
        """
        if self.gain.low <= 0:
            return "none"
        is_worth = self.gain.value >= WORTH or self.guessed >= WORTH_TIMES * self.blind
        return "leak" if is_worth else "slight"


def untellable(target: Target, groups: Int64[np.ndarray, " photo"]) -> str:
    """Why a target cannot be audited; empty where it can."""
    told = target.told
    if len(told) < LEAST_PHOTOS:
        return f"{len(told)} photos have an answer; {LEAST_PHOTOS} are needed"
    if len(np.unique(groups[told])) < LEAST_GROUPS:
        return f"{len(np.unique(groups[told]))} groups of photos have an answer; {LEAST_GROUPS} are needed"
    if np.count_nonzero(np.asarray(target.truth.sum(axis=0))) < 2:
        return "all photos have the same answer"
    return ""


def blind(target: Target) -> Float64[np.ndarray, " told"]:
    """What each told photo gets from the commonest answers of all, without any side feature.

    They are those of all told photos and not of a fold's training part: there, a photo that is held back makes its own
    answer rarer, and a guess by the commonest would seem worse than it is.
    """
    scores = np.asarray(target.truth.sum(axis=0), np.float32).ravel()
    told = target.told
    found = np.zeros(len(told))
    for start, some in _blocks(told, target):
        found[start : start + len(some)] = reached(np.broadcast_to(scores, (len(some), len(scores))), some, target)
    return found


def guess(
    side_feature: SideFeature,
    target: Target,
    *,
    name: str,
    fold: Int64[np.ndarray, " photo"],
    groups: Int64[np.ndarray, " photo"],
) -> Gain:
    """How well the target can be guessed from the side feature, by photos that were not learnt from.

    For each fold the side feature learns from the others; how far to trust it is tried on one of these before.

    Args:
        side feature: One value a photo.
        target: The right answers.
        name: What the side feature is called.
        fold: Of each photo, 0 and up; photos of a group share one.
        groups: A number that photos share that are not independent; the interval counts them as one.

    Raises:
        ShapeError: Side feature, folds and groups are of other photos than the target.
        FieldmarkError: There are fewer than three folds.
    """
    check_lengths(len(target), side_feature=side_feature, fold=fold, groups=groups)
    n_folds = int(fold.max(initial=-1)) + 1
    if n_folds < 3:
        raise FieldmarkError(
            "An audit learns, tries and judges on different photos.", got=f"{n_folds} fold(s)", fix="use 5 folds."
        )
    told = target.told
    floor = blind(target)
    found = floor.copy()
    if side_feature.n_distinct > 1:
        for k in range(n_folds):
            judged = np.flatnonzero(fold[told] == k)
            learnt = told[fold[told] != k]
            if len(judged) and len(learnt):
                values = _crossed(side_feature, target, learnt, told[judged], fold[learnt] == (k + 1) % n_folds)
                if values is not None:
                    found[judged] = values
    n_given = int(side_feature.given[told].sum())
    return weighed(target, name, floor, found, groups=groups, n_given=n_given, n_distinct=side_feature.n_distinct)


def weighed(
    target: Target,
    side_feature: str,
    floor: Float64[np.ndarray, " told"],
    found: Float64[np.ndarray, " told"],
    *,
    groups: Int64[np.ndarray, " photo"],
    n_given: int,
    n_distinct: int,
) -> Gain:
    """The gain of what was found over what a blind guess gets, photo by photo.

    Args:
        target: What was guessed.
        side feature: From what.
        floor: What each told photo gets from a blind guess.
        found: What it gets by the side feature.
        groups: As for ``guess``.
        n_given: Told photos that have the side feature.
        n_distinct: Values of the side feature.
    """
    return Gain(
        target=target.name,
        side_feature=side_feature,
        n_photos=len(floor),
        n_given=n_given,
        n_distinct=n_distinct,
        blind=float(floor.mean()),
        guessed=float(found.mean()),
        gain=paired(found - floor, groups[target.told]),
    )


def paired(
    differences: Float64[np.ndarray, " photo"], groups: Int64[np.ndarray, " photo"], *, share: float = 0.95
) -> Interval:
    """The mean difference with its interval; photos of a group count as one, as they rise and fall together.

    Args:
        differences: Between -1 and 1.
        groups: A number that photos of a group share.
        share: How often such intervals hold the true difference.

    Source:
        Agresti & Min 2005, "Simple improved confidence intervals for comparing matched proportions": half a photo is
        added to each of the four cases, so that few photos do not seem sure. Sums over groups are ours.
    """
    _, member = np.unique(groups, return_inverse=True)
    sums = np.bincount(member, weights=differences)
    sizes = np.bincount(member)
    n = len(differences) + 2
    middle = differences.sum() / n
    spread = (((sums - middle * sizes) ** 2).sum() + 1) ** 0.5 / n
    z = NormalDist().inv_cdf(0.5 + share / 2)
    value = float(differences.mean())
    low, high = float(middle - z * spread), float(middle + z * spread)
    low, high = max(-1.0, min(low, value)), min(1.0, max(high, value))
    is_grouped = len(sizes) < len(differences)
    return Interval(value, low, high, share, unit="group" if is_grouped else "photo", n_units=len(sizes))


def reached(scores: Scores, rows: Rows, target: Target) -> Float64[np.ndarray, " row"]:
    """What each photo gets: 1 where the first answer is right, or the average precision of its answers."""
    truth = target.truth[rows]
    if not target.ranked:
        first = scores.argmax(axis=1)
        return np.asarray(truth[np.arange(len(rows)), first], np.float64).ravel()
    order = np.argsort(-scores, axis=1, kind="stable")
    right = np.take_along_axis(truth.toarray() > 0, order, axis=1)
    precision = np.cumsum(right, axis=1) / np.arange(1, right.shape[1] + 1)
    return (precision * right).sum(axis=1) / np.maximum(1, right.sum(axis=1))


def _crossed(
    side_feature: SideFeature, target: Target, learnt: Rows, judged: Rows, tried: np.ndarray
) -> Float64[np.ndarray, " judged"] | None:
    """What the judged photos get at the strength that serves best where it is ``tried``; None where none helps."""
    trial, rest = learnt[tried], learnt[~tried]
    if not len(trial) or not len(rest):
        return None
    truth = target.truth[rest]
    commonest = np.asarray(truth.sum(axis=0), np.float32).ravel()
    judge = side_feature.learn(rest, truth)
    totals = np.zeros(1 + len(side_feature.STRENGTHS))
    for _, some in _blocks(trial, target):
        weakest = np.broadcast_to(commonest, (len(some), len(commonest)))
        totals += [reached(scores, some, target).sum() for scores in (weakest, *judge(some))]
    best = int(np.argmax(totals))
    if best == 0:
        return None
    return _judged(side_feature.learn(learnt, target.truth[learnt]), best - 1, judged, target)


def _judged(judge: StackedTrees, strength: int, judged: Rows, target: Target) -> Float64[np.ndarray, " judged"]:
    found = np.zeros(len(judged))
    for start, some in _blocks(judged, target):
        found[start : start + len(some)] = reached(judge(some)[strength], some, target)
    return found


def _blocks(rows: Rows, target: Target) -> Iterator[tuple[int, Rows]]:
    """Some rows at a time, and where they begin: scores of all photos never stand in memory at once."""
    step = max(1, SCORES_AT_ONCE // target.truth.shape[1])
    for start in range(0, len(rows), step):
        yield start, rows[start : start + step]

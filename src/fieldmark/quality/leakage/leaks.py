"""Measure how well a side feature predicts a target, compared with always predicting the commonest label.

Each side feature is tested by cross-validation over groups of photos: a simple model is fitted on four fifths of the
photos and predicts the others. The result is the gain over the baseline, which predicts the commonest label for every
photo.
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
from fieldmark.quality.leakage.side_features import Rows, Scorer, Scores, SideFeature, check_lengths

WORTH = 0.01
"""Smallest gain for a warning: one more correct label in a hundred photos."""
WORTH_TIMES = 1.5
"""Smallest ratio to the baseline for a warning. It matters with thousands of individuals, where the baseline is below
1 %."""
LEAST_PHOTOS = 20
LEAST_GROUPS = 10
SCORES_AT_ONCE = 2**22

Verdict = Literal["leak", "slight", "none"]


@dataclass(frozen=True, eq=False)
class Target:
    """A target of the audit: the true labels of each photo.

    Attributes:
        name: Name of the target.
        truth: (photo, label) matrix with 1 for true labels. Photos without any label are not used.
        ranked: How a prediction is scored. False: the first label is right or wrong. True, for tags: all labels are
            ranked, and a photo scores the average precision of its own tags (1 if they are ranked first).
    """

    name: str
    truth: Sparse
    ranked: bool = False

    def __len__(self) -> int:
        return self.truth.shape[0]

    @property
    def labelled(self) -> Rows:
        """Rows of the photos that have a label."""
        return np.flatnonzero(np.diff(self.truth.indptr) > 0)


@dataclass(frozen=True, slots=True)
class Gain:
    """Gain of one side feature on one target.

    Attributes:
        target: Name of the predicted target.
        side_feature: Name of the side feature.
        n_photos: Number of photos with a label.
        n_given: Number of these photos with the side feature. A missing side feature is also a value.
        n_distinct: Number of distinct values of the side feature.
        blind: Score of the baseline, 0 to 1: the share of photos with the commonest label, or (tags) the mean average
            precision of the tags ranked by frequency.
        guessed: Score of the side feature, 0 to 1, in the same unit.
        gain: ``guessed - blind`` with its 95 % confidence interval.
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
        """``leak``, ``slight`` or ``none``.

        ``none``: the confidence interval includes 0. ``leak``: the gain is at least ``WORTH``, or the score is at
        least ``WORTH_TIMES`` the baseline. ``slight``: any other gain.
        """
        if self.gain.low <= 0:
            return "none"
        is_worth = self.gain.value >= WORTH or self.guessed >= WORTH_TIMES * self.blind
        return "leak" if is_worth else "slight"


def reason_not_auditable(target: Target, groups: Int64[np.ndarray, " photo"]) -> str:
    """Return why a target cannot be audited; an empty text if it can."""
    labelled = target.labelled
    if len(labelled) < LEAST_PHOTOS:
        return f"{len(labelled)} photos have a label; {LEAST_PHOTOS} are needed"
    if len(np.unique(groups[labelled])) < LEAST_GROUPS:
        return f"{len(np.unique(groups[labelled]))} groups of photos have a label; {LEAST_GROUPS} are needed"
    if np.count_nonzero(np.asarray(target.truth.sum(axis=0))) < 2:
        return "all photos have the same label"
    return ""


def blind(target: Target) -> Float64[np.ndarray, " labelled"]:
    """Return the score of the baseline for each labelled photo: the commonest labels, without any side feature.

    Label frequencies are counted over all labelled photos. In the training part of a fold, the labels of the
    held-out photos are rarer, so frequencies from it would make the baseline look worse than it is.
    """
    scores = np.asarray(target.truth.sum(axis=0), np.float32).ravel()
    labelled = target.labelled
    found = np.zeros(len(labelled))
    for start, some in _blocks(labelled, target):
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
    """Return the cross-validated gain of a side feature on a target.

    The photos of each fold are predicted by a model fitted on the other folds. The strength of the model is chosen on
    one of these other folds.

    Args:
        side_feature: One value per photo.
        target: The true labels.
        name: Name of the side feature.
        fold: Fold of each photo, counted from 0; photos of a group are in one fold.
        groups: Group number of each photo. The confidence interval counts a group as one unit.

    Raises:
        ShapeError: Side feature, folds or groups and the target have different numbers of photos.
        FieldmarkError: There are fewer than three folds.
    """
    check_lengths(len(target), side_feature=side_feature, fold=fold, groups=groups)
    n_folds = int(fold.max(initial=-1)) + 1
    if n_folds < 3:
        raise FieldmarkError(
            "Argument 'fold' of guess() needs at least 3 folds.", got=f"{n_folds} fold(s)", fix="use 5 folds."
        )
    labelled = target.labelled
    floor = blind(target)
    found = floor.copy()
    if side_feature.n_distinct > 1:
        for k in range(n_folds):
            held_out = np.flatnonzero(fold[labelled] == k)
            fitted = labelled[fold[labelled] != k]
            if len(held_out) and len(fitted):
                values = _crossed(side_feature, target, fitted, labelled[held_out], fold[fitted] == (k + 1) % n_folds)
                if values is not None:
                    found[held_out] = values
    n_given = int(side_feature.given[labelled].sum())
    return weighed(target, name, floor, found, groups=groups, n_given=n_given, n_distinct=side_feature.n_distinct)


def weighed(
    target: Target,
    side_feature: str,
    floor: Float64[np.ndarray, " labelled"],
    found: Float64[np.ndarray, " labelled"],
    *,
    groups: Int64[np.ndarray, " photo"],
    n_given: int,
    n_distinct: int,
) -> Gain:
    """Return the gain of a side feature over the baseline, from the scores of single photos.

    Args:
        target: The predicted target.
        side_feature: Name of the side feature.
        floor: Baseline score of each labelled photo.
        found: Score of each labelled photo with the side feature.
        groups: Group number of each photo; see ``guess``.
        n_given: Number of labelled photos with the side feature.
        n_distinct: Number of distinct values of the side feature.
    """
    return Gain(
        target=target.name,
        side_feature=side_feature,
        n_photos=len(floor),
        n_given=n_given,
        n_distinct=n_distinct,
        blind=float(floor.mean()),
        guessed=float(found.mean()),
        gain=paired(found - floor, groups[target.labelled]),
    )


def paired(
    differences: Float64[np.ndarray, " photo"], groups: Int64[np.ndarray, " photo"], *, share: float = 0.95
) -> Interval:
    """Return the mean difference with its confidence interval. A group counts as one unit, as its photos are similar.

    Args:
        differences: One difference per photo, between -1 and 1.
        groups: Group number of each photo.
        share: Confidence level of the interval.

    Source:
        Agresti & Min 2005, "Simple improved confidence intervals for comparing matched proportions": half a photo is
        added to each of the four cases, which keeps the interval wide for few photos. Sums over groups are ours.
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
    """Return the score of each photo: 1 if the first label is right, else 0; or the average precision of its tags."""
    truth = target.truth[rows]
    if not target.ranked:
        first = scores.argmax(axis=1)
        return np.asarray(truth[np.arange(len(rows)), first], np.float64).ravel()
    order = np.argsort(-scores, axis=1, kind="stable")
    right = np.take_along_axis(truth.toarray() > 0, order, axis=1)
    precision = np.cumsum(right, axis=1) / np.arange(1, right.shape[1] + 1)
    return (precision * right).sum(axis=1) / np.maximum(1, right.sum(axis=1))


def _crossed(
    side_feature: SideFeature, target: Target, fitted: Rows, held_out: Rows, tried: np.ndarray
) -> Float64[np.ndarray, " held_out"] | None:
    """Return the scores of the held-out photos at the best strength on the photos ``tried``; None if none helps."""
    trial, rest = fitted[tried], fitted[~tried]
    if not len(trial) or not len(rest):
        return None
    truth = target.truth[rest]
    commonest = np.asarray(truth.sum(axis=0), np.float32).ravel()
    scorer = side_feature.fit(rest, truth)
    totals = np.zeros(1 + len(side_feature.STRENGTHS))
    for _, some in _blocks(trial, target):
        weakest = np.broadcast_to(commonest, (len(some), len(commonest)))
        totals += [reached(scores, some, target).sum() for scores in (weakest, *scorer(some))]
    best = int(np.argmax(totals))
    if best == 0:
        return None
    return _held_out_scores(side_feature.fit(fitted, target.truth[fitted]), best - 1, held_out, target)


def _held_out_scores(scorer: Scorer, strength: int, held_out: Rows, target: Target) -> Float64[np.ndarray, " held_out"]:
    found = np.zeros(len(held_out))
    for start, some in _blocks(held_out, target):
        found[start : start + len(some)] = reached(scorer(some)[strength], some, target)
    return found


def _blocks(rows: Rows, target: Target) -> Iterator[tuple[int, Rows]]:
    """Yield blocks of rows with their start, so that the scores of all photos are never in memory at once."""
    step = max(1, SCORES_AT_ONCE // target.truth.shape[1])
    for start in range(0, len(rows), step):
        yield start, rows[start : start + step]

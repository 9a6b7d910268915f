"""Calibrated confidence: probability that the animal is known, and that the first name is correct."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Int64

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.core.seeds import generator
from fieldmark.core.spec import Spec
from fieldmark.decisions.logistic import rising, sigmoid
from fieldmark.decisions.ranking import top
from fieldmark.decisions.specs import Calibration, Isotonic, Logistic

MEAN_DEPTH = 10
"""The margin over the mean uses this number of first candidates."""
N_PARTS = 5


class Line(Spec):
    """Fitted logistic curve: one weight per score feature, and a bias.

    Features are clipped to the range of the fitting data. So an unusual photo gets the probability of the nearest
    features in that range, and never a more extreme one.
    """

    weight: tuple[float, ...]
    bias: float
    lowest: tuple[float, ...]
    highest: tuple[float, ...]

    def proba(self, score_features: Float64[np.ndarray, "query number"]) -> Float64[np.ndarray, " query"]:
        """Return the probability for each query's score features."""
        return sigmoid(self.bias + np.clip(score_features, self.lowest, self.highest) @ np.asarray(self.weight))


class Stairs(Spec):
    """Fitted isotonic curve: corners (best score, probability), linear between them and constant outside."""

    at: tuple[float, ...]
    height: tuple[float, ...]

    def proba(self, score_features: Float64[np.ndarray, "query number"]) -> Float64[np.ndarray, " query"]:
        """Return the probability for each query's best score."""
        return np.interp(score_features[:, 0], self.at, self.height)


@dataclass(frozen=True, slots=True)
class Confidence:
    """Confidence of the answers; NaN where no curve could be fitted.

    Attributes:
        known: Probability that the animal is one of the known individuals.
        right: Probability that the first name is correct; at most ``known``.
    """

    known: Float64[np.ndarray, " query"]
    right: Float64[np.ndarray, " query"]


class ConfidenceModel(Spec):
    """Fitted curves that convert the scores of a query to probabilities.

    Attributes:
        known: Curve for "the animal is known"; None if validation had no unknown individuals, or only unknown ones.
        right: Curve for "the first name is correct"; None if validation had only unknown individuals.
        n_queries: Number of queries the curves were fitted on.
    """

    known: Line | Stairs | None = None
    right: Line | Stairs | None = None
    n_queries: int = 0

    def of(self, scores: Float[np.ndarray, "query class"]) -> Confidence:
        """Return the confidence of the answers that these scores give.

        Raises:
            ShapeError: ``scores`` is not a matrix or is empty.
            FieldmarkError: A score is NaN or +inf.
        """
        features = score_features(scores)
        nothing = np.full(len(features), np.nan)
        right = nothing if self.right is None else self.right.proba(features)
        # An animal with a correct name is a known one.
        known = nothing if self.known is None else np.fmax(self.known.proba(features), right)
        return Confidence(known=known, right=right)


def confidence_model(
    scores: Float[np.ndarray, "query class"], truth: Int[np.ndarray, " query"], *, by: Calibration | None = None
) -> ConfidenceModel:
    """Fit how often scores like these are correct, on validation queries.

    Args:
        scores: Larger is more likely; from networks that were not trained on the queries.
        truth: The class of each query, -1 for unknown individuals.
        by: The form of the curve. The default is the logistic curve: it needs few queries and also uses the margin over
            the second score. It was measured on 789 real whale photos with three recipes, cross-fitted. It separated
            correct from false names better than the isotonic curve (AUC 0.73 to 0.89 against 0.65 to 0.85) and was as
            well calibrated (``benchmarks/calibration.py``).

    Raises:
        ShapeError: ``truth`` does not match the scores, or there are no queries.
        FieldmarkError: A score is NaN or +inf.

    Source:
        Platt 1999 (logistic, with his targets); Zadrozny and Elkan 2002 (isotonic); the score features are ours.
    """
    features = score_features(scores)
    truth = _checked_truth(truth, len(features))
    known = truth >= 0
    right = known & (top(scores, k=1)[0][:, 0] == truth)
    both = bool(known.any() and not known.all())
    return ConfidenceModel(
        known=_fit(features, known, by or Logistic()) if both else None,
        right=_fit(features, right, by or Logistic()) if known.any() else None,
        n_queries=len(features),
    )


def crossed_confidence(
    scores: Float[np.ndarray, "query class"],
    truth: Int[np.ndarray, " query"],
    *,
    by: Calibration | None = None,
    groups: Int[np.ndarray, " query"] | None = None,
) -> Confidence:
    """Return the cross-fitted confidence: each query's curve was fitted without it (and without its group).

    Compare these probabilities with the outcomes to measure calibration. The probabilities of
    ``confidence_model().of()`` on the same queries are too optimistic.

    Args:
        scores: Larger is more likely.
        truth: The class of each query, -1 for unknown individuals.
        by: The form of the curve.
        groups: Queries with the same number (copies, an encounter) are left out together.

    Raises:
        ShapeError: ``truth`` does not match the scores, or there are no queries.
        FieldmarkError: A score is NaN or +inf.
    """
    scores = np.asarray(scores)
    truth = _checked_truth(truth, len(scores))
    part = even_parts(truth, groups)
    known, right = np.full(len(truth), np.nan), np.full(len(truth), np.nan)
    for one in np.unique(part) if part.any() else []:
        held_out = part == one
        found = confidence_model(scores[~held_out], truth[~held_out], by=by).of(scores[held_out])
        known[held_out], right[held_out] = found.known, found.right
    return Confidence(known=known, right=right)


def even_parts(
    truth: Int[np.ndarray, " query"], groups: Int[np.ndarray, " query"] | None = None, *, n_parts: int = N_PARTS
) -> Int64[np.ndarray, " query"]:
    """Split queries into parts, balanced between known and unknown individuals; groups stay whole.

    The split is the same every time.

    Args:
        truth: The class of each query, -1 for unknown individuals.
        groups: Queries with the same number stay in one part; None: each query is its own group.
        n_parts: Maximum number of parts; fewer if there are fewer groups.
    """
    groups = np.arange(len(truth)) if groups is None else np.asarray(groups)
    _, first, member = np.unique(groups, return_index=True, return_inverse=True)
    shuffled = generator(0, "parts").permutation(len(first))
    order = np.lexsort((shuffled, np.asarray(truth)[first] >= 0))
    part = np.empty(len(first), np.int64)
    part[order] = np.arange(len(first)) % max(1, min(n_parts, len(first)))
    return part[member]


def score_features(scores: Float[np.ndarray, "query class"]) -> Float64[np.ndarray, "query number"]:
    """Return three features per query: best score, margin over the second, margin over the mean of the first ten.

    The margin is 0 where there is no second candidate. Without any candidate the best score counts as 0.
    """
    _, best = top(scores, k=MEAN_DEPTH)
    best = best.astype(np.float64)
    best[~np.isfinite(best[:, 0]), 0] = 0.0
    first = best[:, :1]
    second = best[:, 1:2] if best.shape[1] > 1 else first
    lead = np.where(np.isfinite(second), first - second, 0.0)
    finite = np.isfinite(best)
    mean = np.where(finite, best, 0).sum(axis=1, keepdims=True) / finite.sum(axis=1, keepdims=True)
    return np.concatenate([first, lead, first - mean], axis=1)


def _fit(features: np.ndarray, success: Bool[np.ndarray, " query"], by: Calibration) -> Line | Stairs:
    return _stairs(features[:, 0], success) if isinstance(by, Isotonic) else _line(features, success, pull=by.pull)


def _line(features: np.ndarray, success: np.ndarray, *, pull: float) -> Line:
    """Fit a non-decreasing logistic curve with Platt's smoothed targets."""
    n_success = int(success.sum())
    target = np.where(success, (n_success + 1) / (n_success + 2), 1 / (len(success) - n_success + 2))
    bias, weight = rising(features, target, pull=pull)
    return Line(
        weight=tuple(weight.tolist()),
        bias=bias,
        lowest=tuple(features.min(axis=0).tolist()),
        highest=tuple(features.max(axis=0).tolist()),
    )


def _stairs(score: np.ndarray, success: np.ndarray) -> Stairs:
    """Fit an isotonic regression; half a success and half a failure per step keep the ends from 0 and 1."""
    from scipy.optimize import isotonic_regression

    at, member = np.unique(score, return_inverse=True)
    n = np.bincount(member)
    hits = np.bincount(member, weights=success).astype(np.int64)
    first = isotonic_regression(hits / n, weights=n).blocks[:-1]
    n, hits = np.add.reduceat(n, first), np.add.reduceat(hits, first)
    # SciPy compares rounded means, so two neighbouring steps may have the same proportion: join them.
    start = np.flatnonzero(np.append(True, hits[1:] * n[:-1] != hits[:-1] * n[1:]))
    n, hits, first = np.add.reduceat(n, start), np.add.reduceat(hits, start), first[start]
    last = np.append(first[1:], len(at)) - 1
    height = np.maximum.accumulate((hits + 0.5) / (n + 1))
    ends = at[np.stack([first, last], axis=1)]
    corners = dict(zip(ends.ravel().tolist(), height.repeat(2).tolist(), strict=True))
    return Stairs(at=tuple(corners), height=tuple(corners.values()))


def _checked_truth(truth: np.ndarray, n_queries: int) -> np.ndarray:
    truth = np.asarray(truth)
    if truth.shape != (n_queries,) or not n_queries or not np.issubdtype(truth.dtype, np.integer):
        raise ShapeError(
            "Every query needs its true class.",
            got=f"truth {truth.shape} of type {truth.dtype}, {n_queries} queries",
            fix="pass one whole number per row of scores; -1 for an unknown individual.",
        )
    if truth.min() < -1:
        raise FieldmarkError(
            "True classes must be -1 or more.",
            got=int(truth.min()),
            fix="leave out unlabelled photos (-2); -1 is an unknown individual.",
        )
    return truth

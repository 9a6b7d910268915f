"""How sure an answer is: the probability that the animal is known, and that the first name is right."""

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

CROWD = 10
"""The first places whose mean the best score is held against."""
N_PARTS = 5


class Line(Spec):
    """A fitted logistic curve: the weight of each number of the evidence, and the bias.

    Beyond the lowest and highest numbers it was learnt from it is level: of a picture unlike all those, it claims no
    more than of the most similar of them.
    """

    weight: tuple[float, ...]
    bias: float
    lowest: tuple[float, ...]
    highest: tuple[float, ...]

    def proba(self, score_features: Float64[np.ndarray, "query number"]) -> Float64[np.ndarray, " query"]:
        """The probability at each query's evidence."""
        return sigmoid(self.bias + np.clip(score_features, self.lowest, self.highest) @ np.asarray(self.weight))


class Stairs(Spec):
    """A fitted rising curve: its corners (best score, probability), straight in between and level beyond."""

    at: tuple[float, ...]
    height: tuple[float, ...]

    def proba(self, score_features: Float64[np.ndarray, "query number"]) -> Float64[np.ndarray, " query"]:
        """The probability at each query's best score."""
        return np.interp(score_features[:, 0], self.at, self.height)


@dataclass(frozen=True, slots=True)
class Confidence:
    """How sure answers are; NaN where it could not be learnt.

    Attributes:
        known: Probability that the animal is one we know.
        right: Probability that the first name is right; never above ``known``.
    """

    known: Float64[np.ndarray, " query"]
    right: Float64[np.ndarray, " query"]


class ConfidenceModel(Spec):
    """Turns the scores of a query into probabilities.

    Attributes:
        known: Curve of "the animal is known"; None where validation had no unknown individuals, or unknown individuals only.
        right: Curve of "the first name is right"; None where validation had unknown individuals only.
        n_queries: On how many queries it was learnt.
    """

    known: Line | Stairs | None = None
    right: Line | Stairs | None = None
    n_queries: int = 0

    def of(self, scores: Float[np.ndarray, "query class"]) -> Confidence:
        """How sure the answers are that these scores give.

        Raises:
            ShapeError: ``scores`` is no matrix or is empty.
            FieldmarkError: A score is NaN or +inf.
        """
        told = score_features(scores)
        nothing = np.full(len(told), np.nan)
        right = nothing if self.right is None else self.right.proba(told)
        # Whoever is named rightly is known.
        known = nothing if self.known is None else np.fmax(self.known.proba(told), right)
        return Confidence(known=known, right=right)


def confidence_model(
    scores: Float[np.ndarray, "query class"], truth: Int[np.ndarray, " query"], *, by: Calibration | None = None
) -> ConfidenceModel:
    """Learn from validation queries how often scores like these are right.

    Args:
        scores: Larger is likelier; of networks that have not seen the queries.
        truth: The class of each query, -1 for unknown individuals.
        by: The form of the curve. The logistic one is the default: it needs few queries and uses the lead over the
            second as well. On 789 real whale photos, three recipes, cross-fitted, it told right from wrong names
            better (AUC 0.73 to 0.89 against 0.65 to 0.85), and as honestly (``benchmarks/calibration.py``).

    Raises:
        ShapeError: ``truth`` does not fit, or there are no queries.
        FieldmarkError: A score is NaN or +inf.

    Source:
        Platt 1999 (logistic, with his targets); Zadrozny and Elkan 2002 (isotonic); the evidence is ours.
    """
    told = score_features(scores)
    truth = _checked_truth(truth, len(told))
    known = truth >= 0
    right = known & (top(scores, k=1)[0][:, 0] == truth)
    both = bool(known.any() and not known.all())
    return ConfidenceModel(
        known=_fit(told, known, by or Logistic()) if both else None,
        right=_fit(told, right, by or Logistic()) if known.any() else None,
        n_queries=len(told),
    )


def crossed_confidence(
    scores: Float[np.ndarray, "query class"],
    truth: Int[np.ndarray, " query"],
    *,
    by: Calibration | None = None,
    groups: Int[np.ndarray, " query"] | None = None,
) -> Confidence:
    """How sure each query's answer is, by curves learnt without it (and without its group).

    Compare these with what happened, to learn whether the probabilities are honest; those of ``confidence_model().of()`` on
    the same queries flatter.

    Args:
        scores: Larger is likelier.
        truth: The class of each query, -1 for unknown individuals.
        by: The form of the curve.
        groups: Queries of one number (copies, an encounter) are left out together.

    Raises:
        ShapeError: ``truth`` does not fit, or there are no queries.
        FieldmarkError: A score is NaN or +inf.
    """
    scores = np.asarray(scores)
    truth = _checked_truth(truth, len(scores))
    part = even_parts(truth, groups)
    known, right = np.full(len(truth), np.nan), np.full(len(truth), np.nan)
    for one in np.unique(part) if part.any() else []:
        mine = part == one
        found = confidence_model(scores[~mine], truth[~mine], by=by).of(scores[mine])
        known[mine], right[mine] = found.known, found.right
    return Confidence(known=known, right=right)


def even_parts(
    truth: Int[np.ndarray, " query"], groups: Int[np.ndarray, " query"] | None = None, *, n_parts: int = N_PARTS
) -> Int64[np.ndarray, " query"]:
    """The part of each query: similar many known and unknown individuals in each, groups whole, the same every time.

    Args:
        truth: The class of each query, -1 for unknown individuals.
        groups: Queries of one number stay together; None: each is alone.
        n_parts: At most so many; one a group where there are fewer groups.
    """
    groups = np.arange(len(truth)) if groups is None else np.asarray(groups)
    _, first, member = np.unique(groups, return_index=True, return_inverse=True)
    turn = generator(0, "parts").permutation(len(first))
    order = np.lexsort((turn, np.asarray(truth)[first] >= 0))
    part = np.empty(len(first), np.int64)
    part[order] = np.arange(len(first)) % max(1, min(n_parts, len(first)))
    return part[member]


def score_features(scores: Float[np.ndarray, "query class"]) -> Float64[np.ndarray, "query number"]:
    """What is looked at: the best score, its lead over the second, and over the mean of the first ten places.

    Where no second class is a candidate the lead is 0; without any candidate the best score counts as 0.
    """
    _, best = top(scores, k=CROWD)
    best = best.astype(np.float64)
    best[~np.isfinite(best[:, 0]), 0] = 0.0
    first = best[:, :1]
    second = best[:, 1:2] if best.shape[1] > 1 else first
    lead = np.where(np.isfinite(second), first - second, 0.0)
    there = np.isfinite(best)
    mean = np.where(there, best, 0).sum(axis=1, keepdims=True) / there.sum(axis=1, keepdims=True)
    return np.concatenate([first, lead, first - mean], axis=1)


def _fit(told: np.ndarray, yes: Bool[np.ndarray, " query"], by: Calibration) -> Line | Stairs:
    return _stairs(told[:, 0], yes) if isinstance(by, Isotonic) else _line(told, yes, pull=by.pull)


def _line(told: np.ndarray, yes: np.ndarray, *, pull: float) -> Line:
    """A rising logistic curve; its targets are drawn in by Platt's rule."""
    n_yes = int(yes.sum())
    target = np.where(yes, (n_yes + 1) / (n_yes + 2), 1 / (len(yes) - n_yes + 2))
    bias, weight = rising(told, target, pull=pull)
    return Line(
        weight=tuple(weight.tolist()),
        bias=bias,
        lowest=tuple(told.min(axis=0).tolist()),
        highest=tuple(told.max(axis=0).tolist()),
    )


def _stairs(score: np.ndarray, yes: np.ndarray) -> Stairs:
    """Isotonic regression; half a yes and half a no added to each step keep the ends from 0 and 1."""
    from scipy.optimize import isotonic_regression

    at, member = np.unique(score, return_inverse=True)
    n = np.bincount(member)
    hits = np.bincount(member, weights=yes).astype(np.int64)
    first = isotonic_regression(hits / n, weights=n).blocks[:-1]
    n, hits = np.add.reduceat(n, first), np.add.reduceat(hits, first)
    # SciPy compares rounded means, so two neighbouring steps may hold the same share: join them.
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
            fix="pass one whole number a row of scores; -1 for an unknown individual.",
        )
    if truth.min() < -1:
        raise FieldmarkError(
            "True classes are -1 or more.",
            got=int(truth.min()),
            fix="leave out photos of which nothing is told (-2); -1 is an unknown individual.",
        )
    return truth

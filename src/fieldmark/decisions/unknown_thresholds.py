"""Threshold for unknown individuals: fitted on validation queries, with its measured error rates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int

from fieldmark.core.errors import FieldmarkError, ShapeError, several
from fieldmark.core.spec import Spec
from fieldmark.decisions.binomial import upper_bound
from fieldmark.decisions.ranking import UNKNOWN, top
from fieldmark.decisions.specs import FalseMatchBudget, Fixed, MaxMap, TargetShare, UnknownAt


class UnknownThreshold(Spec):
    """A threshold and its measures on the queries it was fitted on; None where they need truth or unknown individuals.

    Attributes:
        at: Score threshold: a class must be strictly above it to be ranked before "unknown individual". Always finite.
        k: Number of answers per query.
        n_queries: Number of queries.
        n_unknown: Number of queries that show an unknown individual; None without truth.
        map_at_k: MAP@k: mean average precision over the first ``k`` answers.
        share_unknown: Share of the queries whose first answer is "unknown individual".
        false_match_rate: FPIR: share of unknown individuals answered with a name first.
        false_match_bound: One-sided upper confidence bound of the FPIR on new photos, at 95 % or at the budget's
            confidence.
        false_rejection_rate: Share of known individuals answered as unknown first.
    """

    at: float
    k: int
    n_queries: int
    n_unknown: int | None = None
    map_at_k: float | None = None
    share_unknown: float
    false_match_rate: float | None = None
    false_match_bound: float | None = None
    false_rejection_rate: float | None = None


@dataclass(frozen=True, slots=True)
class ThresholdCurve:
    """Measures of each threshold, for a plot; one entry per threshold, NaN where there are no queries to count.

    Attributes:
        at: Thresholds.
        k: Number of answers per query.
        map_at_k: MAP@k: mean average precision over the first ``k`` answers.
        share_unknown: Share of the queries whose first answer is "unknown individual".
        false_match_rate: FPIR: share of unknown individuals answered with a name first.
        false_rejection_rate: Share of known individuals answered as unknown first.
    """

    at: Float64[np.ndarray, " at"]
    k: int
    map_at_k: Float64[np.ndarray, " at"]
    share_unknown: Float64[np.ndarray, " at"]
    false_match_rate: Float64[np.ndarray, " at"]
    false_rejection_rate: Float64[np.ndarray, " at"]


@dataclass(frozen=True, slots=True)
class _Queries:
    """The part of the scores that thresholds need.

    Attributes:
        best: (query, rank) highest class scores; -inf where there are fewer classes than places.
        place: Rank of the true class among the classes, 1 is first; ``k + 1`` if it is lower, and for unknown
            individuals.
        unknown: Whether the truth is -1; None without truth.
    """

    best: np.ndarray
    place: np.ndarray
    unknown: np.ndarray | None

    @property
    def first(self) -> np.ndarray:
        return self.best[:, 0]

    @property
    def k(self) -> int:
        return self.best.shape[1]


def fit_unknown_threshold(
    spec: UnknownAt,
    scores: Float[np.ndarray, "query class"],
    truth: Int[np.ndarray, " query"] | None = None,
    *,
    k: int = 5,
) -> UnknownThreshold:
    """Fit the threshold of ``spec`` and measure it on these queries.

    Use queries that the network was not trained on, including unknown individuals. The best threshold of ``MaxMap`` is
    exact: MAP@k changes only at a few scores, so all its values follow from one sort. If several thresholds are equally
    good, the middle of their widest range is chosen (the lower one on a tie). The axis ends one mean gap beyond the
    outermost relevant scores.

    Args:
        spec: The rule.
        scores: Larger is more likely; -inf means never.
        truth: The class of each query, -1 for unknown individuals. ``TargetShare`` and ``Fixed`` work without.
        k: Number of answers per query.

    Returns:
        The threshold with its measures.

    Raises:
        ShapeError: ``scores`` and ``truth`` do not match or are empty.
        FieldmarkError: ``truth`` is missing where it is needed or contains an invalid class, or there are no unknown
            individuals or too few for the requested confidence.

    Source:
        Share of new: Humpback 2018/19; highest MAP@5: 1st and 2nd place, there on a grid of 9 and 50 values.
    """
    queries = _queries(scores, truth, k=k)
    confidence = 0.95
    if isinstance(spec, Fixed):
        at = spec.at
    elif isinstance(spec, TargetShare):
        at = _at_share(queries.first, spec.share)
    elif isinstance(spec, MaxMap):
        at = _at_best_map(queries)
    else:
        at = _at_budget(queries, spec)
        confidence = spec.confidence
    return _measured(at, queries, confidence=confidence)


def curve(
    scores: Float[np.ndarray, "query class"],
    truth: Int[np.ndarray, " query"],
    at_values: Float[np.ndarray, " at"] | None = None,
    *,
    k: int = 5,
) -> ThresholdCurve:
    """Return the measures of every threshold of ``at_values`` on these queries.

    Args:
        scores: Larger is more likely; -inf means never.
        truth: The class of each query, -1 for unknown individuals.
        at_values: Thresholds; None: 201 even steps over the highest scores of the queries.
        k: Number of answers per query.

    Raises:
        ShapeError: ``scores`` and ``truth`` do not match or are empty, or ``at_values`` is empty.
        FieldmarkError: A value is NaN or a class is invalid.
    """
    queries = _queries(scores, truth, k=k)
    if at_values is None:
        finite = _finite(queries.first)
        at_values = np.linspace(finite.min(), finite.max(), 201)
    at = np.asarray(at_values, np.float64)
    if at.ndim != 1 or not at.size or np.isnan(at).any():
        raise ShapeError(
            "at_values must be a list of thresholds without NaN.",
            got=at if at.size < 6 else f"shape {at.shape}, {int(np.isnan(at).sum())} NaN",
            fix="pass at_values=np.linspace(low, high, 101), or leave it out.",
        )
    unknown = _with_truth(queries)
    bounds, values = _map_steps(queries)
    return ThresholdCurve(
        at=at,
        k=k,
        map_at_k=values[np.searchsorted(bounds, at, side="right")],
        share_unknown=_share_at_most(queries.first, at),
        false_match_rate=1 - _share_at_most(queries.first[unknown], at),
        false_rejection_rate=_share_at_most(queries.first[~unknown], at),
    )


def _queries(scores: np.ndarray, truth: np.ndarray | None, *, k: int) -> _Queries:
    classes, best = top(scores, k=k)
    pad = ((0, 0), (0, k - classes.shape[1]))
    best = np.pad(best.astype(np.float64), pad, constant_values=-np.inf)
    if truth is None:
        return _Queries(best=best, place=np.full(len(best), k + 1), unknown=None)
    truth, n_classes = np.asarray(truth), np.shape(scores)[1]
    if truth.shape != (len(best),) or not np.issubdtype(truth.dtype, np.integer):
        raise ShapeError(
            "truth must hold the true class of every query.",
            got=f"scores {np.shape(scores)}, truth {truth.shape} of type {truth.dtype}",
            fix="pass one whole number per row of scores; -1 for an unknown individual.",
        )
    odd = np.flatnonzero((truth < UNKNOWN) | (truth >= n_classes))
    if len(odd):
        raise FieldmarkError(
            f"Some true classes are outside -1 ... {n_classes - 1}.",
            got=several([f"query {row}: {truth[row]}" for row in odd]),
            fix="use the vocabulary that made the columns of scores; -1 for an unknown individual.",
        )
    hit = (classes == truth[:, None]) & (truth[:, None] != UNKNOWN)
    place = np.where(hit.any(axis=1), hit.argmax(axis=1) + 1, k + 1)
    return _Queries(best=best, place=place, unknown=truth == UNKNOWN)


def _with_truth(queries: _Queries) -> np.ndarray:
    if queries.unknown is None:
        raise FieldmarkError(
            "This rule needs truth to fit a threshold.",
            got="truth=None",
            fix="pass the true class of each query (-1 for unknown individuals), or use TargetShare or Fixed.",
        )
    return queries.unknown


def _map_steps(queries: _Queries) -> tuple[np.ndarray, np.ndarray]:
    """Return MAP@k as a step function of the threshold.

    A known query scores 1/place while its class is strictly above the threshold, and 1/(place + 1) otherwise. An
    unknown individual scores 1/(1 + number of classes above the threshold).

    Returns:
        Bounds (ascending, distinct), and values: ``values[i]`` is valid from ``bounds[i - 1]`` to below ``bounds[i]``.
    """
    unknown, k = _with_truth(queries), queries.k
    worth = np.append(1 / np.arange(1, k + 1), [0.0, 0.0])  # of places 1 ... k, k + 1, k + 2
    known = ~unknown & (queries.place <= k)
    place = queries.place[known]
    at = [queries.best[known, place - 1]]
    gain = [worth[place] - worth[place - 1]]
    base = worth[place - 1].sum()
    above = queries.best[unknown]
    is_class = above > -np.inf
    at.append(above[is_class])
    gain.append(np.broadcast_to(worth[:k] - worth[1 : k + 1], above.shape)[is_class])
    base += worth[is_class.sum(axis=1)].sum()
    bounds, which = np.unique(np.concatenate(at), return_inverse=True)
    steps = np.bincount(which, weights=np.concatenate(gain), minlength=len(bounds))
    total = np.concatenate([[base], base + np.cumsum(steps)])
    return bounds, np.round(total / len(unknown), 12)  # rounded: equal values must stay equal after summing


def _at_best_map(queries: _Queries) -> float:
    bounds, values = _map_steps(queries)
    if not len(bounds):
        return 0.0  # no relevant class is among the candidates: all thresholds are equally good
    gap = (bounds[-1] - bounds[0]) / (len(bounds) - 1) if len(bounds) > 1 else 1.0
    edges = np.concatenate([[bounds[0] - gap], bounds, [bounds[-1] + gap]])
    best = values == values.max()
    turns = np.diff(best.astype(np.int8), prepend=0, append=0)
    starts, ends = np.flatnonzero(turns == 1), np.flatnonzero(turns == -1)
    widest = np.argmax(edges[ends] - edges[starts])
    return _between(edges[starts[widest]], edges[ends[widest]])


def _at_share(first: np.ndarray, share: float) -> float:
    """Return the threshold whose share of ``first`` at or below it is closest to ``share`` (the lower on a tie)."""
    cuts, counts = np.unique(first, return_counts=True)
    reached = np.concatenate([[0], np.cumsum(counts)])
    if cuts[0] == -np.inf:  # queries without any candidate are unknown at every threshold
        cuts, reached = cuts[1:], reached[1:]
    choice = int(np.argmin(np.abs(reached - share * len(first))))
    if not len(cuts):
        return 0.0
    edges = np.concatenate([[_next_to(cuts[0], -np.inf)], cuts, [_next_to(cuts[-1], np.inf)]])
    return _between(edges[choice], edges[choice + 1])


def _at_budget(queries: _Queries, spec: FalseMatchBudget) -> float:
    """Return the lowest threshold with at most ``allowed`` false matches: the next unknown individual's own score.

    That score is an order statistic of the unknown individuals. So the Clopper-Pearson bound at ``allowed`` is the
    exact confidence bound of the rate, even though the same unknown individuals were used to fit the threshold.
    """
    unknown = np.sort(queries.first[_with_truth(queries)])[::-1]
    n = len(unknown)
    if not n:
        raise FieldmarkError(
            "A false-match budget needs unknown individuals in validation.",
            got="no query of class -1",
            fix="add photos of unknown individuals to validation, or use MaxMap, TargetShare or Fixed.",
        )
    allowed = int(np.floor(spec.budget * n + 1e-9))
    if spec.hold == "bound":
        while allowed >= 0 and upper_bound(allowed, n, confidence=spec.confidence) > spec.budget:
            allowed -= 1
        if allowed < 0:
            needed = (
                "no number of"
                if spec.budget == 0
                else int(np.ceil(np.log1p(-spec.confidence) / np.log1p(-spec.budget)))
            )
            raise FieldmarkError(
                f"{n} unknown individuals are too few to prove a false-match rate of {spec.budget:.2%} "
                f"at {spec.confidence:.0%} confidence.",
                got=f"{n} unknown individuals; {needed} would be enough",
                fix="use a larger budget, a lower confidence, more unknown individuals, or hold='observed'.",
            )
    finite = _finite(queries.first)
    lowest = _next_to(finite.min(), -np.inf)
    return max(float(unknown[allowed]), lowest) if allowed < n else lowest


def _between(low: float, high: float) -> float:
    """Return the middle of ``low`` (included) and ``high`` (excluded), as a float32 number if possible.

    Scores are float32. A float32 threshold does not change when it is saved or used in another language.
    """
    middle = (low + high) / 2
    short = float(np.float32(middle))
    if low <= short < high:
        return short
    return float(middle) if low <= middle < high else float(low)


def _next_to(value: float, towards: float) -> float:
    """Return the float32 number next to ``value``."""
    return float(np.nextafter(np.float32(value), np.float32(towards)))


def _finite(first: np.ndarray) -> np.ndarray:
    finite = first[np.isfinite(first)]
    return finite if len(finite) else np.zeros(1)


def _share_at_most(first: np.ndarray, at: np.ndarray) -> np.ndarray:
    if not len(first):
        return np.full(len(at), np.nan)
    return np.searchsorted(np.sort(first), at, side="right") / len(first)


def _measured(at: float, queries: _Queries, *, confidence: float) -> UnknownThreshold:
    unknown_first = queries.first <= at
    share_unknown = float(unknown_first.mean())
    if queries.unknown is None:
        return UnknownThreshold(at=at, k=queries.k, n_queries=len(unknown_first), share_unknown=share_unknown)
    n_unknown = int(queries.unknown.sum())
    n_false = int((~unknown_first & queries.unknown).sum())
    n_known = len(unknown_first) - n_unknown
    bounds, values = _map_steps(queries)
    return UnknownThreshold(
        at=at,
        k=queries.k,
        n_queries=len(unknown_first),
        n_unknown=n_unknown,
        map_at_k=float(values[np.searchsorted(bounds, at, side="right")]),
        share_unknown=share_unknown,
        false_match_rate=n_false / n_unknown if n_unknown else None,
        false_match_bound=upper_bound(n_false, n_unknown, confidence=confidence) if n_unknown else None,
        false_rejection_rate=float((unknown_first & ~queries.unknown).sum() / n_known) if n_known else None,
    )

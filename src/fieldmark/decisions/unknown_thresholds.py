"""Where "nobody we know" stands: a threshold found on validation, and what it costs."""

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
    """A threshold and what it did on the queries it was found on; None where that needs truth, or unknown individuals.

    Attributes:
        at: Score of "nobody we know": a class must be strictly above it to come before it. Always finite.
        k: Places an answer.
        n_queries: Queries looked at.
        n_unknown: How many of them are of nobody we know; None without truth.
        map_at_k: Mean average precision over the first ``k`` answers.
        share_unknown: Share of the queries answered "nobody we know" first.
        false_match_rate: Share of the unknown individuals that were given a name first.
        false_match_bound: What that rate may be for unknown individuals to come: its one-sided upper bound at 95 %, or at the
            budget's confidence.
        turned_away: Share of the known that were answered "nobody we know" first.
    """

    at: float
    k: int
    n_queries: int
    n_unknown: int | None = None
    map_at_k: float | None = None
    share_unknown: float
    false_match_rate: float | None = None
    false_match_bound: float | None = None
    turned_away: float | None = None


@dataclass(frozen=True, slots=True)
class ThresholdCurve:
    """What each threshold would do, for a plot; one entry a threshold, NaN where nobody could be counted.

    Attributes:
        at: Thresholds.
        k: Places an answer.
        map_at_k: Mean average precision over the first ``k`` answers.
        share_unknown: Share of the queries answered "nobody we know" first.
        false_match_rate: Share of the unknown individuals that were given a name first.
        turned_away: Share of the known that were answered "nobody we know" first.
    """

    at: Float64[np.ndarray, " at"]
    k: int
    map_at_k: Float64[np.ndarray, " at"]
    share_unknown: Float64[np.ndarray, " at"]
    false_match_rate: Float64[np.ndarray, " at"]
    turned_away: Float64[np.ndarray, " at"]


@dataclass(frozen=True, slots=True)
class _Queries:
    """What thresholds need of the scores.

    Attributes:
        best: (query, rank) highest class scores; -inf where there are fewer classes than places.
        place: Place of the true class among the classes, 1 is first; ``k + 1`` if it is behind, or for unknown individuals.
        unknown individual: Whether the truth is -1; None without truth.
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
    """The threshold that ``spec`` asks for, and what it does on these queries.

    Use queries the network has not seen, with unknown individuals among them. The best threshold of ``MaxMap`` is exact:
    MAP@k changes only where the threshold passes one of a few scores, so all its values are known after one sort.
    Where several thresholds are equally good, the middle of the widest range of them is taken (the lower on a tie);
    the axis ends one mean gap beyond the outermost scores that matter.

    Args:
        spec: The rule.
        scores: Larger is likelier; -inf means never.
        truth: The class of each query, -1 for unknown individuals. ``TargetShare`` and ``Fixed`` do without.
        k: Places an answer.

    Returns:
        The threshold with its figures.

    Raises:
        ShapeError: ``scores`` and ``truth`` do not fit or are empty.
        FieldmarkError: ``truth`` is missing where it is needed or names a class there is not; there are no unknown individuals,
            or too few for the asked confidence.

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
    """What every threshold of ``at_values`` would do on these queries.

    Args:
        scores: Larger is likelier; -inf means never.
        truth: The class of each query, -1 for unknown individuals.
        at_values: Thresholds; None takes 201 even steps over the highest scores of the queries.
        k: Places an answer.

    Raises:
        ShapeError: ``scores`` and ``truth`` do not fit or are empty, or ``at_values`` is.
        FieldmarkError: A value is NaN or a class is unknown.
    """
    queries = _queries(scores, truth, k=k)
    if at_values is None:
        ends = _finite(queries.first)
        at_values = np.linspace(ends.min(), ends.max(), 201)
    at = np.asarray(at_values, np.float64)
    if at.ndim != 1 or not at.size or np.isnan(at).any():
        raise ShapeError(
            "curve() needs a list of thresholds.",
            got=at if at.size < 6 else f"shape {at.shape}, {int(np.isnan(at).sum())} NaN",
            fix="pass at_values=np.linspace(low, high, 101), or leave it out.",
        )
    unknown = _with_truth(queries)
    cuts, values = _map_steps(queries)
    return ThresholdCurve(
        at=at,
        k=k,
        map_at_k=values[np.searchsorted(cuts, at, side="right")],
        share_unknown=_share_at_most(queries.first, at),
        false_match_rate=1 - _share_at_most(queries.first[unknown], at),
        turned_away=_share_at_most(queries.first[~unknown], at),
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
            "Every query needs its true class.",
            got=f"scores {np.shape(scores)}, truth {truth.shape} of type {truth.dtype}",
            fix="pass one whole number a row of scores; -1 for an unknown individual.",
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
            "This threshold cannot be found without truth.",
            got="truth=None",
            fix="pass the true class of each query (-1 for unknown individuals), or use TargetShare or Fixed.",
        )
    return queries.unknown


def _map_steps(queries: _Queries) -> tuple[np.ndarray, np.ndarray]:
    """MAP@k as a step function of the threshold.

    A known query is worth 1/place while its class is strictly above the threshold, and 1/(place + 1) from there on.
    An unknown individual is worth 1/(1 + how many classes are above the threshold).

    Returns:
        Cut points (ascending, distinct), and values: ``values[i]`` holds from ``cuts[i - 1]`` up to below ``cuts[i]``.
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
    cuts, which = np.unique(np.concatenate(at), return_inverse=True)
    steps = np.bincount(which, weights=np.concatenate(gain), minlength=len(cuts))
    total = np.concatenate([[base], base + np.cumsum(steps)])
    return cuts, np.round(total / len(unknown), 12)  # rounded: equal values must stay equal after summing


def _at_best_map(queries: _Queries) -> float:
    cuts, values = _map_steps(queries)
    if not len(cuts):
        return 0.0  # no class is ever ranked where it matters: all thresholds are similar
    gap = (cuts[-1] - cuts[0]) / (len(cuts) - 1) if len(cuts) > 1 else 1.0
    edges = np.concatenate([[cuts[0] - gap], cuts, [cuts[-1] + gap]])
    best = values == values.max()
    turns = np.diff(best.astype(np.int8), prepend=0, append=0)
    starts, ends = np.flatnonzero(turns == 1), np.flatnonzero(turns == -1)
    widest = np.argmax(edges[ends] - edges[starts])
    return _between(edges[starts[widest]], edges[ends[widest]])


def _at_share(first: np.ndarray, share: float) -> float:
    """The threshold with the share of ``first`` at or below it nearest to ``share`` (the smaller on a tie)."""
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
    """With ``allowed`` matches, the lowest threshold is the next unknown individual's own score: it must be strictly above.

    That score is an order statistic of the unknown individuals, so the Clopper-Pearson bound at ``allowed`` is the exact
    confidence bound of the rate even though the same unknown individuals chose the threshold.
    """
    unknown = np.sort(queries.first[_with_truth(queries)])[::-1]
    n = len(unknown)
    if not n:
        raise FieldmarkError(
            "A false-match budget needs unknown individuals.",
            got="no query of class -1",
            fix="keep photos of unknown individuals in validation, or use MaxMap, TargetShare or Fixed.",
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
                f"{n} unknown individuals cannot prove a false-match rate of {spec.budget:.2%} ({spec.confidence:.0%} sure).",
                got=f"{n} unknown individuals; {needed} would do",
                fix="allow a larger budget, ask for less confidence, add unknown individuals, or use hold='observed'.",
            )
    finite = _finite(queries.first)
    lowest = _next_to(finite.min(), -np.inf)
    return max(float(unknown[allowed]), lowest) if allowed < n else lowest


def _between(low: float, high: float) -> float:
    """The middle of ``low`` (included) and ``high`` (excluded), as a float32 number if one lies there.

    Scores are float32: a threshold that is one too survives every store and language unchanged.
    """
    middle = (low + high) / 2
    short = float(np.float32(middle))
    if low <= short < high:
        return short
    return float(middle) if low <= middle < high else float(low)


def _next_to(value: float, towards: float) -> float:
    """The nearest float32 number beyond ``value``."""
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
    cuts, values = _map_steps(queries)
    return UnknownThreshold(
        at=at,
        k=queries.k,
        n_queries=len(unknown_first),
        n_unknown=n_unknown,
        map_at_k=float(values[np.searchsorted(cuts, at, side="right")]),
        share_unknown=share_unknown,
        false_match_rate=n_false / n_unknown if n_unknown else None,
        false_match_bound=upper_bound(n_false, n_unknown, confidence=confidence) if n_unknown else None,
        turned_away=float((unknown_first & ~queries.unknown).sum() / n_known) if n_known else None,
    )

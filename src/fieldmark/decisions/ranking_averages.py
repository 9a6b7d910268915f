"""Several models' scores to one: by score, by place, by vote."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float32

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.core.spec import Spec
from fieldmark.decisions.ranking import UNKNOWN, UnknownScore, rank, top
from fieldmark.decisions.specs import ByRank, ByScore, RankingAverage

TIE = 1e-4
"""How much of a difference between two places or votes the scores may make: they only part what is equal."""
ROW_BLOCK = 512


class ScoreScale(Spec):
    """What a model's high scores look like: their mean and standard deviation."""

    centre: float
    spread: float

    @classmethod
    def of(cls, scores: Float[np.ndarray, "query class"], *, depth: int = 20) -> ScoreScale:
        """The scale of the ``depth`` highest scores of each query."""
        high = top(scores, k=depth)[1]
        high = high[np.isfinite(high)].astype(np.float64)
        if not len(high):
            return cls(centre=0.0, spread=1.0)
        return cls(centre=float(high.mean()), spread=float(high.std()) or 1.0)


def average_rankings(
    scores: Sequence[Float[np.ndarray, "query class"]],
    *,
    by: RankingAverage | None = None,
    weights: Sequence[float] | None = None,
    unknown_at: Sequence[UnknownScore] | None = None,
    scales: Sequence[ScoreScale] | None = None,
) -> Float32[np.ndarray, "query class"]:
    """One matrix of scores from several models'.

    With places and votes "nobody we know" is ranked by each model at its own threshold, and what is given for it is
    taken off all classes: it then stands at 0 for every query, and ``Fixed(at=0)`` is the plain vote.

    Args:
        scores: One matrix a model, of the same queries and classes; -inf means never.
        by: The rule.
        weights: One a model, above 0; None: all similar.
        unknown_at: Each model's threshold of "nobody we know"; needed by places and votes.
        scales: Each model's scale, found on its validation queries; None: that of these very scores.

    Returns:
        Scores; -inf where all models say never. For a class that only some models never give, their lowest score of
        the query counts.

    Raises:
        ShapeError: There is no model, or the matrices differ in shape.
        FieldmarkError: Weights are not above 0, or something is not there once a model.

    Source:
        T38c: mean places and positional votes for MAP@k, a constant for "new" (Humpback 2018/19, 24th place and
        others).
    """
    by = by or ByScore()
    scores = [np.asarray(one) for one in scores]
    weight = _checked(scores, weights, unknown_at, scales, by)
    scales = scales or [ScoreScale.of(one, depth=by.depth if isinstance(by, ByScore) else 20) for one in scores]
    ensemble_lines = np.empty(scores[0].shape, np.float32)
    for start in range(0, len(ensemble_lines), ROW_BLOCK):
        rows = slice(start, start + ROW_BLOCK)
        part = [one[rows] for one in scores]
        mean = _mean_score(part, scales, weight)
        if isinstance(by, ByScore):
            ensemble_lines[rows] = mean
            continue
        given = np.zeros(mean.shape, np.float64)
        for one, share, at in zip(part, weight, unknown_at or [], strict=True):
            own = at if at is None or np.ndim(at) == 0 else np.asarray(at)[rows]
            given += share * _given(one, own, by)
        ensemble_lines[rows] = np.where(mean > -np.inf, given + TIE * _squashed(mean), -np.inf)
    return ensemble_lines


def _given(scores: np.ndarray, unknown_at: UnknownScore, by: RankingAverage) -> np.ndarray:
    """What one model gives each class, less what it gives to "nobody we know"."""
    worth = 1 - np.arange(by.depth) / by.depth if isinstance(by, ByRank) else np.asarray(by.worth)  # type: ignore[union-attr]
    answer = rank(scores, unknown_at=unknown_at, k=len(worth))
    row, place = np.nonzero(answer >= 0)
    given = np.zeros(scores.shape, np.float64)
    given[row, answer[row, place]] = worth[place]
    return given - (worth * (answer == UNKNOWN)).sum(axis=1, keepdims=True)


def _mean_score(scores: list[np.ndarray], scales: Sequence[ScoreScale], weight: np.ndarray) -> np.ndarray:
    total = np.zeros(scores[0].shape, np.float64)
    never = np.ones(total.shape, bool)
    for one, scale, share in zip(scores, scales, weight, strict=True):
        there = np.isfinite(one)
        lowest = np.where(there, one, np.inf).min(axis=1, keepdims=True)
        filled = np.where(there, one, np.where(np.isfinite(lowest), lowest, scale.centre))
        total += share * (filled.astype(np.float64) - scale.centre) / scale.spread
        never &= ~there
    return np.where(never, -np.inf, total)


def _squashed(mean: np.ndarray) -> np.ndarray:
    """Between 0 and 1 in the same order."""
    return 0.5 * (1 + np.tanh(np.where(np.isfinite(mean), mean, 0) / 8))


def _checked(
    scores: list[np.ndarray],
    weights: Sequence[float] | None,
    unknown_at: Sequence[UnknownScore] | None,
    scales: Sequence[ScoreScale] | None,
    by: RankingAverage,
) -> np.ndarray:
    if not scores or len({one.shape for one in scores}) > 1 or scores[0].ndim != 2 or not scores[0].size:
        raise ShapeError(
            "blend() needs scores of the same queries and classes from each model.",
            got=", ".join(str(one.shape) for one in scores) or "no model",
            fix="pass a list of (query, class) matrices of one shape.",
        )
    weight = np.ones(len(scores)) if weights is None else np.asarray(weights, np.float64)
    lists = {"weights": weight, "unknown_at": unknown_at, "scales": scales}
    odd = [f"{len(one)} {name}" for name, one in lists.items() if one is not None and len(one) != len(scores)]
    if unknown_at is None and not isinstance(by, ByScore):
        odd.append("no unknown_at")
    if odd or not (weight > 0).all():
        raise FieldmarkError(
            "blend() needs one weight above 0, and one threshold, for each model.",
            got="; ".join(odd) or weight.tolist(),
            fix=f"pass {len(scores)} of each, in the order of the scores; places and votes need unknown_at.",
        )
    return weight / weight.sum()

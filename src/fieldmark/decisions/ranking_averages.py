"""Average the identity scores of several models: by score, by rank or by vote."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float32

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.core.spec import Spec
from fieldmark.decisions.ranking import UNKNOWN, UnknownScore, rank, top
from fieldmark.decisions.specs import ByRank, ByScore, RankingAverage

TIE = 1e-4
"""Weight of the mean score in ranks and votes: it only separates equal values."""
ROW_BLOCK = 512


class ScoreScale(Spec):
    """Scale of a model's highest scores: their mean and standard deviation."""

    centre: float
    spread: float

    @classmethod
    def of(cls, scores: Float[np.ndarray, "query class"], *, depth: int = 20) -> ScoreScale:
        """Return the scale of the ``depth`` highest scores of each query."""
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
    """Return one score matrix from those of several models.

    With ranks and votes, each model also ranks "unknown individual" at its own threshold. The value of that place is
    subtracted from all classes. The unknown individual therefore has score 0 for every query, and ``Fixed(at=0)`` is
    the plain vote.

    Args:
        scores: One matrix per model, of the same queries and classes; -inf means never.
        by: The rule.
        weights: One per model, above 0; None: equal weights.
        unknown_at: Each model's threshold for unknown individuals; required for ranks and votes.
        scales: Each model's scale, from its validation queries; None: the scale of ``scores``.

    Returns:
        Scores; -inf where all models have -inf. If only some models have -inf for a class, their lowest score of the
        query is used.

    Raises:
        ShapeError: There is no model, or the matrices differ in shape.
        FieldmarkError: A weight is not above 0, or the number of weights, thresholds or scales differs from the number
            of models.

    Source:
        T38c: mean ranks and positional votes for MAP@k, a constant for "new" (Humpback 2018/19, 24th place and others).
    """
    by = by or ByScore()
    scores = [np.asarray(one) for one in scores]
    weight = _checked(scores, weights, unknown_at, scales, by)
    scales = scales or [ScoreScale.of(one, depth=by.depth if isinstance(by, ByScore) else 20) for one in scores]
    averaged = np.empty(scores[0].shape, np.float32)
    for start in range(0, len(averaged), ROW_BLOCK):
        rows = slice(start, start + ROW_BLOCK)
        part = [one[rows] for one in scores]
        mean = _mean_score(part, scales, weight)
        if isinstance(by, ByScore):
            averaged[rows] = mean
            continue
        given = np.zeros(mean.shape, np.float64)
        for one, share, at in zip(part, weight, unknown_at or [], strict=True):
            own = at if at is None or np.ndim(at) == 0 else np.asarray(at)[rows]
            given += share * _given(one, own, by)
        averaged[rows] = np.where(mean > -np.inf, given + TIE * _squashed(mean), -np.inf)
    return averaged


def _given(scores: np.ndarray, unknown_at: UnknownScore, by: RankingAverage) -> np.ndarray:
    """Return what one model gives each class, minus what it gives the unknown individual."""
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
        finite = np.isfinite(one)
        lowest = np.where(finite, one, np.inf).min(axis=1, keepdims=True)
        filled = np.where(finite, one, np.where(np.isfinite(lowest), lowest, scale.centre))
        total += share * (filled.astype(np.float64) - scale.centre) / scale.spread
        never &= ~finite
    return np.where(never, -np.inf, total)


def _squashed(mean: np.ndarray) -> np.ndarray:
    """Scale scores to 0 ... 1 in the same order."""
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
            "average_rankings() needs scores of the same queries and classes from each model.",
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
            "average_rankings() needs one weight above 0, and one threshold, for each model.",
            got="; ".join(odd) or weight.tolist(),
            fix=f"pass {len(scores)} of each, in the order of the scores; ranks and votes need unknown_at.",
        )
    return weight / weight.sum()

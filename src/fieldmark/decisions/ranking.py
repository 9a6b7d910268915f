"""Ranked answers from scores, with "unknown individual" placed at its threshold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64

from fieldmark.core.errors import FieldmarkError, ShapeError

UNKNOWN = -1
"""The class of an unknown individual."""
EMPTY = -2
"""An empty place in an answer, where no candidate is left; it equals no true class."""

ROW_BLOCK = 1024

UnknownScore = float | Float[np.ndarray, " query"] | None


@dataclass(frozen=True, slots=True)
class RankedCandidate:
    """One place of an answer, for output.

    Attributes:
        place: Rank of the candidate; 1 is the first.
        identity: Class, or -1 for an unknown individual.
        score: The score of the class, or the threshold for an unknown individual.
    """

    place: int
    identity: int
    score: float

    @property
    def is_unknown(self) -> bool:
        """Whether this place is "unknown individual"."""
        return self.identity == UNKNOWN


def rank(
    scores: Float[np.ndarray, "query class"], *, unknown_at: UnknownScore, k: int = 5
) -> Int64[np.ndarray, "query rank"]:
    """Return the first ``k`` answers of each query, best first; -1 is an unknown individual.

    "Unknown individual" is one more candidate. Its score is the threshold, the same for all queries or one per query. A
    class is ranked before it only if its score is strictly above. Classes of equal score are in the order of their
    numbers.

    Args:
        scores: Larger is more likely; negative scores are allowed; -inf means never.
        unknown_at: The threshold for unknown individuals, one for all queries or one each; None leaves that answer out.
        k: Number of answers per query, at least 1.

    Returns:
        Classes. If fewer than ``k`` candidates are left (classes above -inf, and the unknown individual unless left
        out), the last places hold -2, which equals no true class.

    Raises:
        ShapeError: ``scores`` is not a matrix or is empty.
        FieldmarkError: ``k`` is below 1, a score is NaN or +inf, or a threshold is NaN or missing.

    Source:
        Appended constant: Humpback 2018/19, 1st place; first class under it: 5th place.
    """
    return _answers(scores, unknown_at=unknown_at, k=k)[0]


def candidates(
    scores: Float[np.ndarray, "query class"], *, unknown_at: UnknownScore, k: int = 5
) -> tuple[tuple[RankedCandidate, ...], ...]:
    """Return the answers of ``rank`` as objects with the score of each place; empty places are left out."""
    answer, score = _answers(scores, unknown_at=unknown_at, k=k)
    return tuple(
        tuple(
            RankedCandidate(place=place, identity=int(identity), score=float(value))
            for place, (identity, value) in enumerate(zip(row, values, strict=True), start=1)
            if identity != EMPTY
        )
        for row, values in zip(answer, score, strict=True)
    )


def top(
    scores: Float[np.ndarray, "query class"], *, k: int
) -> tuple[Int64[np.ndarray, "query rank"], Float[np.ndarray, "query rank"]]:
    """Return the ``k`` classes of highest score, best first, and their scores; ties are in class order.

    Returns:
        Classes and scores, ``min(k, class)`` columns. Classes of score -inf are given as -2.

    Raises:
        ShapeError: ``scores`` is not a matrix or is empty.
        FieldmarkError: ``k`` is below 1 or a score is NaN or +inf.
    """
    scores = np.asarray(scores)
    if scores.ndim != 2 or not scores.size:
        raise ShapeError(
            "scores must be a (query, class) matrix.",
            got=scores.shape,
            fix="pass one row per query and one column per class, at least one of each.",
        )
    if k < 1:
        raise FieldmarkError(
            "k must be 1 or more.", got=f"k={k}", fix="use k=5, as the contests do, or another number from 1 up."
        )
    width = min(k, scores.shape[1])
    classes = np.empty((len(scores), width), np.int64)
    values = np.empty((len(scores), width), scores.dtype)
    for start in range(0, len(scores), ROW_BLOCK):
        rows = slice(start, start + ROW_BLOCK)
        classes[rows], values[rows] = _top_block(scores[rows], width)
    odd = ~(values < np.inf).all(axis=1)
    if odd.any():
        raise FieldmarkError(
            "scores contain NaN or +inf.",
            got=f"NaN or +inf in {int(odd.sum())} of {len(scores)} queries, the first in row {int(odd.argmax())}",
            fix="check the network's outputs for those queries; use -inf for a class that is not a candidate.",
        )
    classes[values == -np.inf] = EMPTY
    return classes, values


def _top_block(scores: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return ``top`` for a few rows. NaN sorts as the largest, so it is always among the chosen."""
    n_classes = scores.shape[1]
    chosen = np.argpartition(scores, n_classes - width, axis=1)[:, n_classes - width :]
    last = np.take_along_axis(scores, chosen[:, :1], axis=1)  # the partition's pivot: the k-th largest score
    # argpartition takes any of the classes that tie for the last place; those rows are sorted whole.
    tied = np.flatnonzero(((scores >= last).sum(axis=1) > width) & (last[:, 0] > -np.inf))
    if len(tied):
        chosen[tied] = np.argsort(-scores[tied], axis=1, kind="stable")[:, :width]
    chosen = np.sort(chosen, axis=1)
    values = np.take_along_axis(scores, chosen, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    return np.take_along_axis(chosen, order, axis=1), np.take_along_axis(values, order, axis=1)


def _answers(scores: np.ndarray, *, unknown_at: UnknownScore, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return answers and the score of each place (NaN at empty places)."""
    classes, values = top(scores, k=k)
    # In float64, as a float32 threshold could be rounded onto a score it does not reach.
    n_missing = k - classes.shape[1]
    classes = np.pad(classes, ((0, 0), (0, n_missing)), constant_values=EMPTY)
    values = np.pad(values.astype(np.float64), ((0, 0), (0, n_missing)), constant_values=-np.inf)
    if unknown_at is not None:
        threshold = np.asarray(unknown_at, np.float64)
        if threshold.shape not in {(), (len(values),)} or np.isnan(threshold).any():
            raise FieldmarkError(
                "unknown_at must be one number, or one number per query.",
                got=unknown_at if threshold.ndim == 0 else f"{threshold.shape} for {len(values)} queries, or NaN",
                fix="pass a number, one number per query, or None to leave out unknown individuals.",
            )
        threshold = np.broadcast_to(threshold, len(values))[:, None]
        n_before = ((values > threshold) & (classes != EMPTY)).sum(axis=1, keepdims=True)
        place = np.arange(k)
        behind = place - (place > n_before)
        here = place == n_before
        classes = np.where(here, UNKNOWN, np.take_along_axis(classes, behind, axis=1))
        values = np.where(here, threshold, np.take_along_axis(values, behind, axis=1))
    return classes, np.where(classes == EMPTY, np.nan, values)

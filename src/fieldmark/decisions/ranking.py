"""Scores to ranked answers, with "nobody we know" where its constant score stands."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64

from fieldmark.core.errors import FieldmarkError, ShapeError

UNKNOWN = -1
"""The answer "nobody we know"."""
EMPTY = -2
"""A place no candidate is left for; equal to no truth."""

ROW_BLOCK = 1024

UnknownScore = float | Float[np.ndarray, " query"] | None


@dataclass(frozen=True, slots=True)
class RankedCandidate:
    """One place of an answer, for printing.

    Attributes:
        place: 1 is first.
        identity: Class, or -1 for "nobody we know".
        score: The class's score, or the threshold for "nobody we know".
    """

    place: int
    identity: int
    score: float

    @property
    def is_unknown(self) -> bool:
        """Whether this place says "nobody we know"."""
        return self.identity == UNKNOWN


def rank(
    scores: Float[np.ndarray, "query class"], *, unknown_at: UnknownScore, k: int = 5
) -> Int64[np.ndarray, "query rank"]:
    """The first ``k`` answers of each query, best first, -1 being "nobody we know".

    "Nobody we know" is one more candidate whose score is the same for every query (or for every group). A class must
    be strictly above it to come before it; classes of equal score come in the order of their numbers.

    Args:
        scores: Larger is likelier; negative scores count like all others; -inf means never.
        unknown_at: The score of "nobody we know", one for all queries or one each; None leaves it out.
        k: Places an answer, at least 1.

    Returns:
        Classes. Where fewer than ``k`` candidates are left (classes above -inf, and "nobody we know" unless it is
        left out), the last places hold -2, which equals no truth.

    Raises:
        ShapeError: ``scores`` is no matrix or is empty.
        FieldmarkError: ``k`` is below 1, a score is NaN or +inf, or a threshold is NaN or not there.

    Source:
        Appended constant: Humpback 2018/19, 1st place; first class under it: 5th place.
    """
    return _answers(scores, unknown_at=unknown_at, k=k)[0]


def candidates(
    scores: Float[np.ndarray, "query class"], *, unknown_at: UnknownScore, k: int = 5
) -> tuple[tuple[RankedCandidate, ...], ...]:
    """As ``rank``, as rows for printing with the score of each place; empty places are left out."""
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
    """The ``k`` classes of highest score, best first, ties in the order of class numbers, and their scores.

    Returns:
        Classes and scores, ``min(k, class)`` wide. Classes of score -inf are told as -2.

    Raises:
        ShapeError: ``scores`` is no matrix or is empty.
        FieldmarkError: ``k`` is below 1 or a score is NaN or +inf.
    """
    scores = np.asarray(scores)
    if scores.ndim != 2 or not scores.size:
        raise ShapeError(
            "Ranking needs a (query, class) matrix of scores.",
            got=scores.shape,
            fix="pass one row a query and one column a class, at least one of each.",
        )
    if k < 1:
        raise FieldmarkError(
            "An answer has at least one place.", got=f"k={k}", fix="use k=1 or more; contests use k=5."
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
            "Some scores are not numbers.",
            got=f"NaN or +inf in {int(odd.sum())} of {len(scores)} queries, the first in row {int(odd.argmax())}",
            fix="check the network's outputs of those queries; -inf is the score of a class that is no candidate.",
        )
    classes[values == -np.inf] = EMPTY
    return classes, values


def _top_block(scores: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """``top`` for a few rows. NaN sorts as the largest, so it is always among the chosen."""
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
    """Answers and the score of each place (NaN at empty places)."""
    classes, values = top(scores, k=k)
    # In float64, as a float32 threshold could be rounded onto a score it does not reach.
    n_missing = k - classes.shape[1]
    classes = np.pad(classes, ((0, 0), (0, n_missing)), constant_values=EMPTY)
    values = np.pad(values.astype(np.float64), ((0, 0), (0, n_missing)), constant_values=-np.inf)
    if unknown_at is not None:
        threshold = np.asarray(unknown_at, np.float64)
        if threshold.shape not in {(), (len(values),)} or np.isnan(threshold).any():
            raise FieldmarkError(
                "The threshold is not a number, or not one number a query.",
                got=unknown_at if threshold.ndim == 0 else f"{threshold.shape} for {len(values)} queries, or NaN",
                fix="give a number, one a query, or None to leave 'nobody we know' out.",
            )
        threshold = np.broadcast_to(threshold, len(values))[:, None]
        n_before = ((values > threshold) & (classes != EMPTY)).sum(axis=1, keepdims=True)
        place = np.arange(k)
        behind = place - (place > n_before)
        here = place == n_before
        classes = np.where(here, UNKNOWN, np.take_along_axis(classes, behind, axis=1))
        values = np.where(here, threshold, np.take_along_axis(values, behind, axis=1))
    return classes, np.where(classes == EMPTY, np.nan, values)

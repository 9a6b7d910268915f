"""How far up the right name stands in ranked answers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64, Int, Int64

from fieldmark.core.errors import FieldmarkError, ShapeError, several

UNKNOWN = -1
NO_NAME = -2  # fills short answers; truth is never below -1
Ranked = Int[np.ndarray, "query rank"] | Sequence[Sequence[int]]


def map_at_k(ranked: Ranked, truth: Int[np.ndarray, " query"] | Sequence[int], *, k: int = 5) -> float:
    """Mean average precision over the first ``k`` answers, where each query has one right name.

    A right name in first place is worth 1, in second 1/2, ... in k-th 1/k, further down nothing. "Nobody we know"
    (-1) is a name like all others: it is right for unknown individuals and wrong for everybody else. Only the order counts:
    no score is looked at, so negative ones cannot get lost.

    Args:
        ranked: The answers of each query, best first; rows may be short. A name that stands twice counts where it
            stands first. -2 marks an empty place.
        truth: The right name of each query, -1 for unknown individuals.
        k: How many answers count, at least 1.

    Returns:
        A number from 0 to 1.

    Raises:
        ShapeError: There are no queries, or not one answer row for each.
        FieldmarkError: ``k`` is below 1, or names are no whole numbers from -1.

    Example:
        >>> map_at_k([[3, -1], [7, 5]], [-1, 7])
        0.75

    Source:
        The metric of Humpback Whale Identification 2018/19 (Kaggle), with one label an image.
    """
    return float(average_precision(ranked, truth, k=k).mean())


def top_k(ranked: Ranked, truth: Int[np.ndarray, " query"] | Sequence[int], *, k: int = 1) -> float:
    """Share of the queries whose right name is among the first ``k`` answers; see ``map_at_k``."""
    return float((_places(ranked, truth, k=k) > 0).mean())


def average_precision(
    ranked: Ranked, truth: Int[np.ndarray, " query"] | Sequence[int], *, k: int = 5
) -> Float64[np.ndarray, " query"]:
    """What each query adds to ``map_at_k``: 1/place of its right name, or 0. Feed it to ``interval()``."""
    place = _places(ranked, truth, k=k)
    return np.divide(1.0, place, out=np.zeros(len(place)), where=place > 0)


def missed_identification_rate(
    ranked: Ranked, truth: Int[np.ndarray, " query"] | Sequence[int], *, k: int = 1
) -> float:
    """Share of the known queries whose right identity is not among the first ``k`` answers, or only after "unknown".

    Biometrics calls it the false negative identification rate, FNIR (ISO/IEC 19795-1); ``false_match_rate`` is its
    counterpart for unknown individuals, FPIR. An identity counts only before -1, as -1 stands where the threshold is.

    Args:
        ranked: The answers of each query, best first, -1 for unknown; see ``map_at_k``.
        truth: The right identity of each query; queries of unknown individuals (-1) are left out.
        k: How many answers count, at least 1.

    Returns:
        A number from 0 to 1.

    Raises:
        ShapeError: There are no queries, or not one answer row for each.
        FieldmarkError: All queries are unknown individuals, ``k`` is below 1, or identities are no whole numbers.

    Example:
        >>> missed_identification_rate([[3, -1], [-1, 7], [2, -1]], [3, 7, -1])
        0.5
    """
    right, names = _places(ranked, truth, k=k), np.asarray(truth)
    unknown = _places(ranked, np.full(len(names), UNKNOWN), k=k)
    if (names == UNKNOWN).all():
        raise FieldmarkError(
            "No known individual is among the queries, so none can be missed.",
            got=f"{len(names)} queries, all unknown",
            fix="measure on queries of known individuals too.",
        )
    found = (right > 0) & ((unknown == 0) | (right < unknown))
    return float(1 - found[names != UNKNOWN].mean())


def _places(ranked: Ranked, truth: np.ndarray | Sequence[int], *, k: int) -> Int64[np.ndarray, " query"]:
    """Place of the right name, 1 is first; 0 where it is not among the first ``k``."""
    if k < 1:
        raise FieldmarkError("At least one answer must count.", got=f"k={k}", fix="use k=1 or more; contests use k=5.")
    answers, names = _matrix(ranked), np.asarray(truth)
    if names.ndim != 1 or not len(names) or len(answers) != len(names):
        raise ShapeError(
            "Every query needs one row of answers and one right name.",
            got=f"answers {answers.shape}, truth {names.shape}",
            fix="pass (query, rank) answers and (query,) truth, with at least one query.",
        )
    if not np.issubdtype(names.dtype, np.integer) or not np.issubdtype(answers.dtype, np.integer) or names.min() < -1:
        odd = several(list(names[names < -1])) if np.issubdtype(names.dtype, np.integer) else "no whole numbers"
        raise FieldmarkError(
            "Names must be whole numbers from -1 (nobody we know).",
            got=f"answers of type {answers.dtype}, truth of type {names.dtype}: {odd}",
            fix="turn names into classes with a Vocabulary; pass ranked classes, not their scores.",
        )
    hit = answers[:, :k] == names[:, None]
    if not hit.shape[1]:
        return np.zeros(len(names), np.int64)
    return np.where(hit.any(axis=1), hit.argmax(axis=1) + 1, 0)


def _matrix(ranked: Ranked) -> np.ndarray:
    if isinstance(ranked, np.ndarray):
        return ranked if ranked.ndim == 2 else ranked.reshape(len(ranked) if ranked.ndim else 0, -1)
    rows = [np.asarray(row) for row in ranked]
    width = max((len(row) for row in rows), default=0)
    kind = np.result_type(np.int64, *(row.dtype for row in rows if len(row)))
    matrix = np.full((len(rows), width), NO_NAME, kind)
    for place, row in enumerate(rows):
        matrix[place, : len(row)] = row
    return matrix

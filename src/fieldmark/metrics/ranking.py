"""Ranking metrics: MAP@k, top-k accuracy and FNIR of ranked answers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64, Int, Int64

from fieldmark.core.errors import FieldmarkError, ShapeError, several

UNKNOWN = -1
NO_NAME = -2  # fills short rows of answers; truth is never below -1
Ranked = Int[np.ndarray, "query rank"] | Sequence[Sequence[int]]


def map_at_k(ranked: Ranked, truth: Int[np.ndarray, " query"] | Sequence[int], *, k: int = 5) -> float:
    """MAP@k: mean average precision of the first ``k`` answers, for queries with one right identity each.

    The right identity counts 1 in first place, 1/2 in second, ... and 1/k in k-th place. Below that it counts 0.
    "Unknown" (-1) is an identity like all others: it is right for unknown individuals and wrong for known ones. Only
    the order of the answers matters; scores are not used.

    Args:
        ranked: Answers to each query, best first; rows may be short. An identity that occurs twice counts at its first
            place. -2 marks an empty place.
        truth: Right identity of each query, -1 for unknown individuals.
        k: Number of answers that count, at least 1.

    Returns:
        A number from 0 to 1.

    Raises:
        ShapeError: There are no queries, or the number of answer rows differs from the number of queries.
        FieldmarkError: ``k`` is below 1, or identities are not whole numbers from -1.

    Example:
        >>> map_at_k([[3, -1], [7, 5]], [-1, 7])
        0.75

    Source:
        The metric of Humpback Whale Identification 2018/19 (Kaggle), with one label per image.
    """
    return float(average_precision(ranked, truth, k=k).mean())


def top_k(ranked: Ranked, truth: Int[np.ndarray, " query"] | Sequence[int], *, k: int = 1) -> float:
    """Top-k accuracy: share of queries whose right identity is among the first ``k`` answers; see ``map_at_k``."""
    return float((_places(ranked, truth, k=k) > 0).mean())


def average_precision(
    ranked: Ranked, truth: Int[np.ndarray, " query"] | Sequence[int], *, k: int = 5
) -> Float64[np.ndarray, " query"]:
    """Average precision of each query: 1/place of the right identity, or 0. Its mean is ``map_at_k``.

    ``interval()`` computes an interval of the mean.
    """
    place = _places(ranked, truth, k=k)
    return np.divide(1.0, place, out=np.zeros(len(place)), where=place > 0)


def missed_identification_rate(
    ranked: Ranked, truth: Int[np.ndarray, " query"] | Sequence[int], *, k: int = 1
) -> float:
    """FNIR (false negative identification rate): share of known individuals not found in the first ``k`` answers.

    An identity counts as found only if it ranks before -1 (unknown), because -1 marks the place of the threshold. The
    definition follows ISO/IEC 19795-1. TPIR (true positive identification rate) is 1 - FNIR. ``false_match_rate``
    (FPIR) is the rate for unknown individuals.

    Args:
        ranked: Answers to each query, best first, -1 for unknown; see ``map_at_k``.
        truth: Right identity of each query; queries of unknown individuals (-1) are left out.
        k: Number of answers that count, at least 1.

    Returns:
        A number from 0 to 1.

    Raises:
        ShapeError: There are no queries, or the number of answer rows differs from the number of queries.
        FieldmarkError: All queries are unknown individuals, ``k`` is below 1, or identities are not whole numbers.

    Example:
        >>> missed_identification_rate([[3, -1], [-1, 7], [2, -1]], [3, 7, -1])
        0.5
    """
    right, names = _places(ranked, truth, k=k), np.asarray(truth)
    unknown = _places(ranked, np.full(len(names), UNKNOWN), k=k)
    if (names == UNKNOWN).all():
        raise FieldmarkError(
            "The missed identification rate needs queries of known individuals.",
            got=f"{len(names)} queries, all of unknown individuals",
            fix="add photos of known individuals to the queries.",
        )
    found = (right > 0) & ((unknown == 0) | (right < unknown))
    return float(1 - found[names != UNKNOWN].mean())


def _places(ranked: Ranked, truth: np.ndarray | Sequence[int], *, k: int) -> Int64[np.ndarray, " query"]:
    """Place of the right identity, from 1; 0 if it is not among the first ``k``."""
    if k < 1:
        raise FieldmarkError("k must be at least 1.", got=f"k={k}", fix="use k=1 or more; contests use k=5.")
    answers, names = _matrix(ranked), np.asarray(truth)
    if names.ndim != 1 or not len(names) or len(answers) != len(names):
        raise ShapeError(
            "ranked and truth must have one row for each query.",
            got=f"answers {answers.shape}, truth {names.shape}",
            fix="pass (query, rank) answers and (query,) truth, with at least one query.",
        )
    if not np.issubdtype(names.dtype, np.integer) or not np.issubdtype(answers.dtype, np.integer) or names.min() < -1:
        odd = several(list(names[names < -1])) if np.issubdtype(names.dtype, np.integer) else "no whole numbers"
        raise FieldmarkError(
            "Identities must be whole numbers from -1 (unknown individual).",
            got=f"answers of type {answers.dtype}, truth of type {names.dtype}: {odd}",
            fix="convert names to classes with a Vocabulary, and pass ranked classes, not scores.",
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

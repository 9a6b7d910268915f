"""How well unknown individuals are told from those we know."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from fieldmark.core.errors import FieldmarkError, ShapeError

UNKNOWN = -1


def false_match_rate(answer: Int[np.ndarray, " query"], truth: Int[np.ndarray, " query"]) -> float:
    """Share of the unknown individuals that were given a name.

    Biometrics calls it the false positive identification rate (ISO/IEC 19795-1).

    Args:
        answer: The first answer to each query, -1 for "nobody we know".
        truth: The right one, -1 for unknown individuals.

    Returns:
        A number from 0 to 1.

    Raises:
        ShapeError: The arrays differ in length or are empty.
        FieldmarkError: There is no unknown individual, or an answer is no whole number.

    Example:
        >>> false_match_rate(np.array([4, -1, 4]), np.array([-1, -1, 4]))
        0.5
    """
    named, unknown = _named(answer, truth)[0], np.asarray(truth) == UNKNOWN
    if not unknown.any():
        raise FieldmarkError(
            "Without unknown individuals there is no false-match rate.",
            got=f"{len(unknown)} queries, all of known identities",
            fix="keep photos of unknown individuals in validation.",
        )
    return float(named[unknown].mean())


def false_rejection_rate(answer: Int[np.ndarray, " query"], truth: Int[np.ndarray, " query"]) -> float:
    """Share of those we know that were answered "nobody we know"; the other side of ``false_match_rate``.

    Raises:
        ShapeError: The arrays differ in length or are empty.
        FieldmarkError: There is nobody we know, or an answer is no whole number.
    """
    named, known = _named(answer, truth)[0], np.asarray(truth) != UNKNOWN
    if not known.any():
        raise FieldmarkError(
            "Among unknown individuals only, nobody can be turned away.",
            got=f"{len(known)} queries, all unknown individuals",
            fix="measure on queries of known identities too.",
        )
    return float(1 - named[known].mean())


def wrong_name_rate(answer: Int[np.ndarray, " query"], truth: Int[np.ndarray, " query"]) -> float:
    """Share of all given names that are wrong, be it an unknown individual or somebody else's name.

    What a reader of the answers sees: of the names on this list, how many are wrong? 0 where no name was given.

    Raises:
        ShapeError: The arrays differ in length or are empty.
        FieldmarkError: An answer is no whole number.
    """
    named, wrong = _named(answer, truth)
    return float(wrong[named].mean()) if named.any() else 0.0


def roc_auc(score: Float[np.ndarray, " query"], known: Bool[np.ndarray, " query"]) -> float:
    """Chance that somebody we know scores higher than an unknown individual; equal scores count one half.

    Args:
        score: Larger for likelier known, for example the highest identity score of each query; any sign, -inf too.
        known: Whether the query is of somebody we know.

    Returns:
        0.5 for a coin, 1 for a perfect parting.

    Raises:
        ShapeError: The arrays differ in length or are empty.
        FieldmarkError: A score is NaN, or one of the two sides is missing.

    Source:
        Mann and Whitney 1947: the rank sum with ties averaged is the area under the ROC curve.
    """
    score, known = np.asarray(score, np.float64), np.asarray(known)
    if score.ndim != 1 or not len(score) or known.shape != score.shape:
        raise ShapeError(
            "roc_auc() needs a score and a yes or no for each query.",
            got=f"score {score.shape}, known {known.shape}",
            fix="pass two lists of the same length, for example scores.max(axis=1) and truth >= 0.",
        )
    known = known.astype(bool)
    n_known = int(known.sum())
    n_unknown = len(known) - n_known
    if np.isnan(score).any() or not n_known or not n_unknown:
        raise FieldmarkError(
            "roc_auc() compares the scores of the known with those of unknown individuals.",
            got=f"{n_known} known, {n_unknown} unknown individuals, {int(np.isnan(score).sum())} scores NaN",
            fix="pass numbers, and at least one query of each side.",
        )
    _, group, count = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[group]  # 1 is lowest; ties share the mean of their ranks
    return float((rank[known].sum() - n_known * (n_known + 1) / 2) / (n_known * n_unknown))


def _named(answer: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which queries were given a name, and which answers are wrong."""
    answer, truth = np.asarray(answer), np.asarray(truth)
    if answer.ndim != 1 or not len(answer) or answer.shape != truth.shape:
        raise ShapeError(
            "Every query needs one answer and one right name.",
            got=f"answer {answer.shape}, truth {truth.shape}",
            fix="pass the first answer only, ranked[:, 0], and the truth of the same queries.",
        )
    whole = np.issubdtype(answer.dtype, np.integer) and np.issubdtype(truth.dtype, np.integer)
    if not whole or min(answer.min(), truth.min()) < UNKNOWN:
        raise FieldmarkError(
            "Answers and truth must be whole numbers from -1 (nobody we know).",
            got=f"answer of type {answer.dtype} from {answer.min()}, truth of type {truth.dtype} from {truth.min()}",
            fix="pass classes, not scores; rank(..., unknown_at=t) leaves no first place empty.",
        )
    return answer != UNKNOWN, answer != truth

"""Open-set metrics: how well answers separate unknown individuals from known ones."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from fieldmark.core.errors import FieldmarkError, ShapeError

UNKNOWN = -1


def false_match_rate(answer: Int[np.ndarray, " query"], truth: Int[np.ndarray, " query"]) -> float:
    """FPIR (false positive identification rate): share of unknown individuals answered with a name.

    The name FPIR comes from biometrics (ISO/IEC 19795-1). The pages of fieldmark call it the false-match rate.

    Args:
        answer: First answer to each query, -1 for unknown.
        truth: Right answer to each query, -1 for unknown individuals.

    Returns:
        A number from 0 to 1.

    Raises:
        ShapeError: The arrays differ in length or are empty.
        FieldmarkError: There is no unknown individual, or an answer is not a whole number.

    Example:
        >>> false_match_rate(np.array([4, -1, 4]), np.array([-1, -1, 4]))
        0.5
    """
    named, unknown = _named(answer, truth)[0], np.asarray(truth) == UNKNOWN
    if not unknown.any():
        raise FieldmarkError(
            "The false-match rate needs queries of unknown individuals.",
            got=f"{len(unknown)} queries, all of known identities",
            fix="add photos of unknown individuals to the validation photos.",
        )
    return float(named[unknown].mean())


def false_rejection_rate(answer: Int[np.ndarray, " query"], truth: Int[np.ndarray, " query"]) -> float:
    """False rejection rate: share of known individuals answered as unknown.

    It counts only rejections. ``missed_identification_rate`` (FNIR) also counts false names. ``false_match_rate``
    (FPIR) is the rate for unknown individuals.

    Args:
        answer: First answer to each query, -1 for unknown.
        truth: Right answer to each query, -1 for unknown individuals.

    Returns:
        A number from 0 to 1.

    Raises:
        ShapeError: The arrays differ in length or are empty.
        FieldmarkError: There is no known individual, or an answer is not a whole number.
    """
    named, known = _named(answer, truth)[0], np.asarray(truth) != UNKNOWN
    if not known.any():
        raise FieldmarkError(
            "The false rejection rate needs queries of known individuals.",
            got=f"{len(known)} queries, all of unknown individuals",
            fix="add photos of known individuals to the queries.",
        )
    return float(1 - named[known].mean())


def false_discovery_rate(answer: Int[np.ndarray, " query"], truth: Int[np.ndarray, " query"]) -> float:
    """False discovery rate: share of names that are wrong, among all answers that are a name.

    A name is wrong if the photo shows an unknown individual or another known one. This is the error rate in a list of
    identified photos. It is 0 if no answer is a name.

    Args:
        answer: First answer to each query, -1 for unknown.
        truth: Right answer to each query, -1 for unknown individuals.

    Returns:
        A number from 0 to 1.

    Raises:
        ShapeError: The arrays differ in length or are empty.
        FieldmarkError: An answer is not a whole number.
    """
    named, wrong = _named(answer, truth)
    return float(wrong[named].mean()) if named.any() else 0.0


def roc_auc(score: Float[np.ndarray, " query"], known: Bool[np.ndarray, " query"]) -> float:
    """ROC AUC: probability that a known individual scores higher than an unknown one. Equal scores count one half.

    Args:
        score: Score of each query, larger for likely known individuals, for example the highest identity score. Any
            sign is allowed, and -inf too.
        known: Whether the query shows a known individual.

    Returns:
        1 for perfect separation, 0.5 for random scores.

    Raises:
        ShapeError: The arrays differ in length or are empty.
        FieldmarkError: A score is NaN, or there are no known or no unknown individuals.

    Source:
        Mann and Whitney 1947: the rank sum with ties averaged is the area under the ROC curve.
    """
    score, known = np.asarray(score, np.float64), np.asarray(known)
    if score.ndim != 1 or not len(score) or known.shape != score.shape:
        raise ShapeError(
            "score and known of roc_auc() must have one value for each query.",
            got=f"score {score.shape}, known {known.shape}",
            fix="pass two lists of equal length, for example scores.max(axis=1) and truth >= 0.",
        )
    known = known.astype(bool)
    n_known = int(known.sum())
    n_unknown = len(known) - n_known
    if np.isnan(score).any() or not n_known or not n_unknown:
        raise FieldmarkError(
            "roc_auc() needs scores of known and of unknown individuals, without NaN.",
            got=f"{n_known} known, {n_unknown} unknown individuals, {int(np.isnan(score).sum())} scores NaN",
            fix="pass numbers, and at least one query of each kind.",
        )
    _, group, count = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[group]  # 1 is lowest; ties share the mean of their ranks
    return float((rank[known].sum() - n_known * (n_known + 1) / 2) / (n_known * n_unknown))


def _named(answer: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether each answer is a name, and whether it is wrong."""
    answer, truth = np.asarray(answer), np.asarray(truth)
    if answer.ndim != 1 or not len(answer) or answer.shape != truth.shape:
        raise ShapeError(
            "answer and truth must have one value for each query.",
            got=f"answer {answer.shape}, truth {truth.shape}",
            fix="pass the first answers, for example ranked[:, 0], and the truth of the same queries.",
        )
    whole = np.issubdtype(answer.dtype, np.integer) and np.issubdtype(truth.dtype, np.integer)
    if not whole or min(answer.min(), truth.min()) < UNKNOWN:
        raise FieldmarkError(
            "answer and truth must be whole numbers from -1 (unknown individual).",
            got=f"answer of type {answer.dtype} from {answer.min()}, truth of type {truth.dtype} from {truth.min()}",
            fix="pass classes, not scores. rank(..., unknown_at=t) fills every first place.",
        )
    return answer != UNKNOWN, answer != truth

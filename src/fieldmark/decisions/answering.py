"""Logits to the probability of each answer: the answers of a question share 1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float64, Int

from fieldmark.decisions.questions import Questions


def compete(
    logits: Float[np.ndarray, "image answer"], question_of: Int[np.ndarray, " answer"]
) -> Float64[np.ndarray, "image answer"]:
    """Softmax within each question.

    Args:
        logits: Raw scores; -inf is an answer that is not possible.
        question_of: The question of each answer, rising from 0.

    Raises:
        ShapeError: The arrays do not fit each other.
    """
    questions, logits = Questions.of(question_of), np.asarray(logits, np.float64)
    questions.must_fit("logits", logits)
    highest = questions.highest(logits)
    return questions.shared_out(np.exp(logits - questions.widened(np.where(np.isfinite(highest), highest, 0.0))))


def conditional(
    logits: Float[np.ndarray, "image answer"],
    question_of: Int[np.ndarray, " answer"],
    below: Sequence[Sequence[int]],
) -> Float64[np.ndarray, "image answer"]:
    """What is above is answered first: an answer's share among its siblings, times the probability of what is above.

    An answer that may be a kind of several gets a part from each. Where nothing lies below an answer above, its
    probability is shared out anew among the answers below the others.

    Args:
        logits: Raw scores of a head trained with siblings competing.
        question_of: The question of each answer, rising from 0; what is above comes earlier.
        below: For each answer those (by number) of an earlier question that it may be a kind of; empty: of none.

    Raises:
        ShapeError: The arrays do not fit each other.

    Source:
        Redmon and Farhadi 2017, arXiv:1612.08242, section 4; several parents are ours.
    """
    questions, logits = Questions.of(question_of), np.asarray(logits, np.float64)
    proba = compete(logits, question_of)
    for columns in questions.slices:
        mine = range(columns.start, columns.stop)
        above = sorted({parent for column in mine for parent in below[column]})
        if not above:
            continue
        one = np.zeros(len(mine), np.int64)
        total = np.zeros((len(logits), len(mine)))
        for parent in above:
            siblings = np.array([parent in below[column] for column in mine])
            total += proba[:, [parent]] * compete(np.where(siblings, logits[:, columns], -np.inf), one)
        proba[:, columns] = Questions.of(one).shared_out(total)
    return proba

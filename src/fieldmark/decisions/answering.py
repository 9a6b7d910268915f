"""Convert logits to answer probabilities that sum to 1 within each question."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float64, Int

from fieldmark.decisions.questions import Questions


def compete(
    logits: Float[np.ndarray, "image answer"], question_of: Int[np.ndarray, " answer"]
) -> Float64[np.ndarray, "image answer"]:
    """Apply a softmax within each question.

    Args:
        logits: Raw scores; -inf marks an impossible answer.
        question_of: The question number of each answer column, ascending from 0.

    Raises:
        ShapeError: The arrays do not match in shape.
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
    """Return answer probabilities that depend on the answers to the parent questions.

    The probability of an answer is its softmax among its siblings, times the probability of its parent answer. An
    answer with several parents gets a part from each of them. If a parent answer has no children, its probability is
    redistributed among the children of the other parents.

    Args:
        logits: Raw scores of a head that was trained with a softmax among siblings.
        question_of: The question number of each answer column, ascending from 0; parents come before children.
        below: For each answer, the column numbers of its possible parent answers; empty for an answer without a parent.

    Raises:
        ShapeError: The arrays do not match in shape.

    Source:
        Redmon and Farhadi 2017, arXiv:1612.08242, section 4; several parents are ours.
    """
    questions, logits = Questions.of(question_of), np.asarray(logits, np.float64)
    proba = compete(logits, question_of)
    for columns in questions.slices:
        children = range(columns.start, columns.stop)
        parents = sorted({parent for column in children for parent in below[column]})
        if not parents:
            continue
        one = np.zeros(len(children), np.int64)
        total = np.zeros((len(logits), len(children)))
        for parent in parents:
            siblings = np.array([parent in below[column] for column in children])
            total += proba[:, [parent]] * compete(np.where(siblings, logits[:, columns], -np.inf), one)
        proba[:, columns] = Questions.of(one).shared_out(total)
    return proba

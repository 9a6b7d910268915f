"""How often questions about a picture are answered wrongly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int, Int64

from fieldmark.core.errors import FieldmarkError, ShapeError, several


@dataclass(frozen=True, slots=True)
class QuestionError:
    """Errors of answers, overall and by question.

    Attributes:
        mean: Share of wrong answers among all pairs of image and question that have truth.
        of_question: The same for each question; NaN where no image has truth for it.
        n_pairs: How many images have truth for each question.
    """

    mean: float
    of_question: Float64[np.ndarray, " question"]
    n_pairs: Int64[np.ndarray, " question"]


def error_per_question(
    answer: Int[np.ndarray, "image question"],
    truth: Bool[np.ndarray, "image label"],
    question_of: Int[np.ndarray, " label"],
) -> QuestionError:
    """Share of wrong answers; an answer is right if it is any of the right ones.

    A dress may be both "red" and "white": either answer to "which colour?" is right. Pairs of image and question
    without any right answer on record say nothing and are skipped.

    Args:
        answer: The label (column of ``truth``) given to each question of each image; -1 for no answer, which is
            wrong.
        truth: Which labels are right for each image.
        question_of: The question each label answers, 0 ... question - 1.

    Returns:
        The errors, 0 to 1.

    Raises:
        ShapeError: The arrays do not fit each other or are empty.
        FieldmarkError: An answer belongs to another question or is no label, or no pair has truth.

    Source:
        The metric of iMaterialist 2017 (FGVC4): mean error over annotated pairs of image and task.
    """
    answer, truth, question_of = np.asarray(answer), np.asarray(truth, bool), np.asarray(question_of)
    if answer.ndim != 2 or not answer.size or truth.shape != (len(answer), len(np.atleast_1d(question_of))):
        raise ShapeError(
            "error_per_question() needs one answer for each image and question, and the right labels of each image.",
            got=f"answer {answer.shape}, truth {truth.shape}, question_of {question_of.shape}",
            fix="pass (image, question), (image, label) and (label,), with at least one image and question.",
        )
    n_questions = answer.shape[1]
    _check_answers(answer, question_of)
    belongs = question_of[:, None] == np.arange(n_questions)
    has_truth = (truth.astype(np.int64) @ belongs.astype(np.int64)) > 0
    if not has_truth.any():
        raise FieldmarkError(
            "No image has truth for any question.",
            got=f"{len(answer)} images, {n_questions} questions",
            fix="measure on annotated images.",
        )
    right = np.take_along_axis(truth, np.maximum(answer, 0), axis=1) & (answer >= 0)
    n_pairs = has_truth.sum(axis=0)
    n_wrong = (has_truth & ~right).sum(axis=0)
    of_question = np.divide(n_wrong, n_pairs, out=np.full(n_questions, np.nan), where=n_pairs > 0)
    return QuestionError(mean=float(n_wrong.sum() / n_pairs.sum()), of_question=of_question, n_pairs=n_pairs)


def _check_answers(answer: np.ndarray, question_of: np.ndarray) -> None:
    n_questions, n_labels = answer.shape[1], len(question_of)
    known = (answer >= -1) & (answer < n_labels)
    fits = known & ((answer == -1) | (question_of[np.clip(answer, 0, n_labels - 1)] == np.arange(n_questions)))
    if not fits.all():
        odd = [
            f"image {image}, question {question}: label {answer[image, question]}"
            for image, question in np.argwhere(~fits)
        ]
        raise FieldmarkError(
            "Some answers are no labels of their question.",
            got=several(odd),
            fix="choose among the labels with question_of == question; -1 is no answer.",
        )

"""Error rates of the answers to questions (attributes) about photos."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int, Int64

from fieldmark.core.errors import FieldmarkError, ShapeError, several


@dataclass(frozen=True, slots=True)
class QuestionError:
    """Error rates of answers, overall and by question.

    Attributes:
        mean: Share of wrong answers among all labelled pairs of image and question, 0 to 1.
        of_question: Share of wrong answers to each question; NaN if no image is labelled for it.
        n_pairs: Number of labelled images for each question.
    """

    mean: float
    of_question: Float64[np.ndarray, " question"]
    n_pairs: Int64[np.ndarray, " question"]


def error_per_question(
    answer: Int[np.ndarray, "image question"],
    truth: Bool[np.ndarray, "image label"],
    question_of: Int[np.ndarray, " label"],
) -> QuestionError:
    """Share of wrong answers, overall and by question. If several answers are right, each of them counts as right.

    Example: a dress is both "red" and "white". Then either answer to "which colour?" is right. Pairs of image and
    question without a label are skipped.

    Args:
        answer: Predicted label (column of ``truth``) for each image and question. -1 means no answer and is wrong.
        truth: Right labels of each image.
        question_of: Question of each label, from 0.

    Returns:
        The error rates, 0 to 1.

    Raises:
        ShapeError: The shapes of the arrays do not agree, or the arrays are empty.
        FieldmarkError: An answer is not a label of its question, or no pair is labelled.

    Source:
        The metric of iMaterialist 2017 (FGVC4): mean error over annotated pairs of image and task.
    """
    answer, truth, question_of = np.asarray(answer), np.asarray(truth, bool), np.asarray(question_of)
    if answer.ndim != 2 or not answer.size or truth.shape != (len(answer), len(np.atleast_1d(question_of))):
        raise ShapeError(
            "answer, truth and question_of of error_per_question() do not agree in shape.",
            got=f"answer {answer.shape}, truth {truth.shape}, question_of {question_of.shape}",
            fix="pass (image, question), (image, label) and (label,), with at least one image and question.",
        )
    n_questions = answer.shape[1]
    _check_answers(answer, question_of)
    belongs = question_of[:, None] == np.arange(n_questions)
    has_truth = (truth.astype(np.int64) @ belongs.astype(np.int64)) > 0
    if not has_truth.any():
        raise FieldmarkError(
            "truth has no right answer for any image and question.",
            got=f"{len(answer)} images, {n_questions} questions",
            fix="pass images with labels.",
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
            "Some answers are not labels of their question.",
            got=several(odd),
            fix="use labels with question_of == question, or -1 for no answer.",
        )

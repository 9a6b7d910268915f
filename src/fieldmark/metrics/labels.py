"""Metrics of multi-label predictions."""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Bool, Float64

from fieldmark.core.errors import FieldmarkError, ShapeError

Answers = Bool[np.ndarray, "image label"]


def f_beta(
    answer: Answers,
    truth: Answers,
    *,
    beta: float = 2.0,
    average: Literal["sample", "micro", "macro"] = "sample",
    if_empty: float = 0.0,
) -> float:
    """F-beta of multi-label predictions, computed from the found, missed and false labels.

    A missed label counts ``beta`` squared times as much as a false label. Therefore F2 rewards giving more labels.

    Args:
        answer: The predicted labels of each image: 0 and 1, or booleans.
        truth: The right labels of each image.
        beta: Weight of missed labels, above 0.
        average: ``"sample"``: mean of one F per image (iMet 2019). ``"macro"``: mean of one F per label. ``"micro"``:
            one F over all pairs of image and label (iMet 2020).
        if_empty: F of an image (or label) that has neither right nor predicted labels.

    Returns:
        A number from 0 to 1.

    Raises:
        ShapeError: The matrices differ in shape or are empty.
        FieldmarkError: The matrices hold values other than 0 and 1, or ``beta`` or ``average`` is invalid.

    Source:
        van Rijsbergen 1979; averages as in scikit-learn, where ``if_empty`` is called ``zero_division``.
    """
    found, n_answer, n_truth = _counts(answer, truth, beta=beta)
    if average == "micro":
        return float(_f(found.sum(), n_answer.sum(), n_truth.sum(), beta=beta, if_empty=if_empty))
    if average == "sample":
        return float(f_beta_per_image(answer, truth, beta=beta, if_empty=if_empty).mean())
    if average == "macro":
        return float(
            _f(found.sum(axis=0), n_answer.sum(axis=0), n_truth.sum(axis=0), beta=beta, if_empty=if_empty).mean()
        )
    raise FieldmarkError(
        "There is no average of that name.",
        got=average,
        fix="use 'sample' (iMet 2019), 'micro' (iMet 2020) or 'macro'.",
    )


def f_beta_per_image(
    answer: Answers, truth: Answers, *, beta: float = 2.0, if_empty: float = 0.0
) -> Float64[np.ndarray, " image"]:
    """F-beta of each image; see ``f_beta``. ``interval()`` computes an interval of their mean."""
    found, n_answer, n_truth = _counts(answer, truth, beta=beta)
    return _f(found.sum(axis=1), n_answer.sum(axis=1), n_truth.sum(axis=1), beta=beta, if_empty=if_empty)


def _counts(answer: np.ndarray, truth: np.ndarray, *, beta: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    answer, truth = np.asarray(answer), np.asarray(truth)
    if answer.shape != truth.shape or answer.ndim != 2 or not answer.size:
        raise ShapeError(
            "f_beta() needs answer and truth as (image, label) matrices of equal shape.",
            got=f"answer {answer.shape}, truth {truth.shape}",
            fix="pass two (image, label) matrices of the same shape, with at least one image and label.",
        )
    for name, matrix in (("answer", answer), ("truth", truth)):
        if matrix.dtype != bool and not ((matrix == 0) | (matrix == 1)).all():
            raise FieldmarkError(
                f"{name} of f_beta() holds values other than 0 and 1.",
                got=f"values from {matrix.min()} to {matrix.max()}",
                fix="apply a threshold to probabilities first, for example proba > 0.1.",
            )
    if not beta > 0:
        raise FieldmarkError("f_beta() needs a positive beta.", got=beta, fix="use beta=2 (iMet) or beta=1.")
    answer, truth = answer.astype(bool), truth.astype(bool)
    return answer & truth, answer, truth


def _f(found: np.ndarray, n_answer: np.ndarray, n_truth: np.ndarray, *, beta: float, if_empty: float) -> np.ndarray:
    weight = beta * beta
    total = np.asarray(weight * n_truth + n_answer, np.float64)
    return np.divide((1 + weight) * found, total, out=np.full(total.shape, float(if_empty)), where=total > 0)

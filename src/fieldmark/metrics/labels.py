"""How good answers with many labels each are."""

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
    """F-beta of multi-label answers: one number from the labels found, missed and made up.

    F-beta weighs a missed label ``beta`` squared times as much as a made-up one; F2 prefers to say too much.

    Args:
        answer: Which labels were given to which image: 0 and 1, or booleans.
        truth: Which labels are right.
        beta: Above 0.
        average: ``"sample"``: one F an image, then the mean (iMet 2019). ``"macro"``: one F a label, then the mean.
            ``"micro"``: all decisions in one pot (iMet 2020).
        if_empty: F of an image (label) without any right and any given label.

    Returns:
        A number from 0 to 1.

    Raises:
        ShapeError: The matrices differ in shape or are empty.
        FieldmarkError: They hold other values than 0 and 1, or ``beta`` or ``average`` is impossible.

    Source:
        van Rijsbergen 1979; averages as scikit-learn has them (there ``if_empty`` is ``zero_division``).
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
    """F-beta of each image; see ``f_beta``. Feed it to ``interval()``."""
    found, n_answer, n_truth = _counts(answer, truth, beta=beta)
    return _f(found.sum(axis=1), n_answer.sum(axis=1), n_truth.sum(axis=1), beta=beta, if_empty=if_empty)


def _counts(answer: np.ndarray, truth: np.ndarray, *, beta: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    answer, truth = np.asarray(answer), np.asarray(truth)
    if answer.shape != truth.shape or answer.ndim != 2 or not answer.size:
        raise ShapeError(
            "f_beta() needs one yes or no for every image and label, given and right.",
            got=f"answer {answer.shape}, truth {truth.shape}",
            fix="pass two (image, label) matrices of the same shape, with at least one image and label.",
        )
    for name, matrix in (("answer", answer), ("truth", truth)):
        if matrix.dtype != bool and not ((matrix == 0) | (matrix == 1)).all():
            raise FieldmarkError(
                f"f_beta() counts labels; {name} holds other values than 0 and 1.",
                got=f"values from {matrix.min()} to {matrix.max()}",
                fix="cut probabilities into answers first, for example proba > 0.1.",
            )
    if not beta > 0:
        raise FieldmarkError("f_beta() needs a positive beta.", got=beta, fix="use beta=2 (iMet) or beta=1.")
    answer, truth = answer.astype(bool), truth.astype(bool)
    return answer & truth, answer, truth


def _f(found: np.ndarray, n_answer: np.ndarray, n_truth: np.ndarray, *, beta: float, if_empty: float) -> np.ndarray:
    weight = beta * beta
    below = np.asarray(weight * n_truth + n_answer, np.float64)
    return np.divide((1 + weight) * found, below, out=np.full(below.shape, float(if_empty)), where=below > 0)

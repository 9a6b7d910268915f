"""Noisy-label filter: find images whose labels disagree with their out-of-fold predictions."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float, Float32

from fieldmark.core.errors import FieldmarkError
from fieldmark.quality.labels.inputs import ROW_BLOCK, SMALLEST, check_pair
from fieldmark.quality.specs import Absolute, ErrorMeasure, NoiseRule, Percentile, RobustZ

MAD_TO_SD = 1.4826
"""Standard deviation of a normal distribution, divided by its median absolute deviation."""


def image_error(
    proba: Float[np.ndarray, "image label"], truth: Bool[np.ndarray, "image label"], *, by: ErrorMeasure = "bce"
) -> Float32[np.ndarray, " image"]:
    """Return the error between the scores and the labels of each image.

    Args:
        proba: Out-of-fold probabilities. On training images, the error measures only how well the network memorised
            them.
        truth: The given labels, 0 and 1.
        by: ``"bce"``: mean binary cross-entropy over the labels, in nats. One label with a confident wrong prediction
            has a large effect. ``"absolute"``: mean |truth - proba|. Many small errors count as much as a large one.

    Returns:
        One error per image, at least 0; larger is worse. The error is finite where proba is exactly 0 or 1, because
        such values are moved by 6e-8.

    Raises:
        ShapeError: The matrices differ in shape or are empty.
        FieldmarkError: ``proba`` has values outside 0 to 1, ``truth`` has values other than 0 and 1, or ``by`` is
            unknown.

    Source:
        iMet 2019, 1st place, stage 2 ("drop images with too large an error"), which does not specify the error.
    """
    proba, truth = check_pair(proba, truth, function="image_error()")
    if by not in {"bce", "absolute"}:
        raise FieldmarkError(
            "Setting 'by' of image_error() is not a known error measure.", got=by, fix="use 'bce' or 'absolute'."
        )
    error = np.empty(len(proba), np.float32)
    for start in range(0, len(proba), ROW_BLOCK):
        rows = slice(start, start + ROW_BLOCK)
        # The cross-entropy is -log(1 - distance) for both values of the label.
        distance = np.abs(truth[rows].astype(np.float32) - proba[rows].astype(np.float32, copy=False))
        if by == "bce":
            np.minimum(distance, 1 - SMALLEST, out=distance)
            np.log1p(np.negative(distance, out=distance), out=distance)
            np.negative(distance, out=distance)
        error[rows] = distance.mean(axis=1)
    return error


def noisy(error: Float[np.ndarray, " image"], rule: NoiseRule) -> Bool[np.ndarray, " image"]:
    """Return the images to leave out of training.

    Args:
        error: Error of each image; larger is worse.
        rule: Rule for the threshold. ``Percentile`` drops a whole number of images, at most its share; of equal errors
            it drops the later rows first. ``RobustZ`` drops nothing if more than half of the errors are equal.

    Returns:
        True where the image is noisy.

    Raises:
        FieldmarkError: ``error`` is empty or contains NaN.

    Source:
        Percentile as in iMet 2019, 1st place; RobustZ: Iglewicz and Hoaglin 1993, modified z-score, here one-sided.
    """
    error = np.asarray(error)
    if error.ndim != 1 or not error.size or np.isnan(error).any():
        raise FieldmarkError(
            "Argument 'error' of noisy() needs one number for every image.",
            got=f"shape {error.shape}, {int(np.isnan(error).sum())} NaN",
            fix="pass the result of image_error().",
        )
    match rule:
        case Percentile(share=share):
            # The small term corrects rounding errors of floats: 0.07 * 100 is 7.000000000000001, and 0.29 * 100 is
            # 28.999999999999996.
            n = math.floor(share * len(error) + 1e-9)
            worst = np.zeros(len(error), dtype=bool)
            worst[np.argsort(error, kind="stable")[len(error) - n :]] = True
            return worst
        case Absolute(above=above):
            return error > above
        case RobustZ(above=above):
            middle = np.median(error)
            deviation = MAD_TO_SD * np.median(np.abs(error - middle))
            return (error > middle + above * deviation) & (deviation > 0)

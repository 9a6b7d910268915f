"""Images whose labels their own out-of-fold scores do not believe: the filter of stage 2."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float, Float32

from fieldmark.core.errors import FieldmarkError
from fieldmark.quality.labels.inputs import ROW_BLOCK, SMALLEST, check_pair
from fieldmark.quality.specs import Absolute, ErrorMeasure, NoiseRule, Percentile, RobustZ

MAD_TO_SD = 1.4826
"""The standard deviation of a normal law over its median absolute deviation."""


def image_error(
    proba: Float[np.ndarray, "image label"], truth: Bool[np.ndarray, "image label"], *, by: ErrorMeasure = "bce"
) -> Float32[np.ndarray, " image"]:
    """How far the scores of each image are from its labels.

    Args:
        proba: From networks that have not seen the image; on trained images the error says how well they were
            learned by heart.
        truth: The given labels, 0 and 1.
        by: ``"bce"``: mean binary cross-entropy over the labels, in nats; one label that is surely denied weighs
            heavily. ``"absolute"``: mean |truth - proba|; many small disagreements weigh as much as a large one.

    Returns:
        At least 0; larger is worse. Finite also where proba is exactly 0 or 1: such values are read as 6e-8 off.

    Raises:
        ShapeError: The matrices differ in shape or are empty.
        FieldmarkError: A value is no probability or no truth, or there is no such measure.

    Source:
        iMet 2019, 1st place, stage 2 ("drop images with too large an error"), which does not name the error.
    """
    proba, truth = check_pair(proba, truth, who="image_error()")
    if by not in {"bce", "absolute"}:
        raise FieldmarkError("There is no error measure of that name.", got=by, fix="use 'bce' or 'absolute'.")
    error = np.empty(len(proba), np.float32)
    for start in range(0, len(proba), ROW_BLOCK):
        rows = slice(start, start + ROW_BLOCK)
        # Distance to the given label: from it the cross-entropy follows without a case for yes and one for no.
        distance = np.abs(truth[rows].astype(np.float32) - proba[rows].astype(np.float32, copy=False))
        if by == "bce":
            np.minimum(distance, 1 - SMALLEST, out=distance)
            np.log1p(np.negative(distance, out=distance), out=distance)
            np.negative(distance, out=distance)
        error[rows] = distance.mean(axis=1)
    return error


def noisy(error: Float[np.ndarray, " image"], rule: NoiseRule) -> Bool[np.ndarray, " image"]:
    """Which images to leave out of training.

    Args:
        error: Of each image, larger is worse.
        rule: Where to cut. ``Percentile`` leaves out a whole number of images, at most its share; of equal errors the
            later rows go first. ``RobustZ`` leaves out none where more than half of the errors are equal.

    Returns:
        True where the image is noisy.

    Raises:
        FieldmarkError: An error is NaN, or there are none.

    Source:
        Percentile as iMet 2019, 1st place; RobustZ: Iglewicz and Hoaglin 1993, modified z-score, here one-sided.
    """
    error = np.asarray(error)
    if error.ndim != 1 or not error.size or np.isnan(error).any():
        raise FieldmarkError(
            "noisy() needs one error for each image.",
            got=f"shape {error.shape}, {int(np.isnan(error).sum())} NaN",
            fix="pass what image_error() gives.",
        )
    match rule:
        case Percentile(share=share):
            # A whole number of images: 0.07 * 100 is 7.000000000000001 in floats, 0.29 * 100 is 28.999999999999996.
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

"""Input checks shared by the label functions."""

from __future__ import annotations

import numpy as np

from fieldmark.core.errors import FieldmarkError, ShapeError

ROW_BLOCK = 4096
"""Number of images processed at a time, so that a matrix of 109,237 x 1,103 values is never copied in memory."""

SMALLEST = np.float32(2.0**-24)
"""Smallest distance of a probability from 0 and 1; float32 has no closer value below 1."""


def check_proba(proba: np.ndarray, *, function: str) -> np.ndarray:
    """Return ``proba`` unchanged after checking that it is a matrix of probabilities.

    Raises:
        ShapeError: ``proba`` is not a matrix, or is empty.
        FieldmarkError: A value is NaN or not between 0 and 1.
    """
    proba = np.asarray(proba)
    if proba.ndim != 2 or not proba.size:
        raise ShapeError(
            f"Argument 'proba' of {function} needs one probability for every image and label.",
            got=f"proba {proba.shape}",
            fix="pass an (image, label) matrix with at least one image and one label.",
        )
    low, high = float(proba.min()), float(proba.max())
    if not (low >= 0 and high <= 1):  # also where either is NaN
        raise FieldmarkError(
            f"Argument 'proba' of {function} must hold probabilities between 0 and 1.",
            got=f"values from {low:g} to {high:g}",
            fix="pass logits through a sigmoid first: 1 / (1 + exp(-logits)).",
        )
    return proba


def check_pair(proba: np.ndarray, truth: np.ndarray, *, function: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the probabilities and their ground truth after checking both.

    Raises:
        ShapeError: The matrices differ in shape or are empty.
        FieldmarkError: ``truth`` has values other than 0 and 1, or ``proba`` has values outside 0 to 1.
    """
    truth = np.asarray(truth)
    if np.shape(proba) != truth.shape:
        raise ShapeError(
            f"Argument 'truth' of {function} needs one value for every probability.",
            got=f"proba {np.shape(proba)}, truth {truth.shape}",
            fix="pass two (image, label) matrices of the same shape, rows and columns in the same order.",
        )
    check_truth(truth, function=function)
    return check_proba(proba, function=function), truth


def check_truth(truth: np.ndarray, *, function: str) -> None:
    """Check that ``truth`` holds only 0 and 1.

    Raises:
        FieldmarkError: It holds other values.
    """
    if truth.dtype == np.bool_ or not truth.size:
        return
    for start in range(0, len(truth), ROW_BLOCK):
        block = truth[start : start + ROW_BLOCK]
        if not ((block == 0) | (block == 1)).all():
            raise FieldmarkError(
                f"Argument 'truth' of {function} must hold only 0 and 1.",
                got=f"values from {np.min(truth):g} to {np.max(truth):g}",
                fix="pass 1 where the image has the label and 0 elsewhere; soft targets are not supported.",
            )

"""What every part of this room asks of its matrices."""

from __future__ import annotations

import numpy as np

from fieldmark.core.errors import FieldmarkError, ShapeError

ROW_BLOCK = 4096
"""Images worked on at a time: a whole contest of 109,237 x 1,103 must never stand twice in memory."""

SMALLEST = np.float32(2.0**-24)
"""Probabilities are read as at least this far from 0 and 1: float32 knows nothing nearer to 1."""


def check_proba(proba: np.ndarray, *, who: str) -> np.ndarray:
    """``proba`` as it is, if it is a matrix of probabilities.

    Raises:
        ShapeError: It is no matrix, or is empty.
        FieldmarkError: A value is NaN or not between 0 and 1.
    """
    proba = np.asarray(proba)
    if proba.ndim != 2 or not proba.size:
        raise ShapeError(
            f"{who} needs one probability for every image and label.",
            got=f"proba {proba.shape}",
            fix="pass an (image, label) matrix with at least one image and one label.",
        )
    low, high = float(proba.min()), float(proba.max())
    if not (low >= 0 and high <= 1):  # also where either is NaN
        raise FieldmarkError(
            f"{who} needs probabilities between 0 and 1.",
            got=f"values from {low:g} to {high:g}",
            fix="pass logits through a sigmoid first: 1 / (1 + exp(-logits)).",
        )
    return proba


def check_pair(proba: np.ndarray, truth: np.ndarray, *, who: str) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and the truth that belongs to them.

    Raises:
        ShapeError: They differ in shape or are empty.
        FieldmarkError: ``truth`` holds other values than 0 and 1, or ``proba`` no probabilities.
    """
    truth = np.asarray(truth)
    if np.shape(proba) != truth.shape:
        raise ShapeError(
            f"{who} needs one truth value for every probability.",
            got=f"proba {np.shape(proba)}, truth {truth.shape}",
            fix="pass two (image, label) matrices of the same shape, rows and columns in the same order.",
        )
    check_truth(truth, who=who)
    return check_proba(proba, who=who), truth


def check_truth(truth: np.ndarray, *, who: str) -> None:
    """Refuse a truth that is anything but 0 and 1.

    Raises:
        FieldmarkError: It holds other values.
    """
    if truth.dtype == np.bool_ or not truth.size:
        return
    for start in range(0, len(truth), ROW_BLOCK):
        block = truth[start : start + ROW_BLOCK]
        if not ((block == 0) | (block == 1)).all():
            raise FieldmarkError(
                f"{who} needs a truth of 0 and 1.",
                got=f"values from {np.min(truth):g} to {np.max(truth):g}",
                fix="pass 1 where the image has the label and 0 elsewhere; soft targets have no truth to doubt.",
            )

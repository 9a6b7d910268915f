"""Calibration: whether answers with a probability of 90 % are right in nine of ten cases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64

from fieldmark.core.errors import FieldmarkError, ShapeError

Bins = Literal["width", "mass"]


@dataclass(frozen=True, slots=True)
class Reliability:
    """Predicted probability and accuracy of answers in bins of similar probability; empty bins are left out.

    Attributes:
        proba: Mean predicted probability of each bin, 0 to 1.
        share_right: Share of right answers in each bin, 0 to 1.
        n: Number of answers in each bin.
    """

    proba: Float64[np.ndarray, " bin"]
    share_right: Float64[np.ndarray, " bin"]
    n: Int64[np.ndarray, " bin"]


def calibration_error(
    proba: Float[np.ndarray, " answer"], right: Bool[np.ndarray, " answer"], *, n_bins: int = 15, bins: Bins = "width"
) -> float:
    """Expected calibration error: mean difference between predicted probability and accuracy.

    The difference is computed for each bin and weighted with the number of answers in the bin.

    Args:
        proba: Predicted probability of each answer, 0 to 1.
        right: Whether each answer is right.
        n_bins: Number of bins for ``proba``.
        bins: ``"width"``: bins of equal width, ``(low, high]``; 0 belongs to the first. ``"mass"``: bins with equal
            numbers of answers. Equal probabilities are never separated, so the order of the answers has no effect: a
            border between equal values moves to their end.

    Returns:
        A number from 0 (perfect calibration) to 1.

    Raises:
        ShapeError: The arrays differ in length or are empty.
        FieldmarkError: ``proba`` is outside 0 ... 1, ``n_bins`` is below 1, or ``bins`` is unknown.

    Source:
        Guo et al. 2017, arXiv:1706.04599, equation 3 (width); Nguyen and O'Connor 2015 (mass).
    """
    table = reliability(proba, right, n_bins=n_bins, bins=bins)
    return float((np.abs(table.proba - table.share_right) * table.n).sum() / table.n.sum())


def reliability(
    proba: Float[np.ndarray, " answer"], right: Bool[np.ndarray, " answer"], *, n_bins: int = 15, bins: Bins = "width"
) -> Reliability:
    """Predicted probability and accuracy of each bin, for a reliability diagram; see ``calibration_error``."""
    proba, right = np.asarray(proba, np.float64), np.asarray(right)
    if proba.ndim != 1 or not len(proba) or right.shape != proba.shape:
        raise ShapeError(
            "proba and right must have one value for each answer.",
            got=f"proba {proba.shape}, right {right.shape}",
            fix="pass two lists of equal length, with at least one answer.",
        )
    if not ((proba >= 0) & (proba <= 1)).all() or n_bins < 1 or bins not in {"width", "mass"}:
        raise FieldmarkError(
            "proba, n_bins or bins has an invalid value.",
            got=f"values from {proba.min()} to {proba.max()}, n_bins={n_bins}, bins={bins!r}",
            fix="pass probabilities from 0 to 1 (sigmoid of logits), n_bins >= 1, and bins='width' or 'mass'.",
        )
    if bins == "width":
        group = np.maximum(np.searchsorted(np.linspace(0, 1, n_bins + 1), proba, side="left") - 1, 0)
    else:
        ordered = np.sort(proba)
        borders = ordered[np.ceil(np.arange(1, n_bins) * len(proba) / n_bins).astype(int) - 1]
        group = np.searchsorted(borders, proba, side="left")
    n = np.bincount(group, minlength=n_bins)
    some = n > 0
    return Reliability(
        proba=np.bincount(group, weights=proba, minlength=n_bins)[some] / n[some],
        share_right=np.bincount(group, weights=right.astype(np.float64), minlength=n_bins)[some] / n[some],
        n=n[some],
    )

"""Whether "90 % sure" is right nine times in ten."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64

from fieldmark.core.errors import FieldmarkError, ShapeError

Bins = Literal["width", "mass"]


@dataclass(frozen=True, slots=True)
class Reliability:
    """Answers of similar confidence_model together; bins without answers are left out.

    Attributes:
        proba: Mean probability that was claimed.
        share_right: Share of the answers that were right.
        n: How many answers.
    """

    proba: Float64[np.ndarray, " bin"]
    share_right: Float64[np.ndarray, " bin"]
    n: Int64[np.ndarray, " bin"]


def calibration_error(
    proba: Float[np.ndarray, " answer"], right: Bool[np.ndarray, " answer"], *, n_bins: int = 15, bins: Bins = "width"
) -> float:
    """Expected calibration error: how far claimed and true shares lie apart, averaged over the answers.

    Args:
        proba: How sure each answer claimed to be, 0 to 1.
        right: Whether it was right.
        n_bins: Into how many groups answers are sorted by ``proba``.
        bins: ``"width"``: equally wide, ``(low, high]``, 0 in the first. ``"mass"``: equally many answers each;
            equal probabilities are never parted (a border inside a run of them moves to its end), so that the order
            of the answers changes nothing.

    Returns:
        0 for perfect calibration, at most 1.

    Raises:
        ShapeError: The arrays differ in length or are empty.
        FieldmarkError: ``proba`` is outside 0 ... 1, ``n_bins`` below 1, or ``bins`` unknown.

    Source:
        Guo et al. 2017, arXiv:1706.04599, equation 3 (width); Nguyen and O'Connor 2015 (mass).
    """
    table = reliability(proba, right, n_bins=n_bins, bins=bins)
    return float((np.abs(table.proba - table.share_right) * table.n).sum() / table.n.sum())


def reliability(
    proba: Float[np.ndarray, " answer"], right: Bool[np.ndarray, " answer"], *, n_bins: int = 15, bins: Bins = "width"
) -> Reliability:
    """Claimed and true shares bin by bin, for a reliability diagram; see ``calibration_error``."""
    proba, right = np.asarray(proba, np.float64), np.asarray(right)
    if proba.ndim != 1 or not len(proba) or right.shape != proba.shape:
        raise ShapeError(
            "Calibration needs a probability and a right or wrong for each answer.",
            got=f"proba {proba.shape}, right {right.shape}",
            fix="pass two lists of the same length, with at least one answer.",
        )
    if not ((proba >= 0) & (proba <= 1)).all() or n_bins < 1 or bins not in {"width", "mass"}:
        raise FieldmarkError(
            "Calibration is about probabilities in bins.",
            got=f"values from {proba.min()} to {proba.max()}, n_bins={n_bins}, bins={bins!r}",
            fix="pass probabilities from 0 to 1 (a sigmoid of logits), n_bins >= 1, and bins='width' or 'mass'.",
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

"""Labels of similar photos mixed with what networks say: how much of each, found on photos whose labels are known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float32

from fieldmark.core.errors import FieldmarkError
from fieldmark.metrics.labels import f_beta_per_image
from fieldmark.stacking.knn import NearestRows, choose_relevance, relevance
from fieldmark.stacking.specs import Relevance, TransferSearch

BLOCK = 4096
THRESHOLDS = np.geomspace(0.02, 0.9, 40).astype(np.float32)


def choose_transfer(
    proba: Float32[np.ndarray, "image label"],
    nearest: NearestRows,
    truth: Bool[np.ndarray, "image label"],
    by: TransferSearch,
    *,
    most_images: int = 4000,
) -> tuple[Relevance, float, tuple[float, ...]]:
    """Which neighbours to hear and how much: the weight with the best mean F2, each at its own best threshold.

    Args:
        proba: Of images whose labels are known, by networks that have not seen them.
        nearest: Of the same images, out of fold: no image among its own neighbours.
        truth: Their labels; those of the neighbours too, whose ``index`` counts in the same rows.
        by: What to try.
        most_images: Only so many, evenly spread, are asked.

    Returns:
        The neighbours' settings, the weight of what they say (0: nothing), and the mean F2 at each weight of ``by``.

    Raises:
        FieldmarkError: There is no image to choose by.
    """
    if not len(truth):
        raise FieldmarkError("There is nothing to choose from.", got="0 images", fix="give out-of-fold scores.")
    settings, _ = choose_relevance(nearest, truth, truth, by.relevance, most_images=most_images)
    asked = np.unique(np.linspace(0, len(truth) - 1, min(most_images, len(truth))).astype(np.int64))
    lent = relevance(NearestRows(nearest.index[asked], nearest.cosine[asked]), truth, settings)
    f2 = tuple(_best_f2(with_neighbours(proba[asked], lent, weight=weight), truth[asked]) for weight in by.weights)
    return settings, by.weights[int(np.argmax(f2))], f2


def with_neighbours(
    proba: Float32[np.ndarray, "image label"], lent: Float32[np.ndarray, "image label"], *, weight: float
) -> Float32[np.ndarray, "image label"]:
    """The weighted mean of what networks and neighbours say."""
    return np.float32(1 - weight) * proba + np.float32(weight) * lent


def _best_f2(proba: np.ndarray, truth: np.ndarray) -> float:
    """The best mean F2 that one threshold for all labels gives."""
    return max(_f2(proba, truth, threshold) for threshold in THRESHOLDS)


def _f2(proba: np.ndarray, truth: np.ndarray, threshold: np.float32) -> float:
    parts: Sequence[np.ndarray] = [
        f_beta_per_image(proba[start : start + BLOCK] > threshold, truth[start : start + BLOCK])
        for start in range(0, len(proba), BLOCK)
    ]
    return float(np.concatenate(parts).mean())

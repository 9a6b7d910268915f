"""Search for the weight of transferred labels in the average with the networks' predictions."""

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
    """Choose the neighbours' settings and the weight with the best mean F2, each with its own best threshold.

    Args:
        proba: Predictions for labelled images, by networks that were not trained on them.
        nearest: Neighbours of the same images, out-of-fold: no image among its own neighbours.
        truth: Labels of the images, and of their neighbours; the ``index`` of ``nearest`` refers to the same rows.
        by: Settings to try.
        most_images: Maximum number of images used, evenly spread.

    Returns:
        The neighbours' settings, the weight of the transferred labels (0: not used), and the mean F2 for each weight of
        ``by``.

    Raises:
        FieldmarkError: There is no labelled image.
    """
    if not len(truth):
        raise FieldmarkError("There are no labelled images.", got="0 images", fix="pass out-of-fold scores.")
    settings, _ = choose_relevance(nearest, truth, truth, by.relevance, most_images=most_images)
    some = np.unique(np.linspace(0, len(truth) - 1, min(most_images, len(truth))).astype(np.int64))
    transferred = relevance(NearestRows(nearest.index[some], nearest.cosine[some]), truth, settings)
    f2 = tuple(_best_f2(with_neighbours(proba[some], transferred, weight=weight), truth[some]) for weight in by.weights)
    return settings, by.weights[int(np.argmax(f2))], f2


def with_neighbours(
    proba: Float32[np.ndarray, "image label"], transferred: Float32[np.ndarray, "image label"], *, weight: float
) -> Float32[np.ndarray, "image label"]:
    """Return the weighted mean of the networks' probabilities and the transferred labels."""
    return np.float32(1 - weight) * proba + np.float32(weight) * transferred


def _best_f2(proba: np.ndarray, truth: np.ndarray) -> float:
    """Return the best mean F2 with one threshold for all labels."""
    return max(_f2(proba, truth, threshold) for threshold in THRESHOLDS)


def _f2(proba: np.ndarray, truth: np.ndarray, threshold: np.float32) -> float:
    parts: Sequence[np.ndarray] = [
        f_beta_per_image(proba[start : start + BLOCK] > threshold, truth[start : start + BLOCK])
        for start in range(0, len(proba), BLOCK)
    ]
    return float(np.concatenate(parts).mean())

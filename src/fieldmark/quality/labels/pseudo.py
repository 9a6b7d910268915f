"""Select pseudo-labels: confident predictions on unlabelled photos, used as training targets."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float, Float32, Int64

from fieldmark.quality.labels.inputs import ROW_BLOCK, check_proba
from fieldmark.quality.specs import (
    ConfidenceMeasure,
    HardTargets,
    LabelPseudoLabelRule,
    MeanConfidence,
    PlausibleConfidence,
    TopShare,
)

REJECTED = -1.0
"""Confidence of an image that must not be selected."""


def confidence(proba: Float[np.ndarray, "image label"], rule: ConfidenceMeasure) -> Float32[np.ndarray, " image"]:
    """Return the confidence of the predictions for each image.

    Args:
        proba: Probabilities for photos that were not used for training.
        rule: Confidence measure, which selects the labels to average.

    Returns:
        One confidence per image, 0 (undecided) to 0.5 (certain about every averaged label); -1 for an image that
        ``PlausibleConfidence`` rejects.

    Raises:
        ShapeError: ``proba`` is not a matrix, or is empty.
        FieldmarkError: ``proba`` has values outside 0 to 1.

    Source:
        ``MeanConfidence``: iMet 2019, 1st place, stage 3. ``PlausibleConfidence``: ours, because the mean
        over 1,103 labels is largest for an image without any label.
    """
    proba = check_proba(proba, function="confidence()")
    confidences = np.empty(len(proba), np.float32)
    for start in range(0, len(proba), ROW_BLOCK):
        rows = slice(start, start + ROW_BLOCK)
        block = proba[rows].astype(np.float32, copy=False)
        confidences[rows] = (
            np.abs(block - np.float32(0.5)).mean(axis=1)
            if isinstance(rule, MeanConfidence)
            else _plausible(block, rule)
        )
    return confidences


def pick(
    proba: Float[np.ndarray, "image label"], rule: LabelPseudoLabelRule
) -> tuple[Int64[np.ndarray, " picked"], Float32[np.ndarray, "picked label"]]:
    """Return the photos with the most confident predictions, and their training targets.

    Use them for training only. In validation, a model would be scored against its own predictions.

    Args:
        proba: Probabilities for photos without labels.
        rule: Confidence measure, number of photos, and form of the targets.

    Returns:
        Rows of ``proba``, the most confident first (of equal confidence the earlier row), and one row of targets for
        each. There are fewer rows than requested if the rule rejects the rest or ``most_per_label`` is reached.

    Raises:
        ShapeError: ``proba`` is not a matrix, or is empty.
        FieldmarkError: ``proba`` has values outside 0 to 1.

    Source:
        iMet 2019, 1st place, stage 3; the source gives neither the share nor the form of the targets (hard or soft).
        The limit per label and its order are ours.
    """
    confidences = confidence(proba, rule.confidence)
    n = len(confidences)
    n = math.floor(rule.amount.share * n + 1e-9) if isinstance(rule.amount, TopShare) else min(rule.amount.n, n)
    order = np.argsort(-confidences, kind="stable")
    order = order[confidences[order] > REJECTED]
    rows = order[:n] if rule.most_per_label is None else _capped(proba, order, n, rule)
    taken = np.asarray(proba)[rows]
    if isinstance(rule.targets, HardTargets):
        return rows, (taken > rule.targets.at).astype(np.float32)
    return rows, taken.astype(np.float32)


def _plausible(proba: Float32[np.ndarray, "image label"], rule: PlausibleConfidence) -> Float32[np.ndarray, " image"]:
    """Return the mean of |p - 0.5| over the plausible labels of each image."""
    n_labels = proba.shape[1]
    plausible = proba > rule.tau
    if rule.top:
        top = min(rule.top, n_labels)
        likeliest = np.argpartition(proba, n_labels - top, axis=1)[:, n_labels - top :]
        plausible[np.arange(len(proba))[:, None], likeliest] = True
    n_plausible = plausible.sum(axis=1)
    total = np.where(plausible, np.abs(proba - np.float32(0.5)), np.float32(0)).sum(axis=1)
    has_label = (proba > rule.at).any(axis=1) & (n_plausible > 0)
    return np.where(has_label, total / np.maximum(n_plausible, 1), np.float32(REJECTED)).astype(np.float32)


def _capped(proba: np.ndarray, order: np.ndarray, n: int, rule: LabelPseudoLabelRule) -> Int64[np.ndarray, " picked"]:
    """Return the first ``n`` rows of ``order`` that keep every label within ``most_per_label`` photos."""
    remaining = np.full(proba.shape[1], rule.most_per_label)
    picked: list[int] = []
    for row in order:
        if len(picked) == n:
            break
        labels = np.flatnonzero(proba[row] > rule.cap_at)
        if (remaining[labels] > 0).all():
            remaining[labels] -= 1
            picked.append(int(row))
    return np.array(picked, dtype=np.int64)

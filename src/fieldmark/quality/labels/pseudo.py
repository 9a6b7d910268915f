"""Sure guesses: which photos without labels may join the training, and as what."""

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

NEVER = -1.0
"""Surety of an image that must not be taken."""


def confidence(proba: Float[np.ndarray, "image label"], rule: ConfidenceMeasure) -> Float32[np.ndarray, " image"]:
    """How sure the scores of each image are.

    Args:
        proba: Of photos no network was trained on.
        rule: Over which labels to look.

    Returns:
        0 (no idea) to 0.5 (every label looked at is certain); -1 for an image that ``PlausibleConfidence`` refuses.

    Raises:
        ShapeError: ``proba`` is no matrix or is empty.
        FieldmarkError: A value is no probability.

    Source:
        ``MeanConfidence``: iMet 2019, 1st place, stage 3. ``PlausibleConfidence``: ours, as the mean over 1,103 labels is
        largest for an image with none.
    """
    proba = check_proba(proba, who="confidence()")
    sure = np.empty(len(proba), np.float32)
    for start in range(0, len(proba), ROW_BLOCK):
        rows = slice(start, start + ROW_BLOCK)
        block = proba[rows].astype(np.float32, copy=False)
        sure[rows] = (
            np.abs(block - np.float32(0.5)).mean(axis=1)
            if isinstance(rule, MeanConfidence)
            else _plausible(block, rule)
        )
    return sure


def pick(
    proba: Float[np.ndarray, "image label"], rule: LabelPseudoLabelRule
) -> tuple[Int64[np.ndarray, " picked"], Float32[np.ndarray, "picked label"]]:
    """The surest photos and what to teach of them.

    They join the training only: a guess among the validation photos would be marked by its own author.

    Args:
        proba: Of photos without labels.
        rule: How surety is measured, how many photos are taken, and the form of the targets.

    Returns:
        Rows of ``proba``, the surest first (of equal surety the earlier row), and a row of targets for each. Fewer
        than asked for where the rule refuses the rest or ``most_per_label`` is met.

    Raises:
        ShapeError: ``proba`` is no matrix or is empty.
        FieldmarkError: A value is no probability.

    Source:
        iMet 2019, 1st place, stage 3; the source tells neither the share nor whether targets are hard or soft. The cap
        and its order are ours.
    """
    sure = confidence(proba, rule.confidence)
    n = len(sure)
    n = math.floor(rule.amount.share * n + 1e-9) if isinstance(rule.amount, TopShare) else min(rule.amount.n, n)
    order = np.argsort(-sure, kind="stable")
    order = order[sure[order] > NEVER]
    rows = order[:n] if rule.most_per_label is None else _capped(proba, order, n, rule)
    taken = np.asarray(proba)[rows]
    if isinstance(rule.targets, HardTargets):
        return rows, (taken > rule.targets.at).astype(np.float32)
    return rows, taken.astype(np.float32)


def _plausible(proba: Float32[np.ndarray, "image label"], rule: PlausibleConfidence) -> Float32[np.ndarray, " image"]:
    """Mean of |p - 0.5| over each image's plausible labels."""
    n_labels = proba.shape[1]
    plausible = proba > rule.tau
    if rule.top:
        top = min(rule.top, n_labels)
        likeliest = np.argpartition(proba, n_labels - top, axis=1)[:, n_labels - top :]
        plausible[np.arange(len(proba))[:, None], likeliest] = True
    n_plausible = plausible.sum(axis=1)
    total = np.where(plausible, np.abs(proba - np.float32(0.5)), np.float32(0)).sum(axis=1)
    says_something = (proba > rule.at).any(axis=1) & (n_plausible > 0)
    return np.where(says_something, total / np.maximum(n_plausible, 1), np.float32(NEVER)).astype(np.float32)


def _capped(proba: np.ndarray, order: np.ndarray, n: int, rule: LabelPseudoLabelRule) -> Int64[np.ndarray, " picked"]:
    """The first ``n`` of ``order`` that give no label more than its share of photos."""
    room = np.full(proba.shape[1], rule.most_per_label)
    picked: list[int] = []
    for row in order:
        if len(picked) == n:
            break
        labels = np.flatnonzero(proba[row] > rule.cap_at)
        if (room[labels] > 0).all():
            room[labels] -= 1
            picked.append(int(row))
    return np.array(picked, dtype=np.int64)

"""Settings of recipes that predict labels: folds, noisy labels and pseudo-labels."""

from __future__ import annotations

from typing import Literal

from fieldmark.plans.common import TrainingSettings
from fieldmark.plans.settings import Settings, setting
from fieldmark.quality.specs import (
    HardTargets,
    LabelPseudoLabelRule,
    MeanConfidence,
    NoiseRule,
    Percentile,
    PlausibleConfidence,
    RobustZ,
    SoftTargets,
    TopShare,
)

DROPPING = {"drop_noisy": (True,)}
PSEUDO = {"pseudo_labels": (True,)}


class LabelSettings(TrainingSettings):
    """Settings of every recipe that predicts labels or attribute answers."""

    fold_method: Literal["iterative", "greedy"] = setting(
        "data",
        "iterative",
        "Stratification of the folds. iterative: distribute all photos of the rarest label first, then of the next "
        "one. greedy: distribute the photos one by one.",
    )
    tta: bool = setting(
        "ranking", True, "Test-time augmentation (TTA): average the predictions for a photo and its horizontal flip."
    )


class LabelNoiseSettings(Settings):
    """Settings for photos with noisy labels."""

    drop_noisy: bool = setting(
        "training",
        True,
        "Step 2: remove the photos with the largest out-of-fold error from the training data and train again.",
    )
    noise_rule: Literal["percentile", "robust_z"] = setting(
        "training",
        "percentile",
        "Rule for noisy photos. percentile: the share noise_share of the photos with the largest errors. robust_z: "
        "photos whose error is more than 3.5 robust standard deviations above the median.",
        needs=DROPPING,
    )
    noise_share: float = setting(
        "training",
        0.02,
        "Share of the photos that are removed.",
        needs=DROPPING | {"noise_rule": ("percentile",)},
        gt=0,
        lt=1,
    )
    noise_error: Literal["bce", "absolute"] = setting(
        "training",
        "bce",
        "Error of a photo. bce: mean binary cross-entropy over its labels. absolute: mean |label - probability|.",
        needs=DROPPING,
    )


class LabelPseudoLabelSettings(Settings):
    """Settings for pseudo-labels of new photos."""

    pseudo_labels: bool = setting(
        "training",
        True,
        "Step 3: add new photos (--new) with confident predictions to the training data as pseudo-labels, and train "
        "again.",
    )
    pseudo_label_rule: Literal["plausible", "mean"] = setting(
        "training",
        "plausible",
        "Confidence of the predictions for a photo. plausible: mean |p - 0.5| over its plausible labels. mean: mean "
        "|p - 0.5| over all labels, as in the source.",
        needs=PSEUDO,
    )
    pseudo_label_share: float = setting(
        "training",
        0.3,
        "Share of the new photos that are added, the most confident ones first.",
        needs=PSEUDO,
        gt=0,
        le=1,
    )
    pseudo_label_targets: Literal["hard", "soft"] = setting(
        "training",
        "hard",
        "Training targets of the pseudo-labels. hard: 0 or 1. soft: the predicted probabilities.",
        needs=PSEUDO,
    )
    pseudo_label_cap: int | None = setting(
        "training",
        None,
        "Maximum number of new photos per label.",
        needs=PSEUDO,
        ge=1,
        unset="none",
        example=100,
    )


def drop_rule(settings: LabelNoiseSettings) -> NoiseRule:
    """Return the rule for out-of-fold errors that are too large."""
    return Percentile(share=settings.noise_share) if settings.noise_rule == "percentile" else RobustZ()


def label_pseudo_labels(settings: LabelPseudoLabelSettings) -> LabelPseudoLabelRule:
    """Return the rule for the new photos that are added and for their targets."""
    return LabelPseudoLabelRule(
        confidence=PlausibleConfidence() if settings.pseudo_label_rule == "plausible" else MeanConfidence(),
        amount=TopShare(share=settings.pseudo_label_share),
        targets=HardTargets() if settings.pseudo_label_targets == "hard" else SoftTargets(),
        most_per_label=settings.pseudo_label_cap,
    )

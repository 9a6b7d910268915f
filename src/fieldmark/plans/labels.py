"""Settings of recipes that learn labels: folds, noisy labels, pseudo-labels."""

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
    """Settings of every recipe that learns labels or answers."""

    fold_method: Literal["iterative", "greedy"] = setting(
        "data",
        "iterative",
        "Stratification of the folds: rarest label first over all photos (iterative), or photo by photo (greedy).",
    )
    tta: bool = setting("ranking", True, "Average predictions for each photo and its mirror image.")


class LabelNoiseSettings(Settings):
    """Settings about photos whose labels can hardly be right."""

    drop_noisy: bool = setting(
        "training", True, "Stage 2: drop the photos with the largest out-of-fold error from training and train again."
    )
    noise_rule: Literal["percentile", "robust_z"] = setting(
        "training",
        "percentile",
        "Which errors are too large: a share of the photos, or those 3.5 robust deviations above the median.",
        needs=DROPPING,
    )
    noise_share: float = setting(
        "training",
        0.02,
        "Share of the photos that is dropped.",
        needs=DROPPING | {"noise_rule": ("percentile",)},
        gt=0,
        lt=1,
    )
    noise_error: Literal["bce", "absolute"] = setting(
        "training",
        "bce",
        "Error of a photo: mean binary cross-entropy of its labels, or mean |label - probability|.",
        needs=DROPPING,
    )


class LabelPseudoLabelSettings(Settings):
    """Settings about pseudo-labels for new photos."""

    pseudo_labels: bool = setting(
        "training", True, "Stage 3: add new photos (--new) with sure predictions as pseudo-labels and train again."
    )
    pseudo_label_rule: Literal["plausible", "mean"] = setting(
        "training",
        "plausible",
        "Confidence of a photo: mean |p - 0.5| over the labels it may have, or over all labels, as the source has it.",
        needs=PSEUDO,
    )
    pseudo_label_share: float = setting(
        "training", 0.3, "Share of the new photos that are added, the surest ones.", needs=PSEUDO, gt=0, le=1
    )
    pseudo_label_targets: Literal["hard", "soft"] = setting(
        "training", "hard", "Targets: present or absent, or the probabilities.", needs=PSEUDO
    )
    pseudo_label_cap: int | None = setting(
        "training", None, "Most new photos a label may get.", needs=PSEUDO, ge=1, unset="none", example=100
    )


def drop_rule(settings: LabelNoiseSettings) -> NoiseRule:
    """Which out-of-fold errors are too large."""
    return Percentile(share=settings.noise_share) if settings.noise_rule == "percentile" else RobustZ()


def label_pseudo_labels(settings: LabelPseudoLabelSettings) -> LabelPseudoLabelRule:
    """Which new photos are added, with which targets."""
    return LabelPseudoLabelRule(
        confidence=PlausibleConfidence() if settings.pseudo_label_rule == "plausible" else MeanConfidence(),
        amount=TopShare(share=settings.pseudo_label_share),
        targets=HardTargets() if settings.pseudo_label_targets == "hard" else SoftTargets(),
        most_per_label=settings.pseudo_label_cap,
    )

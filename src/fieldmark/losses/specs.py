"""Settings of losses (no torch)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from fieldmark.core.spec import Count, Fraction, Positive, Spec


def _learnable(gamma: float) -> float:
    if 0 < gamma < 1:
        raise ValueError("no gradient can be trusted between 0 and 1: use 0 (plain BCE) or any value >= 1")
    return gamma


class Bce(Spec):
    """Binary cross-entropy, summed over labels, averaged over images."""

    kind: Literal["bce"] = "bce"
    weight: Positive = 1.0


class CrossEntropy(Spec):
    """Softmax cross-entropy over identities; unknowns (class -1) are left out."""

    kind: Literal["cross_entropy"] = "cross_entropy"
    smoothing: Fraction = 0.0
    weight: Positive = 1.0


class Focal(Spec):
    """Focal loss, summed over labels, averaged over images."""

    kind: Literal["focal"] = "focal"
    gamma: Annotated[float, Field(ge=0), AfterValidator(_learnable)] = 2.0
    weight: Positive = 1.0


class SoftF(Spec):
    """One minus the F-beta of probabilities, 0 to 1, averaged over images; for last epochs, or beside another loss."""

    kind: Literal["soft_f"] = "soft_f"
    beta: Positive = 2.0
    weight: Positive = 1.0


class Asymmetric(Spec):
    """Focal loss with a power of its own for labels that are not there; summed over labels, averaged over images.

    A label that is not there costs nothing up to a probability of ``clip``.
    """

    kind: Literal["asymmetric"] = "asymmetric"
    gamma_yes: Annotated[float, Field(ge=0), AfterValidator(_learnable)] = 1.0
    gamma_no: Annotated[float, Field(ge=0), AfterValidator(_learnable)] = 4.0
    clip: Fraction = 0.05
    weight: Positive = 1.0


class OhemBce(Spec):
    """One-vs-rest BCE on the ``hardest`` questions of each image, plus the true one's own."""

    kind: Literal["ohem_bce"] = "ohem_bce"
    hardest: Count = 30
    weight: Positive = 1.0


class BatchHardTriplet(Spec):
    """Furthest same, nearest other; unknowns are others to everybody and positives to nobody."""

    kind: Literal["triplet"] = "triplet"
    margin: Positive = 0.3
    weight: Positive = 1.0


Loss = Annotated[
    Bce | CrossEntropy | Focal | SoftF | Asymmetric | OhemBce | BatchHardTriplet, Field(discriminator="kind")
]
Losses = Annotated[tuple[Loss, ...], Field(min_length=1)]
"""A weighted sum."""

PER_LABEL = (Bce, Focal, SoftF, Asymmetric)
"""Losses that take labels, soft ones too, and judge each image by itself."""

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


Loss = Annotated[Bce | CrossEntropy | Focal | OhemBce | BatchHardTriplet, Field(discriminator="kind")]
Losses = Annotated[tuple[Loss, ...], Field(min_length=1)]
"""A weighted sum."""

"""What recipes of several sizes have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeVar

from fieldmark.core.errors import PlanError, nearest
from fieldmark.training.specs import Leg

Size = Literal["toy", "small", "full"]
ScaleT = TypeVar("ScaleT")

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LOWER_LITE = ("stem", "blocks.0", "blocks.1", "blocks.2")
"""The lower half of EfficientNet-Lite0: two thirds of its cost; edges and textures, which ImageNet knows too."""


def of_size(scales: Mapping[str, ScaleT], size: str) -> ScaleT:
    """What a recipe is like at a size.

    Raises:
        PlanError: The recipe has no such size.
    """
    if size not in scales:
        raise PlanError("The recipe has no such size.", got=size, fix=nearest(size, scales))
    return scales[size]


def with_effort(legs: tuple[Leg, ...], effort: float) -> tuple[Leg, ...]:
    """The legs with ``effort`` times their epochs, one at least.

    Raises:
        PlanError: It is not above 0.
    """
    if not effort > 0:
        raise PlanError(
            "Effort multiplies the epochs, and must be above 0.", got=f"effort={effort}", fix="use effort=1."
        )
    return tuple(leg.model_copy(update={"epochs": max(1, round(leg.epochs * effort))}) for leg in legs)

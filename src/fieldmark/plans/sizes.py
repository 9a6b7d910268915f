"""What recipes of several sizes have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeVar

from fieldmark.core.errors import PlanError, nearest
from fieldmark.images.specs import Preprocess
from fieldmark.losses.specs import LocalTriplet, Losses
from fieldmark.models.specs import Net

Size = Literal["toy", "small", "full"]
ScaleT = TypeVar("ScaleT")

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LOWER_LITE = ("stem", "blocks.0", "blocks.1", "blocks.2")
"""The lower half of EfficientNet-Lite0: two thirds of its cost; edges and textures, which ImageNet knows too."""
STRIDE_PX = 32
"""Pixels of the picture in a row of a backbone's last feature map."""


def of_size(scales: Mapping[str, ScaleT], size: str) -> ScaleT:
    """What a recipe is like at a size.

    Raises:
        PlanError: The recipe has no such size.
    """
    if size not in scales:
        raise PlanError("The recipe has no such size.", got=size, fix=nearest(size, scales))
    return scales[size]


def striped(net: Net, losses: Losses, stripes: int | None, preprocess: Preprocess) -> tuple[Net, Losses]:
    """The network with so many stripes and the losses with their triplets; both unchanged for None.

    Raises:
        PlanError: The network's last map has fewer rows: one for 32 pixels of height.
    """
    if stripes is None:
        return net, losses
    rows = preprocess.height_px // STRIDE_PX
    if stripes > rows:
        raise PlanError(
            f"Pictures {preprocess.height_px} px high give {rows} row(s) of features, and so many stripes at most.",
            got=f"stripes={stripes}",
            fix=f"use stripes={rows}." if rows > 1 else "use --size small, whose pictures are higher.",
        )
    return net.model_copy(update={"stripes": stripes}), (*losses, LocalTriplet())

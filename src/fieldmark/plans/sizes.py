"""Sizes of recipes, and constants that several recipes share."""

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
"""Stages of the lower half of EfficientNet-Lite0, two thirds of its cost. They detect edges and textures, for which
ImageNet weights are good enough."""
STRIDE_PX = 32
"""Number of pixels per row of a backbone's last feature map."""


def of_size(scales: Mapping[str, ScaleT], size: str) -> ScaleT:
    """Return the parts of a recipe at a size.

    Raises:
        PlanError: The recipe has no such size.
    """
    if size not in scales:
        raise PlanError("The recipe has no such size.", got=size, fix=nearest(size, scales))
    return scales[size]


def striped(net: Net, losses: Losses, stripes: int | None, preprocess: Preprocess) -> tuple[Net, Losses]:
    """Return the network with stripes and the losses with a triplet loss on them; both unchanged for None.

    Raises:
        PlanError: The network's last feature map has fewer rows than stripes. It has one row per 32 pixels of height.
    """
    if stripes is None:
        return net, losses
    rows = preprocess.height_px // STRIDE_PX
    if stripes > rows:
        raise PlanError(
            f"The setting 'stripes' is too large: {preprocess.height_px} px of height have {rows} feature row(s).",
            got=f"stripes={stripes}",
            fix=f"use stripes={rows}." if rows > 1 else "use --size small, whose input is higher.",
        )
    return net.model_copy(update={"stripes": stripes}), (*losses, LocalTriplet())

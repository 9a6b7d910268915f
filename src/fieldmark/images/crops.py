"""Geometry of crops: the rectangle of the image that is used and its position in the target. No pixels are read."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fieldmark.core.errors import FieldmarkError
from fieldmark.images.specs import BoxCrop, Crop, CropIfNeeded, FullFrame

Box = tuple[float, float, float, float]
"""(left, top, right, bottom) in pixels of the upright image; right and bottom are the first pixels outside the box."""


class Rect(NamedTuple):
    """A rectangle in pixels of the upright image; it may extend beyond the image."""

    top: float
    left: float
    height: float
    width: float


class Landing(NamedTuple):
    """The part of a rectangle inside the image, and its position in the target; both in whole pixels."""

    source: tuple[slice, slice]
    target: tuple[slice, slice]


def source_rect(
    crop: Crop,
    size: tuple[int, int],
    target: tuple[int, int],
    *,
    box: Box | None = None,
    rng: np.random.Generator | None = None,
) -> Rect:
    """Return the rectangle of the image that is resized to the target.

    Args:
        crop: Crop rule.
        size: (height_px, width_px) of the upright image.
        target: (height_px, width_px) of the network's input.
        box: Bounding box of the subject, used by ``BoxCrop`` only. None takes the whole image.
        rng: Random generator, used by ``CropIfNeeded`` only. None crops at the centre.

    Raises:
        FieldmarkError: The box has no area, is not finite, or lies outside the image.

    Source:
        ``CropIfNeeded``: iMet 2019, first place, RandomCropIfNeeded. The two sides are cropped independently, so the
        aspect ratio is not kept. ``BoxCrop``: Humpback 2018, Siamese notes. Each side is moved outwards by ``margin``
        of the box and clipped at the border; then the shorter direction is widened about the centre. Their extra pixel
        is ``margin_px``; it is 0 here, because it belongs to boxes that include their last pixel.
    """
    height, width = size
    match crop:
        case FullFrame():
            return Rect(0, 0, height, width)
        case CropIfNeeded(times=times):
            cut = [min(side, max(1, round(times * to))) for side, to in zip(size, target, strict=True)]
            slack = (height - cut[0], width - cut[1])
            at = [side // 2 if rng is None else int(rng.integers(0, side + 1)) for side in slack]
            return Rect(at[0], at[1], cut[0], cut[1])
        case BoxCrop(margin=margin, margin_px=margin_px):
            if box is None:
                return Rect(0, 0, height, width)
            return _around(_within(box, size, margin, margin_px), aspect=target[1] / target[0])


def landing(rect: Rect, size: tuple[int, int], target: tuple[int, int]) -> Landing:
    """Return the part of a rectangle inside the image, and the pixels of the target that it covers.

    The caller fills the other pixels of the target.

    Args:
        rect: Rectangle in pixels of the image; it must overlap the image.
        size: (height_px, width_px) of the image.
        target: (height_px, width_px) to which the rectangle is resized.

    Returns:
        Slices of at least one pixel in each direction. A rectangle inside the image fills the whole target.
    """
    source, filled = [], []
    for start, length, side, to in (
        (rect.top, rect.height, size[0], target[0]),
        (rect.left, rect.width, size[1], target[1]),
    ):
        first = min(max(0, round(start)), side - 1)
        last = min(max(first + 1, round(start + length)), side)
        source.append(slice(first, last))
        scale = to / length
        begin = 0 if start >= 0 else min(round(-start * scale), to - 1)
        end = to if start + length <= side else min(max(begin + 1, round((side - start) * scale)), to)
        filled.append(slice(begin, end))
    return Landing((source[0], source[1]), (filled[0], filled[1]))


def _within(box: Box, size: tuple[int, int], margin: float, margin_px: float) -> Rect:
    """Return the box with its margin, clipped at the border of the image."""
    left, top, right, bottom = box
    height, width = size
    fits = (
        np.isfinite(box).all() and left < min(right, width) and top < min(bottom, height) and right > 0 and bottom > 0
    )
    if not fits:
        raise FieldmarkError(
            "The box does not overlap its image, or has no area.",
            got=f"left {left}, top {top}, right {right}, bottom {bottom} in an image {width} wide and {height} high",
            fix="give left, top, right, bottom in pixels of the upright image, or leave the box empty.",
        )
    across, down = margin * (right - left) + margin_px, margin * (bottom - top) + margin_px
    left, right = max(0.0, left - across), min(float(width), right + across)
    top, bottom = max(0.0, top - down), min(float(height), bottom + down)
    return Rect(top, left, bottom - top, right - left)


def _around(rect: Rect, *, aspect: float) -> Rect:
    """Return the rectangle widened or heightened about its centre until width / height is ``aspect``."""
    width, height = max(rect.width, rect.height * aspect), max(rect.height, rect.width / aspect)
    return Rect(rect.top - (height - rect.height) / 2, rect.left - (width - rect.width) / 2, height, width)

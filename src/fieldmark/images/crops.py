"""Which part of a picture is looked at, and where in the target it lands: numbers in, numbers out, no pixels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fieldmark.core.errors import FieldmarkError
from fieldmark.images.specs import BoxCrop, Crop, CropIfNeeded, FullFrame

Box = tuple[float, float, float, float]
"""(left, top, right, bottom) in pixels of the upright picture; right and bottom are the first outside."""


class Rect(NamedTuple):
    """A rectangle in pixels of the upright picture; it may reach beyond it."""

    top: float
    left: float
    height: float
    width: float


class Landing(NamedTuple):
    """The part of a rectangle that lies in the picture, and where it lands in the target; both in whole pixels."""

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
    """The rectangle of the picture that is resized to the target.

    Args:
        crop: Which rule.
        size: (height_px, width_px) of the upright picture.
        target: (height_px, width_px) of the network's input.
        box: Where the subject is; only ``BoxCrop`` asks. None takes the whole picture.
        rng: Where chance comes from; only ``CropIfNeeded`` asks. None cuts from the centre.

    Raises:
        FieldmarkError: The box has no area, is not finite, or lies outside the picture.

    Source:
        ``CropIfNeeded``: iMet 2019, first place, RandomCropIfNeeded; both sides by themselves, so that the aspect
        ratio is not kept. ``BoxCrop``: Humpback 2018, Siamese notes; each side moved out by ``margin`` of the box,
        cut at the border, then the shorter direction widened about the centre. Their added pixel is ``margin_px``, 0
        here, as it belongs to boxes that name their last pixel.
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
    """What of a rectangle can be seen, and which pixels of the target it fills; the rest of the target is for filling.

    Args:
        rect: In pixels of the picture; it must overlap the picture.
        size: (height_px, width_px) of the picture.
        target: (height_px, width_px) the rectangle is resized to.

    Returns:
        Slices of at least one pixel each way. A rectangle within the picture fills the whole target.
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
    """The box with its margin, cut at the picture's border."""
    left, top, right, bottom = box
    height, width = size
    fits = (
        np.isfinite(box).all() and left < min(right, width) and top < min(bottom, height) and right > 0 and bottom > 0
    )
    if not fits:
        raise FieldmarkError(
            "The box marks nothing of its picture.",
            got=f"left {left}, top {top}, right {right}, bottom {bottom} in a picture {width} wide and {height} high",
            fix="give left, top, right, bottom in pixels of the upright picture, or leave the box empty.",
        )
    across, down = margin * (right - left) + margin_px, margin * (bottom - top) + margin_px
    left, right = max(0.0, left - across), min(float(width), right + across)
    top, bottom = max(0.0, top - down), min(float(height), bottom + down)
    return Rect(top, left, bottom - top, right - left)


def _around(rect: Rect, *, aspect: float) -> Rect:
    """The rectangle made wider or higher about its centre until width / height is ``aspect``."""
    width, height = max(rect.width, rect.height * aspect), max(rect.height, rect.width / aspect)
    return Rect(rect.top - (height - rect.height) / 2, rect.left - (width - rect.width) / 2, height, width)

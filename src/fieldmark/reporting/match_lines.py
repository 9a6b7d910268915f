"""Two photos side by side with lines between the points they share."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, UInt8

from fieldmark.core.errors import FieldmarkError, ShapeError

if TYPE_CHECKING:
    from PIL import Image

GAP_PX = 12
FINER = 2
"""Drawn so many times larger and shrunk: smooth lines."""
PAPER, GREY = (255, 255, 255), (150, 150, 150)


@dataclass(frozen=True, eq=False)
class Side:
    """One of the two photos.

    Attributes:
        pixels: Upright, 0-255.
        xy: A point a match: column and row in px of ``size``.
        size: Height and width that the points are told in, which is also the shape in which the photo is shown.
    """

    pixels: UInt8[np.ndarray, "height width 3"]
    xy: Float[np.ndarray, "match 2"]
    size: tuple[int, int]


def match_lines(
    left: Side, right: Side, inlier: Bool[np.ndarray, " match"], *, height_px: int = 420, most: int = 120
) -> Image.Image:
    """The picture: matches that fit together in colours, those that do not in grey behind them.

    A line's colour runs with its place in the left photo, from left to right, so that the eye can follow it.

    Args:
        left: The photo on the left.
        right: The photo on the right.
        inlier: Whether a match fits.
        height_px: Of both photos in the picture.
        most: Lines of either kind; of more, every second, third ... is drawn.

    Raises:
        ShapeError: There is not one point on either side for each match.
        FieldmarkError: ``height_px`` or ``most`` is impossible.
    """
    if left.xy.shape != right.xy.shape or left.xy.shape != (len(inlier), 2):
        raise ShapeError(
            "Every line needs a point in both photos.",
            got=f"{left.xy.shape} left, {right.xy.shape} right, {len(inlier)} matches",
            fix="pass keypoints.xy[pairs[:, 0]], and pairs[:, 1] for the other side.",
        )
    if not 32 <= height_px <= 4096 or most < 1:
        raise FieldmarkError(
            "The picture cannot be drawn like that.",
            got=f"height_px={height_px}, most={most}",
            fix="use height_px from 32 to 4096 and most of 1 or more.",
        )
    from PIL import Image, ImageDraw

    scales = [FINER * height_px / side.size[0] for side in (left, right)]
    widths = [max(1, round(side.size[1] * scale)) for side, scale in zip((left, right), scales, strict=True)]
    gap, height = FINER * GAP_PX, FINER * height_px
    canvas = Image.new("RGB", (widths[0] + gap + widths[1], height), PAPER)
    for side, width, start in zip((left, right), widths, (0, widths[0] + gap), strict=True):
        picture = Image.fromarray(np.ascontiguousarray(side.pixels))
        canvas.paste(picture.resize((width, height), Image.Resampling.LANCZOS), (start, 0))
    begins = (left.xy + 0.5) * scales[0]
    ends = (right.xy + 0.5) * scales[1] + (widths[0] + gap, 0)
    pen = ImageDraw.Draw(canvas)
    for row in _some(np.flatnonzero(~inlier), most):
        pen.line([*begins[row], *ends[row]], fill=GREY, width=1)
    for row in _some(np.flatnonzero(inlier), most):
        colour = _colour(float(begins[row, 0]) / widths[0])
        pen.line([*begins[row], *ends[row]], fill=colour, width=FINER)
        for x, y in (begins[row], ends[row]):
            pen.ellipse([x - 6, y - 6, x + 6, y + 6], outline=PAPER, fill=colour, width=2)
    return canvas.resize((canvas.width // FINER, height_px), Image.Resampling.LANCZOS)


def encoded(picture: Image.Image, *, form: str = "JPEG") -> bytes:
    """The bytes of a picture file: ``JPEG`` or ``PNG``."""
    file = BytesIO()
    picture.save(file, form, **({"quality": 88, "optimize": True} if form == "JPEG" else {}))
    return file.getvalue()


def _some(rows: np.ndarray, most: int) -> np.ndarray:
    """Rows spread evenly, at most so many."""
    return rows[:: max(1, -(-len(rows) // most))]


def _colour(place: float) -> tuple[int, int, int]:
    """From red over green to violet as ``place`` goes from 0 to 1."""
    red, green, blue = colorsys.hls_to_rgb(0.8 * min(1.0, max(0.0, place)), 0.5, 0.9)
    return round(255 * red), round(255 * green), round(255 * blue)

"""Pictures of keypoint matches: two photos side by side, with lines between matching keypoints."""

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
"""Factor by which the picture is drawn larger and then shrunk, for smooth lines."""
PAPER, GREY = (255, 255, 255), (150, 150, 150)


@dataclass(frozen=True, eq=False)
class Side:
    """One of the two photos.

    Attributes:
        pixels: Pixels of the upright photo, 0 to 255.
        xy: One keypoint per match: column and row in px, in an image of shape ``size``.
        size: Height and width, in px, of the image in which the keypoints were found. The photo is drawn in this shape.
    """

    pixels: UInt8[np.ndarray, "height width 3"]
    xy: Float[np.ndarray, "match 2"]
    size: tuple[int, int]


def match_lines(
    left: Side, right: Side, inlier: Bool[np.ndarray, " match"], *, height_px: int = 420, most: int = 120
) -> Image.Image:
    """Draw two photos with lines between matching keypoints: inliers in colours, outliers in grey behind them.

    The colour of a line follows its position in the left photo, from left to right, so that lines can be followed.

    Args:
        left: Photo on the left.
        right: Photo on the right.
        inlier: Whether each match is an inlier.
        height_px: Height of both photos in the picture, in px.
        most: Maximum number of lines of each kind. Of more matches, every second (third, ...) is drawn.

    Raises:
        ShapeError: The numbers of points and matches differ.
        FieldmarkError: ``height_px`` or ``most`` is out of range.
    """
    if left.xy.shape != right.xy.shape or left.xy.shape != (len(inlier), 2):
        raise ShapeError(
            "The arguments left, right and inlier need one point per match on each side.",
            got=f"{left.xy.shape} left, {right.xy.shape} right, {len(inlier)} matches",
            fix="pass keypoints.xy[pairs[:, 0]], and pairs[:, 1] for the other side.",
        )
    if not 32 <= height_px <= 4096 or most < 1:
        raise FieldmarkError(
            "The argument height_px or most is out of range.",
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
    """Return the bytes of the picture as a file; ``form`` is ``JPEG`` or ``PNG``."""
    file = BytesIO()
    picture.save(file, form, **({"quality": 88, "optimize": True} if form == "JPEG" else {}))
    return file.getvalue()


def _some(rows: np.ndarray, most: int) -> np.ndarray:
    """Return at most ``most`` evenly spaced rows."""
    return rows[:: max(1, -(-len(rows) // most))]


def _colour(place: float) -> tuple[int, int, int]:
    """Return a colour from red over green to violet, for ``place`` from 0 to 1."""
    red, green, blue = colorsys.hls_to_rgb(0.8 * min(1.0, max(0.0, place)), 0.5, 0.9)
    return round(255 * red), round(255 * green), round(255 * blue)

"""Small pictures for pages: decoded and written anew, so that only pixels travel."""

from __future__ import annotations

import base64
import io
import struct
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fieldmark.core.errors import ImageError

if TYPE_CHECKING:
    from PIL import Image

MOST_PIXELS = 100_000_000
"""Pictures with more pixels are refused before they are decoded."""

_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
_QUALITIES = (82, 70, 55, 40)
_FAULTS = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    TypeError,
    LookupError,
    ArithmeticError,
    MemoryError,
    struct.error,
)
"""What Pillow's decoders raise on damaged files."""


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A small JPEG and its size."""

    jpeg: bytes
    width_px: int
    height_px: int

    @property
    def uri(self) -> str:
        """The picture as a ``data:`` address, to stand inside a page."""
        return "data:image/jpeg;base64," + base64.b64encode(self.jpeg).decode()


def thumbnail(picture: bytes, *, area_px: int = 30_000, most_bytes: int = 8_000) -> Thumbnail:
    """A JPEG of at most ``area_px`` pixels, upright, without metadata, over white where transparent.

    Area and not side is what is limited: a wide fluke and a square painting then look equally large and weigh alike.

    Args:
        picture: The bytes of a picture file.
        area_px: Most pixels of the thumbnail; smaller pictures are not enlarged.
        most_bytes: The JPEG's quality is lowered in four steps until it fits; at the lowest it is taken as it is.

    Raises:
        ImageError: The bytes are no readable picture, or one of more than ``MOST_PIXELS`` pixels.
    """
    from PIL import Image, TiffImagePlugin, WebPImagePlugin  # noqa: F401 - the last two register their formats

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of odd tags; only pixels matter here
            with Image.open(io.BytesIO(picture), formats=_FORMATS) as image:
                width, height = image.size
                if width * height > MOST_PIXELS:
                    raise ImageError(
                        "A picture is too large for a page.",
                        got=f"{width} x {height} pixels",
                        fix=f"give pictures of at most {MOST_PIXELS:,} pixels.",
                    )
                scale = min(1.0, (area_px / (width * height)) ** 0.5)
                size = max(1, round(width * scale)), max(1, round(height * scale))
                image.draft("RGB", (2 * size[0], 2 * size[1]))
                turn = _turn(image)
                small = _rgb(image).resize(size, Image.Resampling.LANCZOS)
    except (*_FAULTS, Image.DecompressionBombError) as error:
        raise ImageError(
            "A picture cannot be read.",
            got=f"{len(picture)} bytes: {error}",
            fix="leave it out, or give a JPEG or PNG.",
        ) from error
    if turn is not None:
        small = small.transpose(turn)
    return Thumbnail(_jpeg(small, most_bytes), *small.size)


def shown(picture: bytes | None, *, area_px: int = 30_000, most_bytes: int = 8_000) -> Thumbnail | None:
    """A thumbnail, or None where there is no readable picture: a page is not refused for one bad file."""
    if picture is None:
        return None
    try:
        return thumbnail(picture, area_px=area_px, most_bytes=most_bytes)
    except ImageError:
        return None


def _turn(image: Image.Image) -> Image.Transpose | None:
    """How to turn the picture upright, by its EXIF orientation; damaged tags count as none."""
    from PIL.Image import Transpose

    try:
        orientation = image.getexif().get(0x0112)
    except _FAULTS:
        return None
    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    return turns.get(orientation) if isinstance(orientation, int) else None


def _rgb(image: Image.Image) -> Image.Image:
    """The first frame in RGB: 16 bit scaled and not clipped, transparent parts white."""
    from PIL import Image

    if image.mode.startswith("I;16"):
        image = image.point(lambda value: value / 256).convert("L")
    if image.has_transparency_data:
        clear = image.convert("RGBA")
        white = Image.new("RGBA", clear.size, "white")
        return Image.alpha_composite(white, clear).convert("RGB")
    return image.convert("RGB")


def _jpeg(image: Image.Image, most_bytes: int) -> bytes:
    """The best of four qualities that fits."""
    image.info.clear()  # a comment or colour profile would be written along
    content = b""
    for quality in _QUALITIES:
        buffer = io.BytesIO()
        image.save(buffer, format="JPEG", quality=quality, optimize=True)
        content = buffer.getvalue()
        if len(content) <= most_bytes:
            break
    return content

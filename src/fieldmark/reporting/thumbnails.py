"""Thumbnails for pages. Pictures are decoded and encoded again, so that no metadata is copied."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fieldmark.core.errors import ImageError

if TYPE_CHECKING:
    from PIL import Image

_QUALITIES = (82, 70, 55, 40)


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A small JPEG with its width and height in px."""

    jpeg: bytes
    width_px: int
    height_px: int

    @property
    def uri(self) -> str:
        """Return the picture as a ``data:`` URI for a page."""
        return "data:image/jpeg;base64," + base64.b64encode(self.jpeg).decode()


def thumbnail_uri(picture: bytes, *, area_px: int = 30_000, most_bytes: int = 8_000) -> Thumbnail:
    """Return an upright JPEG of at most ``area_px`` pixels, without metadata. Transparent parts become white.

    The area is limited, not the side, so that a wide fluke and a square painting have similar sizes on the page.

    Args:
        picture: Bytes of a picture file.
        area_px: Maximum number of pixels; smaller pictures keep their size.
        most_bytes: Target size of the JPEG. The quality is lowered in up to four steps until the JPEG fits; at the
            lowest quality it may be larger.

    Raises:
        ImageError: The bytes are not a readable picture, or the picture is too large to be read safely.
    """
    from fieldmark.images.reading import opened
    from fieldmark.images.thumbnails import shrunk

    photo = opened(picture)
    share = min(1.0, (area_px / (photo.width * photo.height)) ** 0.5)
    small = shrunk(photo, (max(1, round(photo.width * share)), max(1, round(photo.height * share))))
    return Thumbnail(_jpeg(small, most_bytes), *small.size)


def thumbnail_if_readable(picture: bytes | None, *, area_px: int = 30_000, most_bytes: int = 8_000) -> Thumbnail | None:
    """Return a thumbnail, or None if there is no readable picture. One bad file must not stop a page."""
    if picture is None:
        return None
    try:
        return thumbnail_uri(picture, area_px=area_px, most_bytes=most_bytes)
    except ImageError:
        return None


def _jpeg(image: Image.Image, most_bytes: int) -> bytes:
    """Encode with the best of four qualities that fits into ``most_bytes``."""
    content = b""
    for quality in _QUALITIES:
        buffer = io.BytesIO()
        image.save(buffer, format="JPEG", quality=quality, optimize=True)
        content = buffer.getvalue()
        if len(content) <= most_bytes:
            break
    return content

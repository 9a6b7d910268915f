"""Small pictures for pages: decoded and written anew, so that only pixels travel."""

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
    """A small JPEG and its size."""

    jpeg: bytes
    width_px: int
    height_px: int

    @property
    def uri(self) -> str:
        """The picture as a ``data:`` address, to stand inside a page."""
        return "data:image/jpeg;base64," + base64.b64encode(self.jpeg).decode()


def thumbnail_uri(picture: bytes, *, area_px: int = 30_000, most_bytes: int = 8_000) -> Thumbnail:
    """A JPEG of at most ``area_px`` pixels, upright, without metadata, over white where transparent.

    Area and not side is what is limited: a wide fluke and a square painting then look equally large and weigh similar.

    Args:
        picture: The bytes of a picture file.
        area_px: Most pixels of the thumbnail; smaller pictures are not enlarged.
        most_bytes: The JPEG's quality is lowered in four steps until it fits; at the lowest it is taken as it is.

    Raises:
        ImageError: The bytes are no readable picture, or one too large to be read safely.
    """
    from fieldmark.images.reading import opened
    from fieldmark.images.thumbnails import shrunk

    photo = opened(picture)
    share = min(1.0, (area_px / (photo.width * photo.height)) ** 0.5)
    small = shrunk(photo, (max(1, round(photo.width * share)), max(1, round(photo.height * share))))
    return Thumbnail(_jpeg(small, most_bytes), *small.size)


def thumbnail_if_readable(picture: bytes | None, *, area_px: int = 30_000, most_bytes: int = 8_000) -> Thumbnail | None:
    """A thumbnail, or None where there is no readable picture: a page is not refused for one bad file."""
    if picture is None:
        return None
    try:
        return thumbnail_uri(picture, area_px=area_px, most_bytes=most_bytes)
    except ImageError:
        return None


def _jpeg(image: Image.Image, most_bytes: int) -> bytes:
    """The best of four qualities that fits."""
    content = b""
    for quality in _QUALITIES:
        buffer = io.BytesIO()
        image.save(buffer, format="JPEG", quality=quality, optimize=True)
        content = buffer.getvalue()
        if len(content) <= most_bytes:
            break
    return content

"""Thumbnails for HTML pages. They are re-encoded, so that they hold pixels only and no metadata of the file."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from PIL import Image

from fieldmark.core.errors import FieldmarkError
from fieldmark.images.reading import DEFAULT, Limits, Photo, decode, opened


def thumbnail(
    source: Path | bytes,
    *,
    longest_px: int = 320,
    true_size: tuple[int, int] | None = None,
    quality: int = 82,
    limits: Limits = DEFAULT,
) -> bytes:
    """Return a small upright JPEG of an image, without its metadata (place, camera, owner).

    Args:
        source: An image file, or the bytes of one.
        longest_px: Length of the longer side, in px; a smaller image keeps its size.
        true_size: Original (width, height) of the image, if the file was resized to another aspect ratio.
        quality: JPEG quality, 1-95.
        limits: Largest files and images that are accepted.

    Raises:
        ImageError: The image cannot be read.
        FieldmarkError: ``longest_px`` is below 1.
    """
    if longest_px < 1:
        raise FieldmarkError("longest_px must be at least 1.", got=f"longest_px={longest_px}", fix="use 320.")
    photo = opened(source, limits=limits)
    width, height = (photo.width, photo.height) if true_size is None else _unsquashed(photo, true_size)
    share = min(1.0, longest_px / max(height, width))
    picture = shrunk(photo, (max(1, round(width * share)), max(1, round(height * share))))
    file = BytesIO()
    picture.save(file, "JPEG", quality=quality, optimize=True)
    return file.getvalue()


def shrunk(photo: Photo, size: tuple[int, int]) -> Image.Image:
    """Return an opened photo, upright and resized to the given width and height in px.

    Raises:
        ImageError: The file is truncated or damaged.
    """
    width_px, height_px = size
    picture = Image.fromarray(decode(photo, at_least=(min(height_px, photo.height), min(width_px, photo.width))))
    return picture if picture.size == size else picture.resize(size, Image.Resampling.LANCZOS)


def _unsquashed(photo: Photo, true_size: tuple[int, int]) -> tuple[float, float]:
    """Return the smallest size of the true aspect ratio that is at least as large as the file in both directions."""
    grown = max(photo.width / max(1, true_size[0]), photo.height / max(1, true_size[1]))
    return true_size[0] * grown, true_size[1] * grown

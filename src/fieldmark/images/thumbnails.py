"""Small pictures for pages: always decoded and written anew, so that nothing of the file but its colours gets out."""

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
    """A small upright JPEG of a picture, without its notes (place, camera, owner) and without anything hidden in it.

    Args:
        source: A file, or the bytes of one.
        longest_px: The longer side; a smaller picture keeps its size.
        true_size: Width and height the picture once had, where its file was squashed into another shape.
        quality: JPEG quality, 1-95.
        limits: What to refuse.

    Raises:
        ImageError: The picture cannot be read.
        FieldmarkError: ``longest_px`` is below 1.
    """
    if longest_px < 1:
        raise FieldmarkError("A thumbnail needs at least one pixel.", got=f"longest_px={longest_px}", fix="use 320.")
    photo = opened(source, limits=limits)
    width, height = (photo.width, photo.height) if true_size is None else _unsquashed(photo, true_size)
    share = min(1.0, longest_px / max(height, width))
    picture = shrunk(photo, (max(1, round(width * share)), max(1, round(height * share))))
    file = BytesIO()
    picture.save(file, "JPEG", quality=quality, optimize=True)
    return file.getvalue()


def shrunk(photo: Photo, size: tuple[int, int]) -> Image.Image:
    """An opened photo at the given width and height in px, upright.

    Raises:
        ImageError: The file is truncated or damaged.
    """
    width_px, height_px = size
    picture = Image.fromarray(decode(photo, at_least=(min(height_px, photo.height), min(width_px, photo.width))))
    return picture if picture.size == size else picture.resize(size, Image.Resampling.LANCZOS)


def _unsquashed(photo: Photo, true_size: tuple[int, int]) -> tuple[float, float]:
    """The smallest size of the true shape that is no smaller than the file in either direction."""
    grown = max(photo.width / max(1, true_size[0]), photo.height / max(1, true_size[1]))
    return true_size[0] * grown, true_size[1] * grown

"""Thumbnails: upright, small, and without metadata."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from fieldmark.core.errors import FieldmarkError, ImageError
from fieldmark.images.thumbnails import thumbnail


def photo(width: int, height: int) -> bytes:
    notes = Image.Exif()
    notes[0x0112] = 6
    notes[0x013B] = "the owner's name"
    notes.get_ifd(0x8825)[1] = "N"  # where it was taken
    shades = np.linspace(0, 255, width * height * 3).reshape(height, width, 3).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(shades).save(file, "JPEG", exif=notes, comment=b"<script>")
    return file.getvalue()


def test_a_thumbnail_is_small_upright_and_without_metadata() -> None:
    data = photo(800, 400)
    assert b"owner" in data
    made = thumbnail(data, longest_px=100)
    with Image.open(io.BytesIO(made)) as small:
        assert (small.format, small.mode, small.size) == ("JPEG", "RGB", (50, 100))
        assert not small.getexif()
        top, bottom = np.asarray(small)[5].mean(), np.asarray(small)[-5].mean()
    assert abs(top - bottom) < 30  # the gradient ran downwards; upright it runs from right to left
    assert b"owner" not in made
    assert b"script" not in made


def test_a_small_picture_keeps_its_size() -> None:
    with Image.open(io.BytesIO(thumbnail(photo(30, 20), longest_px=100))) as small:
        assert small.size == (20, 30)


def test_a_very_long_picture_keeps_a_pixel() -> None:
    with Image.open(io.BytesIO(thumbnail(photo(2000, 3), longest_px=50))) as small:
        assert small.size == (1, 50)


def test_refusals() -> None:
    with pytest.raises(FieldmarkError) as refused:
        thumbnail(photo(10, 10), longest_px=0)
    assert "320" in refused.value.fix
    with pytest.raises(ImageError):
        thumbnail(b"<svg onload='alert(1)'/>")

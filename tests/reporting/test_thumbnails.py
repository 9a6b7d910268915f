from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from fieldmark.core.errors import ImageError
from fieldmark.reporting.thumbnails import thumbnail_if_readable, thumbnail_uri


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def decoded(jpeg: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(jpeg)) as image:
        return np.asarray(image.convert("RGB"), dtype=int)


def test_thumbnail_keeps_the_shape_and_limits_the_area():
    small = thumbnail_uri(encoded(Image.new("RGB", (2000, 1000), "teal")), area_px=20_000)
    assert (small.width_px, small.height_px) == (200, 100)
    assert decoded(small.jpeg).shape == (100, 200, 3)
    assert abs(decoded(small.jpeg)[50, 100] - (0, 128, 128)).max() < 4


def test_small_pictures_keep_their_size():
    small = thumbnail_uri(encoded(Image.new("RGB", (30, 20))))
    assert (small.width_px, small.height_px) == (30, 20)


def test_weight_is_limited_even_for_pure_noise():
    noise = np.random.default_rng(0).integers(0, 256, (900, 900, 3), dtype=np.uint8)
    assert len(thumbnail_uri(encoded(Image.fromarray(noise)), area_px=18_000, most_bytes=7_000).jpeg) <= 7_000


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_stand_upright(orientation):
    upright = np.zeros((60, 100, 3), np.uint8)
    upright[:20, :30] = 255  # a white patch at the top left
    # How a camera stores it: the inverse of what the viewer must do.
    half_turned = np.rot90(upright, 2)
    stored = {
        1: upright, 2: upright[:, ::-1], 3: half_turned, 4: upright[::-1], 5: upright.transpose(1, 0, 2),
        6: np.rot90(upright), 7: half_turned.transpose(1, 0, 2), 8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = encoded(Image.fromarray(np.ascontiguousarray(stored)), "JPEG", exif=exif, quality=95)
    small = thumbnail_uri(picture)
    assert (small.width_px, small.height_px) == (100, 60)
    assert abs(decoded(small.jpeg) - upright).mean() < 5


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_any_mode_of_a_grey_picture_is_grey(mode):
    if mode == "I;16":
        image = Image.fromarray(np.full((40, 40), 128 * 256, np.uint16))
    elif mode == "1":
        image = Image.new("1", (40, 40), 1)
    else:
        image = Image.new("L", (40, 40), 128).convert("RGB" if mode == "CMYK" else mode).convert(mode)
    mean = decoded(thumbnail_uri(encoded(image, "TIFF")).jpeg).mean()
    assert mean == pytest.approx(255 if mode == "1" else 128, abs=3)


def test_transparent_parts_are_white():
    assert decoded(thumbnail_uri(encoded(Image.new("RGBA", (20, 20), (255, 0, 0, 0)))).jpeg).min() > 250


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_a_file_cut_anywhere_is_read_or_refused_by_one_error(kind):
    whole = encoded(Image.effect_noise((64, 48), 60).convert("RGB"), kind)
    refusals = []
    for end in range(0, len(whole), max(1, len(whole) // 40)):
        try:
            thumbnail_uri(whole[:end])
        except ImageError as error:
            refusals.append(error)
    assert len(refusals) > 5
    assert all("<bytes>" in error.got and ("replace" in error.fix or "JPEG, PNG" in error.fix) for error in refusals)


def test_a_bomb_is_refused_before_it_is_decoded():
    bomb = encoded(Image.new("1", (12_000, 12_000)))
    with pytest.raises(ImageError) as caught:
        thumbnail_uri(bomb)
    assert "144,000,000 pixels, more than 89,478,485" in caught.value.got
    assert "shrink" in caught.value.fix


def test_shown_is_none_where_nothing_can_be_shown():
    assert thumbnail_if_readable(None) is None
    assert thumbnail_if_readable(b"<svg onload=alert(1)>") is None

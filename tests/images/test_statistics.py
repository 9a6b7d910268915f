"""Image statistics: brightness, colourfulness, size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fieldmark.core.errors import FieldmarkError, ImageError, ShapeError
from fieldmark.images import statistics as module
from fieldmark.images.statistics import STATISTICS, image_statistics, statistics_of


def slow_colourfulness(pixels):
    """Hasler and Suesstrunk's M3, one pixel at a time."""
    rg, yb = [], []
    for red, green, blue in pixels.reshape(-1, 3).astype(float):
        rg.append(red - green)
        yb.append(0.5 * (red + green) - blue)
    return float(np.hypot(np.std(rg), np.std(yb)) + 0.3 * np.hypot(np.mean(rg), np.mean(yb)))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 9))
def test_colourfulness_and_brightness_equal_slow_loops(seed, height, width):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    found = statistics_of(pixels)
    assert found.colourfulness == pytest.approx(slow_colourfulness(pixels), rel=1e-6, abs=1e-6)
    grey = [(0.299 * r + 0.587 * g + 0.114 * b) / 255 for r, g, b in pixels.reshape(-1, 3).tolist()]
    assert found.brightness == pytest.approx(np.mean(grey))
    assert (found.longer_px, found.is_tall) == (max(height, width), height > width)


def test_strips_have_no_effect(monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (50, 7, 3), np.uint8)
    whole = statistics_of(pixels)
    monkeypatch.setattr(module, "STRIP_PIXELS", 20)
    assert statistics_of(pixels) == whole


@pytest.mark.parametrize(("shade", "brightness"), [(0, 0.0), (255, 1.0), (128, 128 / 255)])
def test_greys_have_no_colour(shade, brightness):
    for channels in (1, 3):
        found = statistics_of(np.full((4, 5, channels), shade, np.uint8))
        assert found.colourfulness == 0
        assert found.brightness == pytest.approx(brightness)


def test_files_of_any_number_of_threads_give_the_same(tmp_path):
    chance, paths, slow = np.random.default_rng(0), [], []
    for number, (height, width) in enumerate([(40, 30), (30, 40), (20, 20), (300, 1200)]):
        pixels = np.kron(chance.integers(0, 256, (height // 10, width // 10, 3)), np.ones((10, 10, 1))).astype(np.uint8)
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(pixels).save(paths[-1])
        found = statistics_of(pixels)
        slow.append([found.brightness, found.colourfulness, max(height, width), height > width])
    table = image_statistics(paths, n_threads=1)
    assert table.shape == (4, len(STATISTICS))
    np.testing.assert_allclose(table, slow, rtol=1e-6)
    np.testing.assert_array_equal(image_statistics(paths, n_threads=3), table)
    assert image_statistics([]).shape == (0, len(STATISTICS))


def test_large_jpegs_keep_their_size_and_nearly_their_colours(tmp_path):
    rows = np.linspace(0, 255, 1600)[:, None, None]
    pixels = (rows * np.array([1, 0.5, 0.2]) + np.zeros((1600, 1200, 1))).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "large.jpg", quality=95)
    (row,) = image_statistics([tmp_path / "large.jpg"])
    whole = statistics_of(pixels)
    np.testing.assert_allclose(row, [whole.brightness, whole.colourfulness, 1600, 1], rtol=0.02)


def test_all_broken_files_are_named_at_once(tmp_path):
    Image.new("RGB", (3, 3)).save(tmp_path / "fine.png")
    for name in ("bad1.jpg", "bad2.jpg"):
        (tmp_path / name).write_bytes(b"no picture")
    paths = [tmp_path / name for name in ("bad1.jpg", "fine.png", "bad2.jpg")]
    with pytest.raises(ImageError, match="2 images") as wrong:
        image_statistics(paths)
    assert "bad1.jpg" in str(wrong.value.got)
    assert "bad2.jpg" in str(wrong.value.got)
    assert "JPEG, PNG" in wrong.value.fix
    with pytest.raises(ImageError, match="not an image of a supported format") as wrong:
        image_statistics(paths[:2])
    assert "bad1.jpg" in str(wrong.value.got)


def test_only_images_are_accepted():
    for pixels in (np.zeros((3, 3), np.uint8), np.zeros((3, 3, 3)), np.zeros((0, 3, 3), np.uint8)):
        with pytest.raises(ShapeError) as wrong:
            statistics_of(pixels)
        assert "uint8" in wrong.value.fix
    with pytest.raises(FieldmarkError) as wrong:
        image_statistics([], n_threads=0)
    assert "n_threads=1" in wrong.value.fix

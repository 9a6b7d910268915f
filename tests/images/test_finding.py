"""Automatic boxes by colour and by feature norms, and cases without a box."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from fieldmark.core.errors import FieldmarkError
from fieldmark.images.finding import FoundSubject, agreed, by_strength, grabcut, iou, of_mask, otsu
from fieldmark.images.specs import GrabCut


def whale(height: int = 90, width: int = 150) -> tuple[np.ndarray, tuple[float, float, float, float]]:
    """A dark ellipse on a noisy blue sea, and its box."""
    chance = np.random.default_rng(0)
    pixels = chance.normal((40, 90, 140), 12, (height, width, 3))
    y, x = np.mgrid[:height, :width]
    body = ((x - 80) / 40) ** 2 + ((y - 45) / 20) ** 2 < 1
    pixels[body] = chance.normal(25, 6, (body.sum(), 3))
    return pixels.clip(0, 255).astype(np.uint8), (40 / width, 25 / height, 120 / width, 65 / height)


def test_grabcut_finds_a_dark_body_in_the_sea_and_repeats() -> None:
    pytest.importorskip("cv2", reason="OpenCV is an extra")
    pixels, box = whale()
    found = grabcut(pixels, GrabCut())
    assert found.box is not None
    assert iou(found.box, box) > 0.9
    assert found.mask is not None
    assert found.mask.mean() == pytest.approx(np.pi * 40 * 20 / (90 * 150), rel=0.1)
    again = grabcut(pixels, GrabCut())
    assert again.box == found.box
    assert again.mask is not None
    assert np.array_equal(again.mask, found.mask)


def test_grabcut_finds_nothing_in_an_even_or_tiny_image() -> None:
    pytest.importorskip("cv2", reason="OpenCV is an extra")
    for pixels in (np.full((50, 50, 3), 77, np.uint8), np.zeros((3, 3, 3), np.uint8)):
        assert grabcut(pixels, GrabCut()).box is None


def test_missing_opencv_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(FieldmarkError, match="OpenCV") as refused:
        grabcut(whale()[0], GrabCut())
    assert "fieldmark[boxes]" in refused.value.fix


def test_large_feature_norms_are_the_subject() -> None:
    strength = np.ones((10, 10))
    strength[3:6, 2:8] = 9
    found = by_strength(strength)
    assert found.box is not None
    assert iou(found.box, (0.2, 0.3, 0.8, 0.6)) > 0.75
    assert by_strength(np.ones((10, 10))).box is None


def test_otsu_minimises_the_variance() -> None:
    chance = np.random.default_rng(0)
    values = np.concatenate((chance.normal(0, 1, 400), chance.normal(8, 1, 100)))

    def within(at: float) -> float:
        low, high = values[values <= at], values[values > at]
        return float(len(low) * low.var() + len(high) * high.var()) if len(low) and len(high) else np.inf

    best = min(np.linspace(values.min(), values.max(), 400), key=within)
    assert within(otsu(values)) <= within(best) * 1.01


def test_small_pieces_are_removed() -> None:
    mask = np.zeros((100, 100), dtype=bool)
    mask[40:60, 30:70] = True
    mask[2:5, 2:5] = True
    found = of_mask(mask)
    assert found.box == (0.3, 0.4, 0.7, 0.6)
    assert of_mask(np.zeros((9, 9), dtype=bool)).box is None
    assert "whole image" in of_mask(np.ones((9, 9), dtype=bool)).note


def test_two_finders_that_disagree_leave_the_full_frame() -> None:
    one, near, far = FoundSubject((0, 0, 0.5, 0.5)), FoundSubject((0, 0, 0.5, 0.4)), FoundSubject((0.5, 0.5, 1, 1))
    assert agreed(one, near, least_iou=0.3).box == one.box
    assert agreed(one, far, least_iou=0.3).box is None
    assert "disagree: 0.00" in agreed(one, far, least_iou=0.3).note
    assert agreed(one, FoundSubject(None, note="no subject found"), least_iou=0.3).box is None


def test_overlap_of_boxes() -> None:
    assert iou((0, 0, 1, 1), (0, 0, 1, 1)) == 1
    assert iou((0, 0, 0.5, 1), (0.5, 0, 1, 1)) == 0

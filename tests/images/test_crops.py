"""Crops: position and size of rectangles, and their part inside the image."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldmark.core.errors import FieldmarkError
from fieldmark.images.crops import Rect, landing, source_rect
from fieldmark.images.specs import BoxCrop, CropIfNeeded, FullFrame

SIDE = st.integers(1, 900)
SIZE = st.tuples(SIDE, SIDE)


def test_full_frame_is_the_whole_image() -> None:
    assert source_rect(FullFrame(), (30, 40), (16, 16), box=(1, 2, 3, 4)) == Rect(0, 0, 30, 40)


@given(size=SIZE, target=SIZE, seed=st.integers(0, 99))
def test_crop_if_needed_takes_at_most_twice_the_target(size: tuple, target: tuple, seed: int) -> None:
    for rng in (None, np.random.default_rng(seed)):
        rect = source_rect(CropIfNeeded(), size, target, rng=rng)
        assert (rect.height, rect.width) == (min(2 * target[0], size[0]), min(2 * target[1], size[1]))
        assert 0 <= rect.top <= size[0] - rect.height
        assert 0 <= rect.left <= size[1] - rect.width


def test_crop_if_needed_reaches_every_position_equally() -> None:
    rng = np.random.default_rng(0)
    rects = [source_rect(CropIfNeeded(times=2.0), (23, 20), (10, 10), rng=rng) for _ in range(4000)]
    assert {rect.left for rect in rects} == {0}
    counts = np.bincount([int(rect.top) for rect in rects])
    assert len(counts) == 4  # 23 - 20 = 3 rows of slack: positions 0 to 3
    assert np.abs(counts / 4000 - 0.25).max() < 0.03


def test_crop_if_needed_is_central_without_rng() -> None:
    assert source_rect(CropIfNeeded(times=1.0), (30, 50), (10, 20)) == Rect(10, 15, 10, 20)


def test_box_gets_its_margin_then_is_widened_to_the_aspect() -> None:
    rect = source_rect(BoxCrop(margin=0.1), (400, 600), (100, 200), box=(200, 100, 300, 200))
    assert rect == pytest.approx(Rect(top=90, left=130, height=120, width=240))


def test_box_with_its_margin_stops_at_the_border_but_its_widening_does_not() -> None:
    rect = source_rect(BoxCrop(margin=0.5), (100, 100), (50, 100), box=(0, 0, 100, 100))
    assert rect == pytest.approx(Rect(top=0, left=-50, height=100, width=200))


@given(
    size=SIZE,
    target=st.tuples(st.integers(16, 600), st.integers(16, 600)),
    corners=st.tuples(*[st.floats(0, 0.95)] * 2, *[st.floats(0.01, 1)] * 2),
    margin=st.floats(0, 2),
)
def test_box_crop_has_the_target_s_aspect_and_holds_the_box(size, target, corners, margin) -> None:
    left, top = corners[0] * size[1], corners[1] * size[0]
    right, bottom = min(size[1], left + corners[2] * size[1]), min(size[0], top + corners[3] * size[0])
    rect = source_rect(BoxCrop(margin=margin), size, target, box=(left, top, right, bottom))
    assert rect.width / rect.height == pytest.approx(target[1] / target[0])
    assert rect.left <= left + 1e-6
    assert rect.top <= top + 1e-6
    assert rect.left + rect.width >= right - 1e-6
    assert rect.top + rect.height >= bottom - 1e-6


def test_photo_without_a_box_is_taken_whole() -> None:
    assert source_rect(BoxCrop(), (30, 40), (16, 16)) == Rect(0, 0, 30, 40)


@pytest.mark.parametrize("box", [(5, 5, 5, 9), (9, 5, 5, 9), (50, 0, 60, 9), (-9, 0, 0, 9), (0, 0, float("nan"), 9)])
def test_a_box_outside_the_image_is_refused(box: tuple) -> None:
    with pytest.raises(FieldmarkError, match="box") as refused:
        source_rect(BoxCrop(), (30, 40), (16, 16), box=box)
    assert "left, top, right, bottom" in refused.value.fix
    assert "40 wide and 30 high" in refused.value.got


@given(
    size=SIZE,
    target=SIZE,
    rect=st.tuples(st.floats(-2, 0.99), st.floats(-2, 0.99), st.floats(0.01, 3), st.floats(0.01, 3)),
)
def test_landing_is_never_empty_and_never_outside(size: tuple, target: tuple, rect: tuple) -> None:
    top, left = rect[0] * size[0], rect[1] * size[1]
    height, width = max(rect[2] * size[0], 1 - top), max(rect[3] * size[1], 1 - left)  # overlaps the image
    part = landing(Rect(top, left, height, width), size, target)
    for source, filled, side, to in zip(part.source, part.target, size, target, strict=True):
        assert 0 <= source.start < source.stop <= side
        assert 0 <= filled.start < filled.stop <= to


def test_landing_of_a_rectangle_that_extends_beyond_the_image() -> None:
    part = landing(Rect(top=0, left=-50, height=100, width=200), (100, 100), (50, 100))
    assert part.source == (slice(0, 100), slice(0, 100))
    assert part.target == (slice(0, 50), slice(25, 75))

"""Lines between the points of two photos: where they run, and in what colour."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.reporting.match_lines import GAP_PX, PAPER, Side, encoded, match_lines

BLACK = np.zeros((60, 80, 3), np.uint8)


def side(xy, pixels=BLACK, size=(60, 80)):
    return Side(pixels, np.array(xy, np.float32).reshape(-1, 2), size)


def test_both_photos_stand_side_by_side_in_the_shape_of_their_points():
    drawn = match_lines(side([]), side([], size=(60, 40)), np.zeros(0, dtype=bool), height_px=120)
    assert drawn.size == (160 + GAP_PX + 80, 120)
    assert drawn.getpixel((160 + GAP_PX // 2, 60)) == PAPER
    assert drawn.getpixel((80, 60)) == drawn.getpixel((160 + GAP_PX + 40, 60)) == (0, 0, 0)


def test_a_line_runs_from_its_point_to_its_partner():
    drawn = np.asarray(match_lines(side([[20, 15]]), side([[60, 45]]), np.array([True]), height_px=60), int)
    bright = drawn.max(axis=2)
    assert bright[15, 20] > 100
    assert bright[45, 80 + GAP_PX + 60] > 100
    assert bright[:, 70].argmax() == pytest.approx(15 + 30 * 50 / (132), abs=2)


def test_what_fits_is_coloured_and_the_rest_grey():
    def colourful(fits):
        drawn = np.asarray(match_lines(side([[20, 30]]), side([[60, 30]]), np.array([fits]), height_px=60), int)
        return int(np.ptp(drawn, axis=2).max())

    assert colourful(fits=True) > 100
    assert colourful(fits=False) == 0


def test_of_many_lines_some_are_drawn():
    xy = np.column_stack([np.full(500, 40.0), np.linspace(0, 59, 500)])
    few = match_lines(side(xy), side(xy), np.ones(500, dtype=bool), most=3)
    all_ = match_lines(side(xy), side(xy), np.ones(500, dtype=bool), most=500)
    painted = [(np.asarray(drawn, int).max(axis=2) > 60).mean() for drawn in (few, all_)]
    assert painted[0] < painted[1] / 3


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_it_can_be_written_as_a_file(form):
    drawn = match_lines(side([[1, 2]]), side([[3, 4]]), np.array([True]))
    with Image.open(BytesIO(encoded(drawn, form=form))) as back:
        assert (back.format, back.size) == (form, drawn.size)


def test_refusals_have_a_fix():
    with pytest.raises(ShapeError) as caught:
        match_lines(side([[1, 2]]), side([]), np.array([True]))
    assert "pairs[:, 1]" in caught.value.fix
    with pytest.raises(FieldmarkError) as caught:
        match_lines(side([]), side([]), np.zeros(0, dtype=bool), height_px=5)
    assert "from 32 to 4096" in caught.value.fix

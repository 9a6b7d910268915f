import numpy as np
import pytest

from fieldmark.specimens.canvas import (
    TILE_PX,
    fill_polygon,
    patch,
    photograph,
    soft_step,
    strokes,
    texture_values,
    tile,
)


def slow_interpolation(texture: np.ndarray, x: float, y: float) -> list[float]:
    """Return the bilinear interpolation at one position, by its definition."""
    column, row = int(x), int(y)
    right, low = x - column, y - row
    return [
        plane[row, column] * (1 - right) * (1 - low)
        + plane[row, column + 1] * right * (1 - low)
        + plane[row + 1, column] * (1 - right) * low
        + plane[row + 1, column + 1] * right * low
        for plane in texture
    ]


def test_a_filled_polygon_has_its_area_and_soft_borders() -> None:
    triangle = np.array([[4.0, 3.0], [60.0, 10.0], [20.0, 45.0]])
    cover = fill_polygon(triangle, size_px=(64, 48))
    (x0, y0), (x1, y1), (x2, y2) = triangle
    area = abs((x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)) / 2
    assert cover.shape == (48, 64)
    assert cover.sum() == pytest.approx(area, rel=0.03)
    assert cover[15, 25] == 1
    assert cover[45, 60] == 0
    assert ((cover > 0.05) & (cover < 0.95)).sum() > 30


def test_a_thin_line_is_faint_instead_of_thick() -> None:
    line = np.array([[5.0, 10.0], [45.0, 10.0]])
    hair, rope = (strokes([(line, width)], size_px=(50, 20)).sum() for width in (0.25, 4.0))
    assert hair == pytest.approx(40 * 0.25, rel=0.2)
    assert rope == pytest.approx(40 * 4.0, rel=0.2)


def test_a_tile_is_normalised_seamless_and_depends_on_its_name() -> None:
    cloud = tile("test", roughness=2.0)
    assert cloud.mean() == pytest.approx(0, abs=1e-4)
    assert cloud.std() == pytest.approx(1, abs=1e-3)
    steps_inside, step_over_the_seam = np.abs(np.diff(cloud, axis=0)).mean(), np.abs(cloud[0] - cloud[-1]).mean()
    assert step_over_the_seam < 1.5 * steps_inside
    tile.cache_clear()
    assert np.array_equal(cloud, tile("test", roughness=2.0))
    assert abs(np.corrcoef(cloud.ravel(), tile("other", roughness=2.0).ravel())[0, 1]) < 0.5
    with pytest.raises(ValueError, match="read-only"):
        cloud[0, 0] = 1


def test_a_stretched_tile_changes_more_slowly_along_its_rows() -> None:
    streaks = tile("test", roughness=1.5, stretch=4.0)
    assert np.abs(np.diff(streaks, axis=1)).mean() < 0.5 * np.abs(np.diff(streaks, axis=0)).mean()


def test_a_patch_wraps_at_both_ends_of_the_tile() -> None:
    texture = tile("test", roughness=1.0)
    piece = patch(texture, np.array([-1, 0, TILE_PX]), np.array([3, TILE_PX + 4]))
    assert np.array_equal(piece, texture[[-1, 0, 0]][:, [3, 4]])


def test_interpolation_is_bilinear_and_clamped_at_the_border() -> None:
    chance = np.random.default_rng(0)
    texture = chance.random((2, 5, 7)).astype(np.float32)
    x, y = chance.uniform(0, 5.9, (3, 4)).astype(np.float32), chance.uniform(0, 3.9, (3, 4)).astype(np.float32)
    found = texture_values(texture, x, y)
    assert found.shape == (2, 3, 4)
    for row, column in np.ndindex(3, 4):
        assert found[:, row, column] == pytest.approx(
            slow_interpolation(texture, x[row, column], y[row, column]), abs=1e-5
        )
    outside = texture_values(texture, np.float32([[-9, 99]]), np.float32([[-9, 99]]))
    assert outside[:, 0, 0] == pytest.approx(texture[:, 0, 0], abs=1e-2)
    assert outside[:, 0, 1] == pytest.approx(texture[:, -1, -1], abs=1e-2)


def test_soft_step_goes_from_0_to_1() -> None:
    assert soft_step(np.float32([-5, 2, 2.5, 3, 9]), 2, 3).tolist() == [0, 0, 0.5, 1, 1]


def test_the_camera_keeps_the_light_and_adds_only_requested_effects() -> None:
    light = np.zeros((3, 20, 40), dtype=np.float32)
    light[0, :, 20:], light[2] = 1.5, 0.25
    sharp = photograph(light, blur_px=0, grain=0, grey=False, place=(0, 0))
    assert sharp.dtype == np.uint8
    assert sharp[3, 30].tolist() == [255, 0, 64]
    assert sharp[3, 3].tolist() == [0, 0, 64]
    grey = photograph(light, blur_px=0, grain=0, grey=True, place=(0, 0))
    assert (grey == grey[..., :1]).all()
    blurred = photograph(light, blur_px=2, grain=0, grey=False, place=(0, 0))
    assert 20 < blurred[10, 20, 0] < 235
    grainy = photograph(np.full_like(light, 0.5), blur_px=0, grain=0.02, grey=False, place=(0, 0))
    assert grainy.std() == pytest.approx(0.02 * 255, rel=0.15)

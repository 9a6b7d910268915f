from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fieldmark.specimens.flukes import Fluke, View, draw_fluke
from fieldmark.specimens.skin import edges, outline, skin

SEED = 11


def features(picture: np.ndarray) -> np.ndarray:
    """Return 48 x 24 normalised grey values: silhouette and pigment at low resolution."""
    small = np.asarray(Image.fromarray(picture).convert("L").resize((48, 24), Image.Resampling.BOX), dtype=float)
    return (small - small.mean()) / (small.std() + 1e-9)


def views(individual: int, n: int, *, plain_sea: bool) -> list[np.ndarray]:
    """Return photos of one individual; with a plain sea, only pose and light differ."""
    sea = replace(View.of(SEED, 0).sea, trough=(0.5,) * 3, crest=(0.6,) * 3, horizon=-1.0, foam=0.0)
    chosen = [View.of(SEED, individual * 100 + number) for number in range(n)]
    if plain_sea:
        chosen = [replace(view, sea=sea, spray=0.0, light=(1.0, 1.0), haze=0.0) for view in chosen]
    return [draw_fluke(Fluke.of(SEED, individual), view, size_px=(192, 96)) for view in chosen]


def distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).mean())


def test_the_same_numbers_give_the_same_bytes() -> None:
    first = draw_fluke(Fluke.of(1, 2), View.of(1, 3))
    skin.cache_clear()
    assert first.tobytes() == draw_fluke(Fluke.of(1, 2), View.of(1, 3)).tobytes()
    assert first.shape == (160, 320, 3)
    for fluke, view in (
        (Fluke.of(1, 4), View.of(1, 3)),
        (Fluke.of(1, 2), View.of(1, 4)),
        (Fluke.of(2, 2), View.of(1, 3)),
    ):
        assert distance(first.astype(float), draw_fluke(fluke, view).astype(float)) > 1


@pytest.mark.parametrize("plain_sea", [True, False])
def test_views_of_one_whale_are_more_similar_than_views_of_two(*, plain_sea: bool) -> None:
    described = [[features(photo) for photo in views(whale, 4, plain_sea=plain_sea)] for whale in range(16)]
    same = [distance(a, b) for photos in described for a, b in combinations(photos, 2)]
    other = [distance(a, b) for one, two in combinations(described, 2) for a in one for b in two]
    assert np.mean(same) < (0.85 if plain_sea else 0.97) * np.mean(other)


def test_a_flipped_tail_is_different() -> None:
    straight = {"centre": (0.5, 0.5), "roll_rad": 0.0, "yaw": 0.0, "reach": (0.95, 0.95), "curl": (0.0, 0.0)}
    straight |= {"lean": (0.0, 0.0), "scale": 0.42, "rise": 0.85, "water": -0.6}
    calm = {"trough": (0.45,) * 3, "crest": (0.55,) * 3, "horizon": -1.0}
    same, mirrored = [], []
    for whale in range(16):
        pair = [View.of(SEED, whale * 2 + number) for number in range(2)]
        pair = [replace(view, pose=replace(view.pose, **straight), sea=replace(view.sea, **calm)) for view in pair]
        one, two = (features(draw_fluke(Fluke.of(SEED, whale), view, size_px=(192, 96))) for view in pair)
        same.append(distance(one, two))
        mirrored.append(distance(one, two[:, ::-1]))
    assert np.mean(same) < 0.75 * np.mean(mirrored)
    for whale in range(16):
        tone, cover = skin(Fluke.of(SEED, whale), texels=60)
        assert np.abs(cover - cover[:, ::-1]).sum() > 0.01 * cover.sum()
        assert np.abs(tone - tone[:, ::-1]).sum() > 0.03 * tone.sum()


def test_pigment_types_run_from_white_to_black() -> None:
    whiteness: dict[int, list[float]] = {}
    for number in range(60):
        fluke = Fluke.of(SEED, number)
        tone, cover = skin(fluke, texels=40)
        whiteness.setdefault(fluke.pigment, []).append(tone.sum() / cover.sum())
    means = [np.mean(whiteness[pigment]) for pigment in (1, 2, 3, 4, 5)]
    assert means == sorted(means, reverse=True)
    assert means[0] > 3 * means[4]


def test_every_kind_of_mark_is_visible_on_the_skin() -> None:
    fluke = next(
        f for f in (Fluke.of(SEED, n) for n in range(100)) if f.right.scars and f.right.rings and f.right.notches
    )
    whole = skin(fluke, texels=120)
    for mark, channel in (("scars", 0), ("rings", 0), ("notches", 1)):
        without = skin(replace(fluke, right=replace(fluke.right, **{mark: ()})), texels=120)
        changed = np.abs(whole - without)[channel]
        middle = changed.shape[1] // 2
        assert changed.sum() > 5, mark
        assert changed[:, middle:].sum() > 0.9 * changed.sum(), f"{mark} of the right fluke reach the left one"


def test_the_edges_meet_at_the_tip_and_never_cross() -> None:
    along = np.linspace(0, 1, 300)
    for number in range(30):
        fluke = Fluke.of(SEED, number)
        for half in (fluke.left, fluke.right):
            trailing, leading = edges(half, along)
            assert (trailing >= leading).all()
            assert trailing[-1] - leading[-1] < 0.08
        corners = outline(fluke)
        assert np.abs(corners[:, 0]).max() == pytest.approx(1)


def test_the_water_hides_the_lower_part_of_the_tail() -> None:
    view = View.of(SEED, 5)
    black = replace(Fluke.of(SEED, 0), black=0.0, white=0.0)
    sea = replace(view.sea, trough=(0.8,) * 3, crest=(0.9,) * 3, horizon=-1.0, foam=0.0)
    view = replace(view, sea=sea, spray=0.0, haze=0.0, gloss=0.0, grain=0.0, blur=0.0)
    dark = []
    for water in (-0.9, -0.5, -0.1):
        pose = replace(view.pose, water=water, scale=0.4, rise=0.8)
        dark.append(int((draw_fluke(black, replace(view, pose=pose)).max(axis=-1) < 60).sum()))
    assert dark[0] > dark[1] > dark[2] > 0


def test_grey_photos_have_no_colour() -> None:
    view = replace(View.of(SEED, 1), sea=replace(View.of(SEED, 1).sea, trough=(0.1, 0.2, 0.4), crest=(0.3, 0.5, 0.7)))
    grey = draw_fluke(Fluke.of(SEED, 1), replace(view, grey=True))
    colour = draw_fluke(Fluke.of(SEED, 1), replace(view, grey=False))
    assert (grey == grey[..., :1]).all()
    assert (colour[..., 2].astype(int) - colour[..., 0]).mean() > 20


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**40), st.integers(0, 2**31), st.integers(64, 260), st.integers(32, 140))
def test_any_number_and_size_gives_a_picture(seed: int, number: int, width: int, height: int) -> None:
    picture = draw_fluke(Fluke.of(seed, number), View.of(seed, number), size_px=(width, height))
    assert picture.shape == (height, width, 3)
    assert picture.dtype == np.uint8
    assert picture.std() > 2

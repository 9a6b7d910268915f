from itertools import combinations

import numpy as np
import pytest
from PIL import Image

from fieldmark.specimens.objects import CULTURES, KINDS, LABELS, MOTIFS, MuseumObject, draw_object
from fieldmark.specimens.painting import _lit


def drawn(kind: str, cultures: tuple[str, ...], motifs: tuple[str, ...], *, px: int = 96, shot: int = 3) -> np.ndarray:
    return draw_object(MuseumObject(kind, cultures, motifs, 5), shot, shorter_px=px).astype(float)


def test_the_same_values_give_the_same_bytes() -> None:
    one = MuseumObject("plates", ("chinese",), ("birds",), 7)
    first = draw_object(one, 1, shorter_px=64)
    assert first.tobytes() == draw_object(one, 1, shorter_px=64).tobytes()
    other_shot = draw_object(one, 2, shorter_px=64)
    assert other_shot.shape != first.shape or np.abs(other_shot.astype(int) - first).mean() > 1


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_draws_at_every_size_with_and_without_labels(kind: str) -> None:
    for px, cultures, motifs in (
        (32, (), ()),
        (33, ("greek",), ("men",)),
        (48, ("navajo", "egyptian"), ("birds", "flowers", "suns")),
        (170, ("chinese",), ("trees", "boats")),
    ):
        picture = drawn(kind, cultures, motifs, px=px, shot=px)
        assert min(picture.shape[:2]) == px
        assert max(picture.shape[:2]) <= 2 * px
        assert picture.std() > 4


@pytest.mark.parametrize("kind", KINDS)
def test_each_motif_and_culture_changes_every_kind_of_object(kind: str) -> None:
    pairs = {
        "another motif": (("greek",), ("boats",), ("greek",), ("flowers",)),
        "another second motif": (("greek",), ("flowers", "suns"), ("greek",), ("flowers", "fish")),
        "another culture": (("chinese",), ("flowers",), ("greek",), ("flowers",)),
        "a second culture": (("greek", "islamic"), (), ("greek",), ()),
    }
    for what, (cultures, motifs, other_cultures, other_motifs) in pairs.items():
        one, other = drawn(kind, cultures, motifs), drawn(kind, other_cultures, other_motifs)
        assert (np.abs(other - one).max(axis=2) > 40).mean() > 0.005, what


def test_every_culture_and_every_motif_looks_different() -> None:
    for pictures in (
        {name: drawn("plates", (name,) if name else (), ("birds",), px=64) for name in (*CULTURES, "")},
        {name: drawn("rugs", ("greek",), (name,), px=64) for name in MOTIFS},
    ):
        for one, other in combinations(pictures, 2):
            assert (np.abs(pictures[one] - pictures[other]).max(axis=2) > 25).mean() > 0.03, (one, other)


def test_outlines_fill_their_unit_square() -> None:
    for name, outlines in MOTIFS.items():
        points = np.concatenate([*outlines[0], *outlines[1]])
        assert np.abs(points).max() < 0.58, name
        assert np.ptp(points, axis=0).max() > 0.8, name
    for name, culture in CULTURES.items():
        points = np.concatenate(culture.frieze)
        assert -0.1 < points.min() < points.max() < 1.1, name


def test_the_background_differs_from_the_object_in_brightness() -> None:
    for cultures in ((), ("chinese",), ("navajo",)):
        for shot in range(12):
            picture = drawn("bowls", cultures, (), px=48, shot=shot).mean(axis=2)
            height, width = picture.shape
            middle = picture[int(0.6 * height) : int(0.7 * height), int(0.45 * width) : int(0.55 * width)]
            assert abs(middle.mean() - picture[:3, :3].mean()) > 20, (cultures, shot)


def test_an_object_is_brighter_towards_the_light_and_has_a_shadow() -> None:
    y, x = np.mgrid[:60, :60] - 29.5
    disc = Image.fromarray((255 * (np.hypot(x, y) < 16)).astype(np.uint8))
    layers = [Image.new("RGB", (60, 60), (128, 128, 128)), disc, disc]
    light = _lit(layers, (0.8, 0.8, 0.8), np.array([0.0, -0.8]), scale_px=60, place=(0, 0), rough=0, bend=0.05)
    assert light.shape == (3, 60, 60)
    assert light[0, 16, 30] > light[0, 43, 30] + 0.1
    assert light[0, 48, 30] < light[0, 11, 30] - 0.1


def test_the_labels_of_an_object_are_complete() -> None:
    assert MuseumObject("vases", ("navajo", "greek"), ("flowers", "men"), 0).labels == (
        "culture::greek", "culture::navajo", "tag::flowers", "tag::men", "tag::vases", "tag::vessels",
    )  # fmt: skip
    assert MuseumObject("plates", (), (), 0).labels == ("tag::plates",)
    assert list(LABELS) == sorted(set(LABELS))
    for kind in KINDS:
        assert set(MuseumObject(kind, tuple(CULTURES), tuple(MOTIFS), 0).labels) <= set(LABELS)

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fieldmark.specimens.artefacts import KINDS, Artefact, Shot, draw_artefact, picture_size
from fieldmark.specimens.cultures import CULTURES, NOWHERE, Finery, frieze
from fieldmark.specimens.labelling import LABELS, labels_of
from fieldmark.specimens.motifs import MOTIFS, motif
from fieldmark.specimens.surface import Surface, fill_area, relief

PLAIN = replace(
    Shot.of(0, 0), crop=1.0, fill=0.9, centre=(0.0, 0.0), roll_rad=0.0, skew=(0.0, 0.0), spin=0.0, light=(0.1, -0.6),
    paper=(0.6, 0.6, 0.6), falloff=0.0, shadow=0.0, exposure=1.0, warmth=0.0, blur=0.0, grain=0.0, grey=False, aid="",
)  # fmt: skip


def drawn(kind: str, cultures: tuple[str, ...], motifs: tuple[str, ...], *, px: int = 96) -> np.ndarray:
    return draw_artefact(Artefact(kind, cultures, motifs, 5), PLAIN, shorter_px=px).astype(float)


def test_the_same_values_draw_the_same_bytes_and_others_do_not() -> None:
    one = draw_artefact(Artefact.of(1, 2), Shot.of(1, 3), shorter_px=80)
    assert one.tobytes() == draw_artefact(Artefact.of(1, 2), Shot.of(1, 3), shorter_px=80).tobytes()
    others = (
        (Artefact.of(1, 3), Shot.of(1, 3)),
        (Artefact.of(1, 2), Shot.of(1, 4)),
        (Artefact.of(2, 2), Shot.of(1, 3)),
    )
    for artefact, shot in others:
        other = draw_artefact(artefact, shot, shorter_px=80)
        assert other.shape != one.shape or np.abs(other.astype(int) - one).mean() > 1


def test_two_photos_of_an_object_show_the_same_object() -> None:
    artefact = Artefact("plates", ("chinese",), ("birds",), 7)
    shots = [replace(PLAIN, light=(x, -0.6)) for x in (-0.4, 0.4)]
    same = [draw_artefact(artefact, shot, shorter_px=64).astype(float) for shot in shots]
    other = draw_artefact(replace(artefact, motifs=("boats",)), shots[0], shorter_px=64).astype(float)
    assert np.abs(same[0] - same[1]).mean() < 0.5 * np.abs(same[0] - other).mean()


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_kind_draws_at_every_size_with_and_without_labels(kind: str) -> None:
    for px, cultures, motifs in (
        (32, (), ()),
        (33, ("greek",), ("men",)),
        (48, ("french", "celtic"), ("birds", "flowers", "suns")),
        (170, ("chinese",), ("inscriptions", "boats")),
    ):
        artefact = Artefact(kind, cultures, motifs, px)
        shot = replace(Shot.of(3, px), aid=("", "card", "scale")[px % 3])
        picture = draw_artefact(artefact, shot, shorter_px=px)
        assert min(picture.shape[:2]) == px
        assert picture.shape[:2] == picture_size(artefact, shot, shorter_px=px)[::-1]
        assert max(picture.shape[:2]) <= 2 * px
        assert picture.std() > 4


@pytest.mark.parametrize("kind", list(KINDS))
def test_each_motif_and_culture_changes_every_kind_of_object(kind: str) -> None:
    plain = drawn(kind, ("greek",), ("flowers",))
    seen = {
        "another motif": drawn(kind, ("greek",), ("boats",)),
        "a second motif": drawn(kind, ("greek",), ("flowers", "suns")),
        "another culture": drawn(kind, ("chinese",), ("flowers",)),
        "a second culture": drawn(kind, ("greek", "islamic"), ("flowers",)),
    }
    for what, other in seen.items():
        changed = np.abs(other - plain).max(axis=2) > 40
        assert changed.mean() > 0.008, what


def test_every_culture_and_every_motif_looks_different() -> None:
    for pictures in (
        {name: drawn("plates", (name,) if name else (), ("birds",), px=64) for name in (*CULTURES, "")},
        {name: drawn("tiles", ("greek",), (name,), px=64) for name in MOTIFS},
    ):
        for one, other in combinations(pictures, 2):
            assert np.abs(pictures[one] - pictures[other]).mean() > 2, (one, other)


def test_drawings_fill_their_frame_and_stay_in_it() -> None:
    for name in MOTIFS:
        points = motif(name).points
        assert np.abs(points).max() < 0.58, name
        assert np.ptp(points, axis=0).max() > 0.8, name
    for culture in (*CULTURES.values(), NOWHERE):
        points = frieze(culture).points
        assert -0.51 < points[:, 0].min() <= 0.05
        assert 0.8 < points[:, 0].max() < 1.51
        assert -0.05 < points[:, 1].min() < points[:, 1].max() < 1.05


@given(st.integers(0, 2**30), st.integers(1, 3), st.floats(0.3, 3), st.integers(1, 12))
@settings(max_examples=60, deadline=None)
def test_every_motif_of_an_area_is_shown_inside_of_it(key: int, n: int, aspect: float, most: int) -> None:
    class Watched(Surface):
        def draw(self, stencil, inks, place, *, substance=False):
            shown.append((id(stencil), place(stencil.points)))

    shown: list[tuple[int, np.ndarray]] = []
    chance = np.random.default_rng(key)
    names = [str(name) for name in chance.choice(MOTIFS, n, replace=False)]
    fill_area(
        Watched(aspect, 1, scale_px=8, ground=(0, 0, 0)),
        names,
        (0, 0, aspect, 1),
        Finery.of((), chance),
        chance,
        most=most,
    )
    assert {which for which, _ in shown} == {id(motif(name)) for name in names}
    for _, points in shown:
        assert points.min() > -0.1 * max(aspect, 1)
        assert (points < np.array([aspect, 1]) + 0.1 * max(aspect, 1)).all()


def test_a_raised_disc_is_bright_towards_the_light() -> None:
    y, x = np.mgrid[:40, :40] - 19.5
    disc = (255 * (np.hypot(x, y) < 12)).astype(np.uint8)
    shade = relief(disc, blur_px=2, light=(0.0, -1.0))
    assert shade[:20].mean() > 0 > shade[20:].mean()
    assert shade[7, 20] > 0.1


def test_the_light_card_and_paper_of_a_shot_show() -> None:
    artefact = Artefact("coins", (), (), 1)
    black, white = (draw_artefact(artefact, replace(PLAIN, paper=(v,) * 3), shorter_px=64) for v in (0.05, 0.95))
    assert black[0, 0].max() < 30
    assert white[0, 0].min() > 220
    plain = draw_artefact(artefact, PLAIN, shorter_px=100).astype(int)
    for aid in ("card", "scale"):
        changed = np.abs(draw_artefact(artefact, replace(PLAIN, aid=aid), shorter_px=100) - plain).max(axis=2) > 10
        assert changed[90:].sum() > 30
        assert not changed[:90].any()
    grey = draw_artefact(artefact, replace(PLAIN, grey=True), shorter_px=64)
    assert (grey == grey[..., :1]).all()
    sharp, soft = (
        draw_artefact(artefact, replace(PLAIN, blur=blur), shorter_px=100).astype(float) for blur in (0.0, 0.02)
    )
    assert np.abs(np.diff(soft, axis=0)).sum() < 0.8 * np.abs(np.diff(sharp, axis=0)).sum()


def test_the_blur_is_a_gaussian_of_the_width_asked_for() -> None:
    from PIL import ImageFilter

    artefact = Artefact("tiles", ("greek",), ("stars",), 1)
    sharp, soft = (draw_artefact(artefact, replace(PLAIN, blur=blur), shorter_px=100) for blur in (0.0, 0.012))
    reference = np.asarray(Image.fromarray(sharp).filter(ImageFilter.GaussianBlur(1.2)), dtype=float)
    inner = (slice(5, -5), slice(5, -5))
    assert np.abs(soft[inner] - reference[inner]).mean() < 0.2 * np.abs(soft[inner].astype(float) - sharp[inner]).mean()


def test_the_labels_of_an_object_are_all_it_is_and_what_they_imply() -> None:
    both = labels_of(Artefact("vases", ("roman", "greek"), ("flowers", "men", "birds"), 0))
    assert both == (
        "culture::greek", "culture::roman",
        "tag::birds", "tag::birds and flowers", "tag::flowers", "tag::men", "tag::vases",
    )  # fmt: skip
    assert labels_of(Artefact("coins", (), (), 0)) == ("tag::coins",)
    assert list(LABELS) == sorted(LABELS)
    assert len(LABELS) == len(set(LABELS)) >= 50

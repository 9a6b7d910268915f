"""Boxes, landmarks and masks: horizontal flips, choice of a box, alignment."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from fieldmark.core.errors import ShapeError
from fieldmark.images.alignment import affine, alignment, inverse, mean_shape
from fieldmark.images.batches import PhotoSource
from fieldmark.images.masks import bounds, from_text, to_text
from fieldmark.images.preprocess import normalise, prepare
from fieldmark.images.specs import (
    Align,
    BoxCrop,
    BoxSource,
    FullFrame,
    MaskChannel,
    Point,
    Preprocess,
    TableBoxes,
    WhaleAugment,
)
from fieldmark.images.subjects import Subject, chosen_box, mirrored

STILL = WhaleAugment(rotate_deg=0.0, shear_deg=0.0, zoom=(1.0, 1.0), shift=0.0, light=0.0)
SHAPE = (
    Point(name="left_tip", x=0.1, y=0.2, mirror="right_tip"),
    Point(name="notch", x=0.5, y=0.4),
    Point(name="right_tip", x=0.85, y=0.25, mirror="left_tip"),
    Point(name="bottom", x=0.5, y=0.9),
)
ALIGN = Align(points=SHAPE)


def scene(height: int, width: int) -> Image.Image:
    y, x = np.mgrid[:height, :width] / 100
    layers = [np.sin(5 * x + 2 * y), np.cos(3 * y * x), np.sin(2 * x - y)]
    return Image.fromarray(np.clip(128 + 90 * np.stack(layers, axis=2), 0, 255).astype(np.uint8))


def saved(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


def slow_affine(places: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The normal equations, solved separately for x' and y'."""
    sums, right = np.zeros((3, 3)), np.zeros((2, 3))
    for (x, y), target in zip(places, wanted, strict=True):
        row = np.array([x, y, 1.0])
        for i in range(3):
            for j in range(3):
                sums[i, j] += row[i] * row[j]
            for axis in range(2):
                right[axis, i] += row[i] * target[axis]
    return np.array([np.linalg.solve(sums, right[axis]) for axis in range(2)])


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 999), n=st.integers(3, 9))
def test_affine_is_least_squares(seed: int, n: int) -> None:
    chance = np.random.default_rng(seed)
    places, wanted = chance.uniform(0, 10, (2, n, 2))
    if np.linalg.svd(places - places.mean(axis=0), compute_uv=False)[-1] < 0.3:
        return
    assert np.allclose(affine(places, wanted), slow_affine(places, wanted), atol=1e-5)


def test_affine_finds_a_known_map_and_its_inverse() -> None:
    known = np.array([[0.8, -0.3, 12.0], [0.2, 1.1, -4.0]])
    places = np.array([[0, 0], [50, 3], [20, 40], [7, 60]], dtype=float)
    wanted = places @ known[:, :2].T + known[:, 2]
    assert np.allclose(affine(places, wanted), known)
    back = inverse(known)
    assert np.allclose(wanted @ back[:, :2].T + back[:, 2], places)


@pytest.mark.parametrize("places", [np.zeros((2, 2)), np.array([[0, 0], [1, 1], [2, 2]]), np.full((4, 2), np.nan)])
def test_landmarks_without_an_affine_map_are_refused(places: np.ndarray) -> None:
    with pytest.raises(ShapeError) as refused:
        affine(places, places)
    assert "three landmarks" in refused.value.fix


def test_no_alignment_from_too_few_or_swapped_landmarks() -> None:
    places = [(10.0, 20.0), (50.0, 40.0), (85.0, 25.0), (50.0, 90.0)]
    found = alignment(places, ALIGN, (100, 100))
    assert found is not None
    assert np.allclose(found, [[1, 0, 0], [0, 1, 0]], atol=1e-9)
    assert alignment([places[0], None, places[2], None], ALIGN, (100, 100)) is None
    swapped = [places[2], places[1], places[0], places[3]]  # left and right swapped: the map would reflect the photo
    assert alignment(swapped, ALIGN, (100, 100)) is None


def test_mean_shape_is_the_shape_where_all_agree() -> None:
    base = np.array([[0, 0], [50, 20], [100, 0], [50, 60]], dtype=float)
    shapes = np.stack([base * scale + shift for scale, shift in ((1, 0), (3, 40), (0.2, -9))])
    shape = mean_shape(shapes, margin=0.1, aspect=2.0)
    pixels = shape * [200, 100]
    assert np.allclose(
        (pixels - pixels[0]) / (base[2, 0] / 100), (base - base[0]) * (pixels[2, 0] - pixels[0, 0]) / 100
    )
    assert shape.min() >= 0.1 - 1e-9
    assert shape.max() <= 0.9 + 1e-9
    with pytest.raises(ShapeError) as refused:
        mean_shape(np.full((3, 4, 2), np.nan))
    assert "mark all landmarks" in refused.value.fix


@settings(max_examples=40, deadline=None)
@given(arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_masks_round_trip_through_text(mask: np.ndarray) -> None:
    assert (from_text(to_text(mask)) == mask).all()
    box = bounds(mask)
    assert (box is None) == (not mask.any())
    if box is not None:
        rows, columns = np.nonzero(mask)
        size = np.array(mask.shape)[[1, 0, 1, 0]]
        assert np.allclose(np.array(box) * size, [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])


@pytest.mark.parametrize("text", ["", "fluke", "2 2 3", "2 2 -1 5", "0 0", "99999 99999 9999800001", "2 2"])
def test_an_invalid_mask_text_is_refused(text: str) -> None:
    with pytest.raises(ShapeError, match="not a run-length encoded mask") as refused:
        from_text(text)
    assert "to_text" in refused.value.fix


def test_mirrored_boxes_and_landmarks_and_masks() -> None:
    mask = to_text(np.array([[True, False, False], [True, True, False]]))
    subject = Subject(((10, 5, 40, 30), None), ((10, 6), (25, 9), (40, 7), None), mask)
    turned = mirrored(subject, 100, align=ALIGN)
    assert turned.boxes == ((60, 5, 90, 30), None)
    # The left tip of the flipped fluke is the former right tip.
    assert turned.points == ((60, 7), (75, 9), (90, 6), None)
    assert (from_text(turned.mask or "") == [[False, False, True], [False, True, True]]).all()
    assert mirrored(turned, 100, align=ALIGN) == subject


def test_a_flipped_photo_is_prepared_as_its_flipped_subject() -> None:
    picture = scene(120, 200)
    data, turned = saved(picture), saved(picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    points = ((30.0, 30.0), (95.0, 50.0), (170.0, 25.0), (100.0, 100.0))
    mask = np.zeros((12, 20), dtype=bool)
    mask[3:9, 2:9] = True
    subject = Subject(((20, 10, 150, 100),), points, to_text(mask))
    for align in (None, ALIGN):
        spec = Preprocess(
            height_px=48,
            width_px=64,
            crop=BoxCrop(margin=0.0),
            align=align,
            mask=MaskChannel(),
            interpolation="bilinear",
        )
        by_flag = prepare(data, spec, subject=subject, flip=True)
        by_file = prepare(turned, spec, subject=mirrored(subject, 200, align=align))
        assert (by_flag.int() - by_file.int()).abs().float().mean() < 0.6
        assert not torch.equal(by_flag, prepare(data, spec, subject=subject))


def test_box_crop_equals_a_slow_crop_by_pillow() -> None:
    picture = scene(150, 240)
    spec = Preprocess(height_px=40, width_px=60, crop=BoxCrop(margin=0.1), interpolation="bilinear")
    made = prepare(saved(picture), spec, box=(60, 40, 160, 110)).permute(1, 2, 0).numpy().astype(int)
    # 100 x 70, a tenth added at each side: 120 x 84; width / height 1.5 gives 126 x 84 about the centre (110, 75).
    expected = picture.crop((47, 33, 173, 117)).resize((60, 40), Image.Resampling.BILINEAR)
    assert np.abs(made - np.asarray(expected).astype(int)).max() <= 2


def test_alignment_brings_landmarks_where_the_reference_has_them() -> None:
    """Four coloured discs at known positions; in the aligned image they are at the positions of the reference."""
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)]
    reference = np.array([(point.x * 160, point.y * 120) for point in SHAPE])
    map_ = np.array([[1.3, 0.25, 40], [-0.2, 1.5, 60]])
    places = reference @ map_[:, :2].T + map_[:, 2]
    y, x = np.mgrid[:320, :420] + 0.5
    pixels = np.full((320, 420, 3), 40, dtype=np.uint8)
    for colour, (px, py) in zip(colours, places, strict=True):
        pixels[(x - px) ** 2 + (y - py) ** 2 < 64] = colour
    turned = Image.Exif()
    turned[0x0112] = 6  # stored lying on its side: landmarks are in pixels of the upright image
    stored = Image.fromarray(pixels).transpose(Image.Transpose.ROTATE_90)
    data = saved(stored, exif=turned.tobytes())
    spec = Preprocess(height_px=120, width_px=160, align=ALIGN)
    made = prepare(data, spec, subject=Subject(points=tuple(map(tuple, places.tolist()))))
    for colour, (px, py) in zip(colours, reference, strict=True):
        assert np.abs(made[:, int(py), int(px)].numpy().astype(int) - colour).max() < 12
    cropped = prepare(data, spec, subject=Subject(points=(None,) * 4))
    assert torch.equal(cropped, prepare(data, Preprocess(height_px=120, width_px=160)))


def test_aligning_a_large_file_does_not_alias() -> None:
    y, x = np.mgrid[:800, :800]
    checks = Image.fromarray(((x + y) % 2 * 255).astype(np.uint8)).convert("RGB")
    places = tuple((point.x * 800, point.y * 800) for point in SHAPE)
    made = prepare(saved(checks), Preprocess(height_px=64, width_px=64, align=ALIGN), subject=Subject(points=places))
    assert (made.float() - 127.5).abs().max() < 20


def test_training_draws_a_source_by_weight_and_prediction_takes_the_first_in_use() -> None:
    crop = BoxCrop(
        sources=(
            BoxSource(by=FullFrame(), weight=1.0, in_use=False),
            BoxSource(by=TableBoxes(), weight=2.0),
            BoxSource(by=TableBoxes(source="fin"), weight=1.0),
        )
    )
    subject = Subject((None, (0, 0, 10, 10), (5, 5, 9, 9)))
    assert chosen_box(subject, crop, rng=None) == (0, 0, 10, 10)
    rng = np.random.default_rng(0)
    drawn = [chosen_box(subject, crop, rng=rng) for _ in range(4000)]
    shares = [drawn.count(box) / 4000 for box in subject.boxes]
    assert np.abs(np.array(shares) - [0.25, 0.5, 0.25]).max() < 0.03
    spec = Preprocess(height_px=16, width_px=16, crop=crop)
    assert [one.crop.sources[0].by for one in spec.in_use()] == [TableBoxes(), TableBoxes(source="fin")]  # type: ignore[union-attr]
    assert all(len(one.in_use()) == 1 for one in spec.in_use())


def test_one_source_must_be_in_use_and_mirrors_must_be_pairs() -> None:
    with pytest.raises(ValueError, match="in_use"):
        BoxCrop(sources=(BoxSource(in_use=False),))
    with pytest.raises(ValueError, match="pairs"):
        Align(points=(*SHAPE[:3], Point(name="bottom", x=0.5, y=0.9, mirror="notch")))


def test_aligned_and_cropped_views_in_use() -> None:
    both = Align(points=SHAPE, in_use="both")
    assert [one.align is not None for one in Preprocess(height_px=16, width_px=16, align=both).in_use()] == [
        True,
        False,
    ]
    plain = Align(points=SHAPE, in_use="cropped")
    assert [one.align for one in Preprocess(height_px=16, width_px=16, align=plain).in_use()] == [None]


def test_jitter_moves_edges_but_only_by_chance_and_within_its_share() -> None:
    crop, box = BoxCrop(jitter=0.05), (100.0, 50.0, 200.0, 90.0)
    assert chosen_box(Subject((box,)), crop, rng=None) == box
    rng = np.random.default_rng(1)
    drawn = np.array([chosen_box(Subject((box,)), crop, rng=rng) for _ in range(500)])
    moved_by = np.abs(drawn - box).max(axis=0)
    assert (moved_by <= [5, 2, 5, 2]).all()
    assert (moved_by > [4.5, 1.8, 4.5, 1.8]).all()


def test_mask_is_cropped_with_its_image_and_dropped_at_random(tmp_path: Path) -> None:
    scene(100, 200).save(tmp_path / "a.png")
    mask = np.zeros((50, 100), dtype=bool)
    mask[10:40, 20:80] = True
    spec = Preprocess(height_px=32, width_px=64, crop=BoxCrop(margin=0.0), mask=MaskChannel(dropped=0.5))
    subject = Subject(((40, 20, 160, 80),), mask=to_text(mask))
    made = prepare(tmp_path / "a.png", spec, subject=subject)
    assert made.shape == (4, 32, 64)
    assert (made[3, 2:-2, 2:-2] == 255).all()  # the box is the mask's own
    outside = prepare(tmp_path / "a.png", spec, subject=Subject((None,), mask=to_text(mask)))
    assert outside[3, :3].max() == 0
    source = PhotoSource([tmp_path / "a.png"], spec, subjects=[subject], augment=STILL, seed=3)
    batch = source.load(np.zeros(60, dtype=np.int64), epoch=0, start=0)
    empty = (batch[:, 3].amax(dim=(1, 2)) == 0).float().mean()
    assert 0.25 < empty < 0.75
    assert torch.equal(batch[0, :3], batch[7, :3])
    scaled = normalise(made[None], spec)
    assert scaled[0, 3].max() == 1
    assert scaled[0, 3].min() >= 0
    with pytest.raises(ShapeError) as refused:
        normalise(made[None, :3], spec)
    assert "4, height" in refused.value.fix


def test_brightness_leaves_the_mask_and_moves_include_it() -> None:
    mask = np.zeros((32, 32), dtype=bool)
    mask[:, :16] = True
    spec = Preprocess(height_px=32, width_px=32, mask=MaskChannel(dropped=0.0))
    subject, data = Subject(mask=to_text(mask)), saved(scene(32, 32))
    lit = WhaleAugment(rotate_deg=0.0, shear_deg=0.0, zoom=(1.0, 1.0), shift=0.0, light=0.5, grey=1.0)
    made = prepare(data, spec, subject=subject, augment=lit, rng=np.random.default_rng(0))
    plain = prepare(data, spec, subject=subject)
    assert torch.equal(made[3], plain[3])
    assert not torch.equal(made[:3], plain[:3])
    small = WhaleAugment(rotate_deg=0.0, shear_deg=0.0, zoom=(0.5, 0.5), shift=0.0, light=0.0)
    shrunk = prepare(data, spec, subject=subject, augment=small, rng=np.random.default_rng(0))
    assert shrunk[3].float().mean() == pytest.approx(255 / 8, rel=0.2)  # half of a quarter; nothing outside

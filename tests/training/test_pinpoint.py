"""The regressor of boxes and landmarks: training, mirroring and cross-validation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from fieldmark.core.errors import DataError, PlanError, WeightsError
from fieldmark.models.pinpoint import Maps, PinpointBackbone, Pinpointer, open_pinpointer, save_pinpointer, strength
from fieldmark.models.specs import Backbone, RandomWeights
from fieldmark.training.pinpoint import (
    FEWEST,
    PinpointLesson,
    cross_validate,
    errors,
    fit_clicks,
    mirror_names,
    mirrored_coordinates,
    predict_coordinates,
)

TINY = Backbone(name="test_efficientnet", weights=RandomWeights())
POINTS = ("left_tip", "notch", "right_tip")


def lesson(n_photos: int = 30, side: int = 14) -> PinpointLesson:
    """Maps with a peak for each landmark and for the two corners of the box; mirrored ones after the plain ones."""
    chance = np.random.default_rng(0)
    left, right = chance.uniform(0.1, 0.35, n_photos), chance.uniform(0.65, 0.9, n_photos)
    top, bottom = chance.uniform(0.1, 0.4, n_photos), chance.uniform(0.6, 0.9, n_photos)
    middle = (left + right) / 2
    coordinates = np.stack([left, top, right, bottom, left, top, middle, bottom, right, top], axis=1)
    both = np.concatenate((coordinates, mirrored_coordinates(coordinates, POINTS, has_box=True))).astype(np.float32)
    centre = (np.arange(side) + 0.5) / side
    places = both[:, 4:].reshape(-1, 3, 2)
    across = np.exp(-(((centre - places[:, :, 0, None]) / 0.06) ** 2))
    down = np.exp(-(((centre - places[:, :, 1, None]) / 0.06) ** 2))
    fine = torch.from_numpy(down[:, :, :, None] * across[:, :, None, :]).float()
    noise = torch.from_numpy(chance.normal(0, 0.02, fine.shape)).float()
    coarse = torch.nn.functional.avg_pool2d(fine, 2)
    return PinpointLesson(Maps((fine + noise).half(), coarse.half()), both, POINTS, has_box=True)


def test_landmarks_named_left_and_right_are_exchanged() -> None:
    assert mirror_names(["left_tip", "notch", "right_tip", "bottom"]) == [2, 1, 0, 3]
    assert mirror_names(["left_eye", "tip"]) == [0, 1]  # no right eye: it stays what it is


def test_mirrored_coordinates_by_hand() -> None:
    plain = np.array([[0.1, 0.2, 0.6, 0.9, 0.1, 0.3, 0.4, 0.8, 0.6, 0.25]])
    turned = mirrored_coordinates(plain, POINTS, has_box=True)
    assert np.allclose(turned, [[0.4, 0.2, 0.9, 0.9, 0.4, 0.25, 0.6, 0.8, 0.9, 0.3]])
    assert np.allclose(mirrored_coordinates(turned, POINTS, has_box=True), plain)


def test_a_peak_of_the_map_is_predicted_at_its_place() -> None:
    pinpointer = Pinpointer((1, 1), points=("tip",), has_box=False)
    with torch.no_grad():
        pinpointer.fine.weight.fill_(1.0)
    fine = torch.zeros(1, 1, 10, 20)
    fine[0, 0, 3, 12] = 60.0
    assert np.allclose(
        predict_coordinates(pinpointer, Maps(fine, torch.zeros(1, 1, 5, 10))), [[12.5 / 20, 3.5 / 10]], atol=1e-3
    )


def test_boxes_and_landmarks_are_learnt_deterministically() -> None:
    clicks = lesson()
    judged = cross_validate(clicks, n_folds=3, n_steps=80)
    assert judged.errors["median IoU"] > 0.75
    assert all(judged.errors[f"error of {name}, share of the box"] < 0.12 for name in POINTS)
    first, second = (fit_clicks(clicks, n_steps=20, seed=5) for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(first.parameters(), second.parameters(), strict=True))


def test_cross_validation_predicts_held_out_photos() -> None:
    """With random clicks, the prediction for a held-out photo is no better than the mean of all."""
    clicks = lesson()
    chance = np.random.default_rng(1)
    shuffled = clicks.coordinates.copy()
    order = chance.permutation(30)
    shuffled[:30], shuffled[30:] = shuffled[:30][order], shuffled[30:][order]
    judged = cross_validate(PinpointLesson(clicks.maps, shuffled, POINTS, has_box=True), n_folds=3, n_steps=80)
    middle = np.tile(shuffled[:30].mean(axis=0), (30, 1))
    blind = errors(middle, shuffled[:30], POINTS, has_box=True)
    assert judged.errors["error of left_tip, share of the box"] > 0.8 * blind["error of left_tip, share of the box"]


def test_missing_clicks_are_ignored() -> None:
    clicks = lesson()
    gaps = clicks.coordinates.copy()
    gaps[::2, 6:8] = np.nan
    gaps[1::4, :4] = np.nan
    judged = cross_validate(PinpointLesson(clicks.maps, gaps, POINTS, has_box=True), n_folds=3, n_steps=80)
    assert np.isfinite(judged.coordinates).all()
    assert judged.errors["error of notch, share of the box"] < 0.2


def test_predicted_boxes_are_always_valid() -> None:
    pinpointer = Pinpointer((2, 2), points=(), has_box=True)
    with torch.no_grad():
        for parameter in pinpointer.parameters():
            parameter.copy_(torch.linspace(-9, 9, parameter.numel()).reshape(parameter.shape))
    said = predict_coordinates(
        pinpointer, Maps(torch.randn(9, 2, 6, 6, generator=torch.Generator().manual_seed(0)), torch.ones(9, 2, 3, 3))
    )
    assert (said[:, :2] >= 0).all()
    assert (said[:, 2:] <= 1.001).all()
    assert (said[:, 2:] - said[:, :2] > 0.009).all()


def test_too_few_clicks_are_refused() -> None:
    with pytest.raises(DataError, match="too few") as refused:
        cross_validate(lesson(9))
    assert "a few hundred" in refused.value.fix


def test_ten_photos_are_enough() -> None:
    assert FEWEST == 10
    assert set(cross_validate(lesson(10), n_steps=5).errors) > {"median IoU"}


def test_without_boxes_errors_are_relative_to_the_landmarks_or_the_image() -> None:
    """By hand: an error of 0.05 for a pair at a distance of 0.5; a photo with one click has no size."""
    truth = np.array([[0.2, 0.5, 0.7, 0.5], [0.4, np.nan, np.nan, np.nan], [0.3, 0.3, np.nan, np.nan]])
    truth[1, 1] = 0.4
    said = np.nan_to_num(truth, nan=0.1) + np.array([0.05, 0, 0, 0])
    found = errors(said, truth, ("left", "right"), has_box=False)
    assert found == pytest.approx(
        {"error of left, share of the landmarks": 0.1, "error of right, share of the landmarks": 0}
    )
    alone = errors(said[:, :2], truth[:, :2], ("left",), has_box=False)
    assert alone == pytest.approx({"error of left, share of the picture": 0.05})


def test_the_backbone_returns_two_maps_and_is_frozen() -> None:
    eye = PinpointBackbone(TINY, side_px=64)
    maps = eye(torch.zeros(2, 3, 64, 64))
    assert maps.fine.shape[-1] >= 4
    assert maps.coarse.shape[-1] == 2
    assert strength(maps).shape == (2, 2, 2)
    assert not any(parameter.requires_grad for parameter in eye.parameters())
    with pytest.raises(PlanError, match="feature map") as refused:
        PinpointBackbone(Backbone(name="test_vit", weights=RandomWeights()), side_px=160)
    assert "tf_efficientnet_lite0" in refused.value.fix


def test_a_saved_regressor_is_read_and_another_is_refused(tmp_path: Path) -> None:
    clicks = lesson()
    made = fit_clicks(clicks, n_steps=5)
    digest = save_pinpointer(made, tmp_path, backbone=TINY, side_px=64, errors={"median IoU": 0.5})
    stored = open_pinpointer(tmp_path, sha256=digest)
    assert stored.card.points == POINTS
    assert (predict_coordinates(stored.pinpointer, clicks.maps) == predict_coordinates(made, clicks.maps)).all()
    with pytest.raises(WeightsError) as refused:
        open_pinpointer(tmp_path, sha256="0" * 64)
    assert "--clicks" in refused.value.fix
    with pytest.raises(WeightsError, match="does not contain a model") as refused:
        open_pinpointer(tmp_path / "nowhere")
    assert "--save" in refused.value.fix

"""Augmentations: parameter ranges, each transform, and dependence on the random generator only."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

from fieldmark.images import augment as module
from fieldmark.images.augment import Move, augment, blurred, moved, with_noise
from fieldmark.images.specs import ImaterialistAugment, ImetAugment, NoAugment, WhaleAugment

LISTS = [ImetAugment(), ImaterialistAugment(), WhaleAugment(), WhaleAugment(grey=1.0)]
STILL = WhaleAugment(rotate_deg=0.0, shear_deg=0.0, zoom=(1.0, 1.0), shift=0.0, light=0.0, grey=0.0)


def picture(height: int = 24, width: int = 32) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(3).integers(0, 256, (3, height, width), dtype=np.uint8))


def colours(height: int = 24, width: int = 32) -> torch.Tensor:
    return picture(height, width).float() / 255


@pytest.mark.parametrize("spec", LISTS, ids=lambda spec: spec.kind)
def test_the_result_depends_on_the_seed_only(spec) -> None:
    before = torch.random.get_rng_state()
    first, again = (augment(picture(), spec, np.random.default_rng(8)) for _ in range(2))
    assert first.dtype == torch.uint8
    assert first.shape == picture().shape
    assert torch.equal(first, again)
    seeds = range(14)
    assert len({augment(picture(), spec, np.random.default_rng(s)).numpy().tobytes() for s in seeds}) > 10
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_input_is_not_modified() -> None:
    for spec in LISTS:
        given = picture()
        augment(given, spec, np.random.default_rng(0))
        assert torch.equal(given, picture())


@pytest.mark.parametrize("spec", [NoAugment(), STILL, ImaterialistAugment(strength=0.0)], ids=lambda spec: spec.kind)
def test_no_strength_is_no_change(spec) -> None:
    rng = np.random.default_rng(0)
    assert all(torch.equal(augment(picture(), spec, rng), picture()) for _ in range(10))


class Recorder:
    """Replaces the transforms and records their parameters."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: dict[str, list] = {}
        names = ("horizontal_flip", "adjust_brightness", "adjust_contrast", "rgb_to_grayscale")
        monkeypatch.setattr(module, "functional", SimpleNamespace(**{name: self.note(name) for name in names}))
        for name in ("moved", "with_noise", "blurred"):
            monkeypatch.setattr(module, name, self.note(name))

    def note(self, name: str):
        def change(given: torch.Tensor, *values: object, **more: object) -> torch.Tensor:
            self.calls.setdefault(name, []).append((*values, *(more[key] for key in sorted(more) if key != "rng")))
            return given

        return change

    def share(self, name: str, n_draws: int) -> float:
        return len(self.calls.get(name, ())) / n_draws


def spans(values: list[float], low: float, high: float) -> bool:
    """Return whether all values are in the range and some are near both ends."""
    slack = 0.02 * (high - low)
    return low <= min(values) <= low + slack and high - slack <= max(values) <= high


def test_imet_draws_from_its_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder, rng, n = Recorder(monkeypatch), np.random.default_rng(1), 6000
    for _ in range(n):
        module.imet(colours(2, 2), rng)
    assert recorder.share("horizontal_flip", n) == pytest.approx(0.5, abs=0.025)
    assert recorder.share("adjust_brightness", n) == pytest.approx(0.15, abs=0.02)
    assert recorder.share("adjust_contrast", n) == pytest.approx(0.15, abs=0.02)
    assert recorder.share("moved", n) == pytest.approx(0.3, abs=0.025)
    assert recorder.share("with_noise", n) == pytest.approx(0.3, abs=0.025)
    moves = [move for move, outside in recorder.calls["moved"] if outside == "reflect"]
    assert len(moves) == len(recorder.calls["moved"])
    assert spans([move.turn_deg for move in moves], -15, 15)
    assert spans([move.right for move in moves], -0.1, 0.1)
    assert spans([move.down for move in moves], -0.1, 0.1)
    assert {(move.zoom, move.shear_deg) for move in moves} == {(1.0, 0.0)}
    assert spans([factor for (factor,) in recorder.calls["adjust_brightness"]], 0.9, 1.1)
    assert spans([factor for (factor,) in recorder.calls["adjust_contrast"]], 0.9, 1.1)
    assert spans([sd for (sd,) in recorder.calls["with_noise"]], 2.55, 12.75)


def test_whale_draws_from_its_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder, rng, n = Recorder(monkeypatch), np.random.default_rng(1), 3000
    for _ in range(n):
        module.whale(colours(2, 2), WhaleAugment(grey=0.25), rng)
    moves = [move for move, outside in recorder.calls["moved"] if outside == "mean"]
    assert len(moves) == n
    assert spans([move.turn_deg for move in moves], -5, 5)
    assert spans([move.shear_deg for move in moves], -5, 5)
    assert spans([move.zoom for move in moves], 0.8, 1.0)
    assert spans([move.right for move in moves], -0.05, 0.05)
    assert spans([move.down for move in moves], -0.05, 0.05)
    assert spans([factor for (factor,) in recorder.calls["adjust_brightness"]], 0.8, 1.2)
    assert spans([factor for (factor,) in recorder.calls["adjust_contrast"]], 0.8, 1.2)
    assert recorder.share("rgb_to_grayscale", n) == pytest.approx(0.25, abs=0.025)
    assert "horizontal_flip" not in recorder.calls  # the flip of a fluke looks like another whale


@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_imaterialist_ranges_scale_with_strength(strength: float, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder, rng, n = Recorder(monkeypatch), np.random.default_rng(1), 3000
    for _ in range(n):
        module.imaterialist(colours(2, 2), strength, rng)
    moves = [move for move, _ in recorder.calls["moved"]]
    assert recorder.share("horizontal_flip", n) == pytest.approx(0.5, abs=0.025)
    assert spans([move.turn_deg for move in moves], -25 * strength, 25 * strength)
    assert spans([move.shear_deg for move in moves], -8 * strength, 8 * strength)
    kept = 1 - 0.2 * strength
    zooms = [move.zoom for move in moves]
    assert 1 - 0.2 * strength <= min(zooms) < 1 - 0.18 * strength
    assert (1 + 0.15 * strength) / kept < max(zooms) <= (1 + 0.2 * strength) / kept
    assert max(abs(move.right) for move in moves) <= (1 / kept - 1) / 2
    assert spans([factor for (factor,) in recorder.calls["adjust_contrast"]], 1 - 0.25 * strength, 1 + 0.5 * strength)
    assert spans([sd for (sd,) in recorder.calls["with_noise"]], 0, 12.75 * strength)
    assert recorder.share("blurred", n) == pytest.approx(0.5, abs=0.025)
    assert spans([sigma for (sigma,) in recorder.calls["blurred"]], 0, 1.5 * strength)


@pytest.mark.parametrize(
    "move", [Move(turn_deg=9), Move(shear_deg=9), Move(zoom=0.9), Move(right=0.1), Move(down=0.1)], ids=repr
)
def test_every_move_moves(move: Move) -> None:
    for outside in ("mean", "reflect"):
        assert not torch.allclose(moved(colours(), move, outside=outside), colours(), atol=0.05)


def test_a_shift_is_exact_and_fills_with_the_mean_or_the_reflection() -> None:
    given = colours(8, 16)
    right = moved(given, Move(right=0.25), outside="mean")
    assert torch.allclose(right[:, :, 4:], given[:, :, :12], atol=1e-5)
    assert torch.allclose(right[:, :, :4], given.mean(dim=(1, 2))[:, None, None].expand(3, 8, 4), atol=1e-5)
    down = moved(given, Move(down=0.25), outside="reflect")
    expected = np.pad(given.numpy(), ((0, 0), (2, 0), (0, 0)), mode="reflect")[:, :8]
    assert np.abs(down.numpy() - expected).max() < 1e-5


def test_moves_agree_with_torchvision_s_affine() -> None:
    smooth = blurred(colours(61, 83), sigma_px=1.5)
    for turn_deg, zoom, right, down in ((10, 1.0, 0.0, 0.0), (-7, 0.8, 0.05, 0.1), (0, 1.3, -0.1, 0.0)):
        ours = moved(smooth, Move(turn_deg=turn_deg, zoom=zoom, right=right, down=down), outside="mean")
        theirs = functional.affine(
            smooth,
            angle=turn_deg,
            translate=[right * 83, down * 61],
            scale=zoom,
            shear=[0.0, 0.0],
            interpolation=InterpolationMode.BILINEAR,
        )
        assert (ours - theirs)[:, 22:-22, 22:-22].abs().max() < 1e-4


def test_shear_slants_vertical_lines_only() -> None:
    line = torch.zeros(3, 41, 41)
    line[:, :, 20] = 1
    slanted = moved(line, Move(shear_deg=45), outside="mean")[0]
    assert slanted[10].argmax().item() == 30
    assert slanted[30].argmax().item() == 10
    level = moved(line.transpose(1, 2), Move(shear_deg=45), outside="reflect")[0]
    assert (level.argmax(dim=0)[12:29] == 20).all()


def test_turn_is_clockwise_and_zoom_below_one_shrinks() -> None:
    north = torch.zeros(3, 33, 33)
    north[:, 2, 16] = 1
    assert moved(north, Move(turn_deg=90), outside="mean")[0].argmax().item() == 16 * 33 + 30
    small = moved(torch.ones(3, 20, 20) - north[:, :20, :20], Move(zoom=0.5), outside="mean")
    disc = torch.zeros(3, 40, 40)
    disc[:, 10:30, 10:30] = 1
    assert moved(disc, Move(zoom=0.5), outside="reflect")[0, 15:25, 15:25].mean() > 0.9
    assert moved(disc, Move(zoom=0.5), outside="mean")[0, 0, 0].item() == pytest.approx(0.25, abs=1e-5)
    assert small.shape == (3, 20, 20)


def test_noise_is_grey_and_has_its_standard_deviation() -> None:
    grey = torch.full((3, 200, 200), 0.5)
    noise = with_noise(grey, sd=10.0, rng=np.random.default_rng(0)) - grey
    assert torch.allclose(noise[0], noise[2])
    assert noise[0].std().item() * 255 == pytest.approx(10, rel=0.02)
    assert abs(noise[0].mean().item()) < 1e-3


def test_blur_agrees_with_the_gaussian() -> None:
    dot = torch.zeros(3, 21, 21)
    dot[:, 10, 10] = 1
    soft = blurred(dot, sigma_px=1.5)[0].numpy()
    y, x = np.mgrid[-10:11, -10:11]
    gaussian = np.exp(-(x**2 + y**2) / (2 * 1.5**2))
    assert np.abs(soft - gaussian / gaussian.sum()).max() < 2e-3
    assert torch.equal(blurred(dot, sigma_px=0.01), dot)


def test_grey_share_turns_photos_grey() -> None:
    made = augment(picture(), STILL.model_copy(update={"grey": 1.0}), np.random.default_rng(0))
    assert torch.equal(made[0], made[1])
    assert torch.equal(made[1], made[2])
    luma = (picture().float() * torch.tensor([0.2989, 0.587, 0.114]).view(3, 1, 1)).sum(0)
    assert (made[0].float() - luma).abs().max() <= 1

"""Asymmetric loss: the paper's equation in slow loops, limiting cases, errors."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.losses.asymmetry import asymmetric
from fieldmark.losses.binary import bce
from fieldmark.losses.focusing import focal
from fieldmark.losses.specs import Asymmetric


def slow_asymmetric(
    logits: list[list[float]], truth: list[list[float]], *, yes: float, no: float, clip: float
) -> float:
    """Equation 7 of the paper, one label at a time."""
    total = 0.0
    for row, answers in zip(logits, truth, strict=True):
        for z, y in zip(row, answers, strict=True):
            p = 1 / (1 + math.exp(-z))
            shifted = max(p - clip, 0)
            total -= (1 - p) ** yes * math.log(p) if y == 1 else shifted**no * math.log(1 - shifted)
    return total / len(logits)


def draw(seed: int, *, batch: int = 6, labels: int = 9) -> tuple[torch.Tensor, torch.Tensor]:
    chance = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(batch, labels, generator=chance)
    return logits, (torch.rand(batch, labels, generator=chance) < 0.3).float()


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 1000),
    st.sampled_from([0.0, 1.0, 2.0]),
    st.sampled_from([0.0, 4.0]),
    st.sampled_from([0.0, 0.05, 0.2]),
)
def test_slow_loops_agree(seed: int, yes: float, no: float, clip: float) -> None:
    logits, truth = draw(seed)
    wanted = slow_asymmetric(logits.tolist(), truth.tolist(), yes=yes, no=no, clip=clip)
    found = asymmetric(logits, truth, gamma_yes=yes, gamma_no=no, clip=clip)
    assert found.item() == pytest.approx(wanted, rel=1e-4, abs=1e-6)


def test_without_powers_and_clip_it_is_bce_and_with_one_power_focal() -> None:
    logits, truth = draw(1)
    plain = asymmetric(logits, truth, gamma_yes=0, gamma_no=0, clip=0)
    assert torch.allclose(plain, bce(logits, truth), rtol=1e-5)
    similar = asymmetric(logits, truth, gamma_yes=2, gamma_no=2, clip=0)
    assert torch.allclose(similar, focal(logits, truth, gamma=2), rtol=1e-5)


def test_it_is_summed_over_labels_and_averaged_over_images() -> None:
    logits, truth = draw(2)
    twice = asymmetric(logits.repeat(1, 2), truth.repeat(1, 2))
    assert torch.allclose(twice, 2 * asymmetric(logits, truth))
    assert torch.allclose(asymmetric(logits.repeat(2, 1), truth.repeat(2, 1)), asymmetric(logits, truth))


def test_a_negative_below_the_clip_costs_nothing() -> None:
    logits = torch.tensor([[-4.0]], requires_grad=True)
    loss = asymmetric(logits, torch.zeros(1, 1))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert logits.grad.item() == 0


def test_soft_truth_lies_between_0_and_1() -> None:
    logits, _ = draw(3)
    no, half, yes = (asymmetric(logits, torch.full_like(logits, y), gamma_yes=0, gamma_no=0) for y in (0.0, 0.5, 1.0))
    assert half.item() == pytest.approx((no.item() + yes.item()) / 2, rel=1e-5)
    assert asymmetric(logits, torch.full_like(logits, 0.5)).isfinite()


@pytest.mark.parametrize("truth", [[1.0, 0, 1, 0, 1], [0.5] * 5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_are_finite_at_200(dtype: torch.dtype, truth: list[float]) -> None:
    logits = torch.tensor([[200.0, 200.0, -200.0, -200.0, 0.0]], dtype=dtype, requires_grad=True)
    for gamma_yes in (0.0, 1.0, 2.0):
        asymmetric(logits, torch.tensor([truth]), gamma_yes=gamma_yes).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("settings_", [{"gamma_yes": 0.5}, {"gamma_no": -1.0}, {"clip": 2.0}])
def test_settings_out_of_range_are_refused(settings_: dict[str, float]) -> None:
    with pytest.raises(FieldmarkError) as refused:
        asymmetric(*draw(5), **settings_)
    assert "gamma_no = 4" in refused.value.fix
    with pytest.raises(ValidationError):
        Asymmetric(**settings_)


def test_truth_of_another_shape_is_refused() -> None:
    with pytest.raises(ShapeError) as refused:
        asymmetric(torch.zeros(2, 3), torch.zeros(3, 2))
    assert "one_hot()" in refused.value.fix

"""Focal loss: the paper's equation in slow loops, limiting cases, comparison with torchvision."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.losses.binary import bce
from fieldmark.losses.focusing import focal
from fieldmark.losses.specs import Focal

LOGIT_AND_TRUTH = st.tuples(st.floats(-20, 20), st.integers(0, 1))


def slow_focal(logits: list[list[float]], truth: list[list[int]], gamma: float) -> float:
    """Equation 4 of the paper, one label at a time, no tensors."""
    total = 0.0
    for row, answers in zip(logits, truth, strict=True):
        for z, t in zip(row, answers, strict=True):
            # (1 - p) written as the sigmoid of -z: exact where p rounds to 1.
            p_right, p_wrong = (1 / (1 + math.exp(-s * z)) for s in ((1, -1) if t == 1 else (-1, 1)))
            total += -(p_wrong**gamma) * math.log(p_right)
    return total / len(logits)


def draw(seed: int, *, batch: int = 6, labels: int = 9) -> tuple[torch.Tensor, torch.Tensor]:
    chance = torch.Generator().manual_seed(seed)
    logits = 4 * torch.randn(batch, labels, generator=chance)
    return logits, (torch.rand(batch, labels, generator=chance) < 0.3).float()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(LOGIT_AND_TRUTH, min_size=3, max_size=3), min_size=1, max_size=4),
    st.sampled_from([0.0, 1.0, 1.5, 2.0, 5.0]),
)
def test_slow_loops_agree(pairs: list[list[tuple[float, int]]], gamma: float) -> None:
    logits, truth = [[z for z, _ in row] for row in pairs], [[t for _, t in row] for row in pairs]
    found = focal(torch.tensor(logits, dtype=torch.float64), torch.tensor(truth, dtype=torch.float64), gamma=gamma)
    assert found.item() == pytest.approx(slow_focal(logits, truth, gamma), rel=1e-5, abs=1e-12)


def test_gamma_0_is_bce() -> None:
    logits, truth = draw(1)
    assert torch.allclose(focal(logits, truth, gamma=0), bce(logits, truth))


def test_a_larger_gamma_reduces_the_weight_of_easy_labels() -> None:
    logits, truth = draw(2)
    values = [focal(logits, truth, gamma=gamma).item() for gamma in (0, 1, 2, 4)]
    assert values == sorted(values, reverse=True)
    assert values[0] > values[-1]


def test_torchvision_agrees() -> None:
    from torchvision.ops import sigmoid_focal_loss

    logits, truth = draw(3)
    reference = sigmoid_focal_loss(logits, truth, alpha=-1, gamma=2, reduction="none").sum(1).mean()
    assert torch.allclose(focal(logits, truth, gamma=2), reference, rtol=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_are_finite_at_200(gamma: float, dtype: torch.dtype) -> None:
    logits = torch.tensor([[200.0, -200.0, 200.0, -200.0, 0.0]], dtype=dtype, requires_grad=True)
    focal(logits, torch.tensor([[1.0, 0.0, 0.0, 1.0, 1.0]]), gamma=gamma).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert logits.grad[0, 2].item() == pytest.approx(1)
    assert logits.grad[0, 3].item() == pytest.approx(-1)


def test_the_gradient_is_that_of_finite_differences() -> None:
    logits, truth = draw(4, batch=2, labels=3)
    assert torch.autograd.gradcheck(lambda z: focal(z, truth.double()), logits.double().requires_grad_())


@pytest.mark.parametrize("gamma", [0.5, 0.999, -1.0])
def test_a_gamma_without_gradient_is_refused(gamma: float) -> None:
    with pytest.raises(FieldmarkError) as refused:
        focal(*draw(5), gamma=gamma)
    assert refused.value.fix == "use 0 (plain BCE) or any value >= 1."
    with pytest.raises(ValidationError):
        Focal(gamma=gamma)


def test_truth_of_another_shape_is_refused() -> None:
    with pytest.raises(ShapeError) as refused:
        focal(torch.zeros(2, 3), torch.zeros(3, 2))
    assert "one_hot()" in refused.value.fix


@pytest.mark.parametrize("gamma", [1.0, 2.0, 3.0])
def test_with_soft_truth_the_minimum_is_at_the_truth(gamma: float) -> None:
    truth = torch.tensor([[0.05, 0.3, 0.5, 0.7, 0.99]], dtype=torch.float64)
    logits = truth.logit().requires_grad_()
    best = focal(logits, truth, gamma=gamma)
    best.backward()
    assert logits.grad is not None
    assert logits.grad.abs().max() < 1e-12
    for step in (-0.1, 0.1):
        assert focal(logits.detach() + step, truth, gamma=gamma) > best


def test_alpha_weighs_positives_and_negatives() -> None:
    logits, truth = draw(5)
    yes, no = (focal(logits, truth, alpha=alpha).item() for alpha in (1.0, 0.0))
    assert yes + no == pytest.approx(focal(logits, truth).item())
    assert focal(logits, truth, alpha=0.25).item() == pytest.approx(0.25 * yes + 0.75 * no)
    assert focal(logits, torch.ones_like(truth), alpha=0.0).item() == 0
    torchvision = pytest.importorskip("torchvision.ops").sigmoid_focal_loss
    theirs = torchvision(logits, truth, alpha=0.25, gamma=2.0).sum(dim=1).mean()
    assert torch.allclose(focal(logits, truth, alpha=0.25), theirs, rtol=1e-4)


def test_detached_has_the_same_value_and_another_gradient() -> None:
    logits, truth = draw(6)
    logits.requires_grad_()
    plain, detached = focal(logits, truth), focal(logits, truth, detached=True)
    assert plain.item() == pytest.approx(detached.item())
    (gradient,) = torch.autograd.grad(detached, logits)
    p = logits.detach().sigmoid()
    p_wrong = torch.where(truth > 0, 1 - p, p)
    assert torch.allclose(gradient, p_wrong**2 * (p - truth) / len(logits), atol=1e-6)


def test_an_alpha_outside_0_to_1_is_refused() -> None:
    with pytest.raises(FieldmarkError) as raised:
        focal(*draw(1), alpha=2.0)
    assert "alpha=0.25" in raised.value.fix

"""Soft F-beta: its formula in slow loops, hard predictions, images without labels."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.losses.soft_measures import soft_f
from fieldmark.losses.specs import SoftF
from fieldmark.metrics.labels import f_beta


def slow_soft_f(proba: list[list[float]], truth: list[list[float]], beta: float) -> float:
    """The write-ups' formula with its epsilon, one image at a time; images have labels."""
    total, eps = 0.0, 1e-12
    for row, answers in zip(proba, truth, strict=True):
        tp = sum(p * y for p, y in zip(row, answers, strict=True))
        precision, recall = tp / (sum(row) + eps), tp / (sum(answers) + eps)
        total += 1 - (1 + beta**2) * precision * recall / (beta**2 * precision + recall + eps)
    return total / len(proba)


def draw(seed: int, *, batch: int = 6, labels: int = 9) -> tuple[torch.Tensor, torch.Tensor]:
    chance = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(batch, labels, generator=chance, dtype=torch.float64)
    truth = (torch.rand(batch, labels, generator=chance) < 0.3).double()
    truth[:, 0] = 1
    return logits, truth


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([0.5, 1.0, 2.0]))
def test_slow_loops_agree(seed: int, beta: float) -> None:
    logits, truth = draw(seed)
    wanted = slow_soft_f(logits.sigmoid().tolist(), truth.tolist(), beta)
    assert soft_f(logits, truth, beta=beta).item() == pytest.approx(wanted, rel=1e-6)


def test_probabilities_of_0_and_1_give_the_metric() -> None:
    logits, truth = draw(1)
    logits[0], truth[1] = -1.0, 0.0  # an image without predictions, and one without labels that has predictions
    logits[2], truth[2] = -1.0, 0.0  # no labels and no predictions
    truth[0, 3] = 1
    answer = logits > 0
    found = soft_f(200 * logits.sign(), truth)
    wanted = f_beta(answer.numpy(), truth.numpy() > 0, if_empty=1.0)
    n_predicted = answer[1].sum().item()
    generous = 5 / (5 + n_predicted) / 6  # the metric is 0 for any number of predictions
    assert 1 - found.item() == pytest.approx(wanted + generous, abs=1e-6)


def test_no_prediction_is_right_without_labels_and_each_prediction_costs() -> None:
    none = torch.zeros(1, 4)
    values = [soft_f(torch.tensor([[200.0] * n + [-200.0] * (4 - n)]), none).item() for n in range(5)]
    assert values == pytest.approx([0, 1 / 6, 2 / 7, 3 / 8, 4 / 9])
    logits = torch.zeros(1, 4, requires_grad=True)
    soft_f(logits, none).backward()
    assert logits.grad is not None
    assert (logits.grad > 0).all()


def test_soft_truth_has_no_step_at_zero_labels() -> None:
    logits, _ = draw(3)
    hints = torch.full_like(logits, 1e-7)
    assert soft_f(logits, hints).item() == pytest.approx(soft_f(logits, torch.zeros_like(hints)).item(), abs=1e-5)


def test_training_on_a_hard_image_predicts_its_labels() -> None:
    logits, truth = torch.zeros(1, 5, requires_grad=True), torch.tensor([[1.0, 0, 0, 0, 1]])
    optimiser = torch.optim.SGD([logits], lr=5.0)
    for _ in range(200):
        optimiser.zero_grad()
        soft_f(logits, truth).backward()
        optimiser.step()
    assert soft_f(logits, truth).item() < 0.02
    assert ((logits > 0) == truth.bool()).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("truth", [[1.0, 0, 1, 0, 1], [0.0] * 5, [0.3, 0, 0.1, 1, 1]])
def test_gradients_are_finite_at_200(dtype: torch.dtype, truth: list[float]) -> None:
    for values in ([200.0, 200, -200, -200, 0], [-200.0] * 5, [200.0] * 5):
        logits = torch.tensor([values], dtype=dtype, requires_grad=True)
        loss = soft_f(logits, torch.tensor([truth]))
        loss.backward()
        assert 0 <= loss.item() <= 1
        assert logits.grad is not None
        assert logits.grad.isfinite().all()


def test_the_gradient_is_that_of_finite_differences() -> None:
    logits, truth = draw(4, batch=3, labels=4)
    truth[2] = 0
    assert torch.autograd.gradcheck(lambda z: soft_f(z, truth), logits.requires_grad_())


@pytest.mark.parametrize("beta", [0.0, -1.0])
def test_a_beta_of_0_or_below_is_refused(beta: float) -> None:
    with pytest.raises(FieldmarkError) as refused:
        soft_f(*draw(5), beta=beta)
    assert "beta = 2" in refused.value.fix
    with pytest.raises(ValidationError):
        SoftF(beta=beta)


def test_truth_of_another_shape_is_refused() -> None:
    with pytest.raises(ShapeError) as refused:
        soft_f(torch.zeros(2, 3), torch.zeros(3, 2))
    assert "one_hot()" in refused.value.fix

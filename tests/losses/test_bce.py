"""BCE: comparison with slow loops and torch, confident predictions, soft labels."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import binary_cross_entropy_with_logits

from fieldmark.core.errors import ShapeError
from fieldmark.losses.binary import bce


def slow_bce(logits: list[list[float]], truth: list[list[float]]) -> float:
    total = 0.0
    for row, answers in zip(logits, truth, strict=True):
        for z, t in zip(row, answers, strict=True):
            p = 1 / (1 + math.exp(-z))
            total -= t * math.log(p) + (1 - t) * math.log(1 - p)
    return total / len(logits)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(-15, 15), st.floats(-15, 15), st.floats(0, 1)), min_size=1, max_size=6))
def test_slow_loops_agree_also_on_soft_labels(rows: list[tuple[float, float, float]]) -> None:
    logits, truth = [[a, b] for a, b, _ in rows], [[t, 1 - t] for _, _, t in rows]
    found = bce(torch.tensor(logits, dtype=torch.float64), torch.tensor(truth, dtype=torch.float64))
    assert found.item() == pytest.approx(slow_bce(logits, truth), rel=1e-6, abs=1e-9)


def test_torch_agrees_up_to_the_number_of_labels() -> None:
    chance = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 7, generator=chance)
    truth = (torch.rand(5, 7, generator=chance) < 0.3).float()
    assert torch.allclose(bce(logits, truth), 7 * binary_cross_entropy_with_logits(logits, truth))


def test_the_gradient_at_200_is_the_error_itself() -> None:
    logits = torch.tensor([[200.0, -200.0, 200.0, -200.0]], requires_grad=True)
    value = bce(logits, torch.tensor([[1.0, 0.0, 0.0, 1.0]]))
    value.backward()
    assert value.item() == 400
    assert logits.grad is not None
    assert logits.grad.tolist() == [[0, 0, 1, -1]]


def test_bf16_logits_are_summed_in_float32() -> None:
    value = bce(torch.zeros(2, 5000, dtype=torch.bfloat16), torch.zeros(2, 5000, dtype=torch.bool))
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(5000 * math.log(2), rel=1e-5)


def test_truth_of_another_shape_is_refused() -> None:
    with pytest.raises(ShapeError) as refused:
        bce(torch.zeros(2, 3), torch.zeros(2, 1))
    assert "logits (2, 3), truth (2, 1)" in str(refused.value)
    assert "one_hot()" in refused.value.fix


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (3,)])
def test_empty_batches_are_refused_instead_of_nan(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError) as refused:
        bce(torch.zeros(shape), torch.zeros(shape))
    assert "skip empty batches" in refused.value.fix

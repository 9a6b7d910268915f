"""Error-OHEM BCE: comparison with slow loops, limiting cases, confident errors."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.losses.binary import bce
from fieldmark.losses.inputs import one_hot
from fieldmark.losses.ohem import ohem_bce


def slow_ohem(logits: list[list[float]], classes: list[int], hardest: int) -> float:
    """The definition, one class at a time: errors, the K largest, -log(1 - e), plus the true class."""
    worst, true = [], []
    for row, c in zip(logits, classes, strict=True):
        proba = [1 / (1 + math.exp(-z)) for z in row]
        errors = sorted((abs((k == c) - p) for k, p in enumerate(proba)), reverse=True)
        worst += [-math.log(1 - e) for e in errors[:hardest]]
        if c != -1:
            true.append(-math.log(proba[c]))
    return sum(worst) / len(worst) + (sum(true) / len(true) if true else 0.0)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.tuples(st.lists(st.floats(-15, 15), min_size=5, max_size=5), st.integers(-1, 4)), min_size=1, max_size=6
    ),
    st.integers(1, 7),
)
def test_slow_loops_agree(rows: list[tuple[list[float], int]], hardest: int) -> None:
    logits, classes = [row for row, _ in rows], [c for _, c in rows]
    found = ohem_bce(torch.tensor(logits, dtype=torch.float64), torch.tensor(classes), hardest=hardest)
    assert found.item() == pytest.approx(slow_ohem(logits, classes, hardest), rel=1e-5, abs=1e-6)


def test_with_all_classes_and_only_unknowns_it_is_the_mean_bce() -> None:
    logits = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    classes = torch.full((4,), -1)
    assert torch.allclose(ohem_bce(logits, classes, hardest=6), bce(logits, one_hot(classes, 6)) / 6)
    assert torch.equal(ohem_bce(logits, classes, hardest=6), ohem_bce(logits, classes, hardest=600))


def test_only_the_hardest_and_the_true_class_get_a_gradient() -> None:
    logits = torch.tensor([[-9.0, 3.0, 2.0, 9.0]], requires_grad=True)
    ohem_bce(logits, torch.tensor([3]), hardest=1).backward()
    assert logits.grad is not None
    has_gradient = logits.grad[0] != 0
    assert has_gradient.tolist() == [False, True, False, True]


def test_the_true_class_counts_twice_if_it_is_among_the_hardest() -> None:
    logits = torch.tensor([[-3.0, -9.0]])
    nats = math.log1p(math.exp(3.0))
    assert ohem_bce(logits, torch.tensor([0]), hardest=1).item() == pytest.approx(2 * nats)


def test_the_largest_error_is_found_although_both_errors_round_to_1() -> None:
    logits = torch.tensor([[90.0, 200.0, 120.0]], requires_grad=True)
    assert ohem_bce(logits, torch.tensor([-1]), hardest=1).item() == 200


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_are_finite_at_200(dtype: torch.dtype) -> None:
    logits = torch.tensor([[200.0, -200.0], [-200.0, 200.0], [200.0, -200.0]], dtype=dtype, requires_grad=True)
    ohem_bce(logits, torch.tensor([0, 0, -1])).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert logits.grad[1, 0] < 0 < logits.grad[1, 1]


def test_a_class_without_logit_is_refused() -> None:
    with pytest.raises(ShapeError) as refused:
        ohem_bce(torch.zeros(1, 3), torch.tensor([3]))
    assert "-1 (unknown) to 2" in refused.value.fix


def test_hardest_0_is_refused() -> None:
    with pytest.raises(FieldmarkError) as refused:
        ohem_bce(torch.zeros(1, 3), torch.tensor([0]), hardest=0)
    assert "hardest = 30" in refused.value.fix

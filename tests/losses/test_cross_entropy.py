"""Softmax cross-entropy: comparison with slow loops and torch, batches of unknown individuals."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.losses.softmax import cross_entropy


def slow_cross_entropy(logits: list[list[float]], classes: list[int], smoothing: float) -> float:
    values = []
    for row, c in zip(logits, classes, strict=True):
        if c == -1:
            continue
        log_sum = math.log(sum(math.exp(z) for z in row))
        truth = [smoothing / len(row) + (1 - smoothing) * (k == c) for k in range(len(row))]
        values.append(sum(t * (log_sum - z) for t, z in zip(truth, row, strict=True)))
    return sum(values) / len(values) if values else 0.0


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(st.lists(st.floats(-30, 30), min_size=4, max_size=4), st.integers(-1, 3)), min_size=1, max_size=6
    ),
    st.sampled_from([0.0, 0.1, 1.0]),
)
def test_slow_loops_agree(rows: list[tuple[list[float], int]], smoothing: float) -> None:
    logits, classes = [row for row, _ in rows], [c for _, c in rows]
    found = cross_entropy(torch.tensor(logits, dtype=torch.float64), torch.tensor(classes), smoothing=smoothing)
    assert found.item() == pytest.approx(slow_cross_entropy(logits, classes, smoothing), rel=1e-6, abs=1e-9)


def test_torch_agrees_where_all_are_known() -> None:
    logits = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    classes = torch.tensor([0, 6, 3, 3, 1])
    assert torch.allclose(cross_entropy(logits, classes), functional.cross_entropy(logits, classes))


def test_unknowns_do_not_affect_other_images() -> None:
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(1))
    with_unknowns = cross_entropy(logits, torch.tensor([2, -1, 0, -1]))
    assert torch.allclose(with_unknowns, cross_entropy(logits[[0, 2]], torch.tensor([2, 0])))


def test_a_batch_of_unknowns_is_0_and_not_nan() -> None:
    logits = torch.randn(2, 3, requires_grad=True)
    value = cross_entropy(logits, torch.tensor([-1, -1]))
    value.backward()
    assert value.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_are_finite_at_200(dtype: torch.dtype) -> None:
    logits = torch.tensor([[200.0, -200.0], [-200.0, 200.0]], dtype=dtype, requires_grad=True)
    cross_entropy(logits, torch.tensor([0, 0])).backward()
    assert logits.grad is not None
    assert logits.grad.tolist() == [[0, 0], [-0.5, 0.5]]


def test_a_class_without_logit_is_refused() -> None:
    with pytest.raises(ShapeError) as refused:
        cross_entropy(torch.zeros(3, 4), torch.tensor([0, 4, -2]))
    assert str(refused.value.got) == "4\n-2"
    assert "-1 (unknown) to 3" in refused.value.fix


@pytest.mark.parametrize("classes", [torch.zeros(2), torch.zeros(3, dtype=torch.long), torch.zeros(2, 1).long()])
def test_classes_that_are_not_a_vector_of_integers_are_refused(classes: torch.Tensor) -> None:
    with pytest.raises(ShapeError) as refused:
        cross_entropy(torch.zeros(2, 4), classes)
    assert "a vector of class numbers" in refused.value.fix


def test_smoothing_beyond_1_is_refused() -> None:
    with pytest.raises(FieldmarkError) as refused:
        cross_entropy(torch.zeros(1, 2), torch.tensor([0]), smoothing=1.5)
    assert "0.1 is usual" in refused.value.fix


def test_uniform_unknowns_have_the_smallest_loss_for_uniform_logits() -> None:
    logits = torch.tensor([[3.0, 0.0, -1.0], [0.5, 2.0, 0.0]])
    classes = torch.tensor([0, -1])
    known = -logits[0].log_softmax(dim=0)[0]
    label_error_proba = -logits[1].log_softmax(dim=0).mean()
    found = cross_entropy(logits, classes, uniform_unknowns=True)
    assert torch.allclose(found, (known + label_error_proba) / 2)
    flat = cross_entropy(torch.zeros(1, 3), torch.tensor([-1]), uniform_unknowns=True)
    assert flat < cross_entropy(torch.tensor([[3.0, 0.0, 0.0]]), torch.tensor([-1]), uniform_unknowns=True)
    assert flat.item() == pytest.approx(torch.log(torch.tensor(3.0)).item())

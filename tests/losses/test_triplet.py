"""Batch-hard triplet with unknowns: comparison with slow loops, positives and negatives, identical embeddings."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.losses.triplet import batch_hard_triplet


def slow_triplet(embedding: list[list[float]], classes: list[int], margin: float) -> float:
    total = 0.0
    for i, (a, c) in enumerate(zip(embedding, classes, strict=True)):
        same, other = [0.0], []
        for j, (b, d) in enumerate(zip(embedding, classes, strict=True)):
            distance = math.dist(a, b)
            if c == d and c != -1 and i != j:
                same.append(distance)
            if c != d:
                other.append(distance)
        if other:
            total += max(0.0, margin + max(same) - min(other))
    return total / len(embedding)


def unit_rows(seed: int, batch: int, dim: int = 8) -> torch.Tensor:
    drawn = torch.randn(batch, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.normalize(drawn, dim=1)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(-1, 3), min_size=1, max_size=10), st.integers(0, 9999), st.sampled_from([0.1, 0.3, 1.5]))
def test_slow_loops_agree(classes: list[int], seed: int, margin: float) -> None:
    embedding = unit_rows(seed, len(classes))
    found = batch_hard_triplet(embedding, torch.tensor(classes), margin=margin)
    assert found.item() == pytest.approx(slow_triplet(embedding.tolist(), classes, margin), abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(7)), st.integers(0, 99))
def test_the_order_of_the_batch_does_not_matter(order: list[int], seed: int) -> None:
    embedding, classes = unit_rows(seed, 7), torch.tensor([0, 0, 1, 1, 2, -1, -1])
    assert torch.allclose(batch_hard_triplet(embedding, classes), batch_hard_triplet(embedding[order], classes[order]))


def test_pairs_of_unknowns_are_neither_positive_nor_negative() -> None:
    """Two unknowns at one place, far from a known pair: the loss is 0, wherever a third unknown lies."""
    for third in ([0.0, 1.0], [0.6, 0.8]):
        embedding = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
        embedding[1] = torch.tensor(third)
        assert batch_hard_triplet(embedding[[0, 1]], torch.tensor([-1, -1])).item() == 0


def test_an_unknown_near_a_known_pushes_both() -> None:
    embedding = torch.tensor([[1.0, 0.0], [0.8, 0.6]], requires_grad=True)
    value = batch_hard_triplet(embedding, torch.tensor([0, -1]), margin=1.0)
    value.backward()
    assert value.item() == pytest.approx(1.0 - math.dist((1, 0), (0.8, 0.6)))
    assert embedding.grad is not None
    assert embedding.grad.any(dim=1).all()


def test_a_perfect_batch_costs_nothing() -> None:
    embedding = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]])
    assert batch_hard_triplet(embedding, torch.tensor([4, 4, 7, 7])).item() == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("classes", [[0, 0, 1, 1], [-1, -1, -1, -1], [0, 0, 0, 0], [0, 1, -1, -1]])
def test_gradients_are_finite_where_all_embeddings_are_one(classes: list[int], dtype: torch.dtype) -> None:
    embedding = torch.tensor([[0.6, 0.8]] * 4, dtype=dtype, requires_grad=True)
    value = batch_hard_triplet(embedding, torch.tensor(classes))
    value.backward()
    assert embedding.grad is not None
    assert embedding.grad.isfinite().all()
    assert value.item() == pytest.approx(0.3 if len(set(classes)) > 1 else 0)


def test_near_duplicates_keep_their_distance_in_float32() -> None:
    """With the dot product 1e-4 would become 0 or 3.4e-4."""
    embedding = torch.nn.functional.normalize(torch.tensor([[1.0, 0.0], [1.0, 1e-4]]), dim=1)
    assert batch_hard_triplet(embedding, torch.tensor([0, 1])).item() == pytest.approx(0.3 - 1e-4, abs=1e-6)


def test_one_class_per_image_is_needed() -> None:
    with pytest.raises(ShapeError) as refused:
        batch_hard_triplet(torch.zeros(3, 2), torch.tensor([0, 1]))
    assert "as long as the batch" in refused.value.fix


def test_classes_below_unknown_are_refused() -> None:
    with pytest.raises(ShapeError) as refused:
        batch_hard_triplet(torch.zeros(2, 2), torch.tensor([0, -7]))
    assert refused.value.got == "-7"
    assert "use -1 for unknown individuals" in refused.value.fix


def test_an_empty_batch_is_refused() -> None:
    with pytest.raises(ShapeError) as refused:
        batch_hard_triplet(torch.zeros(0, 2), torch.zeros(0).long())
    assert "skip empty batches" in refused.value.fix


def test_a_margin_of_0_is_refused() -> None:
    with pytest.raises(FieldmarkError) as refused:
        batch_hard_triplet(torch.zeros(1, 2), torch.tensor([0]), margin=0)
    assert "margin = 0.3" in refused.value.fix

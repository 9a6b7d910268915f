"""Compactness: comparison with slow loops, ignored photos, gradients."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldmark.core.errors import ShapeError
from fieldmark.losses.compact import compactness


def unit_rows(seed: int, batch: int) -> torch.Tensor:
    drawn = torch.randn(batch, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.normalize(drawn, dim=1)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-1, 3), min_size=1, max_size=10), st.integers(0, 9999))
def test_slow_loops_agree(classes: list[int], seed: int) -> None:
    embedding = unit_rows(seed, len(classes))
    distances = []
    for row, mine in enumerate(classes):
        own = [embedding[other] for other, theirs in enumerate(classes) if theirs == mine]
        if mine != -1 and len(own) > 1:
            distances.append(float((embedding[row] - sum(own) / len(own)).square().sum()))
    expected = sum(distances) / len(distances) if distances else 0.0
    assert compactness(embedding, torch.tensor(classes)).item() == pytest.approx(expected, abs=1e-12)


def test_training_reduces_distances_and_ignores_unknowns() -> None:
    embedding = unit_rows(0, 6).requires_grad_()
    classes = torch.tensor([0, 0, 0, 1, -1, -1])
    compactness(embedding, classes).backward()
    assert embedding.grad is not None
    assert (embedding.grad[:3].abs().sum(dim=1) > 0).all()
    assert (embedding.grad[3:] == 0).all()
    moved = torch.nn.functional.normalize(embedding.detach() - 0.1 * embedding.grad, dim=1)
    assert compactness(moved, classes) < compactness(embedding.detach(), classes)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ShapeError):
        compactness(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
    with pytest.raises(ShapeError):
        compactness(torch.zeros(2, 4), torch.tensor([1]))

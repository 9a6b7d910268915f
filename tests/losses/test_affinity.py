"""Affinity loss: comparison with slow loops, variance of centre distances, unknown individuals and flips."""

from __future__ import annotations

import itertools
import statistics

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.losses.affinities import affinity, centre_spread

CLASSES = [0, 3, -1, 2]


def near(seed: int) -> torch.Tensor:
    return torch.rand(4, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def slow_affinity(rows: list[list[float]], classes: list[int], margin: float, *, flip: bool) -> float:
    total = 0.0
    for row, own in zip(rows, classes, strict=True):
        for other, value in enumerate(row):
            if own not in {-1, other} and not (flip and other == (own + 2) % 4):
                total += max(0.0, margin + value - row[own])
    return total / max(1, sum(own != -1 for own in classes))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 9999), st.sampled_from([0.1, 0.75, 1.0]), st.booleans())
def test_the_papers_sum(seed: int, margin: float, flip: bool) -> None:
    rows = near(seed)
    found = affinity(torch.logit(rows), torch.tensor(CLASSES), margin=margin, flip_identity=flip)
    assert found.item() == pytest.approx(slow_affinity(rows.tolist(), CLASSES, margin, flip=flip), abs=1e-9)


def slow_spread(centres: torch.Tensor) -> float:
    pairs = itertools.combinations(centres.tolist(), 2)
    return statistics.pvariance([sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) for a, b in pairs])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 9999), st.integers(3, 12), st.integers(1, 12))
def test_the_spread_is_the_variance_over_all_pairs(seed: int, n: int, dim: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    centres = 5 + torch.randn(n, dim, generator=generator, dtype=torch.float64)  # far from the origin
    assert centre_spread(centres).item() == pytest.approx(slow_spread(centres), rel=1e-8, abs=1e-9)


def test_equal_distances_have_no_spread_in_float32() -> None:
    assert centre_spread(7 * torch.eye(40) + 3).item() == pytest.approx(
        0, abs=0.05
    )  # of a mean distance of 98, squared


def test_a_sample_depends_on_the_generator_and_is_right_on_average() -> None:
    centres = torch.randn(300, 8, generator=torch.Generator().manual_seed(1))
    drawn = [centre_spread(centres, sample=60, chance=torch.Generator().manual_seed(seed)).item() for seed in range(40)]
    again = centre_spread(centres, sample=60, chance=torch.Generator().manual_seed(0)).item()
    assert drawn[0] == again
    assert len(set(drawn)) == 40
    assert statistics.mean(drawn) == pytest.approx(centre_spread(centres).item(), rel=0.05)
    assert centre_spread(centres, sample=300).item() == centre_spread(centres).item()


def test_gradients_are_finite_at_200() -> None:
    for edge in (200.0, -200.0, 0.0):
        logits = torch.full((3, 4), edge, requires_grad=True)
        value = affinity(logits, torch.tensor([0, 1, -1]))
        value.backward()
        assert value.isfinite()
        assert logits.grad is not None
        assert logits.grad.isfinite().all()
    centres = torch.zeros(4, 2, requires_grad=True)
    centre_spread(centres).backward()
    assert centres.grad is not None
    assert centres.grad.isfinite().all()


def test_the_spread_has_a_gradient() -> None:
    centres = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.autograd.gradcheck(centre_spread, (centres,))


def test_all_unknown_cost_nothing() -> None:
    assert affinity(torch.zeros(2, 3), torch.tensor([-1, -1])).item() == 0


@pytest.mark.parametrize(
    ("call", "error", "fix"),
    [
        (lambda: affinity(torch.zeros(1, 2), torch.tensor([0]), margin=0), FieldmarkError, "margin = 0.75"),
        (lambda: affinity(torch.zeros(1, 3), torch.tensor([0]), flip_identity=True), ShapeError, "twice as many"),
        (lambda: centre_spread(torch.zeros(2, 2)), ShapeError, "spread = 0"),
        (lambda: centre_spread(torch.zeros(9, 2), sample=3), FieldmarkError, "torch.Generator"),
    ],
)
def test_invalid_arguments_are_refused(call, error, fix: str) -> None:
    with pytest.raises(error) as refused:
        call()
    assert fix in refused.value.fix

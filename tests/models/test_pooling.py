"""Pooling: GeM in slow loops, its limits, and maps of every layout."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldmark.models.pooling import Pool, gem


def slow_gem(places: list[float], exponent: float) -> float:
    return (sum(max(x, 1e-6) ** exponent for x in places) / len(places)) ** (1 / exponent)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1, 50), min_size=1, max_size=12), st.floats(0.5, 8))
def test_slow_loops_agree(places: list[float], exponent: float) -> None:
    found = gem(torch.tensor([[places]], dtype=torch.float64), exponent)
    assert found.item() == pytest.approx(slow_gem(places, exponent), rel=1e-6)


def test_exponent_1_is_the_average_and_a_large_one_the_maximum() -> None:
    places = torch.rand(2, 5, 20, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(gem(places, 1.0), places.mean(dim=2))
    assert torch.allclose(gem(places, 400.0), places.amax(dim=2), rtol=0.01)


def test_the_gradient_is_that_of_finite_differences_also_for_the_exponent() -> None:
    places = torch.rand(2, 3, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 0.1
    exponent = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(gem, (places.requires_grad_(), exponent))


@pytest.mark.parametrize("value", [0.0, 1e-6, 200.0, 1e6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_power_leaves_the_range_of_numbers(value: float, dtype: torch.dtype) -> None:
    pool = Pool("gem")
    with torch.no_grad():
        pool.exponent.fill_(12.0)
    features = torch.full((1, 2, 3, 3), value, dtype=dtype, requires_grad=True)
    feature = pool(features)
    feature.sum().backward()
    assert feature[0, 0].item() == pytest.approx(max(value, 1e-6), rel=0.01)
    assert features.grad is not None
    assert features.grad.isfinite().all()
    assert pool.exponent.grad is not None
    assert pool.exponent.grad.isfinite()


@pytest.mark.parametrize("kind", ["avg", "max", "gem"])
def test_every_layout_of_a_map_gives_the_same_vector(kind: str) -> None:
    features = torch.rand(2, 5, 3, 4, generator=torch.Generator().manual_seed(2))
    tokens = torch.cat([torch.full((2, 1, 5), 9.0), features.flatten(2).transpose(1, 2)], dim=1)
    vector = Pool(kind)(features)
    assert vector.shape == (2, 5)
    assert torch.allclose(Pool(kind, channels_last=True)(features.permute(0, 2, 3, 1)), vector)
    assert torch.allclose(Pool(kind, n_prefix_tokens=1)(tokens), vector)


def test_avg_and_max_are_mean_and_maximum() -> None:
    features = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])
    assert Pool("avg")(features).item() == 3
    assert Pool("max")(features).item() == 6

"""Mixup: images and labels are averaged with the same weights, and each item has the larger weight."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldmark.training.mixing import mix


def chance(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.01, 0.2, 1.0, 5.0]), st.sampled_from([(3, 4, 4), (7,)]))
def test_labels_are_mixed_with_the_weights_of_the_images(seed: int, alpha: float, shape: tuple[int, ...]) -> None:
    n = 6
    pictures = torch.eye(n).view(n, n, *[1] * (len(shape) - 1)).expand(n, n, *shape[1:]).contiguous()
    mixed, truth = mix(pictures, torch.eye(n), alpha=alpha, rng=chance(seed))
    assert torch.allclose(mixed.flatten(2).mean(dim=2) if mixed.ndim > 2 else mixed, truth, atol=1e-6)
    assert torch.allclose(truth.sum(dim=1), torch.ones(n))
    assert (truth.diagonal() >= 0.5).all()
    assert ((truth > 0).sum(dim=1) <= 2).all()


def test_a_small_alpha_hardly_mixes_and_a_large_one_halves() -> None:
    truth = torch.eye(200)
    whole, halved = (mix(truth, truth, alpha=alpha, rng=chance(0))[1].diagonal().mean() for alpha in (0.01, 500.0))
    assert whole > 0.95
    assert halved == pytest.approx(0.51, abs=0.02)


def test_the_same_generator_gives_the_same_mix() -> None:
    pictures = torch.rand(4, 3, 5, 5)
    one, other, third = (mix(pictures, torch.eye(4), alpha=1.0, rng=chance(seed))[0] for seed in (1, 1, 2))
    assert torch.equal(one, other)
    assert not torch.equal(one, third)

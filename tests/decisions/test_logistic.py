"""Logistic regression with non-negative weights has the highest likelihood of all such curves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldmark.decisions.logistic import rising, sigmoid


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(6, 200), st.integers(1, 5), st.sampled_from([0.01, 1.0, 10.0]))
def test_it_equals_a_bounded_minimiser(seed: int, n: int, n_numbers: int, pull: float) -> None:
    optimize = pytest.importorskip("scipy.optimize")
    chance = np.random.default_rng(seed)
    shared = chance.normal(size=(n, 1))
    numbers = (shared + chance.normal(size=(n, n_numbers))) * 10.0 ** chance.integers(-3, 4, n_numbers) + 5
    target = np.clip((shared[:, 0] + chance.normal(size=n) > 0) * 1.0, 0.02, 0.98)
    scaled = (numbers - numbers.mean(axis=0)) / numbers.std(axis=0)

    def loss(solved: np.ndarray) -> float:
        logit = solved[0] + scaled @ solved[1:]
        return np.logaddexp(0, logit).sum() - logit @ target + pull * (solved[1:] ** 2).sum() / 2

    start = np.zeros(1 + n_numbers)
    bounds = [(None, None), *[(0, None)] * n_numbers]
    theirs = optimize.minimize(loss, start, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-15, "gtol": 1e-9})
    bias, weights = rising(numbers, target, pull=pull)
    assert (weights >= 0).all()
    ours = np.concatenate([[bias + weights @ numbers.mean(axis=0)], weights * numbers.std(axis=0)])
    assert loss(ours) <= theirs.fun + 1e-7 * max(1.0, abs(theirs.fun))


def test_constant_and_contrary_features_get_weight_0() -> None:
    target = np.arange(50) % 2 * 1.0
    numbers = np.stack([np.full(50, 3.0), -target, target], axis=1)
    bias, weights = rising(numbers, target, pull=1.0)
    assert weights[:2].tolist() == [0, 0]
    assert weights[2] > 0
    assert sigmoid(bias + weights @ numbers.mean(axis=0)) == pytest.approx(0.5, abs=0.01)


def test_perfect_and_huge_features_give_finite_weights() -> None:
    target = np.arange(20) >= 10
    bias, weights = rising(np.where(target, 1e9, -1e9)[:, None], target, pull=1.0)
    assert np.isfinite([bias, *weights]).all()
    assert sigmoid(np.array([-1e300, 0.0, 1e300])).tolist() == [0, 0.5, 1]

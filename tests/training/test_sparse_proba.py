"""Sparse teacher probabilities: few are stored, and all are returned."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldmark.training.sparse_proba import SparseProba


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(1, 15), st.integers(0, 1000))
def test_the_likeliest_are_stored_and_all_sum_to_one(n_classes: int, most: int, seed: int) -> None:
    chance = np.random.default_rng(seed)
    proba = chance.dirichlet(np.full(n_classes, 0.3), size=7).astype(np.float32)
    items = chance.permutation(20)[:7]
    sparse = SparseProba.of(items, [proba[:4], proba[4:]], n_items=20, most=most)
    dense = sparse.about(items).numpy()
    np.testing.assert_allclose(dense.sum(axis=1), 1, atol=1e-5)
    for row in range(7):
        likeliest = np.argsort(-proba[row], kind="stable")[:most]
        np.testing.assert_allclose(np.sort(dense[row])[::-1][:most], proba[row, likeliest], atol=1e-6)
        others = np.delete(dense[row], np.argsort(-dense[row], kind="stable")[:most])
        assert np.ptp(others) < 1e-6 if len(others) else True
    unknown = np.setdiff1d(np.arange(20), items)
    assert (sparse.about(unknown).numpy() == 0).all()

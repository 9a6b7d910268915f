"""Neighbours and label transfer, compared with slow loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.stacking import knn
from fieldmark.stacking.knn import (
    NearestRows,
    cell_relevance,
    choose_relevance,
    joined_galleries,
    neighbours,
    relevance,
)
from fieldmark.stacking.specs import Relevance


def unit(n, dim, seed):
    rows = np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def slow_neighbours(query, gallery, k, own, others):
    rows = []
    for q, group in zip(query, own, strict=True):
        cosines = [float(np.dot(q, g)) for g in gallery]
        order = sorted((i for i in range(len(gallery)) if others[i] != group), key=lambda i: (-cosines[i], i))[:k]
        rows.append((order, [cosines[i] for i in order]))
    return rows


def slow_relevance(index, cosine, truth, by):
    """P(w) = sum of pi_j * (1 - eps where photo j has w, else eps)."""
    rows = []
    for photos, likeness in zip(index, cosine, strict=True):
        some = [(p, c) for p, c in zip(photos, likeness, strict=True) if p >= 0][: by.k]
        weights = [math.exp(-by.sharpness * (1 - float(c))) for _, c in some]
        rows.append(
            [
                sum(
                    w / sum(weights) * (1 - by.noise if truth[p][label] else by.noise)
                    for (p, _), w in zip(some, weights, strict=True)
                )
                for label in range(truth.shape[1])
            ]
        )
    return np.array(rows)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 7), st.integers(1, 40), st.integers(1, 6), st.integers(1, 4))
def test_neighbours_equal_slow_loops(seed, n_query, n_gallery, k, n_groups):
    query, gallery = unit(n_query, 4, seed), unit(n_gallery, 4, seed + 1)
    chance = np.random.default_rng(seed)
    own, others = chance.integers(0, n_groups, n_query), chance.integers(0, n_groups, n_gallery)
    found = neighbours(query, gallery, k=k, groups=(own, others))
    for row, (order, cosines) in enumerate(slow_neighbours(query, gallery, k, own, others)):
        assert found.index[row].tolist() == order + [-1] * (k - len(order))
        np.testing.assert_allclose(found.cosine[row, : len(order)], cosines, atol=1e-6)
        assert (found.cosine[row, len(order) :] == -np.inf).all()


def test_block_sizes_and_full_buffers_change_nothing(monkeypatch):
    query, gallery = unit(30, 3, 0), unit(200, 3, 1)
    gallery[60:120] = gallery[:60]  # equal photos: the first in the gallery comes first
    whole = neighbours(query, gallery, k=7)
    assert (np.diff(whole.cosine, axis=1) <= 0).all()
    for block, most in ((16, 10**6), (16, 50), (5, 1)):
        monkeypatch.setattr(knn, "QUERY_BLOCK", 11)
        monkeypatch.setattr(knn, "GALLERY_BLOCK", block)
        monkeypatch.setattr(knn, "MOST_FOUND", most)
        again = neighbours(query, gallery, k=7)
        np.testing.assert_allclose(again.cosine, whole.cosine, atol=1e-6)
        np.testing.assert_array_equal(np.sort(again.index, axis=1), np.sort(whole.index, axis=1))


def test_equal_photos_come_in_the_order_of_the_gallery(monkeypatch):
    monkeypatch.setattr(knn, "GALLERY_BLOCK", 3)
    monkeypatch.setattr(knn, "MOST_FOUND", 1)
    gallery = np.tile(np.array([[1.0, 0.0]], np.float32), (10, 1))
    assert neighbours(gallery[:1], gallery, k=4).index.tolist() == [[0, 1, 2, 3]]


def test_photos_of_the_own_group_are_left_out():
    rows, fold = unit(50, 3, 5), np.arange(50) % 3
    found = neighbours(rows, rows, k=20, groups=(fold, fold))
    assert (found.index >= 0).all()
    assert (fold[found.index] != fold[:, None]).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.floats(0.1, 60), st.floats(0.001, 0.4))
def test_relevance_equals_slow_loops(seed, k, sharpness, noise):
    query, gallery = unit(6, 3, seed), unit(15, 3, seed + 1)
    truth = np.random.default_rng(seed).random((15, 4)) < 0.3
    own, others = np.arange(6) % 3, np.arange(15) % 3
    found = neighbours(query, gallery, k=12, groups=(own, others))  # fewer than 12 are left: the rest is empty
    by = Relevance(k=k, sharpness=sharpness, noise=noise)
    dense = relevance(found, truth, by)
    np.testing.assert_allclose(dense, slow_relevance(found.index, found.cosine, truth, by), atol=2e-5)
    image, label = np.nonzero(np.ones((6, 4)))
    np.testing.assert_allclose(
        cell_relevance(found, truth, by, image=image, label=label), dense[image, label], atol=1e-6
    )


def test_weights_are_on_the_nearest_at_one_limit_and_equal_at_the_other():
    query, gallery = unit(5, 3, 0), unit(9, 3, 1)
    truth = np.eye(9, dtype=bool)
    found = neighbours(query, gallery, k=9)
    sharp = relevance(found, truth, Relevance(k=9, sharpness=1e6, noise=0.01))
    assert sharp.argmax(axis=1).tolist() == found.index[:, 0].tolist()
    np.testing.assert_allclose(sharp.max(axis=1), 0.99, atol=1e-3)
    np.testing.assert_allclose(relevance(found, truth, Relevance(k=9, sharpness=1e-9)).std(), 0, atol=1e-6)


def test_without_any_neighbour_all_labels_get_the_noise_probability():
    nothing = NearestRows(np.full((2, 3), -1, np.int32), np.full((2, 3), -np.inf, np.float32))
    assert (relevance(nothing, np.ones((4, 2), bool), Relevance(noise=0.01)) == np.float32(0.01)).all()


def test_joined_galleries_equal_one_search():
    query, gallery = unit(8, 3, 2), unit(30, 3, 3)
    parts = []
    for start in (0, 10, 20):
        found = neighbours(query, gallery[start : start + 10], k=5)
        parts.append(NearestRows(found.index + np.int32(start), found.cosine))
    merged, whole = joined_galleries(parts, k=5), neighbours(query, gallery, k=5)
    np.testing.assert_array_equal(merged.index, whole.index)
    np.testing.assert_allclose(merged.cosine, whole.cosine, atol=1e-6)


def test_the_setting_with_the_highest_likelihood_is_chosen():
    chance = np.random.default_rng(0)
    rows, fold = unit(120, 4, 8), np.arange(120) % 3
    truth = rows @ chance.normal(size=(4, 6)) > 0.8
    grid = [Relevance(k=k, sharpness=d, noise=0.01) for k in (1, 8) for d in (0.01, 10.0)]
    found = neighbours(rows, rows, k=8, groups=(fold, fold))
    best, nats = choose_relevance(found, truth, truth, grid)
    slow = []
    for by in grid:
        proba = slow_relevance(found.index, found.cosine, truth, by)
        slow.append(float(np.where(truth, np.log(proba), np.log(1 - proba)).sum(axis=1).mean()))
    np.testing.assert_allclose(nats, slow, rtol=1e-4)
    assert best == grid[int(np.argmax(slow))]
    assert best == Relevance(k=8, sharpness=10.0, noise=0.01)


def test_invalid_neighbour_searches_are_refused():
    rows = unit(4, 3, 0)
    with pytest.raises(ShapeError, match="one network") as wrong:
        neighbours(rows, unit(4, 2, 0), k=1)
    assert "same dim" in wrong.value.fix
    with pytest.raises(ShapeError, match="one entry per row") as wrong:
        neighbours(rows, rows, k=1, groups=(np.zeros(4, int), np.zeros(3, int)))
    assert "groups=None" in wrong.value.fix
    with pytest.raises(ShapeError, match="length 1") as wrong:
        neighbours(rows, rows * 2, k=1)
    assert "divide" in wrong.value.fix
    with pytest.raises(FieldmarkError) as wrong:
        neighbours(rows, rows, k=0)
    assert "k=20" in wrong.value.fix
    found = neighbours(rows, rows, k=2)
    for grid in ([], [Relevance(k=3)]):
        with pytest.raises(FieldmarkError, match="grid is empty") as wrong:
            choose_relevance(found, np.ones((4, 1), bool), np.ones((4, 1), bool), grid)
        assert "largest k of grid" in wrong.value.fix

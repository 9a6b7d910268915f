"""Nearest photos against slow loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.gallery import search
from fieldmark.gallery.search import best_photo_per_identity, nearest_photos


def unit(n, dim, seed):
    rows = np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def slow_cosine(query, photo):
    return np.float32(np.dot(query.astype(np.float64), photo.astype(np.float64)))


def slow_nearest(query, gallery, own, k):
    found = sorted((-slow_cosine(query, photo), g) for g, photo in enumerate(gallery) if g != own)[:k]
    return [g for _, g in found], [-c for c, _ in found]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 60), st.integers(1, 6), st.integers(1, 70), st.data())
def test_equals_slow_loops_with_duplicates_whatever_the_block(seed, n, n_different, block, data):
    """Few different photos, so most tie: the order of the gallery must decide."""
    different = unit(n_different, 33, seed)
    gallery = different[np.random.default_rng(seed).integers(0, n_different, n)]
    query = np.concatenate([unit(2, 33, seed + 1), different[:1]])
    own = np.array([-1, 0, n - 1])
    k = data.draw(st.integers(1, n - 1))
    index, similarity = nearest_photos(query, gallery, k=k, own=own, block=block)
    for row in range(3):
        slow_index, slow_similarity = slow_nearest(query[row], gallery, own[row], k)
        assert index[row].tolist() == slow_index
        np.testing.assert_allclose(similarity[row], slow_similarity, atol=1e-7)


def test_k_may_be_the_number_of_photos(monkeypatch):
    monkeypatch.setattr(search, "QUERY_BLOCK", 2)
    index, similarity = nearest_photos(unit(5, 8, 0), unit(9, 8, 1), k=9)
    assert np.sort(index, axis=1).tolist() == [list(range(9))] * 5
    assert (np.diff(similarity, axis=1) <= 0).all()


def test_a_memory_mapped_gallery_gives_the_same(tmp_path):
    gallery = unit(300, 16, 2)
    np.save(tmp_path / "g.npy", gallery)
    mapped = np.load(tmp_path / "g.npy", mmap_mode="r")
    for one, other in zip(
        nearest_photos(gallery[:7], mapped, k=3, block=50), nearest_photos(gallery[:7], gallery, k=3), strict=True
    ):
        assert (one == other).all()
    assert nearest_photos(gallery[:7], mapped, k=1)[0][:, 0].tolist() == list(range(7))
    assert nearest_photos(gallery[:7], mapped, k=1, own=np.arange(7))[0][:, 0].tolist() != list(range(7))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 30))
def test_best_photo_equals_slow_loops(seed, n):
    chance = np.random.default_rng(seed)
    gallery = unit(4, 6, seed)[chance.integers(0, 4, n)]
    classes, names = chance.integers(-1, 4, n), chance.integers(-2, 6, (5, 3))
    query, own = unit(5, 6, seed + 1), chance.integers(-1, n, 5)
    index, similarity = best_photo_per_identity(query, gallery, classes, names, own=own)
    for row, place in np.ndindex(5, 3):
        name = names[row, place]
        its = [(-slow_cosine(query[row], gallery[g]), g) for g in range(n) if classes[g] == name >= 0 and g != own[row]]
        if its:
            assert index[row, place] == min(its)[1]
            assert similarity[row, place] == pytest.approx(-min(its)[0], abs=1e-6)
        else:
            assert index[row, place] == -1
            assert np.isnan(similarity[row, place])


@pytest.mark.parametrize(
    ("call", "error", "fix"),
    [
        (lambda: nearest_photos(unit(2, 3, 0), unit(4, 3, 0), k=0), FieldmarkError, "k from 1 to 4"),
        (lambda: nearest_photos(unit(2, 3, 0), unit(4, 3, 0), k=5), FieldmarkError, "k from 1 to 4"),
        (lambda: nearest_photos(unit(1, 3, 0), unit(4, 3, 0), k=4, own=np.array([2])), FieldmarkError, "k from 1 to 3"),
        (lambda: nearest_photos(unit(1, 3, 0), unit(1, 3, 0), k=1, own=np.array([0])), FieldmarkError, "add photos"),
        (lambda: nearest_photos(unit(2, 3, 0), unit(4, 3, 0), k=1, block=0), FieldmarkError, "block of 1"),
        (lambda: nearest_photos(unit(2, 3, 0), unit(4, 2, 0), k=1), ShapeError, "same dim"),
        (lambda: nearest_photos(unit(2, 3, 0), np.zeros((0, 3)), k=1), ShapeError, "none empty"),
        (lambda: nearest_photos(unit(2, 3, 0), unit(4, 3, 0), k=1, own=np.zeros(3)), ShapeError, "one 'own' per query"),
        (lambda: nearest_photos(unit(2, 3, 0) * 2, unit(4, 3, 0), k=1), ShapeError, "np.linalg.norm"),
        (lambda: nearest_photos(unit(2, 3, 0), unit(4, 3, 0) * 2, k=1), ShapeError, "np.linalg.norm"),
        (
            lambda: best_photo_per_identity(unit(2, 3, 0), unit(4, 3, 0), np.zeros(4, int), np.zeros(2, int)),
            ShapeError,
            "(query, rank)",
        ),
    ],
)
def test_errors_say_what_to_do(call, error, fix):
    with pytest.raises(error) as refusal:
        call()
    assert fix in refusal.value.fix


def test_more_near_duplicates_than_spare_places_are_still_separated(monkeypatch):
    """Their float32 products differ in the last digits only, in no meaningful order."""
    monkeypatch.setattr(search, "SPARE", 1)
    for seed in range(5):
        photos, query = unit(2, 640, seed), unit(4, 640, seed + 100)
        chance = np.random.default_rng(seed)
        noise = chance.normal(size=(200, 640)) * 1e-9
        gallery = (photos[chance.integers(0, 2, 200)] + noise).astype(np.float32)
        index, _ = nearest_photos(query, gallery, k=4, block=37)
        assert index.tolist() == [slow_nearest(one, gallery, -1, 4)[0] for one in query]


def test_a_new_query_is_compared_with_all_photos_though_another_leaves_its_own_out():
    gallery = unit(1, 33, 3).repeat(5, axis=0)
    index, _ = nearest_photos(gallery[:2], gallery, k=4, own=np.array([-1, 0]), block=4)
    assert index.tolist() == [[0, 1, 2, 3], [1, 2, 3, 4]]

"""The fast search for identities, compared with slow loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.decisions.identities import from_embeddings
from fieldmark.decisions.ranking import rank
from fieldmark.gallery import identities
from fieldmark.gallery.identities import Products, best_identities


def unit(n, dim, seed):
    rows = np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def slow_best(query, gallery, classes, own, k):
    """The best k (identity, photo, cosine), from every photo one at a time."""
    best = {}
    for g, photo in enumerate(gallery):
        if classes[g] < 0 or g == own:
            continue
        cosine = np.float32(np.dot(query.astype(np.float64), photo.astype(np.float64)))
        if classes[g] not in best or cosine > best[classes[g]][1]:
            best[int(classes[g])] = (g, cosine)
    ordered = sorted((-cosine, name, g) for name, (g, cosine) in best.items())[:k]
    return [(name, g, -cosine) for cosine, name, g in ordered]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 90), st.integers(1, 40), st.integers(1, 7), st.integers(1, 60))
def test_equals_slow_loops_with_duplicates_whatever_the_block(seed, n, n_classes, k, block):
    """Photos are drawn from few different ones, so most tie."""
    chance = np.random.default_rng(seed)
    gallery = unit(6, 33, seed)[chance.integers(0, 6, n)]
    classes = chance.integers(-1, n_classes, n)
    query = np.concatenate([unit(3, 33, seed + 1), gallery[:1]])
    own = np.array([-1, int(chance.integers(0, n)), -1, 0])
    found = best_identities(query, gallery, classes, k=k, own=own, block=block)
    for row in range(len(query)):
        slow = slow_best(query[row], gallery, classes, own[row], k)
        got = found.identities[row], found.photos[row], found.similarity[row]
        assert got[0][: len(slow)].tolist() == [name for name, _, _ in slow]
        assert got[1][: len(slow)].tolist() == [photo for _, photo, _ in slow]
        np.testing.assert_allclose(got[2][: len(slow)], [value for _, _, value in slow], atol=1e-7)
        assert (got[0][len(slow) :] == -2).all()
        assert (got[1][len(slow) :] == -1).all()
        assert (got[2][len(slow) :] == -np.inf).all()


@pytest.mark.parametrize("block", [64, 700, 10_000])
def test_equals_best_and_rank_on_many_identities(block, monkeypatch):
    monkeypatch.setattr(identities, "QUERY_BLOCK", 17)
    chance = np.random.default_rng(3)
    gallery, query = unit(2000, 24, 1), unit(50, 24, 2)
    classes = chance.integers(-1, 600, 2000)
    scores = from_embeddings(query, gallery, classes, n_classes=600)
    found = best_identities(query, gallery, classes, k=5, block=block)
    assert (found.identities == rank(scores, unknown_at=None, k=5)).all()
    assert (classes[found.photos] == found.identities).all()


def test_near_duplicates_beyond_float32_are_separated():
    for seed in range(5):
        photos, query = unit(2, 640, seed), unit(4, 640, seed + 100)
        chance = np.random.default_rng(seed)
        gallery = (photos[chance.integers(0, 2, 300)] + chance.normal(size=(300, 640)) * 1e-9).astype(np.float32)
        classes = chance.permutation(300)
        found = best_identities(query, gallery, classes, k=4, block=37)
        for row, one in enumerate(query):
            assert found.identities[row].tolist() == [name for name, _, _ in slow_best(one, gallery, classes, -1, 4)]


def test_a_gallery_of_unknown_individuals_gives_empty_answers():
    found = best_identities(unit(2, 3, 0), unit(4, 3, 1), np.full(4, -1), k=2)
    assert (found.identities == -2).all()


def test_an_identity_with_more_photos_than_a_block_is_not_split():
    gallery, query = unit(40, 8, 0), unit(5, 8, 1)
    classes = np.repeat([0, 1, 2], [30, 5, 5])
    found = best_identities(query, gallery, classes, k=3, block=4)
    assert np.sort(found.identities, axis=1).tolist() == [[0, 1, 2]] * 5


@pytest.mark.parametrize(
    ("call", "error", "fix"),
    [
        (lambda: best_identities(unit(2, 3, 0), unit(4, 3, 0), np.zeros(4, int), k=0), FieldmarkError, "k=1 or more"),
        (lambda: best_identities(unit(2, 3, 0), unit(4, 3, 0), np.zeros(3, int)), FieldmarkError, "one class per"),
        (lambda: best_identities(unit(2, 3, 0), unit(4, 3, 0), np.full(4, -2)), FieldmarkError, "vocabulary"),
        (lambda: best_identities(unit(2, 3, 0), unit(4, 2, 0), np.zeros(4, int)), ShapeError, "same dim"),
    ],
)
def test_errors_say_what_to_do(call, error, fix):
    with pytest.raises(error) as refusal:
        call()
    assert fix in refusal.value.fix


@pytest.mark.parametrize("block", [90, 4000])
def test_approximate_products_change_only_the_speed(block):
    from fieldmark.training.products import ROUNDING, BfloatProducts

    chance = np.random.default_rng(5)
    gallery, query, classes = unit(3000, 64, 1), unit(60, 64, 2), chance.integers(-1, 900, 3000)
    exact = best_identities(query, gallery, classes, k=5)
    rough = best_identities(query, gallery, classes, k=5, products=Products(BfloatProducts, ROUNDING), block=block)
    assert (rough.identities == exact.identities).all()
    assert (rough.photos == exact.photos).all()
    cosine, error = BfloatProducts(gallery)(query)
    true = gallery.astype(np.float64) @ query.T.astype(np.float64)
    off = np.abs(cosine - true)
    assert off.max() > 1e-4
    assert (off <= error + ROUNDING * np.abs(true)).all()
    assert error.max() < 0.01


def test_identities_of_many_photos_do_not_hide_others_from_the_bound():
    """One identity fills many chunks with the highest values: the second best must still be found."""
    chance = np.random.default_rng(0)
    query = unit(1, 16, 0)
    near = query + 0.05 * chance.normal(size=(400, 16)).astype(np.float32)
    near /= np.linalg.norm(near, axis=1, keepdims=True)
    gallery = np.concatenate([near, unit(1200, 16, 1)])
    classes = np.concatenate([np.zeros(400, int), np.repeat(np.arange(1, 401), 3)])
    found = best_identities(query, gallery, classes, k=3)
    assert found.identities[0].tolist() == [name for name, _, _ in slow_best(query[0], gallery, classes, -1, 3)]

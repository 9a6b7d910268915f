"""Identity scores and centroids against slow loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.decisions import identities
from fieldmark.decisions.centroids import centroids, similar_many
from fieldmark.decisions.identities import from_embeddings, from_similarity
from fieldmark.decisions.specs import Best, Centroid, MeanTop


def unit(n, dim, seed):
    rows = np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def slow_scores(similarity, classes, n_classes, m):
    scores = np.full((len(similarity), n_classes), -np.inf)
    for row, of in enumerate(similarity):
        for name in range(n_classes):
            its = sorted((of[g] for g in range(len(classes)) if classes[g] == name and of[g] > -np.inf), reverse=True)
            if its:
                scores[row, name] = np.mean(its[:m])
    return scores


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 6), st.integers(1, 25), st.integers(1, 6), st.integers(1, 5))
def test_best_and_mean_top_equal_slow_loops(seed, n_queries, n_gallery, n_classes, m):
    query, gallery = unit(n_queries, 3, seed), unit(n_gallery, 3, seed + 1)
    classes = np.random.default_rng(seed).integers(-1, n_classes, n_gallery)
    similarity = query @ gallery.T
    for by, many in ((Best(), 1), (MeanTop(m=m), m)):
        slow = slow_scores(similarity, classes, n_classes, many)
        fast = from_embeddings(query, gallery, classes, n_classes=n_classes, by=by)
        assert fast.dtype == np.float32
        np.testing.assert_allclose(fast, slow, atol=1e-6)
        similarity_holed = np.where(np.random.default_rng(seed).random(similarity.shape) < 0.3, -np.inf, similarity)
        slow = slow_scores(similarity_holed, classes, n_classes, many)
        np.testing.assert_allclose(
            from_similarity(similarity_holed, classes, n_classes=n_classes, by=by), slow, atol=1e-6
        )


def test_the_result_does_not_depend_on_the_block_size(monkeypatch):
    query, gallery = unit(23, 4, 0), unit(60, 4, 1)
    classes = np.random.default_rng(2).integers(-1, 9, 60)
    options = {"n_classes": 11, "by": MeanTop(m=2)}
    whole = from_embeddings(query, gallery, classes, **options)
    monkeypatch.setattr(identities, "QUERY_BLOCK", 5)
    monkeypatch.setattr(identities, "PHOTO_BLOCK", 3)
    np.testing.assert_allclose(from_embeddings(query, gallery, classes, **options), whole, atol=1e-6)
    np.testing.assert_allclose(from_similarity(query @ gallery.T, classes, **options), whole, atol=1e-6)


def test_negative_similarities_count_and_an_identity_without_photos_scores_minus_infinity():
    scores = from_similarity(np.array([[-0.9, -0.2, -0.5]]), np.array([0, 0, -1]), n_classes=2)
    np.testing.assert_allclose(scores, [[-0.2, -np.inf]], rtol=1e-6)


def test_a_gallery_of_unknown_individuals_has_no_candidate():
    assert (from_similarity(np.ones((2, 3)), np.full(3, -1), n_classes=2) == -np.inf).all()


def slow_centroid(photos, by):
    """The method of T35, one photo at a time."""
    kept = list(photos)
    for _ in range(by.rounds):
        if len(kept) < by.least:
            break
        centre = sum(kept) / np.linalg.norm(sum(kept))
        near = sorted(kept, key=lambda photo: -float(photo @ centre))
        close = [photo for photo in near if photo @ centre > by.close]
        least = int(len(kept) * by.keep)
        kept = close if len(close) > least else near[:least]
    return sum(kept) / np.linalg.norm(sum(kept))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.lists(st.integers(0, 14), min_size=1, max_size=5), st.sampled_from([-0.5, 0.5, 0.8]))
def test_centroids_equal_slow_loops(seed, n_photos, close):
    classes = np.concatenate([np.repeat(np.arange(len(n_photos)), n_photos), [-1]])
    classes = np.random.default_rng(seed).permutation(classes)
    photos = unit(len(classes), 5, seed)
    by = Centroid(close=close)
    centre = centroids(photos, classes, n_classes=len(n_photos), by=by)
    scores = from_embeddings(photos, photos, classes, n_classes=len(n_photos), by=by)
    for name, n in enumerate(n_photos):
        if n:
            wanted = slow_centroid(photos[classes == name].astype(np.float64), by)
            np.testing.assert_allclose(centre[name], wanted, atol=2e-5)
            np.testing.assert_allclose(scores[:, name], photos @ wanted, atol=2e-5)
        else:
            assert (centre[name] == 0).all()
            assert (scores[:, name] == -np.inf).all()


def test_an_outlier_photo_does_not_move_the_centroid():
    whale = np.array([[1, 0, 0]] * 6 + [[0, 1, 0]], np.float32)
    np.testing.assert_allclose(centroids(whale, np.zeros(7, int), n_classes=1), [[1, 0, 0]], atol=1e-6)
    plain = centroids(whale, np.zeros(7, int), n_classes=1, by=Centroid(rounds=0))
    assert plain[0, 1] > 0.1


def test_photos_that_cancel_out_have_no_direction():
    opposite = np.array([[1, 0], [-1, 0]], np.float32)
    assert (centroids(opposite, np.zeros(2, int), n_classes=1) == 0).all()


def test_similar_many_returns_every_known_photo_once():
    classes = np.array([2, -1, 0, 2, 5, 0, 2])
    found = {int(n): p.tolist() for names, photos in similar_many(classes) for n, p in zip(names, photos, strict=True)}
    assert found == {0: [2, 5], 2: [0, 3, 6], 5: [4]}


@pytest.mark.parametrize(
    ("call", "error", "fix"),
    [
        (lambda: from_embeddings(unit(2, 3, 0), unit(2, 4, 0), np.zeros(2, int), n_classes=1), ShapeError, "same dim"),
        (lambda: from_embeddings(np.zeros((0, 3)), unit(2, 3, 0), np.zeros(2, int), n_classes=1), ShapeError, "empty"),
        (
            lambda: from_embeddings(unit(2, 3, 0), unit(2, 3, 0), np.zeros(3, int), n_classes=1),
            ShapeError,
            "(gallery,)",
        ),
        (lambda: from_embeddings(2 * unit(2, 3, 0), unit(2, 3, 0), np.zeros(2, int), n_classes=1), ShapeError, "norm"),
        (
            lambda: from_embeddings(unit(2, 3, 0), unit(2, 3, 0) * np.nan, np.zeros(2, int), n_classes=1),
            ShapeError,
            "NaN",
        ),
        (
            lambda: from_embeddings(unit(2, 3, 0), unit(2, 3, 0), np.array([0, 1]), n_classes=1),
            FieldmarkError,
            "n_classes",
        ),
        (
            lambda: from_embeddings(unit(2, 3, 0), unit(2, 3, 0), np.array([0, -2]), n_classes=1),
            FieldmarkError,
            "unknown individual",
        ),
        (lambda: from_embeddings(unit(2, 3, 0), unit(2, 3, 0), np.zeros(2), n_classes=1), FieldmarkError, "Vocabulary"),
        (lambda: from_similarity(np.ones((2, 3)), np.zeros(2, int), n_classes=1), ShapeError, "one class per column"),
        (lambda: from_similarity(np.ones((0, 3)), np.zeros(3, int), n_classes=1), ShapeError, "at least one query"),
        (lambda: from_similarity(np.full((1, 1), np.nan), np.zeros(1, int), n_classes=1), FieldmarkError, "-inf"),
        (
            lambda: from_similarity(np.ones((1, 1)), np.zeros(1, int), n_classes=1, by=Centroid()),
            FieldmarkError,
            "Best()",
        ),
        (lambda: centroids(np.ones(3), np.zeros(3, int), n_classes=1), ShapeError, "(image, dim)"),
        (lambda: centroids(3 * unit(2, 3, 0), np.zeros(2, int), n_classes=1), ShapeError, "norm"),
    ],
)
def test_errors_say_what_to_do(call, error, fix):
    with pytest.raises(error) as refusal:
        call()
    assert fix in refusal.value.fix

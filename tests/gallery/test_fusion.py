"""Fusion of several scores, and the shortlist of photos."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.gallery.fusion import fit_by_part, fit_fusion
from fieldmark.gallery.shortlist import similar_photos
from fieldmark.metrics.open_set import roc_auc


def drawn(n, seed=0):
    """Pairs with two informative numbers, one random and one contrary number."""
    rng = np.random.default_rng(seed)
    same = rng.random(n) < 0.3
    numbers = [same * 1.0 + rng.normal(0, 1, n), same * 100.0 + rng.normal(0, 80, n), rng.normal(0, 1, n)]
    return np.column_stack([*numbers, rng.normal(0, 1, n) - 1.0 * same]), same


def test_weights_are_those_of_another_library():
    linear = pytest.importorskip("sklearn.linear_model")
    numbers, same = drawn(400)
    ours = fit_fusion(numbers[:, :2], same)
    spread, middle = numbers[:, :2].std(axis=0), numbers[:, :2].mean(axis=0)
    peer = linear.LogisticRegression(C=1.0, tol=1e-10, max_iter=1000).fit((numbers[:, :2] - middle) / spread, same)
    assert np.allclose(np.array(ours.weights) * spread, peer.coef_[0], atol=1e-4)
    assert np.allclose(
        ours.proba(numbers[:, :2]), peer.predict_proba((numbers[:, :2] - middle) / spread)[:, 1], atol=1e-4
    )


def test_two_scores_are_better_than_either():
    numbers, same = drawn(2000)
    held, truth = drawn(2000, seed=1)
    fused = roc_auc(fit_fusion(numbers, same).proba(held), truth)
    assert fused > max(roc_auc(held[:, place], truth) for place in (0, 1)) + 0.02


def test_probabilities_are_calibrated():
    numbers, same = drawn(5000)
    held, truth = drawn(5000, seed=1)
    proba = fit_fusion(numbers, same).proba(held)
    for low in (0.0, 0.2, 0.4, 0.6, 0.8):
        here = (proba >= low) & (proba < low + 0.2)
        assert abs(proba[here].mean() - truth[here].mean()) < 0.06


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_a_larger_number_never_lowers_the_probability(seed):
    rng = np.random.default_rng(seed)
    same = np.arange(40) % 3 == 0
    numbers = rng.normal(0, 1, (40, 4)) * 10.0 ** rng.integers(-3, 4, 4)
    fusion = fit_fusion(numbers, same)
    more = numbers + np.abs(rng.normal(0, 1, numbers.shape)) * numbers.std(axis=0)
    assert (fusion.proba(more) >= fusion.proba(numbers)).all()


def test_a_constant_or_contrary_number_gets_weight_0():
    numbers, same = drawn(500)
    numbers[:, 2] = 7
    fusion = fit_fusion(numbers, same)
    assert fusion.weights[2] == fusion.weights[3] == 0
    assert min(fusion.weights[:2]) > 0


def test_perfect_separation_gives_finite_weights():
    same = np.arange(20) < 10
    fusion = fit_fusion(same[:, None] * 1000.0, same)
    assert np.isfinite(fusion.weights).all()
    assert fusion.proba(np.array([[1000.0], [0.0], [-np.inf]])) == pytest.approx([1, 0, 0], abs=0.15)


def test_a_part_is_scored_by_weights_of_the_others_only():
    numbers, same = drawn(300)
    part = np.arange(300) % 3
    before = fit_by_part(numbers, same, part)
    numbers[part == 1], same[part == 1] = -numbers[part == 1], ~same[part == 1]
    after = fit_by_part(numbers, same, part)
    assert before[1] == after[1]
    assert before[0] != after[0]


def test_errors_say_what_to_do():
    numbers, same = drawn(10)
    cases = [
        (lambda: fit_fusion(numbers[:, 0], same), ShapeError, "(pair, number)"),
        (lambda: fit_fusion(numbers * np.inf, same), FieldmarkError, "use 0 for a pair"),
        (lambda: fit_fusion(numbers, same & False), FieldmarkError, "longer shortlist"),
        (lambda: fit_fusion(*drawn(50)).proba(numbers[:, :2]), ShapeError, "same order"),
        (lambda: fit_by_part(numbers, same, np.zeros(3)), ShapeError, "one whole number per pair"),
        (lambda: fit_by_part(numbers, same, np.zeros(10, int)), FieldmarkError, "two parts or more"),
        (lambda: similar_photos(numbers, same[:3], numbers, n_photos=1), ShapeError, "GalleryStore.compare()"),
    ]
    for call, kind, fix in cases:
        with pytest.raises(kind) as raised:
            call()
        assert fix in raised.value.fix


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_the_most_similar_photos_are_those_of_slow_loops(seed):
    rng = np.random.default_rng(seed)
    similarity = rng.choice([-np.inf, 0.1, 0.2, 0.3, 0.4], (3, 8))
    classes, names = rng.integers(-1, 4, 8), rng.integers(-2, 5, (3, 2))
    found = similar_photos(similarity, classes, names, n_photos=2)
    for query in range(3):
        for place in range(2):
            mine = [p for p in range(8) if names[query, place] >= 0 and classes[p] == names[query, place]]
            mine = [p for p in mine if similarity[query, p] > -np.inf]
            best = sorted(mine, key=lambda p: (-similarity[query, p], p))[:2]
            assert found[query, place].tolist() == best + [-1] * (2 - len(best))

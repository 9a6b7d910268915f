"""Confidence: calibrated probabilities."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.decisions.confidence import confidence_model, crossed_confidence, even_parts, score_features
from fieldmark.decisions.specs import Isotonic, Logistic

BOTH = [Logistic(), Isotonic()]


def queries(n=3000, seed=0):
    """Two thirds known; a higher first score means a higher chance of the correct name."""
    chance = np.random.default_rng(seed)
    truth = np.where(np.arange(n) % 3 < 2, 0, -1)
    best = chance.normal(size=n) + np.where(truth == 0, 1.0, -1.0)
    scores = np.full((n, 3), -3.0)
    scores[:, 0] = best
    wrong = (truth == 0) & (chance.uniform(size=n) < 1 / (1 + np.exp(2 * best)))
    scores[wrong] = scores[wrong][:, [1, 0, 2]]
    return scores, truth


@pytest.mark.parametrize("by", BOTH)
def test_crossed_probabilities_equal_the_observed_rates(by):
    scores, truth = queries()
    confidence = crossed_confidence(scores, truth, by=by)
    for proba, outcome in ((confidence.known, truth == 0), (confidence.right, scores.argmax(axis=1) == truth)):
        for low in (0.0, 0.2, 0.4, 0.6, 0.8):
            some = (proba >= low) & (proba < low + 0.2)
            assert abs(proba[some].mean() - outcome[some].mean()) < 0.08


@pytest.mark.parametrize("by", BOTH)
def test_probabilities_rise_with_the_score_and_survive_json(by):
    scores, truth = queries(400)
    found = confidence_model(scores, truth, by=by)
    again = type(found).model_validate_json(found.model_dump_json())
    queried = np.stack([np.linspace(-4, 4, 50), np.full(50, -4.5), np.full(50, -4.5)], axis=1)
    confidence, same = found.of(queried), again.of(queried)
    assert (confidence.known == same.known).all()
    assert (np.diff(confidence.known) >= 0).all()
    assert (np.diff(confidence.right) >= 0).all()
    assert (confidence.right <= confidence.known).all()
    assert ((confidence.right > 0) & (confidence.known < 1)).all()


def slow_pooling(score, known):
    """Pool neighbours until the share rises everywhere, in whole numbers: first, last, queries, hits of a step."""
    steps = []
    for at in sorted(set(score)):
        here = [right for one, right in zip(score, known, strict=True) if one == at]
        steps.append((at, at, len(here), sum(here)))
        while len(steps) > 1 and steps[-2][3] * steps[-1][2] >= steps[-1][3] * steps[-2][2]:
            (first, _, n, hits), (_, last, more_n, more_hits) = steps[-2:]
            steps[-2:] = [(first, last, n + more_n, hits + more_hits)]
    return steps


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(-8, 8), st.booleans()), min_size=2, max_size=120))
def test_isotonic_equals_slow_pooling(queried):
    score, known = [each[0] for each in queried], [each[1] for each in queried]
    known[:2] = [True, False]
    found = confidence_model(np.array([[one, -9.0] for one in score]), np.where(known, 0, -1), by=Isotonic()).known
    wanted, level = {}, 0.0
    for first, last, n, hits in slow_pooling(score, known):
        level = max(level, (hits + 0.5) / (n + 1))
        wanted |= {first: level, last: level}
    assert dict(zip(found.at, found.height, strict=True)) == wanted


def test_shares_that_are_equal_but_for_rounding_are_one_step():
    # 16 of 32, then 7 of 14: SciPy alone compares rounded means, and makes two steps of them.
    n, hits = [6, 10, 6, 1, 8, 1, 9, 5], [5, 7, 3, 1, 0, 0, 7, 0]
    score = np.repeat(np.arange(8.0), n)
    known = np.concatenate([np.arange(all_) < some for all_, some in zip(n, hits, strict=True)])
    found = confidence_model(np.stack([score, np.full(46, -9.0)], axis=1), np.where(known, 0, -1), by=Isotonic()).known
    assert (found.at, found.height) == ((0.0, 7.0), (0.5, 0.5))


def test_isotonic_equals_another_library():
    """scikit-learn agrees except for the half count added at the ends."""
    pytest.importorskip("sklearn")
    from sklearn.isotonic import IsotonicRegression

    chance = np.random.default_rng(3)
    scores = np.stack([np.round(chance.normal(size=500), 1), np.full(500, -9.0)], axis=1)
    truth = np.where(chance.uniform(size=500) < 1 / (1 + np.exp(-scores[:, 0])), 0, -1)
    theirs = IsotonicRegression().fit(scores[:, 0], truth == 0).predict(scores[:, 0])
    assert np.abs(confidence_model(scores, truth, by=Isotonic()).of(scores).known - theirs).max() < 0.1


def test_logistic_equals_another_library():
    pytest.importorskip("sklearn")
    from sklearn.linear_model import LogisticRegression

    scores, truth = queries(1000)
    features = score_features(scores)
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    theirs = LogisticRegression(C=1.0, tol=1e-10, max_iter=1000).fit(features, truth == 0).predict_proba(features)[:, 1]
    assert (
        np.abs(confidence_model(scores, truth).of(scores).known - theirs).max() < 0.01
    )  # Platt's targets differ a little


@pytest.mark.parametrize("by", BOTH)
@pytest.mark.parametrize("n", [8, 30, 400])
def test_probabilities_are_clipped_to_the_range_of_the_fitting_data(n, by):
    """A black picture may have unusual scores; its probability is that of the nearest score in the fitting data."""
    scores, truth = queries(n, seed=n)
    found = confidence_model(scores, truth, by=by)
    in_range = found.of(scores)
    strange = np.array([[900.0, -800.0, -900.0], [900.0, 900.0, 900.0], [-900.0, -900.0, -900.0]])
    confidence = found.of(strange)
    for proba, fitted in ((confidence.known, in_range.known), (confidence.right, in_range.right)):
        assert proba[0] <= fitted.max() + 1 / n
        assert proba[2] >= fitted.min() - 1 / n
        assert (proba < 1).all()


@pytest.mark.parametrize("seed", range(20))
def test_a_higher_score_and_a_larger_margin_never_lower_the_confidence(seed):
    chance = np.random.default_rng(seed)
    scores, truth = chance.normal(size=(12, 4)), chance.integers(-1, 4, 12)
    truth[:2] = -1, 0
    found = confidence_model(scores, truth)
    queried = chance.normal(size=(200, 4))
    before = found.of(queried)
    queried[np.arange(200), queried.argmax(axis=1)] += chance.uniform(0, 2, 200)
    after = found.of(queried)
    assert (after.known >= before.known - 1e-12).all()
    assert (after.right >= before.right - 1e-12).all()


def test_without_unknown_individuals_there_is_no_probability_of_known():
    scores, truth = queries(200)
    found = confidence_model(scores, np.where(truth == -1, 1, truth))
    assert found.known is None
    assert np.isnan(found.of(scores).known).all()
    assert np.isfinite(found.of(scores).right).all()
    assert confidence_model(scores, np.full(200, -1)).right is None


def test_no_query_is_scored_by_a_curve_fitted_on_it_or_its_group():
    scores, truth = queries(200)
    groups = np.repeat(np.arange(100), 2)
    confidence, part = crossed_confidence(scores, truth, groups=groups), even_parts(truth, groups)
    for one in range(5):
        mine = part == one
        others = confidence_model(scores[~mine], truth[~mine]).of(scores[mine])
        assert (confidence.known[mine] == others.known).all()
        assert (confidence.right[mine] == others.right).all()


def test_parts_keep_groups_whole_and_balance_unknown_individuals():
    truth = np.repeat([0, -1], 50)
    groups = np.repeat(np.arange(50), 2)
    part = even_parts(truth, groups)
    assert (part[::2] == part[1::2]).all()
    assert set(part) == set(range(5))
    assert np.bincount(part[truth == -1]).tolist() == [10] * 5
    assert (even_parts(truth, groups) == part).all()


def test_score_features_of_queries_with_few_candidates_are_finite():
    scores = np.array([[-np.inf, -np.inf], [0.5, -np.inf], [0.5, 0.2]])
    assert np.isfinite(score_features(scores)).all()
    np.testing.assert_allclose(score_features(scores), [[0, 0, 0], [0.5, 0, 0], [0.5, 0.3, 0.15]])


def test_errors_say_what_to_do():
    with pytest.raises(ShapeError) as refusal:
        confidence_model(np.ones((3, 2)), np.zeros(2, int))
    assert "one whole number per row" in refusal.value.fix
    with pytest.raises(FieldmarkError) as refusal:
        confidence_model(np.ones((2, 2)), np.array([0, -2]))
    assert "-2" in refusal.value.fix

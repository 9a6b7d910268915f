"""Averaged answers compared with slow loops, and weights compared with simulated ones."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.decisions.score_averages import FoundWeights, average_scores, find_weights, simplex
from fieldmark.decisions.specs import GeometricMean, RankMean, ScoreAverage, WeightedMean

QUESTION_OF = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2])
WIDTH = (3, 2, 4)
RULES = [WeightedMean(), GeometricMean(), RankMean()]


def answers(seed, n=30):
    chance = np.random.default_rng(seed)
    return np.concatenate([chance.dirichlet(np.ones(width), n) for width in WIDTH], axis=1).astype(np.float32)


def sums(proba):
    return np.add.reduceat(proba, [0, 3, 5], axis=1)


def slow(parts, weights, by):
    """One photo, one question, one answer at a time."""
    averaged = np.zeros(parts[0].shape)
    for image in range(len(averaged)):
        for question in range(3):
            columns = [column for column in range(9) if QUESTION_OF[column] == question]
            for column in columns:
                terms = []
                for part, weight in zip(parts, weights, strict=True):
                    row = part[image].astype(float)
                    if by.kind == "weighted_mean":
                        terms.append(weight * row[column])
                    elif by.kind == "geometric_mean":
                        terms.append(weight * math.log(max(row[column], by.floor)))
                    else:
                        below = sum(row[other] < row[column] for other in columns)
                        level = sum(row[other] == row[column] for other in columns)
                        terms.append(weight * (below + (level + 1) / 2))
                averaged[image, column] = math.exp(sum(terms)) if by.kind == "geometric_mean" else sum(terms)
            averaged[image, columns] /= averaged[image, columns].sum()
    return averaged


@pytest.mark.parametrize("by", RULES, ids=lambda by: by.kind)
def test_equals_slow_loops_and_sums_to_1(by):
    parts = [answers(seed) for seed in range(3)]
    parts[1][:, 5:9] = 0.25  # ties
    averaged = average_scores(parts, QUESTION_OF, by=by, weights=[1.0, 2.0, 5.0])
    np.testing.assert_allclose(averaged, slow(parts, [1 / 8, 2 / 8, 5 / 8], by), atol=2e-6)
    np.testing.assert_allclose(sums(averaged), 1, atol=1e-6)
    assert averaged.dtype == np.float32


@pytest.mark.parametrize("by", RULES, ids=lambda by: by.kind)
@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.lists(st.floats(0.01, 9), min_size=3, max_size=3))
def test_the_order_of_the_models_changes_nothing(by, seed, weights):
    parts = [answers(seed + one, n=5) for one in range(3)]
    averaged = average_scores(parts, QUESTION_OF, by=by, weights=weights)
    for order in permutations(range(3)):
        again = average_scores(
            [parts[one] for one in order], QUESTION_OF, by=by, weights=[weights[one] for one in order]
        )
        np.testing.assert_allclose(again, averaged, atol=1e-6)


@pytest.mark.parametrize("by", RULES, ids=lambda by: by.kind)
def test_one_model_or_one_model_with_weight_is_unchanged(by):
    parts = [answers(0), answers(1)]
    expected = parts[0]
    if by.kind == "rank_mean":
        expected = average_scores([parts[0]], QUESTION_OF, by=by)
        order = lambda proba: [np.argsort(proba[:, one == QUESTION_OF]).tolist() for one in range(3)]  # noqa: E731
        assert order(expected) == order(parts[0])
    np.testing.assert_allclose(average_scores([parts[0]], QUESTION_OF, by=by), expected, atol=1e-6)
    np.testing.assert_allclose(average_scores(parts, QUESTION_OF, by=by, weights=(1, 0)), expected, atol=1e-6)
    same = average_scores([parts[0], parts[0]], QUESTION_OF, by=by, weights=(0.3, 0.7))
    np.testing.assert_allclose(same, expected, atol=1e-6)


def test_weights_by_question():
    parts = [answers(0), answers(1)]
    averaged = average_scores(
        parts, QUESTION_OF, by=WeightedMean(), weights=np.array([[1.0, 0.0, 0.5], [0.0, 2.0, 0.5]])
    )
    np.testing.assert_allclose(averaged[:, :3], parts[0][:, :3], atol=1e-6)
    np.testing.assert_allclose(averaged[:, 3:5], parts[1][:, 3:5], atol=1e-6)
    np.testing.assert_allclose(averaged[:, 5:], (parts[0] + parts[1])[:, 5:] / 2, atol=1e-6)


@pytest.mark.parametrize("by", RULES, ids=lambda by: by.kind)
def test_a_model_without_a_prediction_is_ignored(by):
    photo, text = answers(0, n=4), answers(1, n=4)
    photo[[1, 3]] = np.nan
    text[[2, 3]] = np.nan
    prior = np.array([0.5, 0.3, 0.2, 0.9, 0.1, 0.25, 0.25, 0.25, 0.25])
    absent = [np.array([False, True, False, True]), np.array([False, False, True, True])]
    averaged = average_scores([photo, text], QUESTION_OF, by=by, weights=(0.9, 0.1), absent=absent, prior=prior)
    alone = average_scores([text[[1]]], QUESTION_OF, by=by), average_scores([photo[[2]]], QUESTION_OF, by=by)
    np.testing.assert_allclose(averaged[1], alone[0][0], atol=1e-6)
    np.testing.assert_allclose(averaged[2], alone[1][0], atol=1e-6)
    np.testing.assert_allclose(averaged[3], prior, atol=1e-6)
    without_weight = average_scores([photo, text], QUESTION_OF, by=by, weights=(1, 0), absent=absent, prior=prior)
    np.testing.assert_allclose(
        without_weight[1], alone[0][0], atol=1e-6
    )  # weight 0, but the only model with a prediction


def simulated(n=3000):
    """The first model is good at question 0, the second at 1, neither at 2; the third is random."""
    chance = np.random.default_rng(3)
    truth = np.zeros((n, 9))
    parts = [answers(seed, n) for seed in range(3)]
    for question, (first, width) in enumerate(zip((0, 3, 5), WIDTH, strict=True)):
        right = chance.integers(0, width, n)
        truth[np.arange(n), first + right] = 1
        for number, part in enumerate(parts):
            trust = {(0, 0): 0.75, (1, 1): 0.75, (0, 2): 0.3, (1, 2): 0.3}.get((number, question), 0.0)
            part[:, first : first + width] *= 1 - trust
            part[np.arange(n), first + right] += trust * (chance.random(n) < 0.9)
            part[:, first : first + width] /= part[:, first : first + width].sum(axis=1, keepdims=True)
    truth[::10, 3:5] = np.nan
    return parts, truth, np.arange(n) % 4


def slow_error(averaged, truth):
    wrong, n = 0, 0
    for row, right in zip(averaged, truth, strict=True):
        for columns in ([0, 1, 2], [3, 4], [5, 6, 7, 8]):
            if np.nansum(right[columns]) > 0:
                n += 1
                wrong += right[columns][int(np.argmax(row[columns]))] != 1
    return wrong / n


def test_weights_per_question_equal_the_simulated_ones():
    parts, truth, fold = simulated()
    found = find_weights(parts, truth, QUESTION_OF, by=WeightedMean(each_question=True), fold=fold)
    assert isinstance(found, FoundWeights)
    np.testing.assert_allclose(found.weights.sum(axis=0), 1)
    assert found.weights[:, 0].argmax() == 0
    assert found.weights[:, 1].argmax() == 1
    assert found.weights[2, :2].max() <= 0.25
    assert min(found.weights[0, 0], found.weights[1, 1]) >= 0.5
    together = find_weights(parts, truth, QUESTION_OF, by=WeightedMean(), fold=fold)
    assert (together.weights == together.weights[:, :1]).all()
    assert found.crossed < together.crossed < together.alone.min()
    assert together.n_pairs == 3 * 3000 - 300


@pytest.mark.parametrize("by", RULES, ids=lambda by: by.kind)
def test_the_errors_are_those_of_averages_with_weights_fitted_without_each_fold(by):
    parts, truth, fold = (simulated(400)[0], *simulated(400)[1:])
    found = find_weights(parts, truth, QUESTION_OF, by=by, fold=fold)
    averaged = average_scores(parts, QUESTION_OF, by=by, weights=found.weights)
    assert found.error == pytest.approx(slow_error(averaged, truth))
    assert found.alone[0] == pytest.approx(slow_error(average_scores([parts[0]], QUESTION_OF, by=by), truth))
    crossed = np.zeros_like(averaged)
    for one in range(4):
        others = fold != one
        without = find_weights([part[others] for part in parts], truth[others], QUESTION_OF, by=by, fold=fold[others])
        crossed[~others] = average_scores(
            [part[~others] for part in parts], QUESTION_OF, by=by, weights=without.weights
        )
    assert found.crossed == pytest.approx(slow_error(crossed, truth))
    assert found.error <= min(found.alone)


def test_of_equally_good_weights_those_with_the_least_log_loss():
    truth = np.tile([1.0, 0.0], (40, 1))
    confident, vague = np.tile([0.9, 0.1], (40, 1)), np.tile([0.6, 0.4], (40, 1))
    found = find_weights([vague, confident], truth, np.array([0, 0]), by=WeightedMean(), fold=np.arange(40) % 2)
    assert found.weights[:, 0].tolist() == [0.0, 1.0]
    assert found.log_loss == pytest.approx(-math.log(0.9), abs=1e-5)
    assert (found.error, found.crossed) == (0.0, 0.0)


def test_a_question_with_few_labelled_photos_takes_the_common_weights():
    parts, truth, fold = simulated(600)
    truth[50:, 3:5] = np.nan
    found = find_weights(parts, truth, QUESTION_OF, by=WeightedMean(each_question=True), fold=fold)
    common = find_weights(parts, truth, QUESTION_OF, by=WeightedMean(), fold=fold)
    assert (found.weights[:, 1] == common.weights[:, 0]).all()
    assert (found.weights[:, 0] != common.weights[:, 0]).any()


def test_photos_without_a_prediction_of_one_model_are_scored_by_the_others():
    parts, truth, fold = simulated(400)
    parts[2] = np.full_like(parts[2], np.nan)
    absent = [None, np.zeros(400, bool), np.ones(400, bool)]
    found = find_weights(parts, truth, QUESTION_OF, by=WeightedMean(), fold=fold, absent=absent)
    two = find_weights(parts[:2], truth, QUESTION_OF, by=WeightedMean(), fold=fold)
    assert found.error <= two.error + 0.01


@pytest.mark.parametrize("n_parts", range(1, 13))
def test_tried_weights_cover_the_simplex(n_parts):
    sets = simplex(n_parts)
    assert len(sets) <= 500 + n_parts + 1
    np.testing.assert_allclose(sets.sum(axis=1), 1)
    assert (sets >= 0).all()
    assert len(np.unique(sets.round(9), axis=0)) == len(sets)
    assert all((sets == one).all(axis=1).any() for one in np.eye(n_parts))
    assert n_parts != 2 or len(sets) == 21


def test_rules_are_read_by_their_kind():
    read = TypeAdapter(ScoreAverage).validate_python
    assert read({"kind": "geometric_mean", "floor": 1e-4}) == GeometricMean(floor=1e-4)
    assert read({"kind": "weighted_mean", "each_question": True}) == WeightedMean(each_question=True)


def test_errors_say_what_to_do():
    one = answers(0)
    with pytest.raises(ShapeError) as raised:
        average_scores([one, one[:5]], QUESTION_OF, by=WeightedMean())
    assert "of one shape" in raised.value.fix
    with pytest.raises(ShapeError) as raised:
        average_scores([one[:, :4]], QUESTION_OF, by=WeightedMean())
    assert "9 columns" in raised.value.fix
    for weights in ([1.0], [-1.0, 2.0], [0.0, 0.0], [math.nan, 1.0]):
        with pytest.raises(FieldmarkError) as raised:
            average_scores([one, one], QUESTION_OF, by=WeightedMean(), weights=weights)
        assert "pass 2 numbers" in raised.value.fix
    with pytest.raises(FieldmarkError) as raised:
        average_scores([np.where(one > 0.9, np.nan, one)], QUESTION_OF, by=WeightedMean())
    assert "absent=" in raised.value.fix
    with pytest.raises(FieldmarkError) as raised:
        average_scores([one], QUESTION_OF, by=WeightedMean(), absent=[np.ones(30, bool)])
    assert "prior=shares" in raised.value.fix
    with pytest.raises(ShapeError) as raised:
        average_scores([one], QUESTION_OF, by=WeightedMean(), absent=[np.ones(3, bool)])
    assert "has no prediction" in raised.value.fix
    with pytest.raises(ShapeError) as raised:
        average_scores([one], QUESTION_OF, by=WeightedMean(), prior=np.ones(2))
    assert "shares(" in raised.value.fix


def test_weights_need_folds_and_truth():
    one = answers(0)
    for truth, fold in ((np.ones((30, 9)), np.zeros(30, int)), (np.full((30, 9), np.nan), np.arange(30) % 3)):
        with pytest.raises(FieldmarkError) as raised:
            find_weights([one], truth, QUESTION_OF, by=WeightedMean(), fold=fold)
        assert "out-of-fold" in raised.value.fix
    with pytest.raises(ShapeError) as raised:
        find_weights([one], np.ones((30, 9)), QUESTION_OF, by=WeightedMean(), fold=np.arange(3))
    assert "same order" in raised.value.fix

"""Open-set metrics: false-match rate (FPIR), false rejection rate, false discovery rate, ROC AUC."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.metrics.open_set import false_discovery_rate, false_match_rate, false_rejection_rate, roc_auc

ANSWER = np.array([4, -1, 4, 5, -1, 2])
TRUTH = np.array([-1, -1, 4, 4, 3, -1])


def test_the_three_rates_by_hand():
    assert false_match_rate(ANSWER, TRUTH) == pytest.approx(2 / 3)  # unknown individuals 0, 1, 5; named: 0 and 5
    assert false_rejection_rate(ANSWER, TRUTH) == pytest.approx(1 / 3)  # known 2, 3, 4; rejected: 4
    assert false_discovery_rate(ANSWER, TRUTH) == pytest.approx(3 / 4)  # names given to 0, 2, 3, 5; right: 2


def test_no_name_given_is_no_wrong_name():
    assert false_discovery_rate(np.array([-1, -1]), np.array([-1, 3])) == 0


def slow_auc(score, known):
    wins = [
        (a > b) + (a == b) / 2
        for a, k in zip(score, known, strict=True)
        if k
        for b, s in zip(score, known, strict=True)
        if not s
    ]
    return sum(wins) / len(wins)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=30))
def test_auc_equals_slow_loops_and_scikit_learn_with_ties_and_negative_scores(rows):
    score, known = np.array([row[0] for row in rows]) / 2, np.array([row[1] for row in rows])
    known[0], known[1] = True, False
    assert roc_auc(score, known) == pytest.approx(slow_auc(score.tolist(), known.tolist()))
    assert roc_auc(score, known) == pytest.approx(roc_auc_score(known, score))


def test_auc_is_the_same_for_scores_moved_below_zero():
    chance = np.random.default_rng(1)
    score, known = chance.random(200), chance.random(200) < 0.4
    assert roc_auc(score - 5, known) == roc_auc(score, known)


def test_a_query_without_candidates_counts_as_the_lowest_score():
    assert roc_auc(np.array([-np.inf, -3.0, 0.5]), np.array([False, False, True])) == 1


@pytest.mark.parametrize(
    ("call", "error", "fix"),
    [
        (lambda: false_match_rate(np.array([1]), np.array([1])), FieldmarkError, "unknown individuals"),
        (lambda: false_rejection_rate(np.array([1]), np.array([-1])), FieldmarkError, "known individuals"),
        (lambda: false_discovery_rate(np.array([], int), np.array([], int)), ShapeError, "ranked[:, 0]"),
        (lambda: false_match_rate(np.array([[1]]), np.array([[1]])), ShapeError, "ranked[:, 0]"),
        (lambda: false_match_rate(np.array([0.3]), np.array([-1])), FieldmarkError, "not scores"),
        (lambda: false_match_rate(np.array([-2]), np.array([-1])), FieldmarkError, "first place"),
        (lambda: roc_auc(np.array([]), np.array([])), ShapeError, "equal length"),
        (lambda: roc_auc(np.array([1.0, 2.0]), np.array([True, True])), FieldmarkError, "each kind"),
        (lambda: roc_auc(np.array([1.0, np.nan]), np.array([True, False])), FieldmarkError, "pass numbers"),
    ],
)
def test_refusals_say_what_to_do(call, error, fix):
    with pytest.raises(error) as refusal:
        call()
    assert fix in refusal.value.fix

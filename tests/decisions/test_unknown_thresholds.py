"""Thresholds for unknown individuals, compared with a search over every relevant threshold."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import TypeAdapter
from scipy.stats import beta

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.decisions.binomial import upper_bound
from fieldmark.decisions.ranking import rank
from fieldmark.decisions.specs import FalseMatchBudget, Fixed, MaxMap, TargetShare, UnknownAt
from fieldmark.decisions.unknown_thresholds import UnknownThreshold, curve, fit_unknown_threshold


def slow_measures(scores, truth, at, k):
    """MAP@k, share unknown, FPIR and FNIR, computed from the ranking."""
    answer = rank(scores, unknown_at=at, k=k).tolist()
    gain = [1 / (row.index(right) + 1) if right in row else 0 for row, right in zip(answer, truth, strict=True)]
    first = [row[0] == -1 for row in answer]
    strange = [not f for f, right in zip(first, truth, strict=True) if right == -1]
    known = [f for f, right in zip(first, truth, strict=True) if right != -1]
    return np.mean(gain), np.mean(first), np.mean(strange) if strange else None, np.mean(known) if known else None


VALUES = np.array([-3.0, -1.5, -1.0, -0.25, 0.1, 0.5, 0.9], np.float32).tolist()
QUERIES = st.tuples(st.integers(1, 9), st.integers(1, 6)).flatmap(
    lambda shape: st.tuples(
        arrays(np.float32, shape, elements=st.sampled_from([-np.inf, *VALUES])),
        arrays(np.int64, shape[0], elements=st.integers(-1, shape[1] - 1)),
    )
)


@settings(max_examples=150, deadline=None)
@given(QUERIES, st.integers(1, 6))
def test_max_map_is_the_best_of_all_thresholds(queries, k):
    scores, truth = queries
    found = fit_unknown_threshold(MaxMap(), scores, truth, k=k)
    every = [slow_measures(scores, truth, at, k)[0] for at in [-4.0, *VALUES]]
    assert found.map_at_k == pytest.approx(max(every))
    assert slow_measures(scores, truth, found.at, k)[0] == pytest.approx(max(every))
    assert math.isfinite(found.at)


@settings(max_examples=80, deadline=None)
@given(QUERIES, st.integers(1, 6), st.floats(-4, 2))
def test_measures_of_a_threshold_and_its_curve_equal_those_of_the_ranking(queries, k, at):
    scores, truth = queries
    wanted = slow_measures(scores, truth, at, k)
    found = fit_unknown_threshold(Fixed(at=at), scores, truth, k=k)
    assert (found.at, found.k, found.n_queries, found.n_unknown) == (at, k, len(truth), (truth == -1).sum())
    drawn = curve(scores, truth, np.array([at]), k=k)
    for name, value in zip(
        ("map_at_k", "share_unknown", "false_match_rate", "false_rejection_rate"), wanted, strict=True
    ):
        if value is None:
            assert getattr(found, name) is None
            assert np.isnan(getattr(drawn, name)[0])
        else:
            assert getattr(found, name) == pytest.approx(value)
            assert getattr(drawn, name)[0] == pytest.approx(value)


@settings(max_examples=60, deadline=None)
@given(arrays(np.float64, st.integers(1, 40), elements=st.floats(-5, 5)), st.data())
def test_max_map_is_exact_for_nearly_equal_scores(first, data):
    """Random thresholds that no grid would include."""
    scores = np.stack([first, first - 1], axis=1)
    truth = data.draw(arrays(np.int64, len(first), elements=st.integers(-1, 1)))
    every = np.unique(scores)
    every = np.concatenate([[every[0] - 1], every])
    wanted = max(slow_measures(scores, truth, at, 5)[0] for at in every)
    assert fit_unknown_threshold(MaxMap(), scores, truth).map_at_k == pytest.approx(wanted)


def test_the_middle_of_the_widest_best_plateau_is_taken():
    scores = np.array([[-1.0], [0.0], [1.0], [5.0]])
    # unknown individuals at -1 and 1, known at 0 and 5: best between -1 and 0 (width 1), and between 1 and 5 (width 4)
    assert fit_unknown_threshold(MaxMap(), scores, np.array([-1, 0, -1, 0])).at == 3.0


def test_only_unknown_individuals_are_all_unknown_and_only_known_ones_none():
    scores = np.array([[0.2, 0.1], [0.4, 0.3]])
    assert fit_unknown_threshold(MaxMap(), scores, np.array([-1, -1])).share_unknown == 1
    known = fit_unknown_threshold(MaxMap(), scores, np.array([0, 0]))
    assert (known.share_unknown, known.map_at_k, known.false_match_rate) == (0, 1, None)


@settings(max_examples=80, deadline=None)
@given(arrays(np.float32, st.integers(1, 30), elements=st.sampled_from([-1.0, -0.5, 0.0, 0.3, 0.7])), st.floats(0, 1))
def test_target_share_is_the_nearest_possible(first, share):
    found = fit_unknown_threshold(TargetShare(share=share), first[:, None])
    nearest = min(abs(np.mean(first <= at) - share) for at in [-2, *first.tolist()])
    assert abs(found.share_unknown - share) == pytest.approx(nearest)
    assert found.map_at_k is None
    assert np.mean(rank(first[:, None], unknown_at=found.at, k=1)[:, 0] == -1) == pytest.approx(found.share_unknown)


@pytest.mark.parametrize(("share", "unknown"), [(0.0, 0), (0.276, 276), (1.0, 1000)])
def test_target_share_without_ties_is_met(share, unknown):
    scores = np.random.default_rng(0).normal(size=(1000, 3)).astype(np.float32)
    assert fit_unknown_threshold(TargetShare(share=share), scores).share_unknown * 1000 == pytest.approx(unknown)


@settings(max_examples=80, deadline=None)
@given(QUERIES, st.sampled_from([0.0, 0.2, 0.5, 0.75, 1.0]))
def test_a_budget_gives_the_lowest_threshold_within_it(queries, budget):
    scores, truth = queries
    truth[0] = -1
    found = fit_unknown_threshold(FalseMatchBudget(budget=budget), scores, truth)
    assert found.false_match_rate <= budget
    below = float(np.nextafter(np.float32(found.at), np.float32(-np.inf)))
    lower = fit_unknown_threshold(Fixed(at=below), scores, truth)
    first = scores.max(axis=1)
    everybody_is_named = (first[first > -np.inf] > found.at).all()  # except those without any candidate
    assert lower.false_match_rate > budget or everybody_is_named


def test_a_budget_by_bound_is_stricter_and_holds_on_new_unknown_individuals():
    chance = np.random.default_rng(0)
    kept, kept_by_bound = [], []
    for _ in range(200):
        unknowns = chance.normal(size=(100, 1))
        for hold, results in (("observed", kept), ("bound", kept_by_bound)):
            found = fit_unknown_threshold(FalseMatchBudget(budget=0.1, hold=hold), unknowns, np.full(100, -1))
            true_rate = 0.5 * math.erfc(found.at / math.sqrt(2))
            results.append(true_rate <= 0.1)
    assert np.mean(kept) < 0.7
    assert np.mean(kept_by_bound) >= 0.92
    assert found.false_match_bound <= 0.1


@pytest.mark.parametrize(("count", "n"), [(0, 1), (0, 100), (3, 7), (49, 50), (230, 2300), (1200, 100_000)])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_the_bound_is_clopper_and_pearsons(count, n, confidence):
    assert upper_bound(count, n, confidence=confidence) == pytest.approx(
        beta.ppf(confidence, count + 1, n - count), rel=1e-6
    )


@pytest.mark.parametrize(("count", "n"), [(0, 1), (0, 100), (3, 7), (49, 50), (230, 2300)])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_at_the_bound_a_count_this_low_has_the_remaining_probability(count, n, confidence):
    share = upper_bound(count, n, confidence=confidence)
    ways = [
        math.lgamma(n + 1) - math.lgamma(observed + 1) - math.lgamma(n - observed + 1) for observed in range(count + 1)
    ]
    chance = [
        math.exp(log + observed * math.log(share) + (n - observed) * math.log1p(-share))
        for observed, log in enumerate(ways)
    ]
    assert sum(chance) == pytest.approx(1 - confidence, rel=1e-6)


def test_a_bound_of_low_confidence_is_not_below_the_observed_share():
    assert upper_bound(30, 100, confidence=0.01) == 0.3


def test_the_bound_of_all_is_one():
    assert upper_bound(4, 4) == 1


def test_the_default_curve_spans_the_highest_scores():
    scores = np.array([[0.2, -np.inf], [0.8, 0.1]])
    drawn = curve(scores, np.array([-1, 0]))
    assert (len(drawn.at), drawn.at[0], drawn.at[-1]) == (201, pytest.approx(0.2), pytest.approx(0.8))
    assert (np.diff(drawn.share_unknown) >= 0).all()
    assert (np.diff(drawn.false_match_rate) <= 0).all()


def test_a_threshold_survives_json():
    found = fit_unknown_threshold(MaxMap(), np.array([[0.2], [0.4]], np.float32), np.array([-1, 0]))
    assert UnknownThreshold.model_validate_json(found.model_dump_json()) == found
    assert json.loads(found.model_dump_json())["at"] == found.at
    assert np.float32(found.at) == found.at


def test_rules_are_read_by_kind():
    union = TypeAdapter(UnknownAt)
    assert union.validate_json('{"kind": "target_share", "share": 0.3}') == TargetShare(share=0.3)
    assert union.validate_json('{"kind": "false_match_budget", "hold": "bound"}') == FalseMatchBudget(hold="bound")


@pytest.mark.parametrize(
    ("call", "error", "fix"),
    [
        (lambda: fit_unknown_threshold(MaxMap(), np.zeros((2, 3))), FieldmarkError, "TargetShare or Fixed"),
        (
            lambda: fit_unknown_threshold(MaxMap(), np.zeros((2, 3)), np.zeros(3, int)),
            ShapeError,
            "-1 for an unknown individual",
        ),
        (lambda: fit_unknown_threshold(MaxMap(), np.zeros((2, 3)), np.zeros(2)), ShapeError, "whole number"),
        (lambda: fit_unknown_threshold(MaxMap(), np.zeros((0, 3)), np.zeros(0, int)), ShapeError, "at least one"),
        (lambda: fit_unknown_threshold(MaxMap(), np.zeros((2, 3)), np.array([0, 3])), FieldmarkError, "vocabulary"),
        (
            lambda: fit_unknown_threshold(FalseMatchBudget(), np.zeros((2, 3)), np.array([0, 1])),
            FieldmarkError,
            "unknown individuals",
        ),
        (
            lambda: fit_unknown_threshold(
                FalseMatchBudget(budget=0.01, hold="bound"), np.zeros((50, 1)), np.full(50, -1)
            ),
            FieldmarkError,
            "more unknown individuals",
        ),
        (
            lambda: fit_unknown_threshold(
                FalseMatchBudget(budget=0.0, hold="bound"), np.zeros((50, 1)), np.full(50, -1)
            ),
            FieldmarkError,
            "larger budget",
        ),
        (lambda: curve(np.zeros((2, 3)), np.zeros(2, int), np.array([])), ShapeError, "np.linspace"),
        (lambda: curve(np.zeros((2, 3)), np.zeros(2, int), np.array([np.nan])), ShapeError, "np.linspace"),
        (lambda: upper_bound(3, 2), FieldmarkError, "0 <= count <= n"),
        (lambda: upper_bound(0, 0), FieldmarkError, "n >= 1"),
    ],
)
def test_errors_say_what_to_do(call, error, fix):
    with pytest.raises(error) as refusal:
        call()
    assert fix in refusal.value.fix


def test_too_few_unknown_individuals_says_how_many_are_enough():
    with pytest.raises(FieldmarkError) as refusal:
        fit_unknown_threshold(FalseMatchBudget(budget=0.01, hold="bound"), np.zeros((50, 1)), np.full(50, -1))
    assert "299 would be enough" in str(refusal.value.got)
    unknowns = np.random.default_rng(0).random((299, 1))
    assert (
        fit_unknown_threshold(FalseMatchBudget(budget=0.01, hold="bound"), unknowns, np.full(299, -1)).false_match_bound
        <= 0.01
    )

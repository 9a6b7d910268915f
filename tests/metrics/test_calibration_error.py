"""Calibration error, compared with slow loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.metrics.calibration import calibration_error, reliability


def slow_width(proba, right, n_bins):
    edges = np.linspace(0, 1, n_bins + 1)
    total = 0.0
    for b in range(n_bins):
        inside = [i for i, p in enumerate(proba) if edges[b] < p <= edges[b + 1] or (b == 0 and p == 0)]
        if inside:
            gap = abs(np.mean([proba[i] for i in inside]) - np.mean([right[i] for i in inside]))
            total += len(inside) * gap
    return total / len(proba)


ROWS = st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.73, 1.0]), st.booleans()), min_size=1, max_size=40)


@settings(max_examples=60, deadline=None)
@given(ROWS, st.integers(1, 20))
def test_equal_width_equals_slow_loops(rows, n_bins):
    proba, right = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    assert calibration_error(proba, right, n_bins=n_bins) == pytest.approx(slow_width(proba, right, n_bins))


def test_equal_mass_without_ties_is_equally_many_in_each_bin():
    chance = np.random.default_rng(3)
    proba, right = chance.random(100), chance.random(100) < 0.5
    order = np.argsort(proba)
    slow = np.mean([abs(proba[part].mean() - right[part].mean()) for part in np.split(order, 10)])
    assert calibration_error(proba, right, n_bins=10, bins="mass") == pytest.approx(slow)
    assert reliability(proba, right, n_bins=10, bins="mass").n.tolist() == [10] * 10


@settings(max_examples=40, deadline=None)
@given(ROWS, st.integers(1, 8), st.randoms(use_true_random=False))
def test_equal_mass_does_not_depend_on_the_order_of_the_answers(rows, n_bins, random):
    shuffled = list(rows)
    random.shuffle(shuffled)
    errors = [
        calibration_error(np.array([p for p, _ in some]), np.array([r for _, r in some]), n_bins=n_bins, bins="mass")
        for some in (rows, shuffled)
    ]
    assert errors[0] == pytest.approx(errors[1])


def test_limits():
    assert calibration_error(np.array([1.0, 0.0]), np.array([True, False])) == 0
    assert calibration_error(np.array([1.0, 0.0]), np.array([False, True])) == 1


@pytest.mark.parametrize("bins", ["width", "mass"])
def test_true_probabilities_have_a_small_calibration_error(bins):
    chance = np.random.default_rng(5)
    proba = chance.random(200_000)
    right = chance.random(200_000) < proba
    assert calibration_error(proba, right, bins=bins) < 0.01
    assert calibration_error(np.sqrt(proba), right, bins=bins) > 0.1


@pytest.mark.parametrize(
    ("proba", "right", "options", "error", "fix"),
    [
        ([], [], {}, ShapeError, "at least one answer"),
        ([0.5], [True, False], {}, ShapeError, "equal length"),
        ([1.5], [True], {}, FieldmarkError, "sigmoid"),
        ([np.nan], [True], {}, FieldmarkError, "sigmoid"),
        ([0.5], [True], {"n_bins": 0}, FieldmarkError, "n_bins >= 1"),
        ([0.5], [True], {"bins": "mas"}, FieldmarkError, "'mass'"),
    ],
)
def test_refusals_say_what_to_do(proba, right, options, error, fix):
    with pytest.raises(error) as refusal:
        calibration_error(np.array(proba), np.array(right), **options)
    assert fix in refusal.value.fix

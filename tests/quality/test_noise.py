"""The noisy-label filter: errors computed in loops, dropped images, and rejected input."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.quality.labels.inputs import ROW_BLOCK
from fieldmark.quality.labels.noise import image_error, noisy
from fieldmark.quality.specs import Absolute, Percentile, RobustZ

ERRORS = arrays(np.float32, st.integers(1, 60), elements=st.floats(0, 10, width=32))


def slow_error(proba: np.ndarray, truth: np.ndarray, by: str) -> list[float]:
    """Return the error of each image, computed cell by cell in float64."""
    errors = []
    for row, answers in zip(proba.astype(float), truth, strict=True):
        cells = [
            abs(y - p) if by == "absolute" else -math.log(p if y else 1 - p) for p, y in zip(row, answers, strict=True)
        ]
        errors.append(sum(cells) / len(cells))
    return errors


@pytest.mark.parametrize("by", ["bce", "absolute"])
def test_error_is_that_of_slow_loops_over_several_blocks(by):
    chance = np.random.default_rng(0)
    proba = chance.uniform(0.001, 0.999, (ROW_BLOCK + 7, 3)).astype(np.float32)
    truth = chance.random(proba.shape) < 0.3
    error = image_error(proba, truth, by=by)
    assert error.dtype == np.float32
    np.testing.assert_allclose(error, slow_error(proba, truth, by), rtol=2e-4)
    np.testing.assert_array_equal(error, image_error(proba, truth.astype(np.float32), by=by))


def test_certain_scores_give_a_finite_error():
    proba = np.array([[0.0, 1.0], [1.0, 0.0]], np.float32)
    error = image_error(proba, np.array([[0, 1], [0, 1]]), by="bce")
    assert error[0] < 1e-6
    assert error[1] == pytest.approx(-math.log(2.0**-24), rel=1e-5)
    assert image_error(proba, np.array([[0, 1], [0, 1]]), by="absolute").tolist() == [0, 1]


@settings(max_examples=60, deadline=None)
@given(ERRORS, st.floats(0, 1))
def test_percentile_drops_at_most_its_share_and_the_worst(error, share):
    out = noisy(error, Percentile(share=share))
    assert out.sum() == math.floor(share * len(error) + 1e-9)
    if 0 < out.sum() < len(error):
        assert error[out].min() >= error[~out].max()


def test_percentile_ignores_rounding_errors():
    """0.29 * 100 is 28.999999999999996 in floats."""
    assert noisy(np.arange(100.0), Percentile(share=0.29)).sum() == 29
    assert noisy(np.arange(100.0), Percentile(share=0.0)).sum() == 0


def test_absolute_is_strict():
    assert noisy(np.array([0.1, 0.2, 0.3]), Absolute(above=0.2)).tolist() == [False, False, True]


def test_robust_z_is_the_modified_z_score_and_ignores_outliers():
    error = np.array([1.0, 2, 3, 4, 5, 6, 7])
    deviation = 1.4826 * 2  # median 4, median distance from it 2
    for above in (0.9, 1.0, 1.1):
        assert noisy(error, RobustZ(above=above)).tolist() == (error > 4 + above * deviation).tolist()
    assert noisy(np.append(error, [100.0, 1e6]), RobustZ(above=3.5)).tolist() == [False] * 7 + [True] * 2
    assert not noisy(np.array([1.0, 1, 1, 1, 9]), RobustZ(above=1)).any()  # the deviation is 0


@pytest.mark.parametrize(
    ("call", "kind", "fix"),
    [
        (lambda: image_error(np.zeros((2, 3)), np.zeros((3, 2))), ShapeError, "same shape"),
        (lambda: image_error(np.zeros((0, 3)), np.zeros((0, 3))), ShapeError, "at least one image"),
        (lambda: image_error(np.full((1, 1), 1.5), np.ones((1, 1))), FieldmarkError, "sigmoid"),
        (lambda: image_error(np.full((1, 1), np.nan), np.ones((1, 1))), FieldmarkError, "sigmoid"),
        (lambda: image_error(np.ones((1, 1)), np.full((1, 1), 0.7)), FieldmarkError, "0 elsewhere"),
        (lambda: image_error(np.ones((1, 1)), np.ones((1, 1)), by="mse"), FieldmarkError, "'bce' or 'absolute'"),
        (lambda: noisy(np.array([np.nan]), Percentile()), FieldmarkError, "image_error()"),
        (lambda: noisy(np.array([]), Percentile()), FieldmarkError, "image_error()"),
    ],
)
def test_refusals(call, kind, fix):
    with pytest.raises(kind) as caught:
        call()
    assert fix in caught.value.fix

"""Soft targets for labels that people may have forgotten."""

from __future__ import annotations

import numpy as np
import pytest

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.quality.labels.distill import missing_filled


def test_given_labels_stay_and_others_get_a_fraction_of_the_teacher():
    truth = np.array([[1, 0, 0], [0, 1, 0]])
    proba = np.array([[0.1, 0.9, 0.0], [0.5, 1.0, 0.2]])
    targets = missing_filled(truth, proba)
    assert targets.dtype == np.float32
    np.testing.assert_allclose(targets, [[1, 0.63, 0], [0.35, 1, 0.14]], rtol=1e-6)
    np.testing.assert_array_equal(missing_filled(truth, proba, times=0), truth)
    np.testing.assert_allclose(missing_filled(truth.astype(bool), proba, times=1), np.maximum(truth, proba), rtol=1e-6)


def test_refusals():
    with pytest.raises(FieldmarkError, match="must be between 0 and 1") as caught:
        missing_filled(np.zeros((1, 1)), np.zeros((1, 1)), times=1.2)
    assert "0.7" in caught.value.fix
    with pytest.raises(ShapeError) as shape:
        missing_filled(np.zeros((1, 2)), np.zeros((2, 1)))
    assert "same order" in shape.value.fix

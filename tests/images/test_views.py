"""Scores of a photo and of its flip, combined."""

from __future__ import annotations

import numpy as np
import pytest

from fieldmark.core.errors import ShapeError
from fieldmark.images.views import combine_flip_scores


def test_flipped_scores_count_for_the_flipped_class() -> None:
    rng = np.random.default_rng(0)
    plain, flipped = rng.normal(size=(5, 6)), rng.normal(size=(5, 6))
    merged = combine_flip_scores(plain, flipped, 3)
    for image in range(5):
        for k in range(3):
            assert merged[image, k] == pytest.approx((plain[image, k] + flipped[image, k + 3]) / 2)


def test_without_flipped_classes_it_is_the_mean() -> None:
    plain, flipped = np.array([[1.0, 2.0]], dtype=np.float32), np.array([[3.0, 8.0]], dtype=np.float32)
    merged = combine_flip_scores(plain, flipped, 2)
    assert merged.tolist() == [[2.0, 5.0]]
    assert merged.dtype == np.float32


@pytest.mark.parametrize(("columns", "n_classes"), [((5, 5), 3), ((6, 3), 3), ((3, 3), 0)])
def test_columns_that_fit_no_class_are_refused(columns: tuple[int, int], n_classes: int) -> None:
    with pytest.raises(ShapeError) as refused:
        combine_flip_scores(np.zeros((2, columns[0])), np.zeros((2, columns[1])), n_classes)
    assert f"{2 * n_classes} columns" in refused.value.fix

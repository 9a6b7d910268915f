"""MAP@k and top-k accuracy of ranked answers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.metrics.ranking import average_precision, map_at_k, top_k


def slow_map(ranked, truth, k):
    total = 0.0
    for row, right in zip(ranked, truth, strict=True):
        for place, name in enumerate(row[:k]):
            if name == right:
                total += 1 / (place + 1)
                break
    return total / len(truth)


ANSWERS = st.integers(1, 12).flatmap(
    lambda n: st.tuples(
        st.lists(st.lists(st.integers(-1, 6), max_size=8), min_size=n, max_size=n),
        st.lists(st.integers(-1, 6), min_size=n, max_size=n),
    )
)


@settings(max_examples=60, deadline=None)
@given(ANSWERS, st.integers(1, 7))
def test_map_equals_slow_loops_for_ragged_answers_with_repeats(answers, k):
    ranked, truth = answers
    assert map_at_k(ranked, truth, k=k) == pytest.approx(slow_map(ranked, truth, k))
    assert top_k(ranked, truth, k=k) == pytest.approx(
        np.mean([right in row[:k] for row, right in zip(*answers, strict=True)])
    )
    assert average_precision(ranked, truth, k=k).mean() == pytest.approx(map_at_k(ranked, truth, k=k))


def test_unknown_counts_like_any_identity():
    assert map_at_k(np.array([[-1, 4], [4, -1], [4, 5]]), np.array([-1, -1, -1])) == pytest.approx((1 + 1 / 2 + 0) / 3)


def test_each_place_is_worth_its_reciprocal_and_the_sixth_nothing():
    ranked = np.arange(6)[None].repeat(6, axis=0)
    np.testing.assert_allclose(average_precision(ranked, np.arange(6)), [1, 1 / 2, 1 / 3, 1 / 4, 1 / 5, 0])


def test_an_empty_place_is_not_the_answer_unknown():
    assert map_at_k(np.array([[-2, -2]]), np.array([-1])) == 0


@pytest.mark.parametrize(
    ("ranked", "truth", "k", "error", "fix"),
    [
        ([[1]], [1], 0, FieldmarkError, "k=1 or more"),
        ([], [], 5, ShapeError, "at least one query"),
        ([[1], [2]], [1], 5, ShapeError, "(query,) truth"),
        (np.array([[0.5]]), [1], 5, FieldmarkError, "not scores"),
        ([[0.5]], [1], 5, FieldmarkError, "not scores"),
        ([[1]], [0.5], 5, FieldmarkError, "Vocabulary"),
        ([[1]], [-2], 5, FieldmarkError, "Vocabulary"),
    ],
)
def test_refusals_say_what_to_do(ranked, truth, k, error, fix):
    with pytest.raises(error) as refusal:
        map_at_k(ranked, truth, k=k)
    assert fix in refusal.value.fix

"""Numbers of answers with many labels, against slow loops and scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from fieldmark.core.errors import ShapeError
from fieldmark.metrics.measure import Measure
from fieldmark.tasks.tagging.measures import average_precisions, constant_f2, measure_labels

GROUPS = {"culture": np.array([0, 1]), "tag": np.array([2, 3, 4])}


def slow_f2(answer: np.ndarray, truth: np.ndarray) -> float:
    values = []
    for given_, right in zip(answer.tolist(), truth.tolist(), strict=True):
        found = sum(a and b for a, b in zip(given_, right, strict=True))
        below = 4 * sum(right) + sum(given_)
        values.append(5 * found / below if below else 0.0)
    return sum(values) / len(values)


def drawn(seed: int, n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(seed)
    truth = chance.random((n, 5)) < np.array([0.1, 0.3, 0.5, 0.2, 0.4])
    return np.where(chance.random(truth.shape) < 0.2, ~truth, truth), truth.astype(np.float32)


def by_name(rows: tuple[Measure, ...]) -> dict[str, Measure]:
    return {row.name: row for row in rows}


def test_numbers_are_those_of_slow_loops() -> None:
    answer, truth = drawn(1)
    right = truth > 0
    found = by_name(measure_labels(answer, truth, groups=GROUPS))
    assert found["mean F2"].value == pytest.approx(slow_f2(answer, right))
    assert found["precision"].value == pytest.approx((answer & right).sum() / answer.sum())
    assert found["recall"].value == pytest.approx((answer & right).sum() / right.sum())
    assert found["micro F1"].value == pytest.approx(2 * (answer & right).sum() / (answer.sum() + right.sum()))
    assert found["labels per photo"].value == pytest.approx(answer.sum(axis=1).mean())
    counted = (answer | right)[:, :2].any(axis=1)
    assert found["mean F2 of culture"].value == pytest.approx(slow_f2(answer[counted, :2], right[counted, :2]))
    assert found["mean F2 of culture"].n == counted.sum() < 60
    for one in found.values():
        assert one.low < one.value < one.high


def test_a_single_group_is_not_measured_twice() -> None:
    answer, truth = drawn(1)
    assert not [name for name in by_name(measure_labels(answer, truth, groups={"": np.arange(5)})) if " of " in name]


def test_intervals_are_over_photos_and_not_over_labels() -> None:
    """A hundred labels a photo that are all right or all wrong are one trial and not a hundred."""
    right = np.ones((40, 100), dtype=bool)
    answer = right.copy()
    answer[:20] = False
    found = by_name(measure_labels(answer, right.astype(np.float32), groups={"": np.arange(100)}))["recall"]
    assert found.value == 0.5
    assert found.high - found.low > 0.2


def test_perfect_answers_still_have_an_interval() -> None:
    right = np.eye(5, dtype=bool)
    found = by_name(measure_labels(right, right.astype(np.float32), groups=GROUPS))
    assert found["precision"].value == found["precision"].high == 1.0
    assert found["precision"].low < 0.7


def test_ratios_without_anything_to_divide_by_are_left_out() -> None:
    nothing = np.zeros((4, 5), dtype=bool)
    found = by_name(measure_labels(nothing, nothing.astype(np.float32), groups=GROUPS))
    assert set(found) == {"mean F2", "labels per photo"}
    assert "precision" not in by_name(measure_labels(nothing, np.ones((4, 5), dtype=np.float32), groups=GROUPS))


def test_the_best_constant_answer_is_found() -> None:
    _, truth = drawn(4)
    right = truth > 0
    values, length = constant_f2(right)
    order = np.argsort(-right.sum(axis=0), kind="stable")
    tried = []
    for n in range(1, 6):
        answer = np.zeros_like(right)
        answer[:, order[:n]] = True
        tried.append(slow_f2(answer, right))
    assert values.mean() == pytest.approx(max(tried))
    assert length == int(np.argmax(tried)) + 1


@given(st.integers(0, 10_000), st.integers(1, 4))
@settings(max_examples=30, deadline=None)
def test_average_precision_is_scikit_learns_ties_included(seed: int, n_levels: int) -> None:
    chance = np.random.default_rng(seed)
    truth = chance.random((17, 70)) < 0.3
    proba = (chance.integers(0, n_levels * 3, truth.shape) / 10).astype(np.float32)
    found = average_precisions(proba, truth)
    for column in range(truth.shape[1]):
        if truth[:, column].any():
            assert found[column] == pytest.approx(average_precision_score(truth[:, column], proba[:, column]))
        else:
            assert np.isnan(found[column])


def test_average_precision_refuses_matrices_that_do_not_fit() -> None:
    with pytest.raises(ShapeError) as caught:
        average_precisions(np.zeros((3, 2)), np.zeros((3, 4)))
    assert "same shape" in caught.value.fix

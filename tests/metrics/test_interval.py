"""Bootstrap intervals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.metrics.intervals import DRAWN_AT_ONCE, interval, share_interval
from fieldmark.metrics.open_set import roc_auc


def test_the_same_seed_gives_the_same_interval_and_another_seed_another():
    values = np.random.default_rng(0).random(300)
    assert interval(values, seed=1) == interval(values, seed=1)
    assert interval(values, seed=1) != interval(values, seed=2)


def test_a_mean_and_its_function_draw_the_same_queries():
    values = np.random.default_rng(0).random(50)
    by_function = interval(lambda rows: values[rows].mean(), n_queries=50, seed=4, n_draws=200)
    by_values = interval(values, seed=4, n_draws=200)
    assert by_function.value == pytest.approx(by_values.value)
    assert (by_function.low, by_function.high) == pytest.approx((by_values.low, by_values.high))


def test_the_width_is_that_of_the_normal_law_for_many_queries():
    values = np.random.default_rng(0).normal(size=2000)
    measured = interval(values, n_draws=2000)
    wanted = 1.96 * values.std() / np.sqrt(2000)
    assert measured.high - measured.value == pytest.approx(wanted, rel=0.1)
    assert measured.value - measured.low == pytest.approx(wanted, rel=0.1)
    assert interval(values, share=0.5).high < measured.high


def test_about_nineteen_of_twenty_intervals_hold_the_truth():
    chance = np.random.default_rng(7)
    held = [(i := interval(chance.random(200) < 0.3, n_draws=300)).low <= 0.3 <= i.high for _ in range(200)]
    assert 0.88 < np.mean(held) < 0.99


def test_values_beyond_one_block_are_drawn_in_pieces():
    values = np.zeros(DRAWN_AT_ONCE // 2 + 1)
    values[0] = len(values)
    measured = interval(values, n_draws=3)
    assert measured.value == 1
    assert measured.low <= measured.high


def test_draws_without_strangers_are_left_out():
    score, known = np.array([0.9, 0.8, 0.7, 0.1]), np.array([True, True, True, False])
    measured = interval(lambda rows: roc_auc(score[rows], known[rows]), n_queries=4, n_draws=200)
    assert (measured.value, measured.low, measured.high) == (1, 1, 1)


def test_it_prints_itself():
    assert str(interval(np.full(3, 0.25))) == "0.250 (0.250 to 0.250)"


@pytest.mark.parametrize(
    ("of", "options", "error", "fix"),
    [
        (np.array([]), {}, ShapeError, "at least one value"),
        (np.ones((2, 2)), {}, ShapeError, "pass a list"),
        (np.array([np.nan]), {}, FieldmarkError, "leave out"),
        (np.ones(3), {"n_draws": 0}, FieldmarkError, "n_draws=1000"),
        (np.ones(3), {"share": 1.0}, FieldmarkError, "share=0.95"),
        (lambda rows: 1.0, {}, ShapeError, "n_queries="),
        (lambda rows: 1.0 if list(rows) == [0, 1, 2] else np.nan, {"n_queries": 3}, FieldmarkError, "more queries"),
    ],
)
def test_refusals_say_what_to_do(of, options, error, fix):
    with pytest.raises(error) as refusal:
        interval(of, **options)
    assert fix in refusal.value.fix


def test_a_refusal_on_all_queries_is_told():
    with pytest.raises(FieldmarkError, match="compares the scores"):
        interval(lambda rows: roc_auc(np.ones(3)[rows], np.ones(3, bool)[rows]), n_queries=3)


@pytest.mark.parametrize(
    ("count", "n", "low", "high"), [(0, 8, 0.0, 0.3244), (8, 8, 0.6756, 1.0), (5, 10, 0.2366, 0.7634)]
)
def test_shares_have_wilsons_interval_also_at_the_ends(count: int, n: int, low: float, high: float) -> None:
    found = share_interval(count, n)
    assert found.value == count / n
    assert found.low == pytest.approx(low, abs=1e-4)
    assert found.high == pytest.approx(high, abs=1e-4)


@given(st.integers(1, 500), st.data())
def test_a_shares_interval_holds_the_share_and_stays_within_0_and_1(n: int, data: st.DataObject) -> None:
    found = share_interval(data.draw(st.integers(0, n)), n)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.low < found.high


def test_a_share_of_nothing_is_refused() -> None:
    with pytest.raises(FieldmarkError) as caught:
        share_interval(3, 2)
    assert "0 <= count <= n" in caught.value.fix


@pytest.mark.parametrize("value", [0.0, 1.0, 0.5])
def test_ten_queries_that_agree_are_not_certainty(value: float) -> None:
    values = np.full(10, value)
    point, told = interval(values), interval(values, trials=10)
    assert point.low == point.high == value
    assert told.value == value
    assert told.high - told.low > 0.2
    assert (told.low, told.high) == (share_interval(10 * value, 10).low, share_interval(10 * value, 10).high)
    mixed = np.arange(10) % 2 * 1.0
    assert interval(mixed, trials=10) == interval(mixed)  # where draws tell something they are believed

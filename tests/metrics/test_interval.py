"""Bootstrap intervals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.metrics.intervals import DRAWN_AT_ONCE, grouped_share_interval, interval, share_interval
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


def test_about_nineteen_of_twenty_intervals_contain_the_truth():
    chance = np.random.default_rng(7)
    held = [(i := interval(chance.random(200) < 0.3, n_draws=300)).low <= 0.3 <= i.high for _ in range(200)]
    assert 0.88 < np.mean(held) < 0.99


def test_values_beyond_one_block_are_drawn_in_pieces():
    values = np.zeros(DRAWN_AT_ONCE // 2 + 1)
    values[0] = len(values)
    measured = interval(values, n_draws=3)
    assert measured.value == 1
    assert measured.low <= measured.high


def test_draws_without_unknowns_are_left_out():
    score, known = np.array([0.9, 0.8, 0.7, 0.1]), np.array([True, True, True, False])
    measured = interval(lambda rows: roc_auc(score[rows], known[rows]), n_queries=4, n_draws=200)
    assert (measured.value, measured.low, measured.high) == (1, 1, 1)


def test_the_text_of_an_interval():
    assert str(interval(np.full(3, 0.25))) == "0.250 (0.250 to 0.250)"


@pytest.mark.parametrize(
    ("of", "options", "error", "fix"),
    [
        (np.array([]), {}, ShapeError, "at least one value"),
        (np.ones((2, 2)), {}, ShapeError, "pass a list"),
        (np.array([np.nan]), {}, FieldmarkError, "remove the queries"),
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


def test_an_error_on_all_queries_is_raised():
    with pytest.raises(FieldmarkError, match="of known and of unknown"):
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
def test_ten_equal_values_give_an_interval_of_some_width(value: float) -> None:
    values = np.full(10, value)
    point, with_trials = interval(values), interval(values, trials=10)
    assert point.low == point.high == value
    assert with_trials.value == value
    assert with_trials.high - with_trials.low > 0.2
    assert (with_trials.low, with_trials.high) == (
        share_interval(10 * value, 10).low,
        share_interval(10 * value, 10).high,
    )
    varied = np.arange(10) % 2 * 1.0
    assert interval(varied, trials=10) == interval(varied)  # trials are used only if all draws are equal


def encounters(seed: int, n_groups: int = 30, n_photos: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """One value per photo. Photos of one encounter have nearly equal values; encounters differ in size."""
    chance = np.random.default_rng(seed)
    groups = np.repeat(np.arange(n_groups), chance.integers(1, 2 * n_photos, n_groups))
    values = chance.normal(0.5, 0.2, n_groups)[groups] + chance.normal(0, 0.02, len(groups))
    order = chance.permutation(len(groups))
    return values[order], groups[order]


def slowly(values: np.ndarray, groups: np.ndarray, n_draws: int) -> tuple[float, float]:
    """The interval from explicit resampled tables, photo by photo (slow reference)."""
    chance, names, means = np.random.default_rng(99), np.unique(groups).tolist(), []
    for _ in range(n_draws):
        table: list[float] = []
        for name in chance.choice(names, size=len(names)).tolist():
            table += values[groups == name].tolist()
        means.append(sum(table) / len(table))
    low, high = np.quantile(means, [0.025, 0.975]).tolist()
    return low, high


def test_groups_are_resampled_whole_as_by_a_slow_bootstrap() -> None:
    values, groups = encounters(3)
    found, by_photos = interval(values, groups=groups, n_draws=4000), interval(values, n_draws=4000)
    low, high = slowly(values, groups, 4000)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.008)
    assert found.high - found.low > 2.5 * (by_photos.high - by_photos.low)
    assert (found.value, found.over, by_photos.over) == (by_photos.value, "30 groups", f"{len(values)} photos")


def test_intervals_over_groups_contain_the_truth_more_often_than_over_photos() -> None:
    over_groups, over_photos = [], []
    for seed in range(120):
        values, groups = encounters(seed)
        for held, given_ in ((over_groups, groups), (over_photos, None)):
            found = interval(values, groups=given_, n_draws=300)
            held.append(found.low <= 0.5 <= found.high)
    assert np.mean(over_groups) > 0.86
    assert np.mean(over_photos) < 0.6


def test_a_function_is_measured_on_whole_groups() -> None:
    values, groups = encounters(5)
    by_function = interval(lambda rows: values[rows].mean(), n_queries=len(values), groups=groups, n_draws=200, seed=4)
    by_values = interval(values, groups=groups, n_draws=200, seed=4)
    assert (by_function.low, by_function.high) == pytest.approx((by_values.low, by_values.high))
    drawn: list[np.ndarray] = []
    interval(lambda rows: float(drawn.append(rows) or len(rows)), n_queries=len(values), groups=groups, n_draws=20)
    sizes = np.bincount(groups)
    for rows in drawn:
        times = np.bincount(groups[rows], minlength=len(sizes)) / sizes
        assert np.array_equal(times, times.round())
        assert times.sum() == len(sizes)


def test_groups_of_one_photo_are_photos() -> None:
    values, names = np.random.default_rng(0).random(40), np.random.default_rng(1).permutation(40) + 7
    assert interval(values, groups=names) == interval(values)
    assert grouped_share_interval(values > 0.3, groups=names) == share_interval(int((values > 0.3).sum()), 40)
    assert grouped_share_interval(values > 0.3) == share_interval(int((values > 0.3).sum()), 40)


def test_shares_over_groups_contain_the_truth_more_often_than_over_photos() -> None:
    over_groups, over_photos, groups = [], [], np.repeat(np.arange(20), 15)
    for seed in range(300):
        chance = np.random.default_rng(seed)
        yes = chance.random(300) < chance.beta(1.2, 0.8, 20)[groups]
        for held, given_ in ((over_groups, groups), (over_photos, None)):
            found = grouped_share_interval(yes, groups=given_)
            held.append(found.low <= 0.6 <= found.high)
    assert 0.9 < np.mean(over_groups) <= 0.99
    assert np.mean(over_photos) < 0.65


@pytest.mark.parametrize("yes", [True, False])
def test_if_all_values_are_equal_a_group_counts_as_one_trial(yes: bool) -> None:
    groups = np.repeat(np.arange(6), 40)
    share, mean = (
        grouped_share_interval(np.full(240, yes), groups=groups),
        interval(np.full(240, float(yes)), groups=groups, trials=240),
    )
    wilson = share_interval(6 * yes, 6)
    for found in (share, mean):
        assert (found.value, found.low, found.high) == (wilson.value, wilson.low, wilson.high)
        assert found.over == "6 groups"


def test_one_group_gives_a_wide_interval() -> None:
    found = grouped_share_interval(np.arange(50) < 35, groups=np.zeros(50, int))
    assert (found.value, found.over) == (0.7, "1 group")
    assert found.high - found.low > 0.7


@given(st.integers(0, 10_000))
def test_a_share_over_groups_stays_within_0_and_1_around_the_share(seed: int) -> None:
    chance = np.random.default_rng(seed)
    n = int(chance.integers(1, 30))
    yes, groups = chance.random(n) < chance.random(), chance.integers(0, 1 + n // 2, n)
    found = grouped_share_interval(yes, groups=groups)
    assert 0 <= found.low <= found.value == yes.mean() <= found.high <= 1
    assert found.low < found.high


def test_groups_of_other_photos_are_refused() -> None:
    for call in (
        lambda: interval(np.ones(3), groups=np.arange(2)),
        lambda: interval(lambda rows: 1.0, n_queries=3, groups=np.arange(4)),
        lambda: grouped_share_interval(np.ones(3, bool), groups=np.arange(2)),
    ):
        with pytest.raises(ShapeError) as caught:
            call()
        assert "Collection.groups" in caught.value.fix

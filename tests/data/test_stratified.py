"""Stratified folds have equal shares of every label and never split a group; slow loops confirm the deviation."""

import os
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldmark.core.errors import DataError, ShapeError
from fieldmark.data.folds import assign
from fieldmark.data.reading import read
from fieldmark.data.specs import PlainFolds, StratifiedFolds
from fieldmark.data.stratified import deviation, least_deviation, positives, stratify

METHODS = ["iterative", "greedy"]


def split(truth, groups=None, *, n_folds=5, method="iterative", seed=0):
    """Folds for a label matrix; without groups each photo is its own group."""
    groups = np.arange(len(truth)) if groups is None else groups
    spec = StratifiedFolds(n_folds=n_folds, method=method)
    return assign(spec, classes=np.full(len(truth), -2), groups=groups, truth=truth, seed=seed)


def attempt(truth, groups=None, **settings_):
    """The folds and None, or None and the ``fix`` of the error."""
    try:
        return split(truth, groups, **settings_), None
    except DataError as refusal:
        return None, refusal.fix


def long_tail(n=3000, n_labels=150, seed=0):
    """Tags as in museums: a few common ones, a long tail, and correlated tags."""
    rng = np.random.default_rng(seed)
    affinity = rng.standard_normal((n, 6)) @ rng.standard_normal((6, n_labels)) * 0.8
    rarity = np.linspace(2.5, 8.0, n_labels)
    return 1 / (1 + np.exp(rarity - affinity)) > rng.random((n, n_labels))


def slow_iterative(truth, n_folds, rng):
    """Algorithm 1 of Sechidis et al. 2011, line by line, with ties by the desired number of examples."""
    fold = [-1] * len(truth)
    desired = [len(truth) / n_folds] * n_folds
    desired_of = [[truth[:, label].sum() / n_folds] * n_folds for label in range(truth.shape[1])]
    while True:
        waiting = [photo for photo in range(len(truth)) if fold[photo] < 0]
        remaining = truth[waiting].sum(axis=0)
        if not remaining.any():
            break
        label = min(np.flatnonzero(remaining), key=lambda each: (remaining[each], rng.random()))
        for photo in waiting:
            if truth[photo, label]:
                chosen = max(range(n_folds), key=lambda k: (desired_of[label][k], desired[k], rng.random()))
                fold[photo] = chosen
                desired[chosen] -= 1
                for each in np.flatnonzero(truth[photo]):
                    desired_of[each][chosen] -= 1
    for photo in waiting:
        fold[photo] = max(range(n_folds), key=lambda k: (desired[k], rng.random()))
        desired[fold[photo]] -= 1
    return np.array(fold)


@st.composite
def tables(draw):
    """A label matrix of up to 30 photos x 6 labels of any density, and groups of any size."""
    n, n_labels = draw(st.integers(1, 30)), draw(st.integers(0, 6))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    truth = rng.random((n, n_labels)) < rng.choice([0.0, 0.1, 0.4, 0.9, 1.0], n_labels)
    groups = rng.integers(-3, draw(st.integers(-2, 40)), n)
    return truth, groups


# ---------------------------------------------------------------------------------------------------- the figures


@settings(max_examples=60, deadline=None)
@given(table=tables(), n_folds=st.integers(1, 4), seed=st.integers(0, 100))
def test_the_deviation_is_that_of_slow_loops(table, n_folds, seed) -> None:
    truth, _ = table
    fold = np.random.default_rng(seed).integers(-1, n_folds, len(truth))
    fold[0] = n_folds - 1
    distances, parts, empty = [], [], 0
    for label in range(truth.shape[1]):
        counts = [sum(bool(truth[i, label]) and fold[i] == k for i in range(len(truth))) for k in range(n_folds)]
        total = sum(counts)
        for count in counts if total else []:
            distances.append(abs(count - total / n_folds))
            if total >= 5:
                parts.append(distances[-1] / (total / n_folds))
            empty += count == 0 and total >= n_folds
    sizes = [(fold == k).sum() for k in range(n_folds)]
    found = deviation(fold, truth)
    assert found.mean == pytest.approx(np.mean(distances) if distances else 0)
    assert found.worst == pytest.approx(max(distances, default=0))
    assert found.relative == pytest.approx(np.mean(parts) if parts else 0)
    assert found.empty == empty
    assert found.size == pytest.approx(max(abs(size - np.mean(sizes)) for size in sizes))


@settings(max_examples=60, deadline=None)
@given(table=tables(), n_folds=st.integers(2, 4), seed=st.integers(0, 100))
def test_no_folds_fall_below_the_least_deviation(table, n_folds, seed) -> None:
    truth, _ = table
    fold = np.random.default_rng(seed).integers(0, n_folds, len(truth))
    fold[0] = n_folds - 1
    found, least = deviation(fold, truth), least_deviation(truth, n_folds)
    assert found.mean >= least.mean - 1e-9
    assert found.worst >= least.worst - 1e-9
    assert found.relative >= least.relative - 1e-9
    assert found.size >= least.size - 1e-9
    assert least.empty == 0


def test_the_figures_of_a_table_made_by_hand() -> None:
    truth = np.array([[1, 1], [1, 0], [1, 0], [1, 0], [1, 1], [0, 0]], dtype=np.float32)
    found = deviation(np.array([0, 0, 0, 0, 1, -1]), truth)
    assert (found.mean, found.worst, found.relative, found.empty, found.size) == (0.75, 1.5, 0.6, 0, 1.5)
    assert least_deviation(truth, 2).worst == 0.5


# ------------------------------------------------------------------------------------------------- what always holds


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=80, deadline=None)
@given(table=tables(), n_folds=st.integers(2, 5), seed=st.integers(0, 3))
def test_every_photo_is_in_one_fold_and_no_group_is_split(table, n_folds, seed, method) -> None:
    truth, groups = table
    fold, fix = attempt(truth, groups, n_folds=n_folds, method=method, seed=seed)
    if fold is None:
        too_few = len(np.unique(groups)) < n_folds
        assert too_few or method == "greedy"
        assert ("n_folds=" in fix or "add photos" in fix) == too_few
        assert ("iterative" in fix) == (not too_few)
        return
    assert fold.dtype == np.int64
    assert sorted(set(fold.tolist())) == list(range(n_folds))
    for group in np.unique(groups):
        assert len(set(fold[groups == group])) == 1
    assert (fold == split(truth, groups, n_folds=n_folds, method=method, seed=seed)).all()


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=60, deadline=None)
@given(table=tables(), n_folds=st.integers(2, 5))
def test_the_rarest_label_and_label_less_photos_are_spread_one_by_one(table, n_folds, method) -> None:
    truth, _ = table
    fold, _ = attempt(truth, n_folds=n_folds, method=method)
    if fold is None:
        return
    strata = [~truth.any(axis=1)]
    totals = [*truth.sum(axis=0).tolist(), int(strata[0].sum())]
    rarest = min((total for total in totals if total), default=0)
    if totals.count(rarest) == 1 and totals.index(rarest) < truth.shape[1]:
        strata.append(truth[:, totals.index(rarest)])
    for stratum in strata:
        counts = np.bincount(fold[stratum], minlength=n_folds)
        assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [bool, np.float32, np.float64])
@pytest.mark.parametrize(
    "truth",
    [np.ones((23, 4)), np.zeros((23, 4)), np.zeros((23, 0)), np.ones((23, 1)), np.eye(23), np.eye(23)[:, :2]],
    ids=["all on all", "none on any", "no labels", "one label", "a label a photo", "two labelled photos"],
)
def test_odd_tables_get_even_folds(truth, dtype, method) -> None:
    kept = truth.astype(dtype)
    kept.flags.writeable = False
    if truth.shape == (23, 23) and method == "greedy":  # every placement is a tie, so sizes are random
        assert set(split(kept, n_folds=3, method=method).tolist()) == {0, 1, 2}
        return
    sizes = np.bincount(split(kept, n_folds=5, method=method), minlength=5)
    assert sizes.min() >= 4 - (method == "greedy")
    assert sizes.max() <= 5 + (method == "greedy")


@pytest.mark.parametrize("method", METHODS)
def test_folds_depend_on_the_seed_but_not_on_the_type_of_the_truth(method) -> None:
    truth = long_tail(600, 40)
    fold = split(truth, method=method, seed=1)
    assert (fold == split(truth.astype(np.float32), method=method, seed=1)).all()
    assert (fold != split(truth, method=method, seed=2)).any()


def test_the_methods_are_two() -> None:
    truth = long_tail(600, 40)
    assert (split(truth) != split(truth, method="greedy")).any()


# --------------------------------------------------------------------------------------------------------- how good


@pytest.mark.parametrize("n_folds", [2, 5])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_iterative_folds_are_nearly_as_even_as_can_be_and_beat_the_papers(seed, n_folds) -> None:
    truth = long_tail(seed=seed)
    found, least = deviation(split(truth, n_folds=n_folds, seed=seed), truth), least_deviation(truth, n_folds)
    assert found.mean <= least.mean * 1.02
    assert found.worst <= least.worst + 1.5
    assert found.relative <= least.relative * 1.02
    assert found.empty == 0
    assert found.size <= 5
    theirs = deviation(slow_iterative(truth, n_folds, np.random.default_rng(seed)), truth)
    assert found.mean < theirs.mean
    assert found.worst < theirs.worst
    assert found.relative <= theirs.relative
    assert found.empty <= theirs.empty


def test_groups_cost_little_and_greedy_folds_lie_between_iterative_and_plain_ones() -> None:
    truth = long_tail()
    groups = np.random.default_rng(0).integers(0, 1500, len(truth))
    blank = np.full(len(truth), -2)
    plain = deviation(assign(PlainFolds(), classes=blank, groups=groups, seed=0), truth)
    greedy = deviation(split(truth, groups, method="greedy"), truth)
    iterative = deviation(split(truth, groups), truth)
    assert iterative.mean < greedy.mean / 2
    assert greedy.mean < plain.mean * 0.7
    assert iterative.mean < plain.mean / 3
    assert iterative.relative < plain.relative / 3
    assert iterative.empty == 0
    assert iterative.size < 10


def test_a_large_group_weighs_as_much_as_its_photos() -> None:
    truth = np.ones((40, 1), dtype=bool)
    groups = np.concatenate([np.zeros(20), np.arange(1, 21)]).astype(np.int64)
    fold = split(truth, groups, n_folds=2)
    assert np.bincount(fold).tolist() == [20, 20]


def test_pairs_need_no_matrix() -> None:
    truth = long_tail(600, 40)
    rows, labels = positives(truth)
    kind = {"n_folds": 4, "method": "iterative"}
    fold = stratify(rows, labels, np.arange(600), **kind, rng=np.random.default_rng(3))
    renamed = stratify(rows, labels * 1000 + 7, np.arange(600), **kind, rng=np.random.default_rng(3))
    assert (fold == renamed).all()
    assert deviation(fold, truth).empty == 0


# ------------------------------------------------------------------------------------------------------- the refusals


@pytest.mark.parametrize("method", METHODS)
def test_fewer_groups_than_folds_are_refused(method) -> None:
    with pytest.raises(DataError) as caught:
        split(np.ones((9, 2), dtype=bool), np.arange(9) // 3, n_folds=4, method=method)
    assert caught.value.fix == "use n_folds=3 or fewer."


def test_a_greedy_split_that_leaves_a_fold_empty_is_refused() -> None:
    truth = np.eye(5, dtype=bool)  # five labels, each placed at random: some fold gets none with most seeds
    outcomes = [attempt(truth, method="greedy", seed=seed) for seed in range(20)]
    refused = [fix for fold, fix in outcomes if fold is None]
    assert set(refused) == {"use method='iterative', which fills every fold."}
    assert all(set(fold.tolist()) == set(range(5)) for fold, _ in outcomes if fold is not None)


@pytest.mark.parametrize("value", [0.3, 2.0, np.nan, -1.0])
def test_soft_labels_are_refused(value) -> None:
    truth = np.zeros((6, 2), dtype=np.float32)
    truth[3, 1] = value
    for call in (split, lambda truth: deviation(np.arange(6), truth), lambda truth: least_deviation(truth, 2)):
        with pytest.raises(DataError) as caught:
            call(truth)
        assert f"1 other values, such as {value:g}" in caught.value.got
        assert caught.value.fix == "round soft labels first: truth >= 0.5."


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ShapeError) as caught:
        split(np.ones(6))
    assert "pass Collection.truth" in caught.value.fix
    with pytest.raises(ShapeError) as caught:
        deviation(np.arange(5), np.ones((6, 2)))
    assert caught.value.fix == "pass folds and truth of the same collection."
    with pytest.raises(DataError) as caught:
        deviation(np.full(6, -1), np.ones((6, 2)))
    assert caught.value.fix == "pass folds from assign()."


# ---------------------------------------------------------------------------------------------------------- real data


@pytest.mark.real
def test_the_whole_of_imet_2019_costs_less_than_thirty_sorts() -> None:
    folder = Path(os.environ.get("FIELDMARK_DATA", Path(__file__).parents[3] / "shared" / "data")) / "meta_imet2019"
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set FIELDMARK_DATA")
    truth = read(folder, check_files=False).truth
    assert truth.shape == (109_237, 1_103)
    numbers = np.random.default_rng(0).random(10_000_000)
    start = time.process_time()
    np.sort(numbers)
    sorting = time.process_time() - start
    start = time.process_time()
    fold = split(truth)
    assert time.process_time() - start < 30 * sorting  # of ten million numbers; measured: 15 on a busy machine
    found, least = deviation(fold, truth), least_deviation(truth, 5)
    assert found.mean <= least.mean * 1.001
    assert found.worst <= 1.2
    assert found.relative <= least.relative * 1.001
    assert found.empty == 0
    assert found.size <= 22  # a thousandth of a fold

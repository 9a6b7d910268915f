"""Sorting only the highest scores never changes a result."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldmark.decisions import per_label_thresholds, threshold_scans
from fieldmark.decisions.per_label_thresholds import label_thresholds
from fieldmark.decisions.specs import GroupF2, LabelF2
from fieldmark.decisions.threshold_limits import limited_thresholds
from fieldmark.decisions.threshold_search import SearchSheet, SortedSheet, count_threshold, cut_after, group_thresholds


def sheet(seed, *, strength, n_images=40, n_labels=9, share=0.3):
    """Scores that are weakly correlated with the truth, or (strength below 0) anticorrelated."""
    chance = np.random.default_rng(seed)
    truth = chance.random((n_images, n_labels)) < share
    proba = (strength * truth + chance.normal(size=truth.shape)).astype(np.float32)
    groups = {"few": np.arange(3), "many": np.arange(3, n_labels)}
    rows = np.flatnonzero(chance.random(n_images) < 0.9)
    return SearchSheet(proba, truth, rows, groups)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([-2.0, 0.0, 0.5, 3.0]))
def test_few_sorted_scores_give_the_same_as_all(seed, strength):
    table = sheet(seed, strength=strength)
    whole, shallow = SortedSheet(table, depth=100), SortedSheet(table, depth=0.5)
    assert whole.is_whole
    assert not shallow.is_whole
    assert group_thresholds(shallow) == group_thresholds(whole)
    shallow = SortedSheet(table, depth=0.5)
    assert count_threshold(shallow, ("many",), 2.3) == count_threshold(whole, ("many",), 2.3)
    assert limited_thresholds(SortedSheet(table, depth=0.5), GroupF2()) == limited_thresholds(whole, GroupF2())


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([-2.0, 0.0, 3.0]), st.sampled_from([0.02, 0.3]))
def test_few_sorted_scores_of_a_column_give_the_same_as_all(seed, strength, share):
    table = sheet(seed, strength=strength, share=share)
    rule = LabelF2(shrink=0, rounds=5)
    wanted = label_thresholds(SortedSheet(table), rule)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(per_label_thresholds, "LEAST_DEPTH", 1)
        patch.setattr(per_label_thresholds, "DEPTH_A_PHOTO", 0)
        assert label_thresholds(SortedSheet(table), rule) == wanted


def test_a_column_is_sorted_as_deep_as_needed():
    # Images without any correct label always score 0: to find one label, 900 of them may be given it.
    truth = np.zeros((1000, 1), bool)
    truth[900] = True
    proba = np.linspace(1, 0.5, 1000, dtype=np.float32)[:, None]
    table = SearchSheet(proba, truth, np.arange(1000), {"one": np.array([0])})
    sorted_sheet = SortedSheet(table)
    columns = [per_label_thresholds._Column.of(proba[:, 0], truth[:, 0], usual=0.99, depth=10)]
    assert columns[0].missed.tolist() == [900]
    assert columns[0].n_usual == (proba > np.float32(0.99)).sum() <= len(columns[0].scores) < 900
    state = (*sorted_sheet.above("one", 0.99), sorted_sheet.scoring, np.zeros(1000, np.int64), np.zeros(1000, np.int64))
    threshold_scans.give(np.arange(1000), truth[:, 0], 0, *state)
    assert per_label_thresholds._move(table, 0, columns, 0.99, state)
    assert columns[0].taken == 901
    assert state[1].tolist() == [1] * 901 + [0] * 99
    assert state[0].sum() == 1


def test_points_are_exact_sums():
    chance = np.random.default_rng(0)
    found = chance.integers(0, 4, 5000).astype(np.int32)
    given = (found + chance.integers(0, 9, 5000)).astype(np.int32)
    right = (found + chance.integers(1, 4, 5000)).astype(np.int32)
    scoring = (right, 4.0, np.int64(0))
    total = threshold_scans.total_points(found, given, scoring)
    assert total / threshold_scans.POINTS == pytest.approx((5 * found / (4 * right + given)).sum(), abs=1e-6)
    order = chance.permutation(5000)
    assert threshold_scans.total_points(found[order], given[order], (right[order], 4.0, np.int64(0))) == total


@pytest.mark.parametrize(
    ("scores", "taken", "low", "wanted"),
    [
        ([0.9, 0.5], 1, -np.inf, 0.7),
        ([0.9, 0.5], 0, -np.inf, 0.9),
        ([0.9, 0.5], 2, 0.25, 0.375),
        ([1.0, np.nextafter(np.float32(1), np.float32(0))], 1, -np.inf, np.nextafter(np.float32(1), np.float32(0))),
        ([0.0], 1, -np.inf, np.nextafter(np.float32(0), np.float32(-1))),
    ],
)
def test_a_threshold_is_halfway_and_separates_the_scores(scores, taken, low, wanted):
    scores = np.array(scores, np.float32)
    at = cut_after(scores, taken, low)
    assert at == pytest.approx(float(wanted), rel=1e-6)
    assert (scores > np.float32(at)).sum() == taken

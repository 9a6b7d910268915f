"""Thresholds per group, and cross-fitted thresholds."""

from __future__ import annotations

import numpy as np
import pytest

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.decisions.grouped import crossed, find_by_group
from fieldmark.decisions.ranking import rank
from fieldmark.decisions.specs import FalseMatchBudget, Fixed, MaxMap, PerGroup
from fieldmark.decisions.unknown_thresholds import fit_unknown_threshold


def two_species(n=120, seed=0):
    """Known zebras score around 0.8 and unknown ones around 0.6; crows around 0.4 and 0.2."""
    chance = np.random.default_rng(seed)
    names = ["zebra" if row % 2 else "crow" for row in range(n)]
    truth = np.where(np.arange(n) % 4 < 2, 0, -1)
    best = np.array([0.4 if name == "zebra" else 0.0 for name in names]) + np.where(truth == 0, 0.4, 0.2)
    scores = np.zeros((n, 3))
    scores[:, 0] = best + chance.uniform(-0.05, 0.05, n)
    return scores, truth, names


def test_each_group_has_its_own_threshold_and_unknown_groups_the_common_one():
    scores, truth, names = two_species()
    found = find_by_group(MaxMap(), scores, truth, names, per=PerGroup(column="species", least=20))
    assert 0.65 < found.groups["zebra"].at < 0.75
    assert 0.25 < found.groups["crow"].at < 0.35
    assert found.at(["crow", None, "owl"]).tolist() == [found.groups["crow"].at] + [found.common.at] * 2
    answers = rank(scores, unknown_at=found.at(names), k=1)[:, 0]
    assert (answers == truth).all()
    assert (rank(scores, unknown_at=found.common.at, k=1)[:, 0] != truth).any()


def test_small_groups_take_the_common_threshold():
    scores, truth, names = two_species()
    names[0] = "owl"
    assert set(find_by_group(MaxMap(), scores, truth, names, per=PerGroup(column="s", least=2)).groups) == {
        "crow",
        "zebra",
    }
    budget = FalseMatchBudget(budget=0.1)
    assert not find_by_group(budget, scores, truth, names, per=PerGroup(column="s", least=40)).groups
    assert find_by_group(budget, scores, truth, names, per=PerGroup(column="s", least=25)).groups


def test_a_group_too_small_to_prove_a_bound_takes_the_common_threshold():
    scores, truth, names = two_species(n=240)
    bound = FalseMatchBudget(
        budget=0.04, hold="bound"
    )  # 74 unknown individuals are needed; there are 60 per species, 120 in total
    found = find_by_group(bound, scores, truth, names, per=PerGroup(column="s", least=5))
    assert not found.groups
    assert found.common.false_match_bound <= 0.04


def test_crossed_thresholds_do_not_use_the_queries_they_are_evaluated_on():
    """The budget of 5 % holds exactly on the fitting queries, and only approximately on others."""
    chance = np.random.default_rng(1)
    scores = chance.uniform(size=(400, 4))
    truth = np.where(np.arange(400) < 200, 0, -1)
    rule = FalseMatchBudget(budget=0.05)
    at = crossed(rule, scores, truth)
    assert len(np.unique(at)) == 5
    for threshold in np.unique(at):
        mine = at == threshold
        assert fit_unknown_threshold(rule, scores[~mine], truth[~mine]).at == threshold


def test_groups_are_left_out_whole():
    chance = np.random.default_rng(2)
    scores, truth = chance.uniform(size=(100, 2)), np.where(np.arange(100) % 2, 0, -1)
    groups = np.repeat(np.arange(50), 2)
    at = crossed(MaxMap(), scores, truth, groups=groups)
    assert (at[::2] == at[1::2]).all()


def test_crossed_thresholds_by_group():
    scores, truth, names = two_species()
    at = crossed(MaxMap(), scores, truth, names=names, per=PerGroup(column="species", least=20))
    assert (rank(scores, unknown_at=at, k=1)[:, 0] == truth).mean() > 0.95


def test_a_single_query_has_no_other_queries_to_fit_on():
    assert np.isnan(crossed(Fixed(at=0.5), np.ones((1, 2)), np.array([0]))).all()


def test_errors_say_what_to_do():
    scores, truth, names = two_species()
    with pytest.raises(ShapeError) as refusal:
        find_by_group(MaxMap(), scores, truth, names[:3], per=PerGroup(column="species"))
    assert "one name per row" in refusal.value.fix
    with pytest.raises(FieldmarkError) as refusal:
        rank(scores, unknown_at=np.zeros(3))
    assert "one number per query" in refusal.value.fix


def test_a_group_without_unknown_individuals_takes_the_common_threshold():
    """With known animals only, the best threshold is none, and every unknown individual would get a name."""
    scores, truth, names = two_species()
    met = ~((truth < 0) & (np.array(names) == "crow"))
    kept = [name for name, there in zip(names, met, strict=True) if there]
    found = find_by_group(MaxMap(), scores[met], truth[met], kept, per=PerGroup(column="s", least=20))
    assert (truth[met][np.array(kept) == "crow"] >= 0).sum() >= 20
    assert set(found.groups) == {"zebra"}
    assert found.at(["crow"]).tolist() == [found.common.at]

"""Label thresholds, compared with slow loops over every relevant threshold."""

from __future__ import annotations

import itertools
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import TypeAdapter, ValidationError

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.core.spec import parse
from fieldmark.decisions.label_thresholds import cut, fit_label_thresholds
from fieldmark.decisions.specs import (
    CountMatch,
    GlobalF2,
    GroupF2,
    LabelF2,
    LabelThreshold,
    LabelThresholds,
    Preset,
    Relative,
    ThresholdRule,
)
from fieldmark.metrics.intervals import interval
from fieldmark.metrics.labels import f_beta, f_beta_per_image

VALUES = np.array([0.0, 0.05, 0.28, 0.3, 0.31, 0.7, 1.0], np.float32).tolist()
EVERY_AT = [-1.0, *VALUES]
NAMES = ["a", "b", "c", "d", "e", "f", "g"]
RULES = [GlobalF2(), GroupF2(limits=False), GroupF2(), LabelF2(), LabelF2(shrink=0), Relative(), CountMatch(mean=1.2)]


def tables(most_images=9, labels=(2, 5)):
    return st.tuples(st.integers(1, most_images), st.integers(*labels)).flatmap(
        lambda shape: st.tuples(arrays(np.float32, shape, elements=st.sampled_from(VALUES)), arrays(bool, shape))
    )


def two_groups(n_labels):
    """Two groups of interleaved columns, so that no group is a slice."""
    return {"culture": np.arange(0, n_labels, 2), "tag": np.arange(1, n_labels, 2)}


def slow_cut(proba, groups, thresholds):
    """The rule of ``cut`` by slow loops: (p > at and among the top most) or among the top least."""
    answer = np.zeros(proba.shape, bool)
    for image, row in enumerate(proba.tolist()):
        for name, columns in groups.items():
            rule = thresholds[name]
            ranked = sorted(columns.tolist(), key=lambda column: -row[column])  # sorted() keeps the order of ties
            for place, column in enumerate(ranked):
                above = row[column] > np.float32(rule.at)
                in_most = rule.most is None or place < rule.most
                answer[image, column] = (above and in_most) or place < rule.least
    return answer


def slow_f2(answer, truth, if_empty=0.0):
    each = []
    for a, t in zip(answer.tolist(), truth.tolist(), strict=True):
        below = 4 * sum(t) + sum(a)
        each.append(5 * sum(x and y for x, y in zip(a, t, strict=True)) / below if below else if_empty)
    return float(np.mean(each))


def find(rule, proba, truth, groups=None, **options):
    groups = groups or two_groups(proba.shape[1])
    return fit_label_thresholds(
        rule, proba, truth, groups=groups, names=NAMES[: proba.shape[1]], **{"parts": 0, "n_boot": 10, **options}
    )


def answered(thresholds, proba):
    return cut(thresholds, proba, groups=two_groups(proba.shape[1]), names=NAMES[: proba.shape[1]])


# ---------------------------------------------------------------------------- applying thresholds


LIMITS = st.tuples(st.floats(-0.1, 1.1), st.integers(0, 3), st.one_of(st.none(), st.integers(0, 3))).map(
    lambda three: LabelThreshold(at=three[0], least=three[1], most=None if three[2] is None else three[1] + three[2])
)


@settings(max_examples=100, deadline=None)
@given(tables(), LIMITS, LIMITS)
def test_cut_equals_slow_loops(table, one, two):
    proba, truth = table
    groups, thresholds = two_groups(proba.shape[1]), {"culture": one, "tag": two}
    found = find(Preset(groups=thresholds), proba, truth)
    answer = answered(found, proba)
    np.testing.assert_array_equal(answer, slow_cut(proba, groups, thresholds))
    assert found.fitted.value == pytest.approx(slow_f2(answer, truth))
    assert found.mean_labels == pytest.approx(answer.sum(axis=1).mean())
    for name, columns in groups.items():
        count = answer[:, columns].sum(axis=1)
        assert (count >= min(thresholds[name].least, len(columns))).all()
        assert thresholds[name].most is None or (count <= thresholds[name].most).all()


@settings(max_examples=40, deadline=None)
@given(tables(), st.floats(0, 1), st.floats(0, 1), st.integers(0, 2), st.integers(0, 2))
def test_lower_thresholds_and_looser_limits_only_add_labels(table, at, more, least, wider):
    proba, truth = table
    strict = find(Preset(groups={"": LabelThreshold(at=at + more, least=least, most=least + 1)}), proba, truth)
    loose = find(Preset(groups={"": LabelThreshold(at=at, least=least, most=least + 1 + wider)}), proba, truth)
    assert not (answered(strict, proba) & ~answered(loose, proba)).any()


def test_least_zero_gives_nothing_where_nothing_is_above():
    proba = np.full((3, 4), 0.05, np.float32)
    found = find(Preset(groups={"": LabelThreshold(at=0.1, least=0, most=3)}), proba, np.ones((3, 4), bool))
    assert not answered(found, proba).any()


def test_a_score_is_above_a_threshold_as_float32_and_equal_scores_come_in_label_order():
    proba = np.array([[0.28, 0.28, 0.28, 0.5]], np.float32)
    at_028 = find(Preset(groups={"": LabelThreshold(at=0.28)}), proba, None)
    assert answered(at_028, proba).tolist() == [[False, False, False, True]]
    one_each = find(Preset(groups={"": LabelThreshold(at=0.1, least=0, most=1)}), proba, None)
    assert answered(one_each, proba).tolist() == [[True, False, False, True]]
    backwards = {"all": np.array([2, 1, 0, 3])}
    two = find(Preset(groups={"": LabelThreshold(at=0.9, least=2)}), proba, None, groups=backwards)
    assert cut(two, proba, groups=backwards, names=NAMES[:4]).tolist() == [[False, False, True, True]]


def test_the_preset_is_that_of_the_imet_winner():
    assert Preset().groups == {
        "culture": LabelThreshold(at=0.28, least=0, most=3),
        "tag": LabelThreshold(at=0.10, least=1, most=8),
    }
    proba = np.array([[0.27, 0.01, 0.3, 0.02, 0.29, 0.0, 0.5]], np.float32)
    found = find(Preset(), proba, None)
    # Columns 0, 2, 4, 6 are culture: the three highest above 0.28. Tags are 1, 3, 5: none is above 0.1, one is given.
    assert answered(found, proba).tolist() == [[False, False, True, True, True, False, True]]
    assert found.fitted is None
    assert found.crossed is None


@settings(max_examples=40, deadline=None)
@given(tables(), st.floats(1, 10))
def test_relative_is_a_share_of_each_images_highest_score(table, times):
    proba, truth = table
    found = find(Relative(times=times), proba, truth)
    wanted = [[p > np.float32(max(row)) / np.float32(times) for p in row] for row in proba]
    np.testing.assert_array_equal(answered(found, proba), wanted)
    assert found.crossed == found.fitted
    assert found.times == times


# ---------------------------------------------------------------------------- searching


@settings(max_examples=100, deadline=None)
@given(tables(), st.sampled_from([0.0, 1.0]))
def test_the_global_threshold_is_the_best_of_all(table, if_empty):
    proba, truth = table
    found = find(GlobalF2(), proba, truth, if_empty=if_empty)
    best = max(slow_f2(proba > at, truth, if_empty) for at in EVERY_AT)
    assert found.fitted.value == pytest.approx(best)
    assert f_beta(answered(found, proba), truth, if_empty=if_empty) == pytest.approx(best)
    assert len({threshold.at for threshold in found.groups.values()}) == 1


@settings(max_examples=60, deadline=None)
@given(tables())
def test_no_group_improves_while_the_other_is_fixed(table):
    proba, truth = table
    groups = two_groups(proba.shape[1])
    found = find(GroupF2(limits=False), proba, truth)
    assert found.fitted.value >= find(GlobalF2(), proba, truth).fitted.value - 1e-9
    for name, at in itertools.product(groups, EVERY_AT):
        other = found.groups | {name: LabelThreshold(at=at)}
        assert slow_f2(slow_cut(proba, groups, other), truth) <= found.fitted.value + 1e-9


@settings(max_examples=15, deadline=None)
@given(tables(most_images=5, labels=(2, 4)))
def test_limits_of_two_groups_are_jointly_the_best(table):
    proba, truth = table
    groups = two_groups(proba.shape[1])
    rule = GroupF2(least_up_to=1, most_up_to=2)
    limits = [(0, 1), (1, 1), (0, 2), (1, 2), (0, None)]
    every = [LabelThreshold(at=at, least=least, most=most) for at in EVERY_AT[::2] for least, most in limits]
    halves = [[slow_cut(proba, {name: groups[name]}, {name: one}) for one in every] for name in groups]
    best = max(slow_f2(one | two, truth) for one, two in itertools.product(*halves))
    found = find(rule, proba, truth)
    assert found.fitted.value >= best - 1e-9
    assert slow_f2(slow_cut(proba, groups, found.groups), truth) == pytest.approx(found.fitted.value)
    for threshold in found.groups.values():
        assert threshold.least <= 1
        assert threshold.most in {None, 1, 2}


@settings(max_examples=40, deadline=None)
@given(tables(labels=(3, 6)))
def test_limits_are_never_worse_than_none_also_for_three_groups(table):
    proba, truth = table
    n = proba.shape[1]
    groups = {"x": np.array([n - 1]), "y": np.arange(0, n - 1, 2), "z": np.arange(1, n - 1, 2)}
    free = find(GroupF2(limits=False), proba, truth, groups)
    limited = find(GroupF2(most_up_to=1), proba, truth, groups)
    assert limited.fitted.value >= free.fitted.value - 1e-9


@settings(max_examples=60, deadline=None)
@given(tables())
def test_no_label_improves_while_all_others_are_fixed(table):
    proba, truth = table
    groups = two_groups(proba.shape[1])
    found = find(LabelF2(shrink=0, rounds=50, limits=False), proba, truth)
    assert found.fitted.value >= find(GroupF2(limits=False), proba, truth).fitted.value - 1e-9
    at = np.empty(proba.shape[1], np.float32)
    for name, columns in groups.items():
        at[columns] = found.groups[name].at
    for label, own in found.labels.items():
        at[NAMES.index(label)] = own
    assert slow_f2(proba > at, truth) == pytest.approx(found.fitted.value)
    for label in np.flatnonzero(truth.any(axis=0)):
        for other in EVERY_AT:
            changed = at.copy()
            changed[label] = other
            assert slow_f2(proba > changed, truth) <= found.fitted.value + 1e-9


@settings(max_examples=40, deadline=None)
@given(tables(), st.sampled_from([0.0, 5.0]))
def test_limits_beside_label_thresholds_are_the_best_of_one_group(table, shrink):
    proba, truth = table
    group = {"all": np.arange(proba.shape[1])}
    plain = find(LabelF2(shrink=shrink, limits=False), proba, truth, group)
    found = find(LabelF2(shrink=shrink, least_up_to=2, most_up_to=3), proba, truth, group)
    at = np.full(proba.shape[1], found.groups["all"].at, np.float32)
    at[[NAMES.index(label) for label in found.labels]] = list(found.labels.values())
    place = np.argsort(np.argsort(-proba, axis=1, kind="stable"), axis=1)
    best = max(
        slow_f2(((proba > at) & (place < most)) | (place < least), truth)
        for least, most in itertools.product(range(min(3, proba.shape[1] + 1)), [1, 2, 3, 99])
        if least <= most
    )
    assert plain.labels == found.labels
    assert found.fitted.value == pytest.approx(best)


def test_most_counts_higher_labels_that_are_below_their_own_threshold():
    proba = np.array([[0.9, 0.8, 0.7]], np.float32)
    thresholds = LabelThresholds(
        kind="label_f2",
        groups={"all": LabelThreshold(at=0.5, least=0, most=2)},
        labels={"a": 0.95},
        beta=2.0,
        n_images=1,
        mean_labels=0.0,
    )
    given = cut(thresholds, proba, groups={"all": np.arange(3)}, names=["a", "b", "c"])
    assert given.tolist() == [[False, True, False]]  # "c" is only the third
    least = thresholds.model_copy(update={"groups": {"all": LabelThreshold(at=0.5, least=1, most=None)}})
    assert cut(least, proba, groups={"all": np.arange(3)}, names=["a", "b", "c"]).tolist() == [[True, True, True]]


@settings(max_examples=60, deadline=None)
@given(tables(), st.floats(0.05, 1.9))
def test_count_match_is_as_close_as_ties_allow(table, mean):
    proba, _ = table
    found = find(CountMatch(mean=mean), proba, None)
    counts = [float((proba > at).sum()) / len(proba) for at in EVERY_AT]
    assert abs(found.mean_labels - mean) == pytest.approx(min(abs(count - mean) for count in counts))


def test_count_match_by_group():
    chance = np.random.default_rng(0)
    proba = chance.random((500, 7), dtype=np.float32)
    found = find(CountMatch(mean={"culture": 0.5, "tag": 1.2}), proba, None)
    answer = answered(found, proba)
    assert answer[:, ::2].sum(axis=1).mean() == pytest.approx(0.5)
    assert answer[:, 1::2].sum(axis=1).mean() == pytest.approx(1.2)


def simulated(seed, n_images=400, n_labels=7):
    chance = np.random.default_rng(seed)
    truth = chance.random((n_images, n_labels)) < np.linspace(0.01, 0.4, n_labels)
    logit = 2 * truth + chance.normal(-2, 1, truth.shape)
    return (1 / (1 + np.exp(-logit))).astype(np.float32), truth


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.kind)
def test_the_order_of_images_changes_no_threshold(rule):
    proba, truth = simulated(1)
    order = np.random.default_rng(2).permutation(len(proba))
    here, there = find(rule, proba, truth), find(rule, proba[order], truth[order])
    assert (here.groups, here.labels) == (there.groups, there.labels)
    assert here.fitted.value == pytest.approx(there.fitted.value)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.kind)
def test_fitted_thresholds_survive_json_and_give_the_same_labels(rule):
    proba, truth = simulated(3)
    found = find(rule, proba, truth, parts=3)
    again = parse(LabelThresholds, found.model_dump_json(), name="thresholds.json")
    assert again == found
    np.testing.assert_array_equal(answered(again, proba), answered(found, proba))
    assert TypeAdapter(ThresholdRule).validate_json(rule.model_dump_json()) == rule
    assert f"{found.mean_labels:.2f} labels per image" in str(found)
    assert str(found.crossed) in str(found)


def test_scores_of_other_types_and_places_give_the_same(tmp_path):
    proba, truth = simulated(4)
    np.save(tmp_path / "proba.npy", proba)
    wanted = find(GroupF2(), proba, truth)
    assert find(GroupF2(), np.load(tmp_path / "proba.npy", mmap_mode="r"), truth) == wanted
    assert find(GroupF2(), np.asfortranarray(proba).astype(np.float64), truth.astype(np.float32)) == wanted


# ---------------------------------------------------------------------------- cross-fitted measures


@pytest.mark.parametrize("rule", [GlobalF2(), GroupF2(), LabelF2()], ids=lambda rule: rule.kind)
def test_crossed_is_the_measure_of_thresholds_fitted_on_the_other_parts(rule):
    proba, truth = simulated(5, n_images=60)
    part = np.random.default_rng(6).integers(0, 3, 60)
    f = np.empty(60)
    for k in range(3):
        here = part == k
        elsewhere = find(rule, proba[~here], truth[~here])
        f[here] = f_beta_per_image(answered(elsewhere, proba[here]), truth[here])
    found = find(rule, proba, truth, parts=part)
    assert found.crossed.value == pytest.approx(f.mean())
    assert found.crossed.low < found.crossed.value < found.crossed.high
    assert find(rule, proba, truth).crossed is None
    assert (found.groups, found.labels) == (find(rule, proba, truth).groups, find(rule, proba, truth).labels)


def test_fitted_is_too_optimistic_and_shrinking_reduces_this():
    chance = np.random.default_rng(7)
    truth = chance.random((150, 7)) < 0.15
    proba = chance.random((150, 7), dtype=np.float32)  # scores that are independent of the truth
    bold, careful = find(LabelF2(shrink=0), proba, truth, parts=5), find(LabelF2(), proba, truth, parts=5)
    assert bold.fitted.value > bold.crossed.value + 0.03
    assert bold.fitted.value > careful.fitted.value
    assert bold.fitted.value - bold.crossed.value > careful.fitted.value - careful.crossed.value


def test_the_threshold_of_a_rare_label_is_shrunk_towards_its_groups():
    chance = np.random.default_rng(8)
    truth = chance.random((3000, 2)) < [0, 0.3]
    truth[:6] = [True, False]
    proba = np.where(truth, [0.3, 0.6], [0.1, 0.4]) + chance.random(truth.shape) / 10
    group = {
        "all": np.arange(2)
    }  # the group's threshold is that of the common label, just below 0.6; the best for the rare label is below 0.3
    free = find(LabelF2(shrink=0), proba, truth, group, if_empty=1.0)
    drawn = find(LabelF2(shrink=50), proba, truth, group, if_empty=1.0)
    usual = free.groups["all"].at
    assert 0.2 <= free.labels["a"] <= 0.3
    assert usual >= 0.5
    assert abs(drawn.labels["a"] - usual) < 0.2 * abs(free.labels["a"] - usual)


def test_the_interval_equals_that_of_resampling_images():
    proba, truth = simulated(9, n_images=300)
    found = find(GlobalF2(), proba, truth, n_boot=4000)
    slow = interval(f_beta_per_image(answered(found, proba), truth), n_draws=4000)
    assert found.fitted.value == pytest.approx(slow.value)
    assert found.fitted.low == pytest.approx(slow.low, abs=0.004)
    assert found.fitted.high == pytest.approx(slow.high, abs=0.004)


def test_cut_does_not_import_numba():
    code = (
        "import sys, numpy as np\n"
        "from fieldmark.decisions.label_thresholds import cut, fit_label_thresholds\n"
        "from fieldmark.decisions.specs import LabelThreshold, Preset\n"
        "proba, groups = np.ones((2, 2), np.float32), {'': np.arange(2)}\n"
        "rule, names = Preset(groups={'': LabelThreshold(at=.5)}), ['a', 'b']\n"
        "found = fit_label_thresholds(rule, proba, None, groups=groups, names=names)\n"
        "assert cut(found, proba, groups=groups, names=['a', 'b']).all()\n"
        "sys.exit('numba' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ---------------------------------------------------------------------------- errors

PROBA = np.array([[0.1, 0.9], [0.2, 0.3]], np.float32)
TRUTH = np.array([[0, 1], [1, 0]], bool)
ONE_GROUP = {"all": np.arange(2)}


@pytest.mark.parametrize(
    ("rule", "change", "error", "fix"),
    [
        (GlobalF2(), {"proba": np.zeros((0, 2), np.float32)}, ShapeError, "at least one of each"),
        (GlobalF2(), {"proba": np.ones((2, 2), np.int64)}, ShapeError, "float32"),
        (GlobalF2(), {"proba": np.array([[0.1, np.nan], [0.2, 0.3]])}, FieldmarkError, "network's outputs"),
        (GlobalF2(), {"proba": np.array([[0.1, np.inf], [0.2, 0.3]])}, FieldmarkError, "network's outputs"),
        (GlobalF2(), {"truth": TRUTH[:1]}, ShapeError, "same shape"),
        (GlobalF2(), {"truth": np.full((2, 2), 0.4)}, FieldmarkError, "truth > 0.5"),
        (GroupF2(), {"truth": None}, FieldmarkError, "Relative or CountMatch"),
        (GlobalF2(), {"names": ["a"]}, ShapeError, "label names"),
        (GlobalF2(), {"names": ["a", "a"]}, ShapeError, "label names"),
        (GlobalF2(), {"groups": {}}, ShapeError, "one group for all"),
        (GlobalF2(), {"groups": {"x": np.array([0])}}, ShapeError, "one group for all"),
        (GlobalF2(), {"groups": {"x": np.array([0, 1]), "y": np.array([1])}}, ShapeError, "one group for all"),
        (GlobalF2(), {"groups": {"x": np.array([0, 1, 2])}}, ShapeError, "one group for all"),
        (GlobalF2(), {"groups": {"x": np.array([0, 1]), "y": np.array([], np.int64)}}, ShapeError, "one group for all"),
        (GlobalF2(), {"groups": {"x": np.array([0.0, 1.0])}}, ShapeError, "one group for all"),
        (GlobalF2(), {"beta": 0}, FieldmarkError, "beta=2"),
        (GlobalF2(), {"if_empty": 2}, FieldmarkError, "if_empty from 0 to 1"),
        (GlobalF2(), {"n_boot": 0}, FieldmarkError, "n_boot=1000"),
        (GlobalF2(), {"parts": 1}, FieldmarkError, "parts=0"),
        (GlobalF2(), {"parts": 3}, FieldmarkError, "parts=0"),
        (GlobalF2(), {"parts": np.array([1, 1])}, ShapeError, "its fold"),
        (Preset(), {}, FieldmarkError, "one threshold for each of: all"),
        (CountMatch(mean={"tag": 1.0}), {}, FieldmarkError, "one threshold for each of: all"),
        (CountMatch(mean=2.0), {}, FieldmarkError, "mean number of labels per training photo"),
        (Relative(), {"proba": -PROBA}, FieldmarkError, "after the sigmoid"),
    ],
)
def test_errors_say_what_to_do(rule, change, error, fix):
    case = {"proba": PROBA, "truth": TRUTH, "groups": ONE_GROUP, "names": ["a", "b"], "parts": 0} | change
    with pytest.raises(error) as refusal:
        fit_label_thresholds(rule, case.pop("proba"), case.pop("truth"), **case)
    assert fix in refusal.value.fix


def test_a_row_that_is_not_finite_is_named():
    with pytest.raises(FieldmarkError) as refusal:
        find(GlobalF2(), np.array([[0.1, 0.2], [np.nan, np.inf]], np.float32), TRUTH)
    assert "row 1: 2 of 2" in str(refusal.value)


def test_thresholds_of_other_labels_are_refused():
    def thresholds(**settings):
        return LabelThresholds(**{"kind": "label_f2", "beta": 2.0, "n_images": 1, "mean_labels": 1.0} | settings)

    for odd, scores, fix in (
        (thresholds(groups={"other": LabelThreshold(at=0.5)}), PROBA, "each of: all"),
        (thresholds(), PROBA, "each of: all"),
        (
            thresholds(groups={"all": LabelThreshold(at=0.5)}, labels={"zebra": 0.1}),
            PROBA,
            "vocabulary that the thresholds were fitted",
        ),
        (thresholds(kind="relative", times=7.0), -PROBA, "after the sigmoid"),
    ):
        with pytest.raises(FieldmarkError) as refusal:
            cut(odd, scores, groups=ONE_GROUP, names=["a", "b"])
        assert fix in refusal.value.fix


def test_least_above_most_is_refused():
    with pytest.raises(ValidationError, match="least must not exceed most"):
        LabelThreshold(at=0.5, least=2, most=1)

"""Label issues on synthetic mistakes: better than |truth - proba|, calibrated, and finite for little data."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.quality.labels.co_occurrence import FLOOR, N_PARTS, RIDGE, fit_co_occurrence
from fieldmark.quality.labels.issues import label_error_proba, likely_label_errors
from fieldmark.quality.labels.label_noise import Counts, fit_rates
from fieldmark.quality.labels.noise_model import fit_label_noise


def drawn(seed: int, n: int = 5000, n_labels: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return truth, labels with mistakes, and calibrated scores that are less accurate for rare labels."""
    chance = np.random.default_rng(seed)
    share = np.geomspace(0.2, 0.004, n_labels)
    truth = chance.random((n, n_labels)) < share
    separation = np.linspace(3.6, 2.2, n_labels)
    share = truth.mean(axis=0)
    signal = truth * separation + chance.standard_normal(truth.shape)
    logits = separation * signal - separation**2 / 2 + np.log(share / (1 - share))
    given_ = (truth & (chance.random(truth.shape) > 0.15)) | (~truth & (chance.random(truth.shape) < 0.06 * share))
    return truth, given_, (1 / (1 + np.exp(-logits))).astype(np.float32)


@pytest.fixture(scope="module")
def world() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return drawn(0)


@pytest.fixture(scope="module")
def issues(world) -> np.ndarray:
    _, given_, proba = world
    return label_error_proba(proba, given_)


def precision(ranking: np.ndarray, planted: np.ndarray) -> float:
    """Return the share of planted mistakes among the first cells, as many as there are mistakes."""
    first = np.argsort(-ranking.ravel(), kind="stable")[: planted.sum()]
    return float(planted.ravel()[first].mean())


def test_planted_mistakes_are_found_better_than_by_distance(world, issues):
    truth, given_, proba = world
    planted = truth != given_
    ours, naive = precision(issues, planted), precision(np.abs(given_ - proba), planted)
    assert ours > 0.65
    assert ours > naive + 0.05
    rare = truth.sum(axis=0) < 60
    assert (
        precision(issues[:, rare], planted[:, rare])
        > precision(np.abs(given_ - proba)[:, rare], planted[:, rare]) + 0.03
    )


def test_issues_are_probabilities(world, issues):
    truth, given_, _ = world
    planted = truth != given_
    assert issues.dtype == np.float32
    assert issues.sum() == pytest.approx(planted.sum(), rel=0.15)
    for kind in (given_, ~given_):
        assert issues[kind].sum() == pytest.approx(planted[kind].sum(), rel=0.3)
    for low, high in ((0.02, 0.2), (0.2, 0.5), (0.5, 0.8), (0.8, 1)):
        inside = (issues > low) & (issues <= high)
        assert planted[inside].mean() == pytest.approx(issues[inside].mean(), abs=0.1)


def test_rates_of_mistakes_are_recovered(world):
    truth, given_, proba = world
    noise = fit_label_noise(proba, given_).noise
    common = truth.sum(axis=0) > 300
    missing = (truth & ~given_).sum(axis=0) / truth.sum(axis=0)
    wrong = (~truth & given_).sum(axis=0) / given_.sum(axis=0)
    np.testing.assert_allclose(noise.missing[common], missing[common], atol=0.06)
    np.testing.assert_allclose(noise.wrong[common], wrong[common], atol=0.05)


def test_other_labels_are_used_where_they_help():
    """Pairs of labels of which one has no informative score: only the other label shows that it is missing."""
    chance = np.random.default_rng(2)
    mates = chance.random((2000, 6)) < 0.2
    truth = np.concatenate([mates, mates & (chance.random(mates.shape) < 0.95)], axis=1)
    given_ = truth & (chance.random(truth.shape) > 0.15)
    proba = np.clip(truth * 0.8 + chance.normal(0.1, 0.1, truth.shape), 0.01, 0.99)
    proba[:, 6:] = given_[:, 6:].mean(axis=0)
    absent = ~given_[:, 6:]
    planted = truth[:, 6:][absent]
    with_others, without = (label_error_proba(proba, given_, others=others)[:, 6:][absent] for others in (True, False))
    assert precision(with_others, planted) > 0.6
    assert precision(without, planted) < 0.2
    assert fit_label_noise(proba, given_).weight > 0
    assert fit_label_noise(proba, given_, others=False).co_occurrence is None


@pytest.mark.parametrize("move", ["stretched", "with a floor"])
def test_scores_need_not_be_calibrated(world, issues, move):
    truth, given_, proba = world
    clipped = np.clip(proba.astype(float), 1e-7, 1 - 1e-7)
    logits = np.log(clipped / (1 - clipped))
    moved = 1 / (1 + np.exp(-(0.4 * logits - 2))) if move == "stretched" else 0.04 + 0.8 * proba**1.5
    assert precision(label_error_proba(moved, given_), truth != given_) > precision(issues, truth != given_) - 0.05


def test_the_order_of_labels_does_not_matter_and_truth_may_be_numbers(world, issues):
    _, given_, proba = world
    turned = label_error_proba(proba[:, ::-1], given_[:, ::-1].astype(np.float32))
    np.testing.assert_allclose(turned[:, ::-1], issues, atol=1e-4)


def test_the_list_is_the_top_of_the_matrix(world, issues):
    _, given_, proba = world
    names = [f"l{number}" for number in range(given_.shape[1])]
    table = likely_label_errors(proba, given_, names, most=300)
    assert table.columns == ["row", "label", "kind", "given", "proba", "label_error_proba"]
    assert table["label_error_proba"].is_sorted(descending=True)
    row, column = table["row"].to_numpy(), table["label"].str.slice(1).cast(pl.Int64).to_numpy()
    np.testing.assert_allclose(issues[row, column], table["label_error_proba"].to_numpy(), rtol=1e-5)
    assert table["label_error_proba"].min() >= np.sort(issues.ravel())[-301]
    assert (table["given"].to_numpy() == given_[row, column]).all()
    assert (table["kind"].to_numpy() == np.where(given_[row, column], "wrong", "missing")).all()
    assert set(table["kind"]) == {"wrong", "missing"}
    np.testing.assert_array_equal(table["proba"].to_numpy(), proba[row, column])


def test_equal_issues_are_in_the_order_of_images_and_labels():
    table = likely_label_errors(np.full((5, 2), 0.5), np.zeros((5, 2)), ["a", "b"], most=3)
    assert list(zip(table["row"], table["label"], strict=True)) == [(0, "a"), (0, "b"), (1, "a")]


def test_copies_are_in_the_same_part():
    """Copies carry the same mistakes, so a part is never fitted on copies of its own images."""
    chance = np.random.default_rng(3)
    truth = np.repeat(chance.random((200, 2)) < 0.5, 2, axis=0)
    groups = np.repeat(np.arange(200), 2)
    parts = fit_co_occurrence(truth, groups=groups).part
    assert (parts[::2] == parts[1::2]).all()
    alone = fit_co_occurrence(truth).part
    assert (alone[::2] != alone[1::2]).any()


@settings(max_examples=12, deadline=None)
@given(
    st.tuples(st.integers(1, 12), st.integers(1, 4)).flatmap(
        lambda shape: st.tuples(
            arrays(np.float32, shape, elements=st.sampled_from([0.0, 1e-30, 1e-6, 0.2, 0.5, 0.9, 1.0])),
            arrays(bool, shape),
        )
    )
)
def test_little_data_and_certain_scores_give_finite_issues(cells):
    proba, truth = cells
    issues = label_error_proba(proba, truth)
    assert ((issues >= 0) & (issues <= 1)).all()
    assert issues.shape == truth.shape


def test_a_higher_score_raises_missing_and_lowers_wrong_within_a_label():
    chance = np.random.default_rng(5)
    proba = chance.random((400, 1)).astype(np.float32)
    truth = chance.random((400, 1)) < proba
    issues, order = label_error_proba(proba, truth)[:, 0], np.argsort(proba[:, 0])
    for kind, sign in ((truth[:, 0], -1), (~truth[:, 0], 1)):
        rising = sign * issues[order[kind[order]]]
        assert (np.diff(rising) >= -1e-5).all()


def test_co_occurrence_is_ridge_regression_on_the_other_labels_of_other_images():
    chance = np.random.default_rng(1)
    truth = chance.random((60, 5)) < 0.4
    learned = fit_co_occurrence(truth)
    part = 2
    x = truth[np.arange(60) % N_PARTS != part].astype(float)
    for label in range(5):
        others = [at for at in range(5) if at != label]
        weights = np.linalg.solve(x[:, others].T @ x[:, others] + RIDGE * np.eye(4), x[:, others].T @ x[:, label])
        np.testing.assert_allclose(learned.weights[part][others, label], weights, atol=1e-5)
        assert learned.weights[part][label, label] == 0
    rows = np.array([part, part + N_PARTS])
    expected = np.clip(truth[rows].astype(float) @ learned.weights[part], 0, 1)
    wanted = np.log((expected + FLOOR * learned.share) / ((1 + FLOOR) * learned.share))
    np.testing.assert_allclose(learned.lift(truth, rows), wanted, atol=1e-5)


def test_true_rates_are_recovered_and_rare_labels_are_shrunk():
    """Use the expected counts of the model, for twelve common labels and one with five images."""
    reading = np.tile(np.linspace(-8, 8, 81), (13, 1))
    total = np.full(reading.shape, 500.0) * np.exp(-0.5 * ((reading + 3) / 3) ** 2)
    true = 1 / (1 + np.exp(-(1.3 * reading - 0.5)))
    yes = (1 - 0.2) * true + 0.004 * (1 - true)
    given_, absent = total * yes, total * (1 - yes)
    scale = 5 / given_[12].sum()
    given_[12], absent[12] = given_[12] * scale, absent[12] * scale
    noise = fit_rates(Counts(absent, given_, reading, slope=(1.0, 0.7)))
    invented = (total * 0.004 * (1 - true)).sum(axis=1) / (total * yes).sum(axis=1)
    np.testing.assert_allclose(noise.missing, 0.2, atol=0.02)
    np.testing.assert_allclose(noise.wrong[:12], invented[:12], atol=0.02)
    odds = np.log(0.2 * true / (0.996 * (1 - true)))
    middle = slice(30, 60)
    np.testing.assert_allclose(noise.if_absent[0, middle], odds[0, middle], atol=0.2)


@pytest.mark.parametrize(
    ("call", "kind", "fix"),
    [
        (lambda: label_error_proba(np.zeros((2, 3)), np.zeros((3, 2))), ShapeError, "same shape"),
        (lambda: label_error_proba(np.full((2, 2), -3.0), np.zeros((2, 2))), FieldmarkError, "sigmoid"),
        (lambda: label_error_proba(np.zeros((2, 2)), np.full((2, 2), 0.3)), FieldmarkError, "0 elsewhere"),
        (
            lambda: label_error_proba(np.zeros((2, 2)), np.zeros((2, 2)), groups=np.zeros(3, int)),
            ShapeError,
            "Collection.groups",
        ),
        (lambda: likely_label_errors(np.zeros((2, 2)), np.zeros((2, 2)), ["a"]), ShapeError, "vocabulary.tags"),
        (
            lambda: likely_label_errors(np.zeros((2, 2)), np.zeros((2, 2)), ["a", "b"], most=0),
            FieldmarkError,
            "most=1000",
        ),
    ],
)
def test_refusals(call, kind, fix):
    with pytest.raises(kind) as caught:
        call()
    assert fix in caught.value.fix

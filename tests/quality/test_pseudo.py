"""Pseudo-labels: confidence computed in loops, empty predictions, numbers of photos, limits and targets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.quality.labels.pseudo import REJECTED, confidence, pick
from fieldmark.quality.specs import (
    HardTargets,
    LabelPseudoLabelRule,
    MeanConfidence,
    PlausibleConfidence,
    SoftTargets,
    TopCount,
    TopShare,
)

PROBA = st.tuples(st.integers(1, 12), st.integers(1, 7)).flatmap(
    lambda shape: arrays(np.float32, shape, elements=st.floats(0, 1, width=32), unique=True)
)


def slow_plausible(row: list[float], rule: PlausibleConfidence) -> float:
    """Return the confidence of one image over its most likely labels and all labels above tau."""
    order = sorted(range(len(row)), key=lambda at: -row[at])
    chosen = set(order[: rule.top]) | {at for at, p in enumerate(row) if p > rule.tau}
    if not chosen or not any(p > rule.at for p in row):
        return -1.0
    return sum(abs(row[at] - 0.5) for at in chosen) / len(chosen)


@settings(max_examples=80, deadline=None)
@given(PROBA, st.integers(0, 9), st.floats(0, 1, width=32), st.floats(0, 1, width=32))
def test_plausible_confidence_equals_slow_loops(proba, top, tau, at):
    rule = PlausibleConfidence(top=top, tau=tau, at=at)
    wanted = [slow_plausible(row, rule) for row in proba.astype(float).tolist()]
    np.testing.assert_allclose(confidence(proba, rule), wanted, atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(PROBA)
def test_mean_confidence_is_the_formula_of_the_source(proba):
    np.testing.assert_allclose(confidence(proba, MeanConfidence()), np.abs(proba - 0.5).mean(axis=1), atol=1e-6)


def test_an_empty_prediction_has_the_highest_mean_confidence_and_no_plausible_confidence():
    empty, full, vague = np.full(100, 0.01), np.full(100, 0.01), np.full(100, 0.01)
    full[:3] = 0.9
    vague[:3] = 0.55
    proba = np.stack([empty, full, vague])
    assert confidence(proba, MeanConfidence()).argmax() == 0
    plausible = confidence(proba, PlausibleConfidence())
    assert plausible.argmax() == 1
    assert plausible[0] == REJECTED


def test_the_most_confident_photos_are_selected_first():
    proba = np.array([[0.6], [0.9], [0.7], [0.2], [0.9]], np.float32)
    assert pick(proba, LabelPseudoLabelRule(amount=TopCount(n=3)))[0].tolist() == [1, 4, 2]
    assert pick(proba, LabelPseudoLabelRule(amount=TopShare(share=0.4)))[0].tolist() == [1, 4]
    assert pick(proba, LabelPseudoLabelRule(amount=TopCount(n=99)))[0].tolist() == [
        1,
        4,
        2,
        0,
    ]  # the image without a predicted label is not selected
    assert pick(proba[:1], LabelPseudoLabelRule(amount=TopShare(share=0.4)))[1].shape == (0, 1)


def test_targets_are_hard_or_soft():
    proba = np.array([[0.6, 0.3], [0.9, 0.5]], np.float32)
    rows, hard = pick(proba, LabelPseudoLabelRule(amount=TopCount(n=2), targets=HardTargets(at=0.4)))
    assert rows.tolist() == [1, 0]
    assert hard.tolist() == [[1, 1], [1, 0]]
    assert hard.dtype == np.float32
    soft = pick(proba, LabelPseudoLabelRule(amount=TopCount(n=2), targets=SoftTargets()))[1]
    np.testing.assert_array_equal(soft, proba[[1, 0]])


@settings(max_examples=60, deadline=None)
@given(PROBA, st.integers(1, 4), st.integers(1, 12))
def test_the_limit_holds_for_every_label_and_is_greedy(proba, most, n):
    rule = LabelPseudoLabelRule(
        confidence=MeanConfidence(), amount=TopCount(n=n), most_per_label=most, targets=HardTargets(at=0.5)
    )
    rows, targets = pick(proba, rule)
    assert (targets.sum(axis=0) <= most).all()
    order = pick(proba, LabelPseudoLabelRule(confidence=MeanConfidence(), amount=TopCount(n=len(proba))))[0]
    remaining, wanted = np.full(proba.shape[1], most), []
    for row in order:
        labels = proba[row] > 0.5
        if len(wanted) < n and (remaining[labels] > 0).all():
            remaining[labels] -= 1
            wanted.append(row)
    assert rows.tolist() == wanted


def test_refusals():
    with pytest.raises(ShapeError, match="one probability") as caught:
        confidence(np.zeros(3), MeanConfidence())
    assert "(image, label) matrix" in caught.value.fix
    with pytest.raises(FieldmarkError, match="between 0 and 1") as caught:
        pick(np.array([[7.0]]), LabelPseudoLabelRule())
    assert "sigmoid" in caught.value.fix

"""Recalibrated and estimated shares, compared with closed forms and a simulated shift."""

from __future__ import annotations

import numpy as np
import pytest

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.decisions.priors import estimated_shares, recalibrate, shares

QUESTION_OF = np.array([0, 0, 0, 1, 1])


def test_shares_count_labelled_photos_and_divide_photos_with_several_answers():
    nan = np.nan
    truth = np.array([[1, 1, 0, 1, 0], [0, 1, 0, nan, nan], [nan, nan, nan, 0, 1], [0, 0, 0, 0, 1]])
    np.testing.assert_allclose(shares(truth, QUESTION_OF), [0.25, 0.75, 0, 1 / 3, 2 / 3])
    np.testing.assert_allclose(shares(truth, QUESTION_OF, smooth=1), [1.5 / 5, 2.5 / 5, 1 / 5, 2 / 5, 3 / 5])
    np.testing.assert_allclose(shares(np.full((2, 5), nan), QUESTION_OF), [1 / 3, 1 / 3, 1 / 3, 1 / 2, 1 / 2])


def world(target, n=20_000, seed=0):
    """Three answers with one noisy number: the exact probabilities under equal shares, and the truth."""
    chance = np.random.default_rng(seed)
    right = chance.choice(3, size=n, p=target)
    observed = chance.normal(np.array([-1.2, 0.0, 1.5])[right], 1.0)
    likely = np.exp(-0.5 * (observed[:, None] - np.array([-1.2, 0.0, 1.5])) ** 2)
    return likely, right


def posterior(likely, prior):
    joint = likely * prior
    return joint / joint.sum(axis=1, keepdims=True)


ONE = np.array([0, 0, 0])


def test_bayes_gives_the_posterior_of_the_new_shares_exactly():
    have, want = np.array([0.5, 0.3, 0.2]), np.array([0.1, 0.2, 0.7])
    likely, _ = world(want, n=500)
    changed = recalibrate(posterior(likely, have), ONE, have=have, want=want)
    np.testing.assert_allclose(changed, posterior(likely, want), atol=1e-6)


def test_bayes_of_two_answers_is_the_binary_formula():
    p, s, t = np.linspace(0.01, 0.99, 9), 0.3, 0.8
    changed = recalibrate(
        np.stack([p, 1 - p], axis=1), np.array([0, 0]), have=np.array([s, 1 - s]), want=np.array([t, 1 - t])
    )
    np.testing.assert_allclose(changed[:, 0], (t / s * p) / (t / s * p + (1 - t) / (1 - s) * (1 - p)), atol=1e-6)


def test_per_class_is_the_contests_formula_in_its_order():
    have, want = np.array([0.5, 0.3, 0.2]), np.array([0.1, 0.2, 0.7])
    proba = posterior(world(want, n=50)[0], have)
    slow = np.array([[t * p / (t * p + s * (1 - p)) for p, s, t in zip(row, have, want, strict=True)] for row in proba])
    changed = recalibrate(proba, ONE, have=have, want=want, form="per_class")
    np.testing.assert_allclose(changed, slow / slow.sum(axis=1, keepdims=True), atol=1e-6)


@pytest.mark.parametrize("form", ["bayes", "per_class"])
def test_unchanged_shares_change_nothing_and_questions_are_independent(form):
    chance = np.random.default_rng(1)
    proba = np.concatenate([chance.dirichlet(np.ones(n), 40) for n in (3, 2)], axis=1)
    have = np.array([0.2, 0.3, 0.5, 0.6, 0.4])
    np.testing.assert_allclose(recalibrate(proba, QUESTION_OF, have=have, want=have, form=form), proba, atol=1e-6)
    moved = recalibrate(proba, QUESTION_OF, have=have, want=np.array([0.2, 0.3, 0.5, 0.1, 0.9]), form=form)
    np.testing.assert_allclose(moved[:, :3], proba[:, :3], atol=1e-6)
    np.testing.assert_allclose(np.add.reduceat(moved, [0, 3], axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("form", ["bayes", "per_class"])
def test_certain_answers_and_answers_that_do_not_occur_stay_finite(form):
    have, want = np.array([0.5, 0.3, 0.2]), np.array([0.0, 0.4, 0.6])
    changed = recalibrate(np.array([[1.0, 0, 0], [0, 1, 0], [0.5, 0.5, 0]]), ONE, have=have, want=want, form=form)
    np.testing.assert_allclose(changed, [[0, 0.4, 0.6], [0, 1, 0], [0, 1, 0]], atol=1e-6)


def test_a_simulated_shift_is_estimated_from_unlabelled_photos_and_improves_the_answers():
    have, want = np.array([0.6, 0.3, 0.1]), np.array([0.1, 0.15, 0.75])
    likely, right = world(want)
    proba = posterior(likely, have)
    found = estimated_shares(proba, ONE, have=have)
    true = np.bincount(right) / len(right)
    assert np.abs(proba.mean(axis=0) - true).max() > 0.1
    np.testing.assert_allclose(found, true, atol=0.02)
    before = (proba.argmax(axis=1) != right).mean()
    after = (recalibrate(proba, ONE, have=have, want=found).argmax(axis=1) != right).mean()
    best = (posterior(likely, want).argmax(axis=1) != right).mean()
    assert after < before - 0.05
    assert after < best + 0.005


def test_em_equals_the_slow_em_and_every_round_raises_the_likelihood():
    have = np.array([0.6, 0.3, 0.1])
    likely, _ = world(np.array([0.2, 0.2, 0.6]), n=300)
    proba, want, likelihoods = posterior(likely, have), have, []
    for rounds in range(1, 6):
        slow = np.zeros(3)
        for row in proba:
            joint = [p * w / h for p, w, h in zip(row, want, have, strict=True)]
            slow += np.array(joint) / sum(joint) / len(proba)
        want = slow
        np.testing.assert_allclose(estimated_shares(proba, ONE, have=have, rounds=rounds), want, atol=1e-9)
        likelihoods.append(np.log((proba * want / have).sum(axis=1)).sum())
    assert np.all(np.diff(likelihoods) > 0)


def test_an_answer_missing_from_training_stays_at_0():
    have, proba = np.array([0.5, 0.5, 0.0]), np.array([[0.2, 0.8, 0.0], [0.1, 0.9, 0.0], [0.0, 0.0, 1.0]])
    want = estimated_shares(proba, ONE, have=have)
    assert want[2] == 0
    assert want.sum() == pytest.approx(1)
    np.testing.assert_allclose(recalibrate(proba, ONE, have=have, want=want)[2], want, atol=1e-6)


def test_no_shift_is_estimated_where_there_is_none():
    have = np.array([0.5, 0.3, 0.2])
    likely, right = world(have)
    np.testing.assert_allclose(
        estimated_shares(posterior(likely, have), ONE, have=have), np.bincount(right) / len(right), atol=0.02
    )


def test_errors_say_what_to_do():
    proba = np.full((2, 3), 1 / 3)
    good = np.array([0.5, 0.3, 0.2])
    with pytest.raises(FieldmarkError) as raised:
        recalibrate(proba, ONE, have=np.array([0.5, 0.5, 0.0]), want=good)
    assert "smooth=1" in raised.value.fix
    for have in (np.array([1.5, -0.5, 0.0]), np.array([0.5, 0.3, 0.3]), np.array([np.nan, 0.5, 0.5])):
        with pytest.raises(FieldmarkError) as raised:
            recalibrate(proba, ONE, have=have, want=good)
        assert "smooth=1" in raised.value.fix
    with pytest.raises(ShapeError) as raised:
        recalibrate(proba, ONE, have=good[:2], want=good)
    assert "pass shares(" in raised.value.fix
    with pytest.raises(FieldmarkError) as raised:
        recalibrate(proba, ONE, have=good, want=good, form="binary")  # type: ignore[arg-type]
    assert '"bayes"' in raised.value.fix
    with pytest.raises(FieldmarkError) as raised:
        shares(proba, ONE, smooth=-1)
    assert "smooth=0" in raised.value.fix
    with pytest.raises(FieldmarkError) as raised:
        estimated_shares(proba[:0], ONE, have=good)
    assert "one row or more" in raised.value.fix

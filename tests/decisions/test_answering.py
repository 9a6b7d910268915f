"""Logits to probabilities within each question, and conditional on parent answers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldmark.core.errors import ShapeError
from fieldmark.decisions.answering import compete, conditional

QUESTION_OF = np.array([0, 0, 1, 1, 1, 2, 2])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 9999), shift=st.floats(-50, 50))
def test_probabilities_are_a_softmax_within_a_question_and_independent_of_others(seed, shift):
    logits = np.random.default_rng(seed).normal(size=(4, 7)) * 5
    shares = compete(logits, QUESTION_OF)
    for columns in (slice(0, 2), slice(2, 5), slice(5, 7)):
        powers = np.exp(logits[:, columns])
        np.testing.assert_allclose(shares[:, columns], powers / powers.sum(axis=1, keepdims=True), rtol=1e-9)
    moved = logits.copy()
    moved[:, 2:5] += shift
    np.testing.assert_allclose(compete(moved, QUESTION_OF), shares, rtol=1e-6, atol=1e-12)


def test_impossible_answers_get_probability_0():
    logits = np.array([[0.0, -np.inf, -np.inf, -np.inf, -np.inf, 1e4, -1e4]])
    shares = compete(logits, QUESTION_OF)[0]
    assert shares[:2].tolist() == [1.0, 0.0]
    np.testing.assert_allclose(shares[2:5], 1 / 3)
    assert shares[5:].tolist() == [1.0, 0.0]


def test_conditional_multiplies_by_the_parent_and_sums_over_parents():
    # Question 0 is the parent of question 1: answer 2 is a child of 0, answer 3 of both, answer 4 of 1.
    below = [[], [], [0], [0, 1], [1], [], []]
    logits = np.array([[1.0, 0.0, 0.5, -0.5, 2.0, 0.0, 0.0]])
    proba = conditional(logits, QUESTION_OF, below)[0]
    top = np.exp([1.0, 0.0]) / np.exp([1.0, 0.0]).sum()
    of_first = np.exp([0.5, -0.5]) / np.exp([0.5, -0.5]).sum()
    of_second = np.exp([-0.5, 2.0]) / np.exp([-0.5, 2.0]).sum()
    wanted = [top[0] * of_first[0], top[0] * of_first[1] + top[1] * of_second[0], top[1] * of_second[1]]
    np.testing.assert_allclose(proba[2:5], wanted)
    np.testing.assert_allclose(proba[:2], top)


def test_a_parent_answer_without_children_is_left_out():
    below = [[], [], [0], [0], [0], [], []]
    proba = conditional(np.zeros((1, 7)), QUESTION_OF, below)[0]
    np.testing.assert_allclose(proba[2:5], 1 / 3)


def test_refuses_logits_of_another_shape():
    with pytest.raises(ShapeError) as refusal:
        compete(np.zeros((2, 3)), QUESTION_OF)
    assert "7 columns" in refusal.value.fix

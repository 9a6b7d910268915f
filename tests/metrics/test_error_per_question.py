"""Error rates for questions with several right answers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.metrics.questions import error_per_question

QUESTION_OF = np.array([0, 0, 1, 1, 1, 2])


def slow_error(answer, truth, question_of):
    wrong, pairs = {}, {}
    for image, answers in enumerate(answer):
        for question, label in enumerate(answers):
            right = [x for x in range(len(question_of)) if question_of[x] == question and truth[image][x]]
            if not right:
                continue
            pairs[question] = pairs.get(question, 0) + 1
            wrong[question] = wrong.get(question, 0) + (label not in right)
    return wrong, pairs


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 9))
def test_equals_slow_loops(seed, n):
    chance = np.random.default_rng(seed)
    truth = chance.random((n, 6)) < 0.4
    truth[0, 0] = True
    answer = np.stack([chance.choice([0, 1, -1], n), chance.choice([2, 3, 4], n), chance.choice([5, -1], n)], axis=1)
    wrong, pairs = slow_error(answer.tolist(), truth.tolist(), QUESTION_OF.tolist())
    errors = error_per_question(answer, truth, QUESTION_OF)
    assert errors.mean == pytest.approx(sum(wrong.values()) / sum(pairs.values()))
    assert errors.n_pairs.tolist() == [pairs.get(question, 0) for question in range(3)]
    for question in range(3):
        if question in pairs:
            assert errors.of_question[question] == pytest.approx(wrong[question] / pairs[question])
        else:
            assert np.isnan(errors.of_question[question])


def test_any_of_the_right_answers_is_right_and_questions_without_truth_are_skipped():
    truth = np.array([[1, 1, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0]])
    errors = error_per_question(np.array([[1, 2, 5], [0, 3, 5]]), truth, QUESTION_OF)
    assert errors.of_question[:2].tolist() == [0, 1]
    assert np.isnan(errors.of_question[2])
    assert errors.mean == 0.5


@pytest.mark.parametrize(
    ("answer", "truth", "error", "fix"),
    [
        (np.zeros((0, 3), int), np.ones((0, 6)), ShapeError, "at least one image"),
        (np.array([[0, 2, 5]]), np.ones((1, 5)), ShapeError, "(image, label)"),
        (np.array([[2, 2, 5]]), np.ones((1, 6)), FieldmarkError, "question_of == question"),
        (np.array([[0, 2, 6]]), np.ones((1, 6)), FieldmarkError, "question_of == question"),
        (np.array([[0, 2, 5]]), np.zeros((1, 6)), FieldmarkError, "labels"),
    ],
)
def test_refusals_say_what_to_do(answer, truth, error, fix):
    with pytest.raises(error) as refusal:
        error_per_question(answer, truth, QUESTION_OF)
    assert fix in refusal.value.fix

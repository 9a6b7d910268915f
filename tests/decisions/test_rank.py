"""Ranking with unknown individuals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.decisions import ranking
from fieldmark.decisions.ranking import EMPTY, UNKNOWN, candidates, rank, top

SCORES = arrays(
    np.float32,
    array_shapes(min_dims=2, max_dims=2, max_side=8),
    elements=st.sampled_from([-np.inf, -2.5, -1.0, -0.5, 0.0, 0.25, 1.0]),
)


def slow_rank(row, unknown_at, k):
    named = sorted((c for c in range(len(row)) if row[c] > -np.inf), key=lambda c: (-row[c], c))
    answer = named
    if unknown_at is not None:
        answer = [c for c in named if row[c] > unknown_at] + [-1] + [c for c in named if row[c] <= unknown_at]
    return (answer + [-2] * k)[:k]


@settings(max_examples=150, deadline=None)
@given(SCORES, st.sampled_from([None, -3.0, -1.0, -0.75, 0.0, 1.0, 2.0, -np.inf, np.inf]), st.integers(1, 9))
def test_equals_slow_loops(scores, unknown_at, k):
    answer = rank(scores, unknown_at=unknown_at, k=k)
    assert answer.dtype == np.int64
    assert answer.tolist() == [slow_rank(row, unknown_at, k) for row in scores.tolist()]


def test_a_class_must_be_strictly_above_the_threshold():
    scores = np.array([[0.5, 0.2]])
    assert rank(scores, unknown_at=0.5, k=2).tolist() == [[-1, 0]]
    assert rank(scores, unknown_at=0.4999, k=2).tolist() == [[0, -1]]


def test_a_threshold_just_below_a_float32_score_is_not_rounded_onto_it():
    score = np.float32(0.1)
    just_below = float(np.nextafter(np.float64(score), 0))
    assert rank(np.array([[score]]), unknown_at=just_below, k=1).tolist() == [[0]]


def test_rows_are_full_while_candidates_are_left_and_empty_places_hold_no_name():
    scores = np.array([[0.3, -np.inf, -4.0]])
    assert rank(scores, unknown_at=None, k=4).tolist() == [[0, 2, EMPTY, EMPTY]]
    assert rank(scores, unknown_at=0.0, k=4).tolist() == [[0, UNKNOWN, 2, EMPTY]]
    assert rank(scores, unknown_at=0.0, k=2).tolist() == [[0, UNKNOWN]]


def test_many_ties_at_the_last_place_go_to_the_lowest_classes():
    scores = np.zeros((3, 5000), np.float32)
    scores[:, 4000] = 1
    assert rank(scores, unknown_at=None, k=5).tolist() == [[4000, 0, 1, 2, 3]] * 3


def test_the_result_does_not_depend_on_the_block_size(monkeypatch):
    scores = np.random.default_rng(0).normal(size=(50, 30)).round(1)
    whole = top(scores, k=5)
    monkeypatch.setattr(ranking, "ROW_BLOCK", 7)
    for one, other in zip(whole, top(scores, k=5), strict=True):
        assert (one == other).all()
    assert (np.diff(whole[1], axis=1) <= 0).all()


def test_candidates_have_no_empty_places():
    rows = candidates(np.array([[0.75, -np.inf, 0.25]]), unknown_at=0.5, k=5)
    assert [(c.place, c.identity, c.score, c.is_unknown) for c in rows[0]] == [
        (1, 0, 0.75, False),
        (2, -1, 0.5, True),
        (3, 2, 0.25, False),
    ]


@pytest.mark.parametrize(
    ("scores", "options", "error", "fix"),
    [
        (np.zeros((0, 3)), {}, ShapeError, "at least one"),
        (np.zeros((3, 0)), {}, ShapeError, "at least one"),
        (np.zeros(3), {}, ShapeError, "one row per query"),
        (np.zeros((1, 3)), {"k": 0}, FieldmarkError, "k=5"),
        (np.array([[0.0, np.nan, 1.0, 2.0]]), {"k": 1}, FieldmarkError, "network's outputs"),
        (np.array([[0.0, np.inf]]), {}, FieldmarkError, "network's outputs"),
        (np.zeros((1, 3)), {"unknown_at": np.nan}, FieldmarkError, "None"),
    ],
)
def test_errors_say_what_to_do(scores, options, error, fix):
    with pytest.raises(error) as refusal:
        rank(scores, **{"unknown_at": None, **options})
    assert fix in refusal.value.fix

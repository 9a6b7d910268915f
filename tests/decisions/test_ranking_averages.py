"""Averages of several models' rankings, compared with slow loops."""

from __future__ import annotations

import numpy as np
import pytest

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.decisions.ranking import rank
from fieldmark.decisions.ranking_averages import ScoreScale, average_rankings
from fieldmark.decisions.specs import ByRank, ByScore, ByVote


def three(seed=0, n=20, n_classes=12):
    chance = np.random.default_rng(seed)
    return [
        (chance.normal(size=(n, n_classes)) * wide + shift).astype(np.float32)
        for wide, shift in ((1, 0), (0.01, 5), (50, -9))
    ]


def slow_votes(scores, unknown_at, worth, weights):
    """Each model's votes, one name at a time; -1 is an unknown individual."""
    given = {}
    for row, at, weight in zip(scores, unknown_at, weights, strict=True):
        ballot = sorted([(-value, 1, name) for name, value in enumerate(row)] + [(-at, 0, -1)])
        for place, (_, _, name) in enumerate(ballot[: len(worth)]):
            given[name] = given.get(name, 0) + weight * worth[place]
    return given


@pytest.mark.parametrize("by", [ByVote(), ByVote(worth=(3.0, 1.0)), ByRank(depth=4)])
def test_ranks_and_votes_equal_slow_votes(by):
    scores, unknown_at, weights = three(), [0.5, 5.002, 10.0], [1.0, 2.0, 0.5]
    worth = [1 - place / 4 for place in range(4)] if by.kind == "rank" else by.worth
    ensemble_lines = average_rankings(scores, by=by, weights=weights, unknown_at=unknown_at)
    for row in range(len(ensemble_lines)):
        given = slow_votes([one[row] for one in scores], unknown_at, worth, np.array(weights) / 3.5)
        for name in range(12):
            assert ensemble_lines[row, name] == pytest.approx(given.get(name, 0) - given.get(-1, 0), abs=2e-4)


def test_scales_make_models_comparable():
    """The third model's scores have 5,000 times the range of the second's, and the same weight."""
    scores = three()
    scales = [ScoreScale.of(one) for one in scores]
    ensemble_lines = average_rankings(scores, by=ByScore(), scales=scales)
    slow = (
        sum((one.astype(np.float64) - scale.centre) / scale.spread for one, scale in zip(scores, scales, strict=True))
        / 3
    )
    np.testing.assert_allclose(ensemble_lines, slow, atol=1e-4)
    shifted = [scores[0], scores[1] * 100 - 3, scores[2]]
    np.testing.assert_allclose(average_rankings(shifted), average_rankings(scores), atol=1e-3)


def test_one_model_keeps_its_order_under_every_rule():
    scores = three()[0]
    for by in (ByScore(), ByRank(depth=5), ByVote()):
        ensemble_lines = average_rankings([scores], by=by, unknown_at=[0.7])
        at = 0.0 if by.kind != "score" else (0.7 - ScoreScale.of(scores).centre) / ScoreScale.of(scores).spread
        assert (rank(ensemble_lines, unknown_at=at, k=5) == rank(scores, unknown_at=0.7, k=5)).all()


def test_two_low_votes_beat_one_high_vote():
    scores = [np.array([[0.9, 0.5, 0.0]]), np.array([[0.1, 0.2, 0.0]]), np.array([[0.1, 0.2, 0.0]])]
    vote = average_rankings(scores, by=ByVote(worth=(1.0,)), unknown_at=[0.0, 0.0, 0.0])
    assert rank(vote, unknown_at=0.0, k=1)[0, 0] == 1


def test_minus_infinity_in_all_models_stays_and_in_one_counts_as_the_lowest():
    scores = [np.array([[1.0, -np.inf, -np.inf]]), np.array([[0.0, 3.0, -np.inf]])]
    for by in (ByScore(), ByRank(), ByVote()):
        ensemble_lines = average_rankings(scores, by=by, unknown_at=[-5.0, -5.0])
        assert np.isfinite(ensemble_lines[0, :2]).all()
        assert ensemble_lines[0, 2] == -np.inf


def test_thresholds_may_differ_by_query():
    scores = three()[:1]
    at = np.where(np.arange(20) % 2, 100.0, -100.0)
    ensemble_lines = average_rankings(scores, by=ByVote(), unknown_at=[at])
    assert (rank(ensemble_lines, unknown_at=0.0, k=1)[:, 0] == -1).tolist() == [bool(row % 2) for row in range(20)]


@pytest.mark.parametrize(
    ("call", "error", "fix"),
    [
        (lambda: average_rankings([]), ShapeError, "list of"),
        (lambda: average_rankings([np.ones((2, 3)), np.ones((3, 2))]), ShapeError, "one shape"),
        (lambda: average_rankings([np.ones((2, 3))], weights=[0.0]), FieldmarkError, "pass 1 of each"),
        (lambda: average_rankings([np.ones((2, 3))], weights=[1.0, 1.0]), FieldmarkError, "pass 1 of each"),
        (lambda: average_rankings([np.ones((2, 3))], by=ByVote()), FieldmarkError, "need unknown_at"),
    ],
)
def test_errors_say_what_to_do(call, error, fix):
    with pytest.raises(error) as refusal:
        call()
    assert fix in refusal.value.fix

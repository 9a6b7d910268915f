"""Swapped and transposed rankings, on small tables."""

from __future__ import annotations

import numpy as np
import pytest

from fieldmark.core.errors import ShapeError
from fieldmark.decisions.post_processing import apply_post_processing
from fieldmark.decisions.ranking import rank
from fieldmark.decisions.specs import Swap, Transposed


def again(scores, *rules, unknown_at=0.2, n_photos=None):
    scores = np.asarray(scores, np.float32)
    n_photos = np.full(scores.shape[1], 5) if n_photos is None else np.asarray(n_photos)
    changed = apply_post_processing(scores, rules, unknown_at=unknown_at, n_photos=n_photos)
    return rank(changed, unknown_at=unknown_at, k=3).tolist()


def test_a_name_used_twice_is_swapped_for_an_unused_one_where_the_lead_is_small():
    scores = [[0.9, 0.1, 0.0], [0.9, 0.85, 0.0]]
    assert again(scores, Swap(lead=0.3)) == [[0, -1, 1], [1, 0, -1]]
    assert again(scores, Swap(lead=0.01)) == [[0, -1, 1], [0, 1, -1]]
    assert again(scores, Swap(lead=0.3, used=3)) == [[0, -1, 1], [0, 1, -1]]


def test_counts_are_updated_after_each_swap():
    """Both rows could be swapped; the one with the smaller lead is, and then the name is used only once."""
    scores = [[0.9, 0.80, 0.0], [0.9, 0.0, 0.85]]
    assert [row[0] for row in again(scores, Swap(lead=0.3))] == [0, 2]


def test_names_already_first_elsewhere_and_unknowns_are_left_alone():
    assert [row[0] for row in again([[0.9, 0.85, 0], [0.9, 0.1, 0], [0.1, 0.9, 0]], Swap())] == [0, 0, 1]
    assert [row[0] for row in again([[0.15, 0.1, 0], [0.9, 0.1, 0], [0.9, 0.0, 0.1]], Swap(lead=0.1))] == [-1, 0, 0]


def test_neighbours_further_down_are_exchanged_only_with_adjacent():
    scores = [[0.9, 0.1, 0.0, 0.0], [0.9, 0.1, 0.0, 0.0], [0.5, 0.9, 0.0, 0.45]]
    assert again(scores, Swap(lead=0.1))[2] == [1, 0, 3]
    assert again(scores, Swap(lead=0.1, adjacent=True))[2] == [1, 3, 0]


def test_an_individual_of_one_photo_gets_the_photo_most_similar_to_it():
    scores, single = [[0.9, 0.7, 0.0], [0.9, 0.3, 0.0]], [5, 1, 5]
    assert again(scores, Transposed(at=0.46), n_photos=single)[0][:2] == [1, 0]
    assert again(scores, Transposed(at=0.8), n_photos=single)[0][:2] == [0, 1]
    assert again(scores, Transposed(at=0.46))[0][:2] == [0, 1]  # it has five photos, so it is not ranked this way


def test_it_comes_before_unknown_only_where_it_is_unused():
    scores = [[0.1, 0.5, 0.0], [0.9, 0.1, 0.0]]
    assert again(scores, Transposed(at=0.4), unknown_at=0.6, n_photos=[5, 1, 5])[0][0] == 1
    assert again(scores, Transposed(at=0.4, over_new=False), unknown_at=0.6, n_photos=[5, 1, 5])[0][0] == -1
    used = [[0.1, 0.5, 0.0], [0.0, 0.7, 0.0]]
    assert again(used, Transposed(at=0.4), unknown_at=0.6, n_photos=[5, 1, 5])[0][0] == -1


def test_the_given_scores_are_not_changed_and_the_shape_is_checked():
    scores = np.array([[0.9, 0.85], [0.9, 0.0]], np.float32)
    before = scores.copy()
    apply_post_processing(scores, [Swap()], unknown_at=0.1, n_photos=np.array([5, 5]))
    assert (scores == before).all()
    with pytest.raises(ShapeError) as refusal:
        apply_post_processing(scores, [Swap()], unknown_at=0.1, n_photos=np.array([5]))
    assert "bincount" in refusal.value.fix

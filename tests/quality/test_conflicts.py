"""Conflicts between the names of near-duplicates, and identities that may be the same individual."""

import numpy as np
import pytest

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.quality.duplicates.conflicts import (
    IdentityPair,
    merge_pairs,
    sharing,
    similar,
    taken_over,
    verdict,
)


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        ([3, 3], "same name"),
        ([3, -2, 3], "same name"),
        ([3, 5], "two names"),
        ([3, 5, -1], "two names"),
        ([3, -1, -2], "unknown and named"),
        ([-1, -1], "same name"),
        ([-2, -2], "no name"),
    ],
)
def test_verdicts(classes: list[int], words: str) -> None:
    assert verdict(classes) == words


def test_names_are_filled_only_for_unnamed_photos_whose_duplicates_agree() -> None:
    group = np.array([0, 0, 1, 1, 1, 2, 2, 3, 4, 4])
    classes = np.array([7, -2, 7, 8, -2, -1, -2, -2, 3, 3])
    assert taken_over(group, classes).tolist() == [7, 7, 7, 8, -2, -1, -1, -2, 3, 3]
    assert classes.tolist()[1] == -2


def test_no_photos_take_over_nothing() -> None:
    assert taken_over(np.zeros(0, np.int64), np.zeros(0, np.int64)).tolist() == []


def test_taking_over_needs_a_class_for_every_photo() -> None:
    with pytest.raises(ShapeError) as caught:
        taken_over(np.array([0, 1]), np.array([0]))
    assert "-2 for a photo without a name" in caught.value.fix


def test_identities_that_share_pictures_are_counted_by_picture() -> None:
    group = np.array([0, 0, 0, 1, 1, 2, 2, 3, 3])
    classes = np.array([1, 4, 4, 4, 1, 5, 2, -1, 5])
    assert [(one.first, one.second, one.n_shared) for one in sharing(group, classes)] == [(1, 4, 2), (2, 5, 1)]


def directions(n: int, dim: int = 32, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(n, dim))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def around(centres: np.ndarray, identity: list[int], noise: float = 0.1) -> np.ndarray:
    rows = centres[identity] + noise * directions(len(identity), seed=9)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def centroid_likeness(embedding: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return the cosines between the mean embeddings of identities."""
    centroid = np.stack([embedding[classes == one].sum(axis=0) for one in range(classes.max() + 1)])
    unit = centroid / np.linalg.norm(centroid, axis=1, keepdims=True)
    return unit @ unit.T


def test_two_names_with_similar_photos_are_suggested_and_no_others() -> None:
    centres = directions(40)
    centres[33] = centres[4]
    identity = [one for one in range(40) for _ in range(3)]
    likeness = centroid_likeness(around(centres, identity), np.array(identity))
    assert np.allclose(np.diag(likeness), 1, atol=1e-5)
    (found,) = similar(likeness)
    assert (found.first, found.second) == (4, 33)
    assert found.cosine > 0.95
    assert 0.9 < found.score < 1


def test_equally_near_identities_are_not_suggested() -> None:
    centres = directions(40, seed=3)
    assert similar(centroid_likeness(centres, np.arange(40))) == []


def test_only_mutual_nearest_neighbours_are_a_pair() -> None:
    likeness = np.full((30, 30), 0.1) + np.random.default_rng(0).normal(0, 0.01, (30, 30))
    likeness = (likeness + likeness.T) / 2
    likeness[2, 3] = likeness[3, 2] = 0.9
    likeness[2, 5] = likeness[5, 2] = 0.8
    assert [(one.first, one.second) for one in similar(likeness)] == [(2, 3)]


def test_values_known_in_one_direction_are_used_and_nan_is_ignored() -> None:
    likeness = np.full((20, 20), np.nan)
    likeness[:5] = 0.1 + 0.001 * np.arange(20)
    likeness[1, 17] = 0.95
    assert [(one.first, one.second) for one in similar(likeness)] == [(1, 17)]


def test_merged_pairs_with_shared_pictures_come_first() -> None:
    shared = [IdentityPair(1, 2, n_shared=1, score=1.0), IdentityPair(3, 4, n_shared=2, score=2.0)]
    by_similarity = [IdentityPair(5, 6, cosine=0.9, score=0.99), IdentityPair(1, 2, cosine=0.8, score=0.9)]
    found = merge_pairs(shared, by_similarity)
    assert [(one.first, one.second) for one in found] == [(3, 4), (1, 2), (5, 6)]
    assert found[1] == IdentityPair(1, 2, n_shared=1, cosine=0.8, score=1.9)


def test_errors_give_a_fix() -> None:
    with pytest.raises(ShapeError) as caught:
        similar(np.zeros((2, 3)))
    assert "square" in caught.value.fix
    with pytest.raises(FieldmarkError) as caught:
        similar(np.full((5, 5), np.nan))
    assert "three identities" in caught.value.fix

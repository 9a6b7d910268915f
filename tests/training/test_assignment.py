"""Opponents and partners, compared with all permutations."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldmark.core.errors import DataError
from fieldmark.training.assignment import (
    AllOpponents,
    NearestOpponents,
    Opponents,
    pairs_order,
    partners,
    random_assignment,
)

SIX = np.array([4, 4, 9, 9, 7, 7])
CLASSES = st.lists(st.integers(2, 5), min_size=2, max_size=7).map(
    lambda sizes: np.random.default_rng(sum(sizes)).permutation(np.repeat(np.arange(len(sizes)) * 3, sizes))
)


def chance(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def vectors(n: int, seed: int = 0, dim: int = 5) -> np.ndarray:
    drawn = chance(seed).normal(size=(n, dim)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def ways(classes: np.ndarray, *, closed: set[tuple[int, int]]) -> list[tuple[int, ...]]:
    """All permutations without pairs of the same identity and without closed pairs."""
    return [
        way
        for way in itertools.permutations(range(len(classes)))
        if all(classes[i] != classes[j] and (i, j) not in closed for i, j in enumerate(way))
    ]


def total(likeness: np.ndarray, way: tuple[int, ...] | np.ndarray) -> float:
    return sum(float(likeness[i, j]) for i, j in enumerate(way))


def both(embedding: np.ndarray, classes: np.ndarray, *, noise: float = 0.0, seed: int = 0) -> list[Opponents]:
    """Both forms on one problem; the sparse one with all neighbours."""
    return [
        AllOpponents(embedding @ embedding.T, classes, noise=noise, rng=chance(seed)),
        NearestOpponents(embedding, classes, k=len(classes), noise=noise, rng=chance(seed), n_draws=3),
    ]


@pytest.mark.parametrize("seed", range(4))
def test_each_draw_is_the_most_similar_unused_permutation(seed: int) -> None:
    embedding = vectors(6, seed)
    likeness = embedding @ embedding.T
    for opponents in both(embedding, SIX):
        closed: set[tuple[int, int]] = set()
        for _ in range(2):
            drawn = opponents.draw()
            best = max(total(likeness, way) for way in ways(SIX, closed=closed))
            assert total(likeness, drawn) == pytest.approx(best, abs=1e-5)
            closed |= {(i, int(j)) for i, j in enumerate(drawn)} | {(int(j), i) for i, j in enumerate(drawn)}


@given(classes=CLASSES, seed=st.integers(0, 99), noise=st.sampled_from([0.0, 0.5, 1000.0]))
@settings(max_examples=30, deadline=None)
def test_every_photo_has_one_opponent_of_another_identity_and_no_pair_twice(
    classes: np.ndarray, seed: int, noise: float
) -> None:
    n = len(classes)
    if 2 * np.bincount(classes).max() > n:
        return
    for opponents in both(vectors(n, seed), classes, noise=noise, seed=seed):
        for _ in range(4):  # few photos use up all pairs soon; drawing continues
            drawn = opponents.draw()
            assert sorted(drawn) == list(range(n))
            assert (classes[drawn] != classes).all()


def test_used_pairs_do_not_return_until_the_next_round() -> None:
    classes = np.repeat(np.arange(30), 3)
    for opponents in both(vectors(90), classes, noise=0.1):
        seen: set[frozenset[int]] = set()
        for _ in range(5):
            pairs = {frozenset((i, int(j))) for i, j in enumerate(opponents.draw())}
            assert not pairs & seen
            seen |= pairs


def test_all_pairs_are_reused_when_none_is_left() -> None:
    """Two identities with two photos have only two assignments without a common pair."""
    classes = np.array([0, 0, 1, 1])
    for opponents in both(vectors(4), classes):
        first, second, third = (opponents.draw() for _ in range(3))
        assert not np.array_equal(first, second)
        assert np.array_equal(np.sort(classes[third]), np.sort(classes))


@pytest.mark.parametrize("form", [0, 1])
def test_little_noise_keeps_the_hardest_and_much_noise_is_random(form: int) -> None:
    classes, embedding = np.repeat(np.arange(40), 4), vectors(160, dim=8)
    likeness = embedding @ embedding.T

    def mean(noise: float, seed: int) -> float:
        return total(likeness, both(embedding, classes, noise=noise, seed=seed)[form].draw()) / 160

    hardest, little, much = mean(0, 0), mean(1e-4, 0), np.mean([mean(1e4, seed) for seed in range(3)])
    assert little == pytest.approx(hardest, abs=1e-3)
    assert hardest > 0.6
    assert abs(much - likeness[classes[:, None] != classes].mean()) < 0.1
    assert mean(0.5, 0) != mean(0.5, 1)


def test_few_neighbours_cost_little_and_an_assignment_always_exists() -> None:
    rng = chance(3)
    classes = np.repeat(np.arange(100), rng.integers(2, 6, 100))
    centres = rng.normal(size=(20, 16))
    embedding = (centres[classes % 20] + rng.normal(size=(len(classes), 16))).astype(np.float32)
    embedding /= np.linalg.norm(embedding, axis=1, keepdims=True)
    likeness = embedding @ embedding.T
    best = total(likeness, AllOpponents(likeness, classes, noise=0, rng=chance()).draw())
    near = NearestOpponents(embedding, classes, k=32, noise=0, rng=chance())
    assert total(likeness, near.draw()) > 0.999 * best
    lonely = NearestOpponents(embedding, classes, k=1, noise=0, rng=chance(), n_draws=2)
    for _ in range(6):
        assert sorted(lonely.draw()) == list(range(len(classes)))


def test_the_sparse_form_computes_only_the_similarity_of_its_pairs() -> None:
    classes, embedding = np.repeat(np.arange(10), 2), vectors(20)
    asked: list[tuple[int, int]] = []

    def contrary(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        asked.extend(zip(first.tolist(), second.tolist(), strict=True))
        return -(embedding[first] * embedding[second]).sum(axis=1)

    near = NearestOpponents(embedding, classes, k=18, noise=0, rng=chance(), compare=contrary)
    likeness = embedding @ embedding.T
    least = AllOpponents(-likeness, classes, noise=0, rng=chance())
    assert total(likeness, near.draw()) == pytest.approx(total(likeness, least.draw()), abs=1e-4)
    assert len(asked) == len(set(asked)) == 20 * 18


def test_another_solver_can_be_used() -> None:
    def shifted(cost: np.ndarray) -> np.ndarray:
        return np.roll(np.arange(len(cost)), -2)

    opponents = AllOpponents(np.zeros((6, 6), np.float32), SIX, noise=0, rng=chance(), solve=shifted)
    assert opponents.draw().tolist() == [2, 3, 4, 5, 0, 1]


@given(classes=CLASSES, seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_a_partner_is_another_photo_of_the_same_identity_and_each_is_one_once(classes: np.ndarray, seed: int) -> None:
    drawn = partners(classes, chance(seed))
    assert sorted(drawn) == list(range(len(classes)))
    assert (classes[drawn] == classes).all()
    assert (drawn != np.arange(len(classes))).all()
    way = random_assignment(classes, chance(seed)) if 2 * np.bincount(classes).max() <= len(classes) else None
    assert way is None or ((classes[way] != classes).all() and sorted(way) == list(range(len(classes))))


def test_all_derangements_are_equally_likely() -> None:
    """Four photos have nine derangements; a cycle of four is as likely as two swaps."""
    classes = np.repeat(np.arange(600), 4)
    drawn = partners(classes, chance(5)).reshape(600, 4) - np.arange(600)[:, None] * 4
    _, counts = np.unique(drawn, axis=0, return_counts=True)
    assert len(counts) == 9
    assert counts.min() > 40
    assert counts.max() < 100


def test_every_photo_is_in_exactly_four_slots() -> None:
    classes = np.repeat(np.arange(6), 4)
    opponent, partner = random_assignment(classes, chance()), partners(classes, chance())
    order = pairs_order(opponent, partner, batch=16, rng=chance())
    assert order.shape == (6, 16)
    assert np.bincount(order.ravel()).tolist() == [4] * 24
    fours = order.reshape(-1, 4)
    assert (fours[:, 0] == fours[:, 2]).all()
    assert (fours[:, 1] == partner[fours[:, 0]]).all()
    assert (fours[:, 3] == opponent[fours[:, 0]]).all()
    filled = pairs_order(opponent, partner, batch=20, rng=chance())
    assert filled.shape == (5, 20)
    assert np.array_equal(filled.ravel()[96:], filled.ravel()[:4])


def test_data_without_an_assignment_is_refused() -> None:
    many = np.array([0, 0, 0, 1, 1])
    for make in (
        lambda: AllOpponents(np.zeros((5, 5), np.float32), many, noise=0, rng=chance()),
        lambda: NearestOpponents(vectors(5), many, k=2, noise=0, rng=chance()),
    ):
        with pytest.raises(DataError) as caught:
            make()
        assert caught.value.got == "class 0 has 3 of 5 photos"
        assert caught.value.fix == "use sampler = {kind = 'pk'}, or leave out some photos of that identity."
    with pytest.raises(DataError) as caught:
        partners(np.array([0, 0, 1]), chance())
    assert caught.value.fix == "leave those photos out."

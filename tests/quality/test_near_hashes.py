"""The search for near hashes finds the same pairs as comparing all pairs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.quality.duplicates import near_hashes
from fieldmark.quality.duplicates.near_hashes import N_BITS, N_PIECES, near


def slow_pairs(hashes: list[int], within: int) -> list[tuple[int, int]]:
    return [
        (one, other)
        for one in range(len(hashes))
        for other in range(one + 1, len(hashes))
        if (hashes[one] ^ hashes[other]).bit_count() <= within
    ]


def row(hashes: list[int]) -> np.ndarray:
    return np.array(hashes, np.uint64)


WORDS = st.integers(0, 2**64 - 1)
FLIPS = st.lists(st.integers(0, 63), max_size=9)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(WORDS, FLIPS), max_size=12), st.integers(0, 20), st.booleans())
def test_pairs_are_those_of_comparing_all_with_all(seeds, within: int, by_pieces: bool) -> None:
    hashes = []
    for word, flips in seeds:
        hashes += [word, word ^ sum({1 << bit for bit in flips})]
    with pytest.MonkeyPatch.context() as patch:
        if by_pieces and within < 12:
            patch.setattr(near_hashes, "N_BUCKETS_READ", -1)
        found = near(row(hashes), within=within)
    assert [tuple(pair) for pair in found.image_pairs().tolist()] == slow_pairs(hashes, within)
    assert found.n_image_pairs == len(found.image_pairs())


@pytest.mark.parametrize("within", [0, 1, 3, 4, 6, 7])
def test_many_hashes_are_compared_by_pieces_and_none_is_missed(within: int) -> None:
    rng = np.random.default_rng(within)
    words = rng.integers(0, 2**64, 3000, dtype=np.uint64)
    copies = words[:400].copy()
    for place in range(len(copies)):  # 0 to 8 bits flipped, anywhere
        for bit in rng.permutation(64)[: place % 9]:
            copies[place] ^= np.uint64(1) << np.uint64(bit)
    hashes = np.concatenate([words, copies])
    expected = {
        (at, at + 1 + int(other))
        for at in range(len(hashes))
        for other in np.flatnonzero(np.bitwise_count(hashes[at + 1 :] ^ hashes[at]) <= within)
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near_hashes, "N_BUCKETS_READ", -1)
        found = near(hashes, within=within)
    assert {tuple(pair) for pair in found.image_pairs().tolist()} == expected
    first, second = found.distinct[found.first], found.distinct[found.second]
    assert (np.bitwise_count(first ^ second) == found.bits).all()
    assert (found.first < found.second).all()
    all_pairs = near(hashes, within=within)
    assert (all_pairs.first == found.first).all()
    assert (all_pairs.second == found.second).all()


@pytest.mark.parametrize("within", range(N_BITS + 1))
def test_no_distribution_of_differing_bits_is_missed(within: int) -> None:
    """The hardest case: every piece differs in one bit more than its radius."""
    radii = near_hashes._radii(within)
    assert sum(radius + 1 for radius in radii) > within
    assert len(radii) == N_PIECES


def test_many_equal_hashes_create_no_pairs() -> None:
    hashes = np.full(200_000, 12345, np.uint64)
    hashes[7] ^= np.uint64(1)
    found = near(hashes)
    assert len(found.first) == 1
    assert found.bits.tolist() == [1]
    assert found.n_image_pairs == 200_000 * 199_999 // 2
    assert [len(images) for images in found.images()] == [1, 199_999]


def test_pairs_beyond_the_initial_capacity_are_all_found() -> None:
    hashes = row([sum(1 << bit for bit in range(16) if number >> bit & 1) for number in range(256)])
    assert near(hashes, within=8).n_image_pairs == 256 * 255 // 2  # far more than four per hash


def test_no_hashes_have_no_pairs() -> None:
    found = near(row([]))
    assert found.n_image_pairs == 0
    assert found.images() == []
    assert found.image_pairs().shape == (0, 2)


def test_input_other_than_uint64_is_rejected() -> None:
    with pytest.raises(ShapeError) as caught:
        near(np.zeros(3))
    assert "np.uint64" in caught.value.fix


@pytest.mark.parametrize("within", [-1, 65])
def test_invalid_distances_are_rejected(within: int) -> None:
    with pytest.raises(FieldmarkError) as caught:
        near(row([1, 2]), within=within)
    assert "use 6" in caught.value.fix

"""All pairs of near hashes, against comparing all with all."""

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
            patch.setattr(near_hashes, "N_VALUES_LOOKED_INTO", -1)
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
        patch.setattr(near_hashes, "N_VALUES_LOOKED_INTO", -1)
        found = near(hashes, within=within)
    assert {tuple(pair) for pair in found.image_pairs().tolist()} == expected
    first, second = found.distinct[found.first], found.distinct[found.second]
    assert (np.bitwise_count(first ^ second) == found.bits).all()
    assert (found.first < found.second).all()
    plain = near(hashes, within=within)
    assert (plain.first == found.first).all()
    assert (plain.second == found.second).all()


@pytest.mark.parametrize("within", range(N_BITS + 1))
def test_no_spread_of_differing_bits_escapes_all_pieces(within: int) -> None:
    """The differing bits that are hardest to notice: every piece one bit beyond its radius."""
    radii = near_hashes._radii(within)
    assert sum(radius + 1 for radius in radii) > within
    assert len(radii) == N_PIECES


def test_equal_hashes_by_the_hundred_thousand_cost_no_pairs() -> None:
    hashes = np.full(200_000, 12345, np.uint64)
    hashes[7] ^= np.uint64(1)
    found = near(hashes)
    assert len(found.first) == 1
    assert found.bits.tolist() == [1]
    assert found.n_image_pairs == 200_000 * 199_999 // 2
    assert [len(images) for images in found.images()] == [1, 199_999]


def test_more_pairs_than_room_was_made_for_are_all_told() -> None:
    hashes = row([sum(1 << bit for bit in range(16) if number >> bit & 1) for number in range(256)])
    assert near(hashes, within=8).n_image_pairs == 256 * 255 // 2  # far above four a hash


def test_no_hashes_have_no_pairs() -> None:
    found = near(row([]))
    assert found.n_image_pairs == 0
    assert found.images() == []
    assert found.image_pairs().shape == (0, 2)


def test_what_is_no_row_of_words_is_refused() -> None:
    with pytest.raises(ShapeError) as told:
        near(np.zeros(3))
    assert "np.uint64" in told.value.fix


@pytest.mark.parametrize("within", [-1, 65])
def test_impossible_distances_are_refused(within: int) -> None:
    with pytest.raises(FieldmarkError) as told:
        near(row([1, 2]), within=within)
    assert "use 6" in told.value.fix

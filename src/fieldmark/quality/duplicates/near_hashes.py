"""All pairs of 64-bit hashes that differ in few bits: found exactly, without comparing all with all.

Two hashes of four pieces that differ in at most six bits differ in at most one bit in one of the first three pieces,
or not at all in the last: seven bits could not be hidden elsewhere. So only hashes whose pieces nearly agree are
compared, some hundreds of each million. Equal hashes are put together first, as they would pair quadratically.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
from jaxtyping import Int64, UInt8, UInt64
from numba import njit

from fieldmark.core.errors import FieldmarkError, ShapeError

N_BITS = 64
N_PIECES = 4
PIECE_BITS = N_BITS // N_PIECES
N_VALUES = 2**PIECE_BITS
N_VALUES_LOOKED_INTO = N_VALUES
"""Looking into a bucket costs about as much as a comparison, so that few hashes are sooner compared all with all."""


@dataclass(frozen=True, eq=False)
class NearHashes:
    """Hashes and which of them are near each other.

    Attributes:
        distinct: The hashes that occur, each once, from the lowest up.
        of_image: Which of them each image has.
        first: One of each pair of near distinct hashes, a position in ``distinct``; pairs are in order.
        second: The other, always a later position.
        bits: In how many bits the two differ, at least 1.
    """

    distinct: UInt64[np.ndarray, " hash"]
    of_image: Int64[np.ndarray, " image"]
    first: Int64[np.ndarray, " pair"]
    second: Int64[np.ndarray, " pair"]
    bits: UInt8[np.ndarray, " pair"]

    @property
    def n_image_pairs(self) -> int:
        """How many pairs of images are near, those with equal hashes among them."""
        n = np.bincount(self.of_image, minlength=len(self.distinct)).astype(np.int64)
        return int((n * (n - 1) // 2).sum() + (n[self.first] * n[self.second]).sum())

    def images(self) -> list[Int64[np.ndarray, " image"]]:
        """The images of each distinct hash, in their order."""
        order = np.argsort(self.of_image, kind="stable")
        ends = np.cumsum(np.bincount(self.of_image, minlength=len(self.distinct)))
        return np.split(order, ends[:-1]) if len(ends) else []

    def image_pairs(self) -> Int64[np.ndarray, "pair 2"]:
        """All pairs of near images, in order; quadratically many where many images share a hash."""
        holders = self.images()
        pairs = [pair for own in holders if len(own) > 1 for pair in combinations(own.tolist(), 2)]
        for one, other in zip(self.first.tolist(), self.second.tolist(), strict=True):
            pairs += [(min(a, b), max(a, b)) for a in holders[one].tolist() for b in holders[other].tolist()]
        return np.array(sorted(pairs), np.int64).reshape(-1, 2)


def near(hashes: UInt64[np.ndarray, " image"], *, within: int = 6) -> NearHashes:
    """All pairs of hashes that differ in at most ``within`` bits; none is missed.

    Args:
        hashes: Of the images.
        within: Bits, 0 to 64. Time and pairs grow steeply above about 12.

    Raises:
        ShapeError: ``hashes`` is no row of 64-bit whole numbers.
        FieldmarkError: ``within`` is not between 0 and 64.

    Source:
        Norouzi, Punjani & Fleet 2012, "Fast search in Hamming space with multi-index hashing", with their sharper
        bound for the later pieces; joining a set with itself, each pair once, is ours.
    """
    hashes = np.asarray(hashes)
    if hashes.ndim != 1 or hashes.dtype != np.uint64:
        raise ShapeError(
            "near() needs one 64-bit hash for every image.",
            got=f"{hashes.dtype} {hashes.shape}",
            fix="pass a row of uint64: np.array(values, np.uint64).",
        )
    if not 0 <= within <= N_BITS:
        raise FieldmarkError(
            "Hashes of 64 bits differ in 0 to 64 bits.", got=f"within={within}", fix="use 6; copies differ in fewer."
        )
    distinct, of_image = np.unique(hashes, return_inverse=True)
    first, second, bits = _all_found(distinct, within)
    order = np.lexsort((second, first))
    return NearHashes(distinct, of_image.astype(np.int64), first[order], second[order], bits[order])


def _all_found(distinct: np.ndarray, within: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pairs in any order, each once."""
    radii = _radii(within)
    n = len(distinct)
    n_partners = sum(comb(PIECE_BITS, bits) for radius in radii for bits in range(radius + 1))
    plain = n_partners * (N_VALUES_LOOKED_INTO + n * n / N_VALUES / 2) >= n * n / 2
    room = 4 * n + 1024
    while True:
        found = (np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room, np.uint8))
        n_found = 0
        if plain:
            n_found = _compare_all(distinct, within, found)
        else:
            for piece, radius in enumerate(radii):
                if radius >= 0:
                    buckets = _sorted_into_buckets(distinct, piece)
                    bounds = (_flips(radius), np.array(radii), piece, within)
                    n_found = _compare_piece(distinct, buckets, bounds, found, n_found)
        if n_found <= room:
            return found[0][:n_found], found[1][:n_found], found[2][:n_found]
        room = n_found  # all were counted; only now is it known how much room they take


def _radii(within: int) -> list[int]:
    """For each piece in how many bits it may differ, so that no pair within the distance fails all; -1: no pair."""
    least, more = divmod(within, N_PIECES)
    return [min(PIECE_BITS, least if piece <= more else least - 1) for piece in range(N_PIECES)]


def _flips(radius: int) -> np.ndarray:
    """All values of a piece with at most that many bits set, the fewest first."""
    bits = [1 << bit for bit in range(PIECE_BITS)]
    return np.array([sum(some) for n in range(radius + 1) for some in combinations(bits, n)], np.int64)


def _sorted_into_buckets(distinct: np.ndarray, piece: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions sorted by the value of a piece, and where each value begins."""
    values = ((distinct >> np.uint64(piece * PIECE_BITS)) & np.uint64(N_VALUES - 1)).astype(np.int64)
    starts = np.zeros(N_VALUES + 1, np.int64)
    np.cumsum(np.bincount(values, minlength=N_VALUES), out=starts[1:])
    return np.argsort(values, kind="stable"), starts


@njit(cache=True)
def _n_set(word):
    """Bits set in a word; compilers know this sum and make one instruction of it."""
    word -= (word >> np.uint64(1)) & np.uint64(0x5555555555555555)
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((word * np.uint64(0x0101010101010101)) >> np.uint64(56))


@njit(cache=True)
def _compare_all(distinct, within, found):
    """Every pair once; the number found, of which no more are written than there is room for."""
    first, second, bits = found
    n_found = 0
    for one in range(len(distinct)):
        for other in range(one + 1, len(distinct)):
            apart = _n_set(distinct[one] ^ distinct[other])
            if apart <= within:
                if n_found < len(first):
                    first[n_found], second[n_found], bits[n_found] = one, other, apart
                n_found += 1
    return n_found


@njit(cache=True)
def _compare_piece(distinct, buckets, bounds, found, n_found):
    """The pairs whose ``piece`` nearly agrees, but for those that an earlier piece has found; how many now."""
    order, starts = buckets
    flips, radii, piece, within = bounds
    first, second, bits = found
    words = distinct[order]
    for value in range(len(starts) - 1):
        if starts[value] == starts[value + 1]:
            continue
        for flip in flips:
            partner = value ^ flip
            if partner < value:
                continue
            for at in range(starts[value], starts[value + 1]):
                begin = at + 1 if flip == 0 else starts[partner]
                for to in range(begin, starts[partner + 1]):
                    differing = words[at] ^ words[to]
                    apart = _n_set(differing)
                    if apart <= within and not _seen_before(differing, radii, piece):
                        if n_found < len(first):
                            first[n_found] = min(order[at], order[to])
                            second[n_found] = max(order[at], order[to])
                            bits[n_found] = apart
                        n_found += 1
    return n_found


@njit(cache=True)
def _seen_before(differing, radii, piece):
    """Whether an earlier piece nearly agrees too: the pair was found there."""
    for earlier in range(piece):
        part = (differing >> np.uint64(earlier * PIECE_BITS)) & np.uint64(N_VALUES - 1)
        if _n_set(part) <= radii[earlier]:
            return True
    return False

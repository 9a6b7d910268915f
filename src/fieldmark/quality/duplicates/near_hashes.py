"""Find all pairs of 64-bit hashes that differ in few bits. The search is exact and avoids comparing all pairs.

Each hash is split into four pieces of 16 bits. If two hashes differ in at most six bits, they differ in at most one
bit in one of the first three pieces, or they agree in the last piece. Only hashes with such a piece are compared:
some hundreds of each million. Equal hashes are grouped first, because their number of pairs grows quadratically.
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
N_BUCKETS_READ = N_VALUES
"""Number of buckets read for each piece. Reading a bucket costs as much as a comparison, so for few hashes comparing
all pairs is faster."""


@dataclass(frozen=True, eq=False)
class NearHashes:
    """Distinct hashes, and the pairs of them that are near each other.

    Attributes:
        distinct: Distinct hashes in ascending order.
        of_image: Position in ``distinct`` of the hash of each image.
        first: Position in ``distinct`` of the first hash of each near pair; the pairs are sorted.
        second: Position of the second hash, always larger than the first.
        bits: Number of bits in which the two hashes differ, at least 1.
    """

    distinct: UInt64[np.ndarray, " hash"]
    of_image: Int64[np.ndarray, " image"]
    first: Int64[np.ndarray, " pair"]
    second: Int64[np.ndarray, " pair"]
    bits: UInt8[np.ndarray, " pair"]

    @property
    def n_image_pairs(self) -> int:
        """Number of pairs of near images, including pairs with equal hashes."""
        n = np.bincount(self.of_image, minlength=len(self.distinct)).astype(np.int64)
        return int((n * (n - 1) // 2).sum() + (n[self.first] * n[self.second]).sum())

    def images(self) -> list[Int64[np.ndarray, " image"]]:
        """Return the images of each distinct hash, in table order."""
        order = np.argsort(self.of_image, kind="stable")
        ends = np.cumsum(np.bincount(self.of_image, minlength=len(self.distinct)))
        return np.split(order, ends[:-1]) if len(ends) else []

    def image_pairs(self) -> Int64[np.ndarray, "pair 2"]:
        """Return all pairs of near images, sorted. The number grows quadratically where many images share a hash."""
        holders = self.images()
        pairs = [pair for own in holders if len(own) > 1 for pair in combinations(own.tolist(), 2)]
        for one, other in zip(self.first.tolist(), self.second.tolist(), strict=True):
            pairs += [(min(a, b), max(a, b)) for a in holders[one].tolist() for b in holders[other].tolist()]
        return np.array(sorted(pairs), np.int64).reshape(-1, 2)


def near(hashes: UInt64[np.ndarray, " image"], *, within: int = 6) -> NearHashes:
    """Return all pairs of hashes that differ in at most ``within`` bits. The result is complete.

    Args:
        hashes: One perceptual hash per image.
        within: Largest number of differing bits, 0 to 64. Time and number of pairs grow steeply above about 12.

    Raises:
        ShapeError: ``hashes`` is not a one-dimensional array of uint64.
        FieldmarkError: ``within`` is not between 0 and 64.

    Source:
        Norouzi, Punjani & Fleet 2012, "Fast search in Hamming space with multi-index hashing", with their tighter
        bound for the later pieces. Joining a set with itself, each pair once, is ours.
    """
    hashes = np.asarray(hashes)
    if hashes.ndim != 1 or hashes.dtype != np.uint64:
        raise ShapeError(
            "Argument 'hashes' of near() needs one 64-bit hash for every image.",
            got=f"{hashes.dtype} {hashes.shape}",
            fix="pass a one-dimensional uint64 array: np.array(values, np.uint64).",
        )
    if not 0 <= within <= N_BITS:
        raise FieldmarkError(
            "Setting 'within' must be between 0 and 64 bits.",
            got=f"within={within}",
            fix="use 6; near-duplicates differ in fewer bits.",
        )
    distinct, of_image = np.unique(hashes, return_inverse=True)
    first, second, bits = _all_found(distinct, within)
    order = np.lexsort((second, first))
    return NearHashes(distinct, of_image.astype(np.int64), first[order], second[order], bits[order])


def _all_found(distinct: np.ndarray, within: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return all near pairs in any order, each once."""
    radii = _radii(within)
    n = len(distinct)
    n_partners = sum(comb(PIECE_BITS, bits) for radius in radii for bits in range(radius + 1))
    compares_all = n_partners * (N_BUCKETS_READ + n * n / N_VALUES / 2) >= n * n / 2
    capacity = 4 * n + 1024
    while True:
        found = (np.empty(capacity, np.int64), np.empty(capacity, np.int64), np.empty(capacity, np.uint8))
        n_found = 0
        if compares_all:
            n_found = _compare_all(distinct, within, found)
        else:
            for piece, radius in enumerate(radii):
                if radius >= 0:
                    buckets = _sorted_into_buckets(distinct, piece)
                    bounds = (_flips(radius), np.array(radii), piece, within)
                    n_found = _compare_piece(distinct, buckets, bounds, found, n_found)
        if n_found <= capacity:
            return found[0][:n_found], found[1][:n_found], found[2][:n_found]
        capacity = n_found  # all pairs were counted, so the required array size is now known


def _radii(within: int) -> list[int]:
    """Return how many bits may differ in each piece, so that every near pair passes in some piece; -1: skip it."""
    least, more = divmod(within, N_PIECES)
    return [min(PIECE_BITS, least if piece <= more else least - 1) for piece in range(N_PIECES)]


def _flips(radius: int) -> np.ndarray:
    """Return all values of a piece with at most ``radius`` bits set, the fewest bits first."""
    bits = [1 << bit for bit in range(PIECE_BITS)]
    return np.array([sum(some) for n in range(radius + 1) for some in combinations(bits, n)], np.int64)


def _sorted_into_buckets(distinct: np.ndarray, piece: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions sorted by the value of one piece, and the start of each value."""
    values = ((distinct >> np.uint64(piece * PIECE_BITS)) & np.uint64(N_VALUES - 1)).astype(np.int64)
    starts = np.zeros(N_VALUES + 1, np.int64)
    np.cumsum(np.bincount(values, minlength=N_VALUES), out=starts[1:])
    return np.argsort(values, kind="stable"), starts


@njit(cache=True)
def _n_set(word):
    """Return the number of bits set in a word; compilers turn this sum into one instruction."""
    word -= (word >> np.uint64(1)) & np.uint64(0x5555555555555555)
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((word * np.uint64(0x0101010101010101)) >> np.uint64(56))


@njit(cache=True)
def _compare_all(distinct, within, found):
    """Compare every pair once. Return the number of near pairs; at most as many are written as the arrays hold."""
    first, second, bits = found
    n_found = 0
    for one in range(len(distinct)):
        for other in range(one + 1, len(distinct)):
            distance = _n_set(distinct[one] ^ distinct[other])
            if distance <= within:
                if n_found < len(first):
                    first[n_found], second[n_found], bits[n_found] = one, other, distance
                n_found += 1
    return n_found


@njit(cache=True)
def _compare_piece(distinct, buckets, bounds, found, n_found):
    """Add the near pairs that agree in ``piece`` and in no earlier piece. Return the new number of pairs."""
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
                    distance = _n_set(differing)
                    if distance <= within and not _found_before(differing, radii, piece):
                        if n_found < len(first):
                            first[n_found] = min(order[at], order[to])
                            second[n_found] = max(order[at], order[to])
                            bits[n_found] = distance
                        n_found += 1
    return n_found


@njit(cache=True)
def _found_before(differing, radii, piece):
    """Whether an earlier piece also agrees within its radius, so that the pair was already found."""
    for earlier in range(piece):
        part = (differing >> np.uint64(earlier * PIECE_BITS)) & np.uint64(N_VALUES - 1)
        if _n_set(part) <= radii[earlier]:
            return True
    return False

"""Texts as sets of short runs of letters: whatever a text has in common with others, whole words or parts of codes."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Int64, UInt64
from scipy.sparse import csr_matrix

from fieldmark.core.seeds import generator

LENGTHS = (2, 3, 4, 5)
N_BITS = 18
"""Of the hash that stands for a run: 2**18 features. Two runs that fall together blur, and mislead nobody."""
MOST_LETTERS = 200
START, END = "\x02", "\x03"
Sparse: TypeAlias = Any
"""A csr matrix of scipy, whose own types know neither its rows nor its products."""
_FACTOR = np.uint64(0x9E3779B97F4A7C15)


def ngrams(texts: Sequence[str | None]) -> Sparse:
    """Which runs of 2 to 5 letters each text has, its start and its end among the letters.

    Case and the ways in which Unicode writes one and the same letter are not told apart; whole words count too.
    Runs of a single text and runs of all texts tell nothing of others and are left out; of runs that the very same
    texts have, as the letters of a common beginning, one stands for all.

    Args:
        texts: One a photo; None is an empty text. Only the first 200 letters count.

    Returns:
        (text, run) with 1 where a text has a run.

    Source:
        Weinberger et al. 2009, "Feature hashing for large scale multitask learning", without signs.
    """
    plain = [_plain(text or "") for text in texts]
    letters = np.frombuffer("".join(plain).encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    row = np.repeat(np.arange(len(plain)), [len(text) for text in plain])
    places = [_runs(letters, row, length) for length in LENGTHS] + [_words(letters, row)]
    codes = np.unique(np.concatenate(places))
    row, feature = codes >> N_BITS, codes & (2**N_BITS - 1)
    n_texts = np.bincount(feature, minlength=2**N_BITS)
    # A run is known by who has it: the sum of random numbers, one a text, tells sets of texts apart.
    drawn = generator("ngrams").integers(0, 2**63, size=len(plain), dtype=np.uint64)
    of_whom = np.zeros(2**N_BITS, np.uint64)
    np.add.at(of_whom, feature, drawn[row])
    telling = np.flatnonzero((n_texts > 1) & (n_texts < len(plain)))
    _, first = np.unique(of_whom[telling], return_index=True)
    number = np.full(2**N_BITS, -1, np.int64)
    number[telling[first]] = np.arange(len(first))
    column = number[feature]
    kept = column >= 0
    ones = np.ones(int(kept.sum()), np.float32)
    return csr_matrix((ones, (row[kept], column[kept])), shape=(len(plain), len(first)))


def _plain(text: str) -> str:
    return START + unicodedata.normalize("NFKC", text[:MOST_LETTERS]).casefold() + END


def _runs(letters: UInt64[np.ndarray, " letter"], row: np.ndarray, length: int) -> Int64[np.ndarray, " run"]:
    """Each run of so many letters within one text: its text's number, then its hash."""
    n = len(letters) - length + 1
    if n <= 0:
        return np.zeros(0, np.int64)
    hashed = np.full(n, length, np.uint64)
    for step in range(length):
        hashed = hashed * _FACTOR + letters[step : step + n]
    return _codes(row[:n], hashed)[row[:n] == row[length - 1 :]]


def _words(letters: UInt64[np.ndarray, " letter"], row: np.ndarray) -> Int64[np.ndarray, " run"]:
    """Each word, which begins and ends where letters and digits do: its text's number, then its hash."""
    kinds, kind_of = np.unique(letters, return_inverse=True)
    inside = np.array([chr(letter).isalnum() for letter in kinds.tolist()], bool)[kind_of]
    if not inside.any():
        return np.zeros(0, np.int64)
    # A word's hash is a sum over its letters, each mixed with its place in the word.
    edge = np.flatnonzero(inside & ~np.concatenate([[False], inside[:-1]]))
    word = np.cumsum(np.isin(np.arange(len(letters)), edge))[inside] - 1
    place = np.flatnonzero(inside) - edge[word]
    mixed = _mixed(letters[inside] * _FACTOR + place.astype(np.uint64))
    hashed = np.zeros(len(edge), np.uint64)
    np.add.at(hashed, word, mixed)
    return _codes(row[edge], hashed)


def _codes(row: np.ndarray, hashed: UInt64[np.ndarray, " run"]) -> Int64[np.ndarray, " run"]:
    return (row << N_BITS) | (_mixed(hashed) >> np.uint64(64 - N_BITS)).astype(np.int64)


def _mixed(words: UInt64[np.ndarray, " word"]) -> UInt64[np.ndarray, " word"]:
    """The same words with every bit depending on all (the finisher of SplitMix64)."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))

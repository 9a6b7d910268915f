"""Dealing from shuffled decks: everything once before anything twice; and spreading things evenly."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int64


def dealt(n: int, rows: int, width: int, rng: np.random.Generator) -> Int64[np.ndarray, "row width"]:
    """Rows of ``width`` numbers below ``n`` from shuffled decks; no number twice in a row where ``n >= width``.

    A row may take the end of one deck and the beginning of the next; what its first part holds is kept out of the
    second, at a random later place of the new deck.
    """
    decks: list[np.ndarray] = []
    for start in range(0, rows * width, n):
        deck = rng.permutation(n)
        begun = start % width
        if begun and n >= width:
            before = np.concatenate(decks[-2:])[-begun:]
            is_in_row = np.isin(deck, before)
            fresh, rest = deck[~is_in_row], deck[is_in_row]
            head = width - begun
            deck = np.concatenate([fresh[:head], rng.permutation(np.concatenate([fresh[head:], rest]))])
        decks.append(deck)
    return np.concatenate(decks)[: rows * width].reshape(rows, width)


def spread(sizes: Int64[np.ndarray, " group"], n_folds: int, rng: np.random.Generator) -> Int64[np.ndarray, " group"]:
    """A fold for each thing, folds similar in the sum of sizes: large things first, each to the smallest fold."""
    order = rng.permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    fold = np.empty(len(sizes), dtype=np.int64)
    filled = np.zeros(n_folds, dtype=np.int64)
    for thing in order:
        smallest = int(filled.argmin())
        fold[thing] = smallest
        filled[smallest] += sizes[thing]
    return fold

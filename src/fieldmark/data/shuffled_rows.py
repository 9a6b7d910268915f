"""Random rows in which every item comes once before any comes twice, and even distribution of items to folds."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int64


def dealt(n: int, rows: int, width: int, rng: np.random.Generator) -> Int64[np.ndarray, "row width"]:
    """Rows of ``width`` random numbers below ``n``, taken from consecutive permutations.

    If ``n >= width``, no row contains a number twice. A row can span the end of one permutation and the start of the
    next. The numbers of its first part then move to random later places of the next permutation.
    """
    permutations: list[np.ndarray] = []
    for start in range(0, rows * width, n):
        order = rng.permutation(n)
        begun = start % width
        if begun and n >= width:
            before = np.concatenate(permutations[-2:])[-begun:]
            is_in_row = np.isin(order, before)
            fresh, rest = order[~is_in_row], order[is_in_row]
            head = width - begun
            order = np.concatenate([fresh[:head], rng.permutation(np.concatenate([fresh[head:], rest]))])
        permutations.append(order)
    return np.concatenate(permutations)[: rows * width].reshape(rows, width)


def spread(sizes: Int64[np.ndarray, " group"], n_folds: int, rng: np.random.Generator) -> Int64[np.ndarray, " group"]:
    """Assign items to folds of similar total size: items in order of falling size, each to the smallest fold."""
    order = rng.permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    fold = np.empty(len(sizes), dtype=np.int64)
    filled = np.zeros(n_folds, dtype=np.int64)
    for item in order:
        smallest = int(filled.argmin())
        fold[item] = smallest
        filled[smallest] += sizes[item]
    return fold

"""Hard negatives (opponents) by linear assignment, and positives (partners) by derangement. NumPy only, no torch.

The hardest opponent of each photo would often be one of the same few photos. An assignment gives every photo exactly
one opponent, and makes every photo the opponent of exactly one other. Among all such assignments, the one with the
largest total similarity is chosen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int, Int64

from fieldmark.core.errors import DataError

BLOCK = 1024
"""Rows per block. A constant, because the order of random numbers depends on it."""

Compare = Callable[[Int64[np.ndarray, " pair"], Int64[np.ndarray, " pair"]], Float32[np.ndarray, " pair"]]
"""Similarity of pairs of photos: a larger value is more similar."""


class Solver(Protocol):
    """Solver of a dense assignment problem. A faster solver can be passed to ``AllOpponents``."""

    def __call__(self, cost: Float64[np.ndarray, "photo photo"]) -> Int64[np.ndarray, " photo"]:
        """Return the column of each row, each column once, with the smallest total cost.

        Args:
            cost: Cost matrix; infinite for forbidden pairs. It must not be changed.

        Raises:
            ValueError: Every assignment uses a forbidden pair.
        """


class Opponents(Protocol):
    """A sequence of assignments. No pair of opponents is repeated as long as other pairs are possible."""

    def draw(self) -> Int64[np.ndarray, " photo"]:
        """Return the opponent of each photo, of another identity. Every photo is the opponent of exactly one photo."""


def exact(cost: Float64[np.ndarray, "photo photo"]) -> Int64[np.ndarray, " photo"]:
    """Return the assignment with the smallest cost, by SciPy's shortest augmenting paths.

    Source:
        Crouse 2016, doi:10.1109/TAES.2016.140952 (``scipy.optimize.linear_sum_assignment``).
    """
    from scipy.optimize import linear_sum_assignment

    return linear_sum_assignment(cost)[1].astype(np.int64)


class AllOpponents:
    """Opponents by assignment over all pairs of photos.

    Args:
        likeness: Similarity of each pair of photos.
        classes: Identity of each photo.
        noise: Amplitude of the uniform noise that is added to each similarity, at least 0. With values far above 1 the
            assignment is random.
        rng: Random generator of the noise.
        solve: Solver of the assignment problem.

    Raises:
        DataError: An identity has more than half of the photos, so that some of them have no opponent.

    Source:
        Piotte, Humpback Whale Identification 2018/19. There forbidden cells cost 10,000; here they are infinite.
    """

    def __init__(
        self,
        likeness: Float32[np.ndarray, "photo photo"],
        classes: Int[np.ndarray, " photo"],
        *,
        noise: float,
        rng: np.random.Generator,
        solve: Solver = exact,
    ) -> None:
        _check_classes(classes)
        self._solve = solve
        self._cost: Float64[np.ndarray, "photo photo"] = np.empty(likeness.shape)
        for start in range(0, len(classes), BLOCK):
            rows = slice(start, start + BLOCK)
            noisy = _noisy(likeness[rows], noise, rng)
            self._cost[rows] = np.where(classes[rows][:, None] == classes, np.inf, -noisy)
        self._used: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def draw(self) -> Int64[np.ndarray, " photo"]:
        """Return the opponents with the smallest cost among unused pairs; all pairs again once none is possible."""
        try:
            opponent = self._solve(self._cost)
        except ValueError:
            for rows, columns, cost in self._used:
                self._cost[rows, columns] = cost
            self._used = []
            opponent = self._solve(self._cost)
        photo = np.arange(len(opponent))
        rows, columns = np.concatenate([photo, opponent]), np.concatenate([opponent, photo])
        self._used.append((rows, columns, self._cost[rows, columns]))
        self._cost[rows, columns] = np.inf
        return opponent


class NearestOpponents:
    """Opponents by assignment among the most similar photos of each photo: a sparse graph instead of a matrix.

    The graph has the ``k`` most similar photos of other identities of each photo, in both directions. It also has a few
    random assignments, so that a complete assignment always exists.

    Args:
        embedding: Unit-length embeddings; neighbours have the largest cosine (plus noise).
        classes: Identity of each photo.
        k: Number of neighbours per photo.
        noise: Noise amplitude, as for ``AllOpponents``.
        rng: Random generator of the noise and the random assignments.
        compare: Function that returns the similarity of the chosen pairs; None: their cosine.
        n_draws: Expected number of draws, which is also the number of random assignments in the graph.

    Raises:
        DataError: An identity has more than half of the photos, so that some of them have no opponent.

    Source:
        Ours; solved by the sparse form of Jonker and Volgenant in SciPy.
    """

    def __init__(
        self,
        embedding: Float32[np.ndarray, "photo dim"],
        classes: Int[np.ndarray, " photo"],
        *,
        k: int,
        noise: float,
        rng: np.random.Generator,
        compare: Compare | None = None,
        n_draws: int = 1,
    ) -> None:
        largest = _check_classes(classes)
        self._n = n = len(classes)
        near, extra = _nearest(embedding, classes, k=min(k, n - largest), noise=noise, rng=rng)
        first = np.repeat(np.arange(n), near.shape[1])
        fallbacks = [random_assignment(classes, rng) for _ in range(n_draws)]
        cells = np.concatenate(
            [first * n + near.ravel(), near.ravel() * n + first, *(np.arange(n) * n + one for one in fallbacks)]
        )
        drawn = np.concatenate([extra.ravel(), noise * rng.random(len(cells) - extra.size, dtype=np.float32)])
        self._cell, at = np.unique(cells, return_index=True)  # keeps the first of duplicate pairs
        first, second = np.divmod(self._cell, n)
        similar = _cosine(embedding, first, second) if compare is None else compare(first, second)
        value = similar.astype(np.float64) + drawn[at]
        # SciPy does not accept costs of 0 or below; adding 1 to every cost does not change the assignment.
        self._cost: Float64[np.ndarray, " pair"] = 1 + value.max() - value
        self._unused: Bool[np.ndarray, " pair"] = np.ones(len(self._cell), dtype=bool)

    def draw(self) -> Int64[np.ndarray, " photo"]:
        """Return the opponents with the smallest cost among unused pairs; all pairs again once none is possible."""
        try:
            opponent = self._solve()
        except ValueError:
            self._unused[:] = True
            opponent = self._solve()
        photo = np.arange(self._n)
        for cell in (photo * self._n + opponent, opponent * self._n + photo):
            at = np.minimum(np.searchsorted(self._cell, cell), len(self._cell) - 1)
            self._unused[at[self._cell[at] == cell]] = False
        return opponent

    def _solve(self) -> Int64[np.ndarray, " photo"]:
        from scipy.sparse import csr_array
        from scipy.sparse.csgraph import min_weight_full_bipartite_matching

        first, second = np.divmod(self._cell[self._unused], self._n)
        graph = csr_array((self._cost[self._unused], (first, second)), shape=(self._n, self._n))
        rows, columns = min_weight_full_bipartite_matching(graph)
        opponent = np.empty(self._n, dtype=np.int64)
        opponent[rows] = columns
        return opponent


def partners(classes: Int[np.ndarray, " photo"], rng: np.random.Generator) -> Int64[np.ndarray, " photo"]:
    """Return another photo of the same identity for each photo: a random derangement of each identity's photos.

    All derangements are equally likely. Each photo is the partner of exactly one photo.

    Raises:
        DataError: An identity has a single photo.
    """
    _, label, counts = np.unique(classes, return_inverse=True, return_counts=True)
    if (counts < 2).any():
        raise DataError(
            "Some photos have no partner: their identity has no other photo.",
            got=f"{int((counts < 2).sum())} of {len(counts)} identities have a single photo",
            fix="leave those photos out.",
        )
    grouped = np.argsort(label, kind="stable")
    partner = np.arange(len(label))
    left = np.ones(len(counts), dtype=bool)
    while left.any():  # repeated until no photo is its own partner: about e times
        shuffled = np.lexsort((rng.random(len(label)), label))
        again = left[label[grouped]]
        partner[grouped[again]] = shuffled[again]
        left[:] = False
        left[label[partner == np.arange(len(label))]] = True
    return partner


def pairs_order(
    opponent: Int[np.ndarray, " photo"],
    partner: Int[np.ndarray, " photo"],
    *,
    batch: int,
    rng: np.random.Generator,
) -> Int64[np.ndarray, "step slot"]:
    """Return the batches of an epoch: four slots per photo, (photo, partner, photo, opponent), in random order.

    Each photo is in exactly four slots: twice as itself, once as a partner and once as an opponent. The last batch is
    filled up from the beginning.

    Args:
        opponent: Opponent of each photo, each photo once.
        partner: Partner of each photo, each photo once.
        batch: Number of slots per batch, a multiple of 4.
        rng: Random generator of the order.
    """
    photo = np.arange(len(opponent))
    fours = rng.permutation(np.stack([photo, partner, photo, opponent], axis=1))
    each = batch // 4
    steps = -(-len(fours) // each)
    return np.resize(fours, (steps * each, 4)).reshape(steps, batch)


def random_assignment(classes: Int[np.ndarray, " photo"], rng: np.random.Generator) -> Int64[np.ndarray, " photo"]:
    """Return a random assignment without pairs of the same identity.

    The photos are sorted by identity, and the opponent of each photo is a fixed number of places further, cyclically.
    This number is at least the number of photos of the largest identity, so no opponent has the same identity.
    """
    n, largest = len(classes), int(np.unique(classes, return_counts=True)[1].max())
    row = np.lexsort((rng.random(n), classes))
    opponent = np.empty(n, dtype=np.int64)
    opponent[row] = np.roll(row, -int(rng.integers(largest, n - largest + 1)))
    return opponent


def _check_classes(classes: Int[np.ndarray, " photo"]) -> int:
    """Return the number of photos of the largest identity, after checking that every photo can have an opponent."""
    names, counts = np.unique(classes, return_counts=True)
    largest = int(counts.max(initial=0))
    if largest == 0 or 2 * largest > len(classes):
        raise DataError(
            "Assignment mining: not every photo can have an opponent, because one identity has more than half of them.",
            got=f"class {names[counts.argmax()]} has {largest} of {len(classes)} photos" if len(names) else "no photos",
            fix="use sampler = {kind = 'pk'}, or leave out some photos of that identity.",
        )
    return largest


def _nearest(
    embedding: np.ndarray, classes: np.ndarray, *, k: int, noise: float, rng: np.random.Generator
) -> tuple[Int64[np.ndarray, "photo rank"], Float32[np.ndarray, "photo rank"]]:
    """Return the ``k`` most similar photos of other identities for each photo, and the noise in each similarity."""
    near = np.empty((len(classes), k), dtype=np.int64)
    extra = np.zeros((len(classes), k), dtype=np.float32)
    for start in range(0, len(classes), BLOCK):
        rows = slice(start, start + BLOCK)
        cosine = embedding[rows] @ embedding.T
        noisy = _noisy(cosine, noise, rng)
        noisy[classes[rows][:, None] == classes] = -np.inf
        chosen = np.argpartition(noisy, noisy.shape[1] - k, axis=1)[:, -k:]
        near[rows] = chosen
        if noise:
            extra[rows] = np.take_along_axis(noisy - cosine, chosen, axis=1)
    return near, extra


def _noisy(
    likeness: Float[np.ndarray, "row photo"], noise: float, rng: np.random.Generator
) -> Float32[np.ndarray, "row photo"]:
    """Return a copy with uniform noise between 0 and ``noise`` added to every cell."""
    if not noise:
        return likeness.astype(np.float32)
    return likeness + np.float32(noise) * rng.random(likeness.shape, dtype=np.float32)


def _cosine(embedding: np.ndarray, first: np.ndarray, second: np.ndarray) -> Float32[np.ndarray, " pair"]:
    """Return the cosine of each pair."""
    cosine = np.empty(len(first), dtype=np.float32)
    for start in range(0, len(first), 2**15):  # blocks of pairs, to limit memory
        some = slice(start, start + 2**15)
        cosine[some] = np.einsum("pd,pd->p", embedding[first[some]], embedding[second[some]])
    return cosine

"""Who is to be told from whom: opponents by linear assignment, partners by derangement. Plain arrays, no torch.

Left to itself, a choice of the hardest opponent would name the same few photos again and again. An assignment gives
every photo exactly one opponent and makes it the opponent of exactly one, and among all such ways takes the one whose
pairs are most similar in sum.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int, Int64

from fieldmark.core.errors import DataError

BLOCK = 1024
"""Rows worked on together. A constant, as the order in which chance is drawn follows it."""

Compare = Callable[[Int64[np.ndarray, " pair"], Int64[np.ndarray, " pair"]], Float32[np.ndarray, " pair"]]
"""How similar pairs of photos are: larger is more similar."""


class Solver(Protocol):
    """Solves a dense assignment problem; whoever has a quicker one can pass it to ``AllOpponents``."""

    def __call__(self, cost: Float64[np.ndarray, "photo photo"]) -> Int64[np.ndarray, " photo"]:
        """The column of each row, each column once, of least sum.

        Args:
            cost: Infinite where a pair must not be; not to be changed.

        Raises:
            ValueError: Every way takes an infinite cell.
        """


class Opponents(Protocol):
    """Gives one assignment after the other; no pair of opponents comes twice while there are others."""

    def draw(self) -> Int64[np.ndarray, " photo"]:
        """The opponent of each photo, of another identity; every photo is the opponent of one."""


def exact(cost: Float64[np.ndarray, "photo photo"]) -> Int64[np.ndarray, " photo"]:
    """The assignment of least cost, by the shortest augmenting paths of SciPy.

    Source:
        Crouse 2016, doi:10.1109/TAES.2016.140952 (``scipy.optimize.linear_sum_assignment``).
    """
    from scipy.optimize import linear_sum_assignment

    return linear_sum_assignment(cost)[1].astype(np.int64)


class AllOpponents:
    """Opponents by assignment over all pairs: the hardest there are.

    Args:
        likeness: Of each photo to each.
        classes: Identity of each photo.
        noise: Amplitude of the chance that is added to each likeness, 0 and more in units of likeness. Far above 1 the
            assignment is a random one.
        rng: Of the noise.
        solve: By what means.

    Raises:
        DataError: An identity has more than half of the photos: not all of them can have an opponent.

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
        """The opponents of least cost among pairs that are not used up; once none is left, all are free again."""
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
    """Opponents by assignment among the most similar others of each photo: a graph instead of a matrix.

    Each photo brings its ``k`` most similar photos of other identities, both ways round, so that no photo is nobody's
    neighbour. A few random assignments are part of the graph too: whatever the neighbours are, there is a way out.

    Args:
        embedding: Unit length; neighbours are told by cosine (and noise).
        classes: Identity of each photo.
        k: Neighbours a photo.
        noise: As for ``AllOpponents``.
        rng: Of noise and ways out.
        compare: How similar the chosen pairs are; None: their cosine.
        n_draws: About how many draws there will be: so many ways out are provided.

    Raises:
        DataError: As for ``AllOpponents``.

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
        ways_out = [way_out(classes, rng) for _ in range(n_draws)]
        asked = np.concatenate(
            [first * n + near.ravel(), near.ravel() * n + first, *(np.arange(n) * n + way for way in ways_out)]
        )
        drawn = np.concatenate([extra.ravel(), noise * rng.random(len(asked) - extra.size, dtype=np.float32)])
        self._cell, at = np.unique(asked, return_index=True)  # of a pair that is named twice, the first
        first, second = np.divmod(self._cell, n)
        similar = _cosine(embedding, first, second) if compare is None else compare(first, second)
        value = similar.astype(np.float64) + drawn[at]
        # SciPy takes no cost of 0 or below; one more for every cell changes no choice.
        self._cost: Float64[np.ndarray, " pair"] = 1 + value.max() - value
        self._open: Bool[np.ndarray, " pair"] = np.ones(len(self._cell), dtype=bool)

    def draw(self) -> Int64[np.ndarray, " photo"]:
        """The opponents of least cost among pairs that are not used up; once none is left, all are free again."""
        try:
            opponent = self._solve()
        except ValueError:
            self._open[:] = True
            opponent = self._solve()
        photo = np.arange(self._n)
        for cell in (photo * self._n + opponent, opponent * self._n + photo):
            at = np.minimum(np.searchsorted(self._cell, cell), len(self._cell) - 1)
            self._open[at[self._cell[at] == cell]] = False
        return opponent

    def _solve(self) -> Int64[np.ndarray, " photo"]:
        from scipy.sparse import csr_array
        from scipy.sparse.csgraph import min_weight_full_bipartite_matching

        first, second = np.divmod(self._cell[self._open], self._n)
        graph = csr_array((self._cost[self._open], (first, second)), shape=(self._n, self._n))
        rows, columns = min_weight_full_bipartite_matching(graph)
        opponent = np.empty(self._n, dtype=np.int64)
        opponent[rows] = columns
        return opponent


def partners(classes: Int[np.ndarray, " photo"], rng: np.random.Generator) -> Int64[np.ndarray, " photo"]:
    """For each photo another of its identity, each photo once: a random derangement of each identity's photos.

    All derangements are equally likely; of two photos each is the other's partner.

    Raises:
        DataError: An identity has a single photo.
    """
    _, label, counts = np.unique(classes, return_inverse=True, return_counts=True)
    if (counts < 2).any():
        raise DataError(
            "A photo has no partner: its identity has no other photo.",
            got=f"{int((counts < 2).sum())} of {len(counts)} identities have a single photo",
            fix="leave those photos out.",
        )
    grouped = np.argsort(label, kind="stable")
    partner = np.arange(len(label))
    left = np.ones(len(counts), dtype=bool)
    while left.any():  # drawn anew until nobody is his own partner: about e times
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
    """The batches of an epoch: four slots a photo, (photo, partner, photo, opponent), in random order.

    Each photo thus lies in exactly four places: twice as itself, once as a partner, once as an opponent. The last batch
    is filled up from the beginning.

    Args:
        opponent: Of each photo, each once.
        partner: Likewise.
        batch: Slots, a multiple of 4.
        rng: Of the order.
    """
    photo = np.arange(len(opponent))
    fours = rng.permutation(np.stack([photo, partner, photo, opponent], axis=1))
    each = batch // 4
    steps = -(-len(fours) // each)
    return np.resize(fours, (steps * each, 4)).reshape(steps, batch)


def way_out(classes: Int[np.ndarray, " photo"], rng: np.random.Generator) -> Int64[np.ndarray, " photo"]:
    """A random assignment without pairs of one identity: photos in a row by identity, each opposed by one further on.

    Further on by at least the photos of the largest identity, round the end by as many: never by one's own.
    """
    n, largest = len(classes), int(np.unique(classes, return_counts=True)[1].max())
    row = np.lexsort((rng.random(n), classes))
    opponent = np.empty(n, dtype=np.int64)
    opponent[row] = np.roll(row, -int(rng.integers(largest, n - largest + 1)))
    return opponent


def _check_classes(classes: Int[np.ndarray, " photo"]) -> int:
    """How many photos the largest identity has, if everybody can have an opponent."""
    names, counts = np.unique(classes, return_counts=True)
    largest = int(counts.max(initial=0))
    if largest == 0 or 2 * largest > len(classes):
        raise DataError(
            "Not every photo can have an opponent: one identity has more than half of the photos.",
            got=f"class {names[counts.argmax()]} has {largest} of {len(classes)} photos" if len(names) else "no photos",
            fix="use sampler = {kind = 'pk'}, or leave out some photos of that identity.",
        )
    return largest


def _nearest(
    embedding: np.ndarray, classes: np.ndarray, *, k: int, noise: float, rng: np.random.Generator
) -> tuple[Int64[np.ndarray, "photo rank"], Float32[np.ndarray, "photo rank"]]:
    """The ``k`` photos of other identities most similar each photo after noise, and how much of that was noise."""
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
    """A copy with uniform noise from 0 up to ``noise`` on every cell."""
    if not noise:
        return likeness.astype(np.float32)
    return likeness + np.float32(noise) * rng.random(likeness.shape, dtype=np.float32)


def _cosine(embedding: np.ndarray, first: np.ndarray, second: np.ndarray) -> Float32[np.ndarray, " pair"]:
    cosine = np.empty(len(first), dtype=np.float32)
    for start in range(0, len(first), 2**15):  # vectors of so many pairs are held at once
        some = slice(start, start + 2**15)
        cosine[some] = np.einsum("pd,pd->p", embedding[first[some]], embedding[second[some]])
    return cosine

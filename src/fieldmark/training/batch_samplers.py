"""The batches of an epoch as batch samplers of torch, for a ``DataLoader`` of one's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from jaxtyping import Float, Int, Int64
from torch.utils.data import Sampler

from fieldmark.core.arrays import takes_arrays
from fieldmark.core.errors import DataError, PlanError, ShapeError
from fieldmark.core.seeds import generator
from fieldmark.data.samplers import draw, log_weights
from fieldmark.data.specs import LogWeightSampler, PkSampler, TupleSampler
from fieldmark.training.assignment import AllOpponents, NearestOpponents, Opponents, pairs_order, partners


class _Epochs(Sampler[list[int]]):
    """Batches of row numbers that are a function of seed and epoch.

    Each pass of a ``DataLoader`` is the next epoch. ``set_epoch`` chooses it, as after a restart.
    """

    def __init__(self, *, seed: int) -> None:
        self._seed, self._epoch = seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Make the next pass that of epoch ``epoch``, counted from 0."""
        self._epoch = epoch

    def order(self, epoch: int) -> Int64[np.ndarray, "step slot"]:
        """The row numbers of each batch of an epoch."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[list[int]]:
        """The batches of the next epoch."""
        order = self.order(self._epoch)
        self._epoch += 1
        yield from order.tolist()


class PkBatchSampler(_Epochs):
    """Batches of P individuals with K photos each, and a share of unknown individuals; for losses on pairs.

    Args:
        classes: The individual of each row; -1 for unknowns.
        batch: Rows per batch; without the unknowns a multiple of ``k``.
        k: Photos per individual, at least 2; repeated where an individual has fewer.
        unknown_share: Share of each batch that is drawn from unknowns, 0 to 1.
        seed: Random seed.

    Raises:
        PlanError: ``batch`` does not divide into individuals of ``k`` photos.
        DataError: No row is of a known individual.
        FieldmarkError: ``classes`` are no whole numbers.

    Source:
        Hermans et al. 2017, arXiv:1703.07737 (P x K batches); unknowns: a solution of Humpback Whale Identification
        2018/19 (seutao).

    Example:
        ``DataLoader(dataset, batch_sampler=PkBatchSampler(classes, batch=32, k=4))``
    """

    @takes_arrays
    def __init__(
        self,
        classes: Int[np.ndarray, " row"],
        *,
        batch: int,
        k: int = 4,
        unknown_share: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__(seed=seed)
        self._spec, self._classes, self._batch = PkSampler(k=k, unknown_share=unknown_share), classes, batch
        self._steps = len(self.order(0))

    def __len__(self) -> int:
        return self._steps

    def order(self, epoch: int) -> Int64[np.ndarray, "step slot"]:
        """The row numbers of each batch: K rows of an individual side by side, unknowns last."""
        return draw(self._spec, classes=self._classes, batch=self._batch, seed=self._seed, epoch=epoch)


class TupleBatchSampler(_Epochs):
    """Batches of tuples of four: a photo, another of the individual, one of another individual, one of an unknown.

    One tuple per individual and epoch. Where there are no unknowns, the fourth is of one more individual.

    Args:
        classes: The individual of each row; -1 for unknowns.
        batch: Rows per batch, a multiple of 4.
        seed: Random seed.

    Raises:
        PlanError: ``batch`` is no multiple of 4.
        DataError: There are fewer than two individuals.
        FieldmarkError: ``classes`` are no whole numbers.

    Source:
        A solution of Humpback Whale Identification 2018/19 (earhian).
    """

    @takes_arrays
    def __init__(self, classes: Int[np.ndarray, " row"], *, batch: int, seed: int = 0) -> None:
        super().__init__(seed=seed)
        self._classes, self._batch = classes, batch
        self._steps = len(self.order(0))

    def __len__(self) -> int:
        return self._steps

    def order(self, epoch: int) -> Int64[np.ndarray, "step slot"]:
        """The row numbers of each batch, four to a tuple."""
        return draw(TupleSampler(), classes=self._classes, batch=self._batch, seed=self._seed, epoch=epoch)


class LogWeightBatchSampler(_Epochs):
    """Batches drawn with replacement, rare labels more often: weight ``log(1 + N / n_label)``, see ``log_weights``.

    Args:
        classes: The class of each row; or
        truth: 1 where a row has a label, else 0.
        batch: Rows per batch.
        over: Of rows with several labels, take the largest weight (``max``) or their ``mean``.
        seed: Random seed.

    Raises:
        PlanError: Not exactly one of ``classes`` and ``truth`` is given, or ``batch`` is below 1.
        FieldmarkError: They hold no numbers of the right kind.

    Source:
        iMet Collection 2019, first place.
    """

    @takes_arrays
    def __init__(
        self,
        *,
        batch: int,
        classes: Int[np.ndarray, " row"] | None = None,
        truth: Float[np.ndarray, "row label"] | None = None,
        over: Literal["max", "mean"] = "max",
        seed: int = 0,
    ) -> None:
        super().__init__(seed=seed)
        if (classes is None) == (truth is None):
            raise PlanError(
                "LogWeightBatchSampler() needs either classes or truth.",
                got="both" if truth is not None else "neither",
                fix="pass classes=... for one class a row, or truth=... for a matrix of labels.",
            )
        self._spec, self._batch = LogWeightSampler(over=over), batch
        self._weights = log_weights(classes=classes, truth=truth, over=over)
        self._steps = len(self.order(0))

    def __len__(self) -> int:
        return self._steps

    def order(self, epoch: int) -> Int64[np.ndarray, "step slot"]:
        """The row numbers of each batch."""
        return draw(self._spec, weights=self._weights, batch=self._batch, seed=self._seed, epoch=epoch)


class AssignmentBatchSampler(_Epochs):
    """Batches of (photo, same individual, photo, hard other individual), others chosen by linear assignment.

    Every photo meets exactly one hard other photo per epoch and is that of exactly one. Rows of unknowns and of
    individuals with one photo are left out. Call ``update`` with new embeddings every few epochs; until then no pair of
    photos comes twice.

    Args:
        classes: The individual of each row; -1 for unknowns.
        embedding: Unit-length embedding of each row by the network in training.
        batch: Rows per batch, a multiple of 4.
        solver: ``exact``: among all pairs, memory grows with the square of the rows. ``nearest``: among the ``k`` most
            similar rows of other individuals.
        k: For ``nearest``.
        noise: Random numbers up to this are added to the cosines: high values give easy pairs.
        seed: Random seed.

    Raises:
        PlanError: ``batch`` is no multiple of 4.
        ShapeError: There is not one embedding for each row.
        DataError: Fewer than two individuals have two photos, or one has more than half of the photos.

    Source:
        Piotte, Humpback Whale Identification 2018/19; ``nearest`` is ours.
    """

    @takes_arrays
    def __init__(
        self,
        classes: Int[np.ndarray, " row"],
        embedding: Float[np.ndarray, "row dim"],
        *,
        batch: int,
        solver: Literal["exact", "nearest"] = "exact",
        k: int = 32,
        noise: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__(seed=seed)
        if batch < 4 or batch % 4:
            raise PlanError(
                "AssignmentBatchSampler() shows four photos each: the batch must be a multiple of 4.",
                got=f"batch {batch}",
                fix=f"use batch={max(batch // 4, 1) * 4}.",
            )
        names, label, counts = np.unique(classes, return_inverse=True, return_counts=True)
        self._rows = np.flatnonzero((names[label] >= 0) & (counts[label] >= 2))
        self._classes, self._batch, self._solver, self._k, self._noise = classes, batch, solver, k, noise
        if len(np.unique(classes[self._rows])) < 2:
            raise DataError(
                "AssignmentBatchSampler() needs two individuals with two photos each.",
                got=f"{len(np.unique(classes[self._rows]))} such individuals",
                fix="use PkBatchSampler, or give more photos.",
            )
        self._n_updates = 0
        self.update(embedding)

    def __len__(self) -> int:
        return int(np.ceil(4 * len(self._rows) / self._batch))

    @takes_arrays
    def update(self, embedding: Float[np.ndarray, "row dim"]) -> None:
        """Choose hard pairs by new embeddings from now on.

        Args:
            embedding: Unit-length embedding of each row.

        Raises:
            ShapeError: There is not one for each row.
        """
        if len(embedding) != len(self._classes):
            raise ShapeError(
                "AssignmentBatchSampler() needs one embedding for each row.",
                got=f"{len(embedding)} embeddings, {len(self._classes)} rows",
                fix="pass embeddings of all rows in their order.",
            )
        vectors, classes = embedding[self._rows].astype(np.float32), self._classes[self._rows]
        rng = generator(self._seed, "assignment", "update", self._n_updates)
        self._opponents: Opponents = (
            AllOpponents(vectors @ vectors.T, classes, noise=self._noise, rng=rng)
            if self._solver == "exact"
            else NearestOpponents(vectors, classes, k=self._k, noise=self._noise, rng=rng)
        )
        self._n_updates += 1

    def order(self, epoch: int) -> Int64[np.ndarray, "step slot"]:
        """The row numbers of each batch, four to a photo; each call takes the next hardest pairs."""
        rng = generator(self._seed, "assignment", "order", epoch)
        partner = partners(self._classes[self._rows], rng)
        return self._rows[pairs_order(self._opponents.draw(), partner, batch=self._batch, rng=rng)]

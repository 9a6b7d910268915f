"""Batch samplers of torch for your own ``DataLoader``."""

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
    """Batch sampler whose batches depend only on seed and epoch.

    Each pass of a ``DataLoader`` is the next epoch. ``set_epoch`` sets the epoch, for example after a restart.
    """

    def __init__(self, *, seed: int) -> None:
        self._seed, self._epoch = seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next pass, counted from 0."""
        self._epoch = epoch

    def order(self, epoch: int) -> Int64[np.ndarray, "step slot"]:
        """Return the row numbers of each batch of an epoch."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the batches of the next epoch."""
        order = self.order(self._epoch)
        self._epoch += 1
        yield from order.tolist()


class PkBatchSampler(_Epochs):
    """Batches of P individuals with K photos each, plus a share of unknown individuals; for losses on pairs.

    Args:
        classes: Individual of each row; -1 for unknown individuals.
        batch: Rows per batch; a multiple of ``k`` without the unknown individuals.
        k: Photos per individual, at least 2; repeated if an individual has fewer.
        unknown_share: Share of each batch that is drawn from unknown individuals, 0 to 1.
        seed: Random seed.

    Raises:
        PlanError: ``batch`` cannot be divided into individuals of ``k`` photos.
        DataError: No row has a known individual.
        FieldmarkError: ``classes`` are not integers.

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
        """Return the row numbers of each batch: K adjacent rows per individual, unknown individuals last."""
        return draw(self._spec, classes=self._classes, batch=self._batch, seed=self._seed, epoch=epoch)


class TupleBatchSampler(_Epochs):
    """Batches of four-photo tuples: anchor, positive, negative, and a photo of an unknown individual.

    Each epoch has one tuple per individual. Without unknown individuals, the fourth photo shows another individual.

    Args:
        classes: Individual of each row; -1 for unknown individuals.
        batch: Rows per batch, a multiple of 4.
        seed: Random seed.

    Raises:
        PlanError: ``batch`` is not a multiple of 4.
        DataError: There are fewer than two individuals.
        FieldmarkError: ``classes`` are not integers.

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
        """Return the row numbers of each batch, four per tuple."""
        return draw(TupleSampler(), classes=self._classes, batch=self._batch, seed=self._seed, epoch=epoch)


class LogWeightBatchSampler(_Epochs):
    """Batches drawn with replacement, where rows with rare labels are drawn more often.

    The weight of a label is ``log(1 + N / n_label)``, see ``log_weights``.

    Args:
        batch: Rows per batch.
        classes: Class of each row. Give either ``classes`` or ``truth``.
        truth: Label matrix: 1 if a row has a label, else 0.
        over: Weight of a row with several labels: the largest (``max``) or the ``mean`` of their weights.
        seed: Random seed.

    Raises:
        PlanError: Both or neither of ``classes`` and ``truth`` are given, or ``batch`` is below 1.
        FieldmarkError: ``classes`` or ``truth`` have the wrong type of numbers.

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
                fix="pass classes=... for one class per row, or truth=... for a label matrix.",
            )
        self._spec, self._batch = LogWeightSampler(over=over), batch
        self._weights = log_weights(classes=classes, truth=truth, over=over)
        self._steps = len(self.order(0))

    def __len__(self) -> int:
        return self._steps

    def order(self, epoch: int) -> Int64[np.ndarray, "step slot"]:
        """Return the row numbers of each batch."""
        return draw(self._spec, weights=self._weights, batch=self._batch, seed=self._seed, epoch=epoch)


class AssignmentBatchSampler(_Epochs):
    """Batches of (photo, positive, photo, hard negative), with hard negatives chosen by linear assignment.

    In each epoch, every photo gets exactly one hard negative and is the hard negative of exactly one photo. Rows of
    unknown individuals and of individuals with one photo are left out. Call ``update`` with new embeddings every few
    epochs. Until then, no pair of photos is repeated.

    Args:
        classes: Individual of each row; -1 for unknown individuals.
        embedding: Unit-length embedding of each row, from the network in training.
        batch: Rows per batch, a multiple of 4.
        solver: ``exact``: assignment over all pairs; memory grows with the square of the number of rows. ``nearest``:
            assignment among the ``k`` most similar rows of other individuals.
        k: Number of neighbours for ``nearest``.
        noise: Largest random number that is added to the cosines; high values give easy pairs.
        seed: Random seed.

    Raises:
        PlanError: ``batch`` is not a multiple of 4.
        ShapeError: The number of embeddings differs from the number of rows.
        DataError: Fewer than two individuals have two photos, or one individual has more than half of the photos.

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
                "AssignmentBatchSampler() needs a batch that is a multiple of 4.",
                got=f"batch {batch}",
                fix=f"use batch={max(batch // 4, 1) * 4}.",
            )
        names, label, counts = np.unique(classes, return_inverse=True, return_counts=True)
        self._rows = np.flatnonzero((names[label] >= 0) & (counts[label] >= 2))
        self._classes, self._batch, self._solver, self._k, self._noise = classes, batch, solver, k, noise
        if len(np.unique(classes[self._rows])) < 2:
            raise DataError(
                "AssignmentBatchSampler() needs at least two individuals with at least two photos each.",
                got=f"{len(np.unique(classes[self._rows]))} such individuals",
                fix="use PkBatchSampler, or add photos.",
            )
        self._n_updates = 0
        self.update(embedding)

    def __len__(self) -> int:
        return int(np.ceil(4 * len(self._rows) / self._batch))

    @takes_arrays
    def update(self, embedding: Float[np.ndarray, "row dim"]) -> None:
        """Choose the hard pairs of the next epochs with new embeddings.

        Args:
            embedding: Unit-length embedding of each row.

        Raises:
            ShapeError: The number of embeddings differs from the number of rows.
        """
        if len(embedding) != len(self._classes):
            raise ShapeError(
                "AssignmentBatchSampler() needs one embedding for each row.",
                got=f"{len(embedding)} embeddings, {len(self._classes)} rows",
                fix="pass the embeddings of all rows, in the same order.",
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
        """Return the row numbers of each batch, four per photo. Each call uses the next hardest pairs."""
        rng = generator(self._seed, "assignment", "order", epoch)
        partner = partners(self._classes[self._rows], rng)
        return self._rows[pairs_order(self._opponents.draw(), partner, batch=self._batch, rng=rng)]

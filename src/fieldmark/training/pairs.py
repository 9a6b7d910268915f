"""Assignment mining: rounds of hard opponents, computed with the current network while training continues."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from copy import copy
from dataclasses import dataclass
from threading import Thread

import numpy as np
import torch
from jaxtyping import Float32, Int, Int64
from torch import Tensor

from fieldmark.core.errors import DataError, PlanError
from fieldmark.core.seeds import generator
from fieldmark.data.specs import AssignmentSampler, ExactAssignment
from fieldmark.images.batches import PhotoSource
from fieldmark.images.specs import NoAugment
from fieldmark.models.network import Network
from fieldmark.models.pair import Pair
from fieldmark.training.assignment import AllOpponents, NearestOpponents, Opponents, pairs_order, partners
from fieldmark.training.features import Body, Source
from fieldmark.training.ranks import Ranks
from fieldmark.training.specs import Phase

DRAWN, ROUND = "opponents/drawn", "opponents/round"

EMBED_BATCH = 32
"""Photos per forward pass when all photos are embedded."""


@dataclass(frozen=True)
class PairLikeness:
    """The similarity of pairs of photos: the probability of the pair head, or the cosine without a pair head.

    Attributes:
        embedding: Unit-length embedding of each photo.
        pair: Pair head, or None.
        device: Device of the pair head.
    """

    embedding: Float32[np.ndarray, "photo dim"]
    pair: Pair | None = None
    device: torch.device = torch.device("cpu")  # noqa: RUF009 - a frozen value

    def of(self, first: Int64[np.ndarray, " pair"], second: Int64[np.ndarray, " pair"]) -> Float32[np.ndarray, " pair"]:
        """Return the similarity of some pairs."""
        similar = np.empty(len(first), dtype=np.float32)
        for start in range(0, len(first), 2**15):  # blocks of pairs, to limit memory
            some = slice(start, start + 2**15)
            a, b = self.embedding[first[some]], self.embedding[second[some]]
            if self.pair is None:
                similar[some] = np.einsum("pd,pd->p", a, b)
            else:
                with torch.no_grad():
                    logits = self.pair(torch.from_numpy(a).to(self.device), torch.from_numpy(b).to(self.device))
                similar[some] = torch.sigmoid(logits).cpu().numpy()
        return similar

    def square(self) -> Float32[np.ndarray, "photo photo"]:
        """Return the similarity of all pairs."""
        if self.pair is None:
            return self.embedding @ self.embedding.T
        similar = np.empty((len(self.embedding),) * 2, dtype=np.float32)
        for rows, columns, logits in self.pair.blocks(torch.from_numpy(self.embedding).to(self.device)):
            block = torch.sigmoid(logits).cpu().numpy()
            similar[rows, columns] = block
            similar[columns, rows] = block.T
        return similar


class HardPairs:
    """Sampler of epochs in which every photo is paired with one of its identity and with a hard one of another.

    At the start of a round, all photos are embedded. The assignments of the round, one per epoch, depend only on these
    embeddings. A thread solves them one after the other while the first epoch is already running. A checkpoint only
    needs the assignments.

    Args:
        spec: Settings of the sampler.
        members: Items of the phase. Unknown individuals and individuals with one photo are left out.
        classes: Class of each member, -1 for unknown individuals. Mirrored photos may have classes of their own.
        n_identities: Number of identities, if class ``k + n_identities`` is individual k mirrored. Such a class is no
            opponent of class k. None: there are no mirrored classes.
        phase: Phase with its epochs and noise.
        batch: Number of slots per forward pass, a multiple of 4.
        seed: Random seed.
        compare: Function that returns the similarity of some items with the current network.
        group: Process group. The first process embeds the photos and solves the assignments for all.

    Raises:
        PlanError: The batch is not a multiple of 4.
        DataError: Too few identities have two photos, or one identity has more than half of them.

    Source:
        Piotte, Humpback Whale Identification 2018/19, with rounds of five epochs. Ours: all assignments of a round are
        solved at its start, so that a resumed training needs no similarities.
    """

    def __init__(
        self,
        spec: AssignmentSampler,
        *,
        members: Int[np.ndarray, " member"],
        classes: Int[np.ndarray, " member"],
        n_identities: int | None = None,
        phase: Phase,
        batch: int,
        seed: int,
        compare: Callable[[Int64[np.ndarray, " photo"]], PairLikeness],
        group: Ranks,
    ) -> None:
        if batch % 4:
            raise PlanError(
                "batch: assignment mining needs a multiple of 4.",
                got=f"batch {batch}",
                fix=f"use batch={max(batch // 4, 1) * 4}.",
            )
        self._spec, self._phase, self._batch, self._seed, self._compare, self._group = (
            spec,
            phase,
            batch,
            seed,
            compare,
            group,
        )
        self.items, self.classes = _with_partner(members, classes)
        self._identities = self.classes if n_identities is None else self.classes % n_identities
        _check_opponents(self._identities)
        self._drawn: list[Future[Int64[np.ndarray, " photo"]]] = []
        self._began, self._n_rounds = -1, 0

    def order(self, epoch: int) -> Int64[np.ndarray, "step slot"]:
        """Return the items of each forward pass of an epoch. All photos are embedded first if a round starts.

        Args:
            epoch: Number of the epoch, counted over all phases: the next one, or the same after an interruption.
        """
        opponent = torch.zeros(len(self.items), dtype=torch.int64)
        if self._group.leads:
            if not self._drawn or epoch >= self._began + self._spec.every_epochs:
                self._begin(epoch)
            opponent = torch.from_numpy(self._drawn[epoch - self._began].result())
        opponent = self._group.from_first(opponent).numpy()
        rng = generator(self._seed, "pairs", epoch)
        return self.items[pairs_order(opponent, partners(self.classes, rng), batch=self._batch, rng=rng)]

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors for a checkpoint: all assignments of this round. Waits until they are solved."""
        if not self._drawn:
            return {}
        drawn = np.stack([one.result() for one in self._drawn]).astype(np.int32)
        return {DRAWN: torch.from_numpy(drawn), ROUND: torch.tensor([self._began, self._n_rounds])}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Restore the state from a checkpoint."""
        if DRAWN not in tensors:
            return
        self._began, self._n_rounds = tensors[ROUND].tolist()
        self._drawn = [Future() for _ in tensors[DRAWN]]
        for future, opponent in zip(self._drawn, tensors[DRAWN].numpy(), strict=True):
            future.set_result(opponent.astype(np.int64))

    def noise(self, number: int) -> float:
        """Return the noise amplitude of a round of the phase, counted from 0.

        It changes geometrically from the first to the last value, or linearly if one of them is 0.
        """
        first, last = self._phase.noise
        n_rounds = -(-self._phase.epochs // self._spec.every_epochs)
        way = number / max(1, n_rounds - 1)
        return first * (last / first) ** way if first > 0 < last else first + (last - first) * way

    def _begin(self, epoch: int) -> None:
        left = self._phase.epochs - self._n_rounds * self._spec.every_epochs
        n_draws = min(self._spec.every_epochs, max(1, left))
        opponents = self._opponents(epoch, n_draws)
        self._began, self._n_rounds = epoch, self._n_rounds + 1
        self._drawn = [Future() for _ in range(n_draws)]
        # A daemon thread: stopping the training does not wait for the assignments of later epochs.
        Thread(target=_solve, args=(opponents, self._drawn), daemon=True, name="fieldmark-opponents").start()

    def _opponents(self, epoch: int, n_draws: int) -> Opponents:
        likeness = self._compare(self.items)
        rng, noise = generator(self._seed, "opponents", epoch), self.noise(self._n_rounds)
        solver = self._spec.solver
        if isinstance(solver, ExactAssignment):
            return AllOpponents(likeness.square(), self._identities, noise=noise, rng=rng)
        return NearestOpponents(
            likeness.embedding,
            self._identities,
            k=solver.k,
            noise=noise,
            rng=rng,
            compare=None if likeness.pair is None else likeness.of,
            n_draws=n_draws,
        )


def compare_items(
    network: Network, body: Body, items: Int64[np.ndarray, " photo"], *, device: torch.device, n_workers: int
) -> PairLikeness:
    """Return the similarity of items with the current network, in evaluation mode and without gradients.

    Args:
        network: Network; its training mode is restored.
        body: Frozen and trained stages of the network, and the source of images or cached features.
        items: Items of the source.
        device: Device.
        n_workers: Number of image-loading threads.
    """
    each = min(EMBED_BATCH, len(items))
    order = np.resize(items, (-(-len(items) // each), each))  # the last batch is filled up from the beginning
    training = network.training
    network.eval()
    with torch.no_grad():
        embeddings = [
            body.above(body.below(batch.to(device))).embedding.float().cpu()
            for batch in body.source.batches(order, epoch=0, n_workers=n_workers)
        ]
    network.train(training)
    return PairLikeness(torch.cat(embeddings)[: len(items)].numpy(), network.pair, device)


def unvaried(source: Source) -> Source:
    """Return the source without augmentation."""
    if not isinstance(source, PhotoSource) or isinstance(source.augment, NoAugment):
        return source
    plain = copy(source)
    plain.augment, plain.versions = NoAugment(), 1
    return plain


def _solve(opponents: Opponents, drawn: list[Future[Int64[np.ndarray, " photo"]]]) -> None:
    """Draw the assignments one after the other, in a thread."""
    for future in drawn:
        try:
            future.set_result(opponents.draw())
        except Exception as error:
            future.set_exception(error)


def _with_partner(
    members: Int[np.ndarray, " member"], classes: Int[np.ndarray, " member"]
) -> tuple[Int64[np.ndarray, " photo"], Int64[np.ndarray, " photo"]]:
    """Return the members, and their classes, that share their class with another member."""
    _, label, counts = np.unique(classes, return_inverse=True, return_counts=True)
    keep = (classes >= 0) & (counts[label] >= 2)
    return members[keep], classes[keep]


def _check_opponents(identities: Int[np.ndarray, " photo"]) -> None:
    """Raise an error if no assignment is possible."""
    counts = np.unique(identities, return_counts=True)[1]
    if 2 * int(counts.max(initial=0)) > len(identities) or not len(identities):
        raise DataError(
            "Assignment mining needs individuals with at least two photos, and none with more than half of the photos.",
            got=f"{len(counts)} such individuals with {len(identities)} photos, the largest with "
            f"{counts.max(initial=0)}",
            fix="use sampler = {kind = 'pk'}, or add photos of more individuals.",
        )

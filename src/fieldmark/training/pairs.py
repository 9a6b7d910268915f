"""Assignment mining: rounds of hard opponents, looked for with the network as it is, solved while it learns on."""

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

LOOKED_AT_ONCE = 32
"""Photos in one forward pass while all are looked at."""


@dataclass(frozen=True)
class PairLikeness:
    """How similar photos are to a network: the probability of its pair head, or the cosine if it has none.

    Attributes:
        embedding: Of each photo, unit length.
        pair: The head.
        device: Where the head computes.
    """

    embedding: Float32[np.ndarray, "photo dim"]
    pair: Pair | None = None
    device: torch.device = torch.device("cpu")  # noqa: RUF009 - a frozen value

    def of(self, first: Int64[np.ndarray, " pair"], second: Int64[np.ndarray, " pair"]) -> Float32[np.ndarray, " pair"]:
        """Of some pairs."""
        similar = np.empty(len(first), dtype=np.float32)
        for start in range(0, len(first), 2**15):  # vectors of so many pairs are held at once
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
        """Of all pairs."""
        if self.pair is None:
            return self.embedding @ self.embedding.T
        similar = np.empty((len(self.embedding),) * 2, dtype=np.float32)
        for rows, columns, logits in self.pair.blocks(torch.from_numpy(self.embedding).to(self.device)):
            block = torch.sigmoid(logits).cpu().numpy()
            similar[rows, columns] = block
            similar[columns, rows] = block.T
        return similar


class HardPairs:
    """The order of epochs in which every photo meets one of its own identity and one it is hard to tell from.

    A round begins with a look at all photos. Its assignments, one an epoch, follow from that look alone: a thread
    solves them one after the other while the first epoch trains already, and a checkpoint needs nothing but them.

    Args:
        spec: The sampler.
        members: Items of the phase, unknown individuals and singles too; they take no part.
        classes: Of the members, -1 for unknown individuals. A number is who it is seen from where: mirrored photos may be others.
        n_identities: Class ``k + n_identities`` is individual k mirrored, and no opponent of class k, which it is to be
            told from by nobody; None: no class is another one's mirror image.
        phase: Its epochs and noise.
        batch: Slots of a forward pass.
        seed: Of all chance.
        look: How similar some items are to the network as it is now.
        group: The first process looks and solves for all.

    Raises:
        PlanError: The batch is no multiple of 4.
        DataError: Too few identities have two photos, or one has more than half of them.

    Source:
        Piotte, Humpback Whale Identification 2018/19. Rounds of five epochs, as there; ours: all assignments of a round
        are solved when it begins, which a resumed training needs no scores for.
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
        look: Callable[[Int64[np.ndarray, " photo"]], PairLikeness],
        group: Ranks,
    ) -> None:
        if batch % 4:
            raise PlanError(
                "Assignment mining shows four photos each: the batch must be a multiple of 4.",
                got=f"batch {batch}",
                fix=f"use batch={max(batch // 4, 1) * 4}.",
            )
        self._spec, self._phase, self._batch, self._seed, self._look, self._group = (
            spec,
            phase,
            batch,
            seed,
            look,
            group,
        )
        self.items, self.classes = _of_two(members, classes)
        self._whose = self.classes if n_identities is None else self.classes % n_identities
        _check_opponents(self._whose)
        self._drawn: list[Future[Int64[np.ndarray, " photo"]]] = []
        self._began, self._n_rounds = -1, 0

    def order(self, epoch: int) -> Int64[np.ndarray, "step slot"]:
        """The items of each forward pass of an epoch; looks at all photos first where a round begins.

        Args:
            epoch: Number of the epoch, in all phases; the next one or, after an interruption, the same again.
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
        """What a checkpoint must hold: the assignments of this round (waits for the last of them)."""
        if not self._drawn:
            return {}
        drawn = np.stack([one.result() for one in self._drawn]).astype(np.int32)
        return {DRAWN: torch.from_numpy(drawn), ROUND: torch.tensor([self._began, self._n_rounds])}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Go on from a checkpoint."""
        if DRAWN not in tensors:
            return
        self._began, self._n_rounds = tensors[ROUND].tolist()
        self._drawn = [Future() for _ in tensors[DRAWN]]
        for future, opponent in zip(self._drawn, tensors[DRAWN].numpy(), strict=True):
            future.set_result(opponent.astype(np.int64))

    def noise(self, number: int) -> float:
        """The amplitude of round ``number`` (from 0) of the phase: geometrically first to last, evenly if one is 0."""
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
        # A daemon: whoever stops the training need not wait for assignments of epochs to come.
        Thread(target=_solve, args=(opponents, self._drawn), daemon=True, name="fieldmark-opponents").start()

    def _opponents(self, epoch: int, n_draws: int) -> Opponents:
        likeness = self._look(self.items)
        rng, noise = generator(self._seed, "opponents", epoch), self.noise(self._n_rounds)
        solver = self._spec.solver
        if isinstance(solver, ExactAssignment):
            return AllOpponents(likeness.square(), self._whose, noise=noise, rng=rng)
        return NearestOpponents(
            likeness.embedding,
            self._whose,
            k=solver.k,
            noise=noise,
            rng=rng,
            compare=None if likeness.pair is None else likeness.of,
            n_draws=n_draws,
        )


def look_at(
    network: Network, body: Body, items: Int64[np.ndarray, " photo"], *, device: torch.device, n_workers: int
) -> PairLikeness:
    """How similar items are to a network as it is now: in evaluation mode, without gradients, each item once.

    Args:
        network: Left in the mode it is in.
        body: How pictures, or kept features of them, go through it.
        items: Of the body's source.
        device: Where it computes.
        n_workers: Threads that read ahead.
    """
    each = min(LOOKED_AT_ONCE, len(items))
    order = np.resize(items, (-(-len(items) // each), each))  # the last batch is filled up from the beginning
    training = network.training
    network.eval()
    with torch.no_grad():
        seen = [
            body.above(body.below(batch.to(device))).embedding.float().cpu()
            for batch in body.source.batches(order, epoch=0, n_workers=n_workers)
        ]
    network.train(training)
    return PairLikeness(torch.cat(seen)[: len(items)].numpy(), network.pair, device)


def unvaried(source: Source) -> Source:
    """The same photos without augmentation: what opponents are chosen by."""
    if not isinstance(source, PhotoSource) or isinstance(source.augment, NoAugment):
        return source
    plain = copy(source)
    plain.augment, plain.versions = NoAugment(), 1
    return plain


def _solve(opponents: Opponents, drawn: list[Future[Int64[np.ndarray, " photo"]]]) -> None:
    for future in drawn:
        try:
            future.set_result(opponents.draw())
        except Exception as error:
            future.set_exception(error)


def _of_two(
    members: Int[np.ndarray, " member"], classes: Int[np.ndarray, " member"]
) -> tuple[Int64[np.ndarray, " photo"], Int64[np.ndarray, " photo"]]:
    """The members, and their classes, that have another of their class."""
    _, label, counts = np.unique(classes, return_inverse=True, return_counts=True)
    keep = (classes >= 0) & (counts[label] >= 2)
    return members[keep], classes[keep]


def _check_opponents(whose: Int[np.ndarray, " photo"]) -> None:
    """Refuse what has no assignment, in words of the photos."""
    counts = np.unique(whose, return_counts=True)[1]
    if 2 * int(counts.max(initial=0)) > len(whose) or not len(whose):
        raise DataError(
            "Assignment mining needs identities with two photos or more, none with more than half of them.",
            got=f"{len(counts)} such identities with {len(whose)} photos, the largest with {counts.max(initial=0)}",
            fix="use sampler = {kind = 'pk'}, or give more photos of more individuals.",
        )

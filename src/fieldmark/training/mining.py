"""Hard-negative mining: which items the network finds hardest, and an epoch that shows them more."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

FELT, CHOSEN = "mining/felt", "mining/chosen"


class HardExamples:
    """The loss of each item when it was last seen, and the share of the items that were hardest.

    What nobody has seen yet is not hard but unknown: it is never chosen, and the sampler will bring it up. Where only
    the hardest are shown, all others keep their last loss: once the hardest have been learnt, others take their place.

    Args:
        members: The items of the phase.
        share: How many of them are chosen, above 0; rounded up.
        mode: Whether the hardest are shown besides a normal epoch or instead of it.

    Source:
        iMet 2019 first place, stage 2 ("the 5 % hardest"); the rest is ours.
    """

    def __init__(self, members: Int[np.ndarray, " member"], *, share: float, mode: Literal["added", "only"]) -> None:
        self._members, self._mode = members, mode
        self._most = int(np.ceil(share * len(members)))
        self._felt = np.full(int(members.max()) + 1, np.nan, dtype=np.float32)
        self.chosen = np.zeros(0, dtype=np.int64)
        """The hardest at the beginning of this epoch, hardest first."""

    def note(self, items: Int[np.ndarray, " seen"], losses: Float[np.ndarray, " seen"]) -> None:
        """Remember the loss of items just seen; of one seen twice the later."""
        self._felt[items] = losses

    def choose(self) -> None:
        """Take the hardest of all seen so far, for the epoch that begins."""
        felt = self._felt[self._members]
        hardest_first = np.argsort(-felt, kind="stable")  # NaN, not seen yet, comes last
        n_seen = int((~np.isnan(felt)).sum())
        self.chosen = self._members[hardest_first[: min(self._most, n_seen)]]

    def order(self, drawn: Int[np.ndarray, "step slot"], rng: np.random.Generator) -> Int[np.ndarray, "step2 slot"]:
        """An epoch's batches: the sampler's and the chosen ones, shuffled; or the chosen ones alone.

        The last batch is filled up from the beginning.
        """
        if not len(self.chosen):
            return drawn
        steps, batch = drawn.shape
        shown = rng.permutation(self.chosen if self._mode == "only" else np.concatenate([drawn.ravel(), self.chosen]))
        order = np.resize(shown, (-(-len(shown) // batch), batch))
        return order[:steps] if self._mode == "only" else order

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint must hold."""
        return {FELT: torch.from_numpy(self._felt), CHOSEN: torch.from_numpy(self.chosen)}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Go on from a checkpoint."""
        if FELT in tensors:
            self._felt, self.chosen = tensors[FELT].numpy(), tensors[CHOSEN].numpy()

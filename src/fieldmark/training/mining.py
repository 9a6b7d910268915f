"""Hard-negative mining: finds the items with the highest loss, and adds them to an epoch."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

LOSSES, CHOSEN = "mining/felt", "mining/chosen"


class HardExamples:
    """The last loss of each item, and the share of items with the highest loss.

    Items without a loss yet are never chosen; the sampler draws them in a normal epoch. If an epoch has only the
    hardest items, all other items keep their last loss. They are chosen later, when the loss of the hardest items has
    fallen.

    Args:
        members: Items of the phase.
        share: Share of the items to choose, above 0; their number is rounded up.
        mode: ``added``: the hardest items in addition to a normal epoch. ``only``: only the hardest items.

    Source:
        iMet 2019 first place, stage 2 ("the 5 % hardest"); the rest is ours.
    """

    def __init__(self, members: Int[np.ndarray, " member"], *, share: float, mode: Literal["added", "only"]) -> None:
        self._members, self._mode = members, mode
        self._most = int(np.ceil(share * len(members)))
        self._losses = np.full(int(members.max()) + 1, np.nan, dtype=np.float32)
        self.chosen = np.zeros(0, dtype=np.int64)
        """The hardest items at the start of this epoch, in descending order of loss."""

    def note(self, items: Int[np.ndarray, " item"], losses: Float[np.ndarray, " item"]) -> None:
        """Store the loss of items. For duplicate items, the last loss is kept."""
        self._losses[items] = losses

    def choose(self) -> None:
        """Choose the items with the highest loss so far, for the epoch that starts."""
        losses = self._losses[self._members]
        hardest_first = np.argsort(-losses, kind="stable")  # NaN (no loss yet) comes last
        n_measured = int((~np.isnan(losses)).sum())
        self.chosen = self._members[hardest_first[: min(self._most, n_measured)]]

    def order(self, drawn: Int[np.ndarray, "step slot"], rng: np.random.Generator) -> Int[np.ndarray, "step2 slot"]:
        """Return the batches of an epoch: the sampler's items and the chosen ones, shuffled; or only the chosen ones.

        The last batch is filled up from the beginning.
        """
        if not len(self.chosen):
            return drawn
        steps, batch = drawn.shape
        shown = rng.permutation(self.chosen if self._mode == "only" else np.concatenate([drawn.ravel(), self.chosen]))
        order = np.resize(shown, (-(-len(shown) // batch), batch))
        return order[:steps] if self._mode == "only" else order

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors for a checkpoint."""
        return {LOSSES: torch.from_numpy(self._losses), CHOSEN: torch.from_numpy(self.chosen)}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Restore the state from a checkpoint."""
        if LOSSES in tensors:
            self._losses, self.chosen = tensors[LOSSES].numpy(), tensors[CHOSEN].numpy()

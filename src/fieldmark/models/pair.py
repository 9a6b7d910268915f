"""The pair head: two photos looked at together, and how likely they show the same individual."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

ON_CPU, ON_GPU = 2**14, 2**23
"""Numbers (pairs x dim) compared at once: on a processor their hidden values then stay in its cache (measured with
dim 1,280: a quarter of the time of 256 pairs at once)."""

LEARNT_AT_ONCE = 2**19
"""Numbers compared at once while their hidden values are kept for the gradient; of more pairs they are found again."""


class Pair(nn.Module):
    """One logit of "the same individual" for two photos, the same whichever comes first.

    Every feature is first looked at by itself: from its values a and b in the two photos, the product, the sum, the
    distance and its square go through one little network that all features share. It learns what it means that a
    feature is strong in both, in one or in neither. The answers are then weighed feature by feature and summed. As all
    four numbers are the same for (b, a), so is the logit.

    Args:
        dim: Length of the vectors.
        hidden: Width of the shared network.

    Source:
        The Siamese network of Piotte, Humpback Whale Identification 2018/19. It reads max-pooled features; ours are of
        unit length, as a gallery keeps them, times the root of ``dim``, so that their size does not depend on it.
    """

    def __init__(self, dim: int, *, hidden: int = 32) -> None:
        super().__init__()
        self.dim = dim
        self.look = nn.Linear(4, hidden)
        self.say = nn.Linear(hidden, 1)
        self.weigh = nn.Linear(dim, 1)

    def forward(self, first: Float[Tensor, "pair dim"], second: Float[Tensor, "pair dim"]) -> Float[Tensor, " pair"]:
        """The logit of each pair of unit-length vectors, in bounded memory."""
        if torch.is_grad_enabled():
            parts = max(1, LEARNT_AT_ONCE // self.dim)
            if len(first) <= parts:
                return self._judge(first, second)
            judged = [
                checkpoint(self._judge, a, b, use_reentrant=False, preserve_rng_state=False)
                for a, b in zip(first.split(parts), second.split(parts), strict=True)
            ]
        else:
            parts = max(1, (ON_CPU if first.device.type == "cpu" else ON_GPU) // self.dim)
            judged = [self._judge(a, b) for a, b in zip(first.split(parts), second.split(parts), strict=True)]
        return torch.cat(judged)

    def among(self, vectors: Float[Tensor, "row dim"]) -> Callable[[Tensor, Tensor], Float[Tensor, " pair"]]:
        """The head as a function of pairs of rows of ``vectors``."""
        return lambda first, second: self(vectors[first], vectors[second])

    @torch.no_grad()
    def blocks(
        self, vectors: Float[Tensor, "row dim"], *, side: int = 512
    ) -> Iterator[tuple[slice, slice, Float[Tensor, "rows columns"]]]:
        """The logits of all pairs of rows, block by block: the upper triangle of blocks, as the rest mirrors it.

        Args:
            vectors: Of unit length.
            side: Rows and columns of a block.

        Yields:
            Which rows, which columns (never before the rows), and their logits.
        """
        for top in range(0, len(vectors), side):
            rows = slice(top, min(top + side, len(vectors)))
            for left in range(top, len(vectors), side):
                columns = slice(left, min(left + side, len(vectors)))
                yield rows, columns, torch.stack([self._against(row, vectors[columns]) for row in vectors[rows]])

    def _against(self, one: Float[Tensor, " dim"], others: Float[Tensor, "row dim"]) -> Float[Tensor, " row"]:
        return self(one.expand_as(others), others)

    def _judge(self, first: Tensor, second: Tensor) -> Tensor:
        a, b = first * self.dim**0.5, second * self.dim**0.5
        apart = a - b
        seen = torch.stack([a * b, a + b, apart.abs(), apart.square()], dim=-1)
        said = self.say(torch.relu(self.look(seen)))[..., 0]
        return self.weigh(said)[:, 0]

"""Pair head: a logit that two photos show the same individual, from their embeddings."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

ON_CPU, ON_GPU = 2**14, 2**23
"""Number of values (pairs x dim) compared at once. On a CPU the hidden values then stay in its cache (measured with
dim 1,280: a quarter of the time of 256 pairs at once)."""

LEARNT_AT_ONCE = 2**19
"""Number of values compared at once in training with stored hidden values; above it they are recomputed."""


class Pair(nn.Module):
    """Logit that two photos show the same individual. The order of the photos has no effect.

    Each feature is compared separately. From its values a and b in the two photos, the product, the sum, the absolute
    difference and its square are the input of one small network that all features share. The outputs are then combined
    by a learned weight per feature. All four inputs are symmetric in a and b, and so is the logit.

    Args:
        dim: Length of the embeddings.
        hidden: Width of the shared network.

    Source:
        The Siamese network of Piotte, Humpback Whale Identification 2018/19. It takes max-pooled features. Ours are
        unit-length embeddings, as stored in a gallery, times the root of ``dim``, so that their scale does not depend
        on ``dim``.
    """

    def __init__(self, dim: int, *, hidden: int = 32) -> None:
        super().__init__()
        self.dim = dim
        self.look = nn.Linear(4, hidden)
        self.say = nn.Linear(hidden, 1)
        self.weigh = nn.Linear(dim, 1)

    def forward(self, first: Float[Tensor, "pair dim"], second: Float[Tensor, "pair dim"]) -> Float[Tensor, " pair"]:
        """Return the logit of each pair of unit-length embeddings, in bounded memory."""
        if torch.is_grad_enabled():
            parts = max(1, LEARNT_AT_ONCE // self.dim)
            if len(first) <= parts:
                return self._compare(first, second)
            logits = [
                checkpoint(self._compare, a, b, use_reentrant=False, preserve_rng_state=False)
                for a, b in zip(first.split(parts), second.split(parts), strict=True)
            ]
        else:
            parts = max(1, (ON_CPU if first.device.type == "cpu" else ON_GPU) // self.dim)
            logits = [self._compare(a, b) for a, b in zip(first.split(parts), second.split(parts), strict=True)]
        return torch.cat(logits)

    def among(self, vectors: Float[Tensor, "row dim"]) -> Callable[[Tensor, Tensor], Float[Tensor, " pair"]]:
        """Return the head as a function of the row numbers of two embeddings in ``vectors``."""
        return lambda first, second: self(vectors[first], vectors[second])

    @torch.no_grad()
    def blocks(
        self, vectors: Float[Tensor, "row dim"], *, side: int = 512
    ) -> Iterator[tuple[slice, slice, Float[Tensor, "rows columns"]]]:
        """Yield the logits of all pairs of rows in blocks. Only the upper triangle of blocks is computed.

        Args:
            vectors: Embeddings of unit length.
            side: Number of rows and columns of a block.

        Yields:
            The rows, the columns (never before the rows), and their logits.
        """
        for top in range(0, len(vectors), side):
            rows = slice(top, min(top + side, len(vectors)))
            for left in range(top, len(vectors), side):
                columns = slice(left, min(left + side, len(vectors)))
                yield rows, columns, torch.stack([self._against(row, vectors[columns]) for row in vectors[rows]])

    def _against(self, one: Float[Tensor, " dim"], others: Float[Tensor, "row dim"]) -> Float[Tensor, " row"]:
        return self(one.expand_as(others), others)

    def _compare(self, first: Tensor, second: Tensor) -> Tensor:
        a, b = first * self.dim**0.5, second * self.dim**0.5
        difference = a - b
        inputs = torch.stack([a * b, a + b, difference.abs(), difference.square()], dim=-1)
        outputs = self.say(torch.relu(self.look(inputs)))[..., 0]
        return self.weigh(outputs)[:, 0]

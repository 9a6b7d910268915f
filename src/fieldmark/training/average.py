"""An exponential moving average of the weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class MovingAverage:
    """Exponential moving average of weights: ``average = decay * average + (1 - decay) * weights`` per update.

    The decay starts lower, at ``(1 + n) / (10 + n)`` after n updates, so that the initial random weights soon have no
    influence. Integers (batch-norm counters) are copied.

    Args:
        network: Network whose weights are averaged.
        decay: Decay between 0 and 1; 0.999 averages about 1,000 updates.

    Source:
        Polyak & Juditsky 1992; the warm start as in TensorFlow's ExponentialMovingAverage.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.n_updates = 0
        self._tensors = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The averaged weights by name."""
        return self._tensors

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Add the current weights of the network to the average."""
        self.n_updates += 1
        n = self.n_updates
        decay = min(self.decay, (1 + n) / (10 + n))
        present = network.state_dict()
        smooth = [name for name, tensor in present.items() if tensor.is_floating_point()]
        # One call for all tensors: hundreds of small calls would take longer than a step of a head on cached features.
        torch._foreach_lerp_([self._tensors[name] for name in smooth], [present[name] for name in smooth], 1 - decay)
        for name in present.keys() - set(smooth):
            self._tensors[name].copy_(present[name])

    def load(self, tensors: dict[str, Tensor], *, n_updates: int) -> None:
        """Restore saved averages."""
        self.n_updates = n_updates
        for name, tensor in tensors.items():
            self._tensors[name].copy_(tensor)

    @contextmanager
    def applied_to(self, network: nn.Module) -> Iterator[None]:
        """Give the network the averaged weights inside the block, and restore its own weights after it."""
        own = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
        network.load_state_dict(self._tensors)
        try:
            yield
        finally:
            network.load_state_dict(own)

"""Pooling of a feature map to one vector per image."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

SMALLEST = 1e-6
"""Lower bound of features in GeM; the value of its authors' code."""


class Pool(nn.Module):
    """Average, maximum, or generalised mean (GeM) over all positions of a feature map, in float32.

    The average measures how much of a feature is in the image, the maximum whether it occurs anywhere. GeM learns a
    value between them: exponent 1 is the average, and a large exponent approaches the maximum.

    Args:
        kind: ``avg``, ``max`` or ``gem`` (one learned exponent, initially 3).
        channels_last: Whether maps have the axes batch, height, width, channel (as in Swin).
        n_prefix_tokens: Number of leading tokens without a position (class tokens of transformers).

    Source:
        GeM: Radenovic et al. 2018, arXiv:1711.02512, equation 3.
    """

    def __init__(
        self, kind: Literal["avg", "max", "gem"] = "avg", *, channels_last: bool = False, n_prefix_tokens: int = 0
    ) -> None:
        super().__init__()
        self.kind = kind
        self.channels_last = channels_last
        self.n_prefix_tokens = n_prefix_tokens
        if kind == "gem":
            self.exponent = nn.Parameter(torch.tensor(3.0))

    def forward(self, features: Tensor) -> Float[Tensor, "batch dim"]:
        """Return one vector per image from a map or from tokens."""
        places = self._places(features).float()
        if self.kind == "avg":
            return places.mean(dim=2)
        if self.kind == "max":
            return places.amax(dim=2)
        return gem(places, self.exponent)

    def _places(self, features: Tensor) -> Float[Tensor, "batch dim place"]:
        if features.ndim == 3:
            return features[:, self.n_prefix_tokens :].transpose(1, 2)
        return features.flatten(1, 2).transpose(1, 2) if self.channels_last else features.flatten(2)


def gem(places: Float[Tensor, "batch dim place"], exponent: Float[Tensor, ""] | float) -> Float[Tensor, "batch dim"]:
    """Return the generalised mean over positions: (mean of x^p)^(1/p).

    Features are divided by their maximum before the power and multiplied by it afterwards. The value is the same, but
    no power leaves the range of float32.

    Args:
        places: Features at all positions; values below 1e-6 count as 1e-6.
        exponent: Exponent p, above 0.
    """
    present = places.clamp(min=SMALLEST)
    # The mean is homogeneous: a constant scale cancels, so the maximum needs no gradient.
    peak = present.detach().amax(dim=2, keepdim=True)
    return (present / peak).pow(exponent).mean(dim=2).pow(1 / exponent) * peak.squeeze(2)

"""From a feature map to one vector a picture."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

SMALLEST = 1e-6
"""Below this, GeM counts a feature as absent; the value of its authors' code."""


class Pool(nn.Module):
    """Average, maximum, or generalised mean (GeM) over all places of a feature map, in float32.

    The average asks how much of a feature there is, the maximum whether it is anywhere; GeM learns what lies
    between: exponent 1 is the average, a large one nears the maximum.

    Args:
        kind: ``avg``, ``max`` or ``gem`` (one learned exponent, 3 at first).
        channels_last: Maps come as batch, height, width, channel (Swin and kin).
        n_prefix_tokens: Leading tokens that are no place of the picture (class tokens of transformers).

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
        """One vector a picture from a map or from tokens."""
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
    """The generalised mean over places: (mean of x^p)^(1/p).

    Features are divided by their largest before the power and multiplied after it: the same value, but no power
    leaves the range of float32, whatever the exponent.

    Args:
        places: Features, counted as at least 1e-6.
        exponent: p, above 0.
    """
    present = places.clamp(min=SMALLEST)
    # The mean is homogeneous: a constant scale cancels, so no gradient need flow through the peak.
    peak = present.detach().amax(dim=2, keepdim=True)
    return (present / peak).pow(exponent).mean(dim=2).pow(1 / exponent) * peak.squeeze(2)

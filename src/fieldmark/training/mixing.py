"""Mixup: pictures blended with each other, and their labels likewise."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


def mix(
    features: Float[Tensor, "batch ..."],
    truth: Float[Tensor, "batch label"],
    *,
    alpha: float,
    rng: np.random.Generator,
) -> tuple[Float[Tensor, "batch ..."], Float[Tensor, "batch label"]]:
    """Every item of a batch blended with another one, and its labels with the other's in the same shares.

    A network that was taught only whole answers is too sure of itself between them. Each item has its own share and is
    itself the larger part of its blend, so that what is said of a blend can be put down to that item.

    Args:
        features: Pictures, or what a frozen lower part gives for them.
        truth: 0 to 1.
        alpha: The share is drawn from Beta(alpha, alpha), above 0: small values give nearly whole items.
        rng: Where shares and partners come from.

    Returns:
        Blended features and truth.

    Source:
        Zhang et al. 2018, arXiv:1710.09412, equation 1; of features: Verma et al. 2019, arXiv:1806.05236. The paper's
        code draws one share a batch.
    """
    n = len(features)
    partner = torch.from_numpy(rng.permutation(n)).to(features.device)
    share = rng.beta(alpha, alpha, n)
    own = torch.from_numpy(np.maximum(share, 1 - share)).to(features)
    wide = own.view(n, *[1] * (features.ndim - 1))
    return torch.lerp(features[partner], features, wide), torch.lerp(truth[partner], truth, own.to(truth)[:, None])

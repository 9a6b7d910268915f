"""Mixup: weighted averages of pairs of images and of their labels."""

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
    """Average every item of a batch with another item, and their labels with the same weights (mixup).

    A network trained on unmixed items only is overconfident between them. Each item has its own weight, at least 0.5,
    so that the loss of a mixed item can be assigned to that item.

    Args:
        features: Images, or features of frozen lower stages.
        truth: Labels from 0 to 1.
        alpha: Parameter of the distribution Beta(alpha, alpha) of the weights, above 0. Small values give weights near
            1.
        rng: Random generator of weights and partners.

    Returns:
        The mixed features and labels.

    Source:
        Zhang et al. 2018, arXiv:1710.09412, equation 1; of features: Verma et al. 2019, arXiv:1806.05236. The paper's
        code draws one share a batch.
    """
    n = len(features)
    partner = torch.from_numpy(rng.permutation(n)).to(features.device)
    weight = rng.beta(alpha, alpha, n)
    own = torch.from_numpy(np.maximum(weight, 1 - weight)).to(features)
    wide = own.view(n, *[1] * (features.ndim - 1))
    return torch.lerp(features[partner], features, wide), torch.lerp(truth[partner], truth, own.to(truth)[:, None])

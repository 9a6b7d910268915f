"""Focal loss: binary cross-entropy with larger weights for hard labels."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from fieldmark.core.errors import FieldmarkError
from fieldmark.losses.inputs import check_logits, precise


def focal(
    logits: Float[Tensor, "batch label"],
    truth: Float[Tensor, "batch label"],
    *,
    gamma: float = 2.0,
    alpha: float | None = None,
    detached: bool = False,
) -> Float[Tensor, ""]:
    """Return the focal loss: summed over labels, averaged over images.

    Each label is an independent binary problem. The loss of a label is multiplied by ``(1 - p_right) ** gamma``, where
    ``p_right`` is the probability of the true value. Labels that are already predicted well thus count less, and rare
    and hard labels count more.

    For soft truth ``y``, ``p_right`` is ``p ** y * (1 - p) ** (1 - y)``. For 0 and 1 this is the usual definition, and
    the loss has its minimum exactly at ``p = y``. (``y p + (1 - y) (1 - p)`` would favour probabilities more extreme
    than the truth.)

    Args:
        logits: Raw scores, before the sigmoid.
        truth: 1 if the image has the label, else 0; values between are soft labels.
        gamma: Exponent: the larger it is, the less easy labels count. 0 is plain BCE. Values between 0 and 1 are
            rejected, because their gradient is infinite at p_right = 1.
        alpha: Weight of positive labels; negative labels have the weight ``1 - alpha``, and soft labels are
            interpolated. None: both weights are 1.
        detached: Whether the factor ``(1 - p_right) ** gamma`` is treated as a constant. The gradient is then that of a
            weighted BCE, which is larger for nearly correct labels.

    Returns:
        The loss, at least 0, in nats per image.

    Raises:
        ShapeError: ``logits`` and ``truth`` differ in shape, or are empty.
        FieldmarkError: ``gamma`` is negative or between 0 and 1, or ``alpha`` is outside 0 to 1.

    Source:
        Lin et al. 2017, arXiv:1708.02002, equation 4; summed over labels as in iMet 2019, first place; detached
        weights as in another solution of that contest; soft truth is ours.
    """
    check_logits(logits, by="focal", truth=truth)
    if gamma < 0 or 0 < gamma < 1:
        raise FieldmarkError(
            "focal(): gamma must be 0 or at least 1.", got=gamma, fix="use 0 (plain BCE) or any value >= 1."
        )
    if alpha is not None and not 0 <= alpha <= 1:
        raise FieldmarkError("focal(): alpha must be between 0 and 1.", got=alpha, fix="use alpha=0.25, or None.")
    logits = precise(logits)
    nats = binary_cross_entropy_with_logits(logits, truth.to(logits), reduction="none")
    p_wrong = -torch.expm1(-nats)  # 1 - exp(-nats), which would round to 0 for confident predictions
    weight = p_wrong**gamma
    if detached:
        weight = weight.detach()
    if alpha is not None:
        weight = weight * (alpha * truth + (1 - alpha) * (1 - truth)).to(nats)
    return (weight * nats).sum(dim=1).mean()

"""Focal loss: binary cross-entropy that listens to hard questions."""

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
    """Focal loss: summed over labels, averaged over images.

    Each label is its own yes-or-no question. A question the network already answers well is muted by
    ``(1 - p_right) ** gamma``, so rare and hard labels get a hearing.

    With soft truth ``y`` the probability of being right is ``p ** y * (1 - p) ** (1 - y)``: for a yes and for a no it
    is the usual one, and the loss is least exactly where ``p = y``. (``y p + (1 - y) (1 - p)`` would reward being surer
    than the truth.)

    Args:
        logits: Raw scores, before the sigmoid.
        truth: 1 where the image has the label, else 0; values between are soft labels.
        gamma: How strongly easy questions are muted. 0 is plain BCE; values between 0 and 1 are refused, as their
            gradient is infinite at p_right = 1.
        alpha: Weight of the yeses, the noes having ``1 - alpha``; soft truth in between. None: both weigh 1.
        detached: The muting weighs the questions without being learnt from itself: the gradient is that of a weighted
            BCE, which also pushes answers that the muting would let go.

    Returns:
        One number, at least 0, in nats per image.

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
            "focal() cannot learn with this gamma.", got=gamma, fix="use 0 (plain BCE) or any value >= 1."
        )
    if alpha is not None and not 0 <= alpha <= 1:
        raise FieldmarkError("focal() shares its weight between yes and no.", got=alpha, fix="use alpha=0.25, or None.")
    logits = precise(logits)
    nats = binary_cross_entropy_with_logits(logits, truth.to(logits), reduction="none")
    p_wrong = -torch.expm1(-nats)  # 1 - exp(-nats), which rounds to 0 for sure answers
    weight = p_wrong**gamma
    if detached:
        weight = weight.detach()
    if alpha is not None:
        weight = weight * (alpha * truth + (1 - alpha) * (1 - truth)).to(nats)
    return (weight * nats).sum(dim=1).mean()

"""Asymmetric loss: a focal loss that reduces the weight of easy negatives more than that of easy positives."""

from __future__ import annotations

from jaxtyping import Float
from timm.loss import AsymmetricLossMultiLabel
from torch import Tensor

from fieldmark.core.errors import FieldmarkError
from fieldmark.losses.inputs import check_logits, precise


def asymmetric(
    logits: Float[Tensor, "batch label"],
    truth: Float[Tensor, "batch label"],
    *,
    gamma_yes: float = 1.0,
    gamma_no: float = 4.0,
    clip: float = 0.05,
) -> Float[Tensor, ""]:
    """Return the asymmetric loss: summed over labels, averaged over images.

    An image has few of, say, a thousand labels, so its negatives dominate the loss. As in the focal loss, easy labels
    get a small weight. Positives and negatives have different exponents. Negatives with a probability of at most
    ``clip`` are ignored.

    Args:
        logits: Raw scores, before the sigmoid.
        truth: 1 if the image has the label, else 0. For values between, both terms are weighted by their share, and
            the exponent is interpolated (timm's rule).
        gamma_yes: Exponent for positive labels: 0, or at least 1. The larger it is, the less easy labels count.
        gamma_no: Exponent for negative labels: 0, or at least 1.
        clip: Probability below which a negative label costs nothing, 0 to 1.

    Returns:
        The loss, at least 0, in nats per image. The loss of a positive label is constant, without gradient, for logits
        below about -18 (timm's lower bound in the logarithm).

    Raises:
        ShapeError: ``logits`` and ``truth`` differ in shape, or are empty.
        FieldmarkError: A gamma is negative or between 0 and 1, or ``clip`` is outside 0 to 1.

    Source:
        Ridnik et al. 2021, arXiv:2009.14119, equation 7, in timm's implementation.
    """
    check_logits(logits, by="asymmetric", truth=truth)
    if any(gamma < 0 or 0 < gamma < 1 for gamma in (gamma_yes, gamma_no)) or not 0 <= clip <= 1:
        raise FieldmarkError(
            "asymmetric(): gamma_yes, gamma_no or clip is outside its range.",
            got=f"gamma_yes {gamma_yes}, gamma_no {gamma_no}, clip {clip}",
            fix="use 0 or any value >= 1 for each gamma, and a clip of 0 to 1; "
            "gamma_yes = 1, gamma_no = 4, clip = 0.05 are usual.",
        )
    loss = AsymmetricLossMultiLabel(gamma_neg=gamma_no, gamma_pos=gamma_yes, clip=clip, reduction="batchmean")
    return loss(precise(logits), truth)

"""Asymmetric loss: a focal loss that mutes easy noes more than easy yeses."""

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
    """Asymmetric loss: summed over labels, averaged over images.

    An image has a few of a thousand labels: its noes drown its yeses. As in the focal loss easy questions are muted,
    the noes by another power than the yeses; and a no that is at most ``clip`` unsure is not asked at all.

    Args:
        logits: Raw scores, before the sigmoid.
        truth: 1 where the image has the label, else 0. Between, both terms count by their share, and the power lies
            between the two (timm's rule).
        gamma_yes: How strongly easy labels that are there are muted: 0, or at least 1.
        gamma_no: How strongly easy labels that are not there are muted: 0, or at least 1.
        clip: Probability below which a label that is not there costs nothing, 0 to 1.

    Returns:
        One number, at least 0, in nats per image. A label that is there and has a logit below about -18 costs no more
        than there, and gets no gradient (timm's floor under the logarithm).

    Raises:
        ShapeError: ``logits`` and ``truth`` differ in shape, or are empty.
        FieldmarkError: A gamma is negative or between 0 and 1, or ``clip`` is outside 0 to 1.

    Source:
        Ridnik et al. 2021, arXiv:2009.14119, equation 7, in timm's implementation.
    """
    check_logits(logits, by="asymmetric", truth=truth)
    if any(gamma < 0 or 0 < gamma < 1 for gamma in (gamma_yes, gamma_no)) or not 0 <= clip <= 1:
        raise FieldmarkError(
            "asymmetric() cannot learn with these settings.",
            got=f"gamma_yes {gamma_yes}, gamma_no {gamma_no}, clip {clip}",
            fix="use 0 or any value >= 1 for each gamma, and a clip of 0 to 1; "
            "gamma_yes = 1, gamma_no = 4, clip = 0.05 are usual.",
        )
    judge = AsymmetricLossMultiLabel(gamma_neg=gamma_no, gamma_pos=gamma_yes, clip=clip, reduction="batchmean")
    return judge(precise(logits), truth)

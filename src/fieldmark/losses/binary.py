"""Binary cross-entropy: every label its own yes-or-no question."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from fieldmark.losses.inputs import check_logits, precise


def bce(logits: Float[Tensor, "batch label"], truth: Float[Tensor, "batch label"]) -> Float[Tensor, ""]:
    """Binary cross-entropy: summed over labels, averaged over images.

    How surprised one must be, in nats, by all the labels of an image together.

    Args:
        logits: Raw scores, before the sigmoid.
        truth: 1 where the image has the label, else 0; values between are soft labels.

    Returns:
        One number, at least 0, in nats per image.

    Raises:
        ShapeError: ``logits`` and ``truth`` differ in shape, or are empty.

    Source:
        Bishop 2006, Pattern Recognition and Machine Learning, equation 4.90; summed over labels as the focal loss is,
        so that the two can be exchanged at one learning rate.
    """
    check_logits(logits, by="bce", truth=truth)
    logits = precise(logits)
    return binary_cross_entropy_with_logits(logits, truth.to(logits), reduction="none").sum(dim=1).mean()

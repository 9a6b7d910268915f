"""Binary cross-entropy for independent labels."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from fieldmark.losses.inputs import check_logits, precise


def bce(logits: Float[Tensor, "batch label"], truth: Float[Tensor, "batch label"]) -> Float[Tensor, ""]:
    """Return the binary cross-entropy: summed over labels, averaged over images.

    It is the negative log-likelihood of all labels of an image, in nats.

    Args:
        logits: Raw scores, before the sigmoid.
        truth: 1 if the image has the label, else 0; values between are soft labels.

    Returns:
        The loss, at least 0, in nats per image.

    Raises:
        ShapeError: ``logits`` and ``truth`` differ in shape, or are empty.

    Source:
        Bishop 2006, Pattern Recognition and Machine Learning, equation 4.90. It is summed over labels like the focal
        loss, so that both work with the same learning rate.
    """
    check_logits(logits, by="bce", truth=truth)
    logits = precise(logits)
    return binary_cross_entropy_with_logits(logits, truth.to(logits), reduction="none").sum(dim=1).mean()

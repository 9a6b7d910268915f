"""Softmax cross-entropy: one identity out of many."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from fieldmark.core.errors import FieldmarkError
from fieldmark.losses.inputs import UNKNOWN, check_classes, check_logits, precise


def cross_entropy(
    logits: Float[Tensor, "batch class"], classes: Int[Tensor, " batch"], *, smoothing: float = 0.0
) -> Float[Tensor, ""]:
    """Softmax cross-entropy, averaged over the images whose class is known.

    The classes compete: what one gains the others lose. An unknown belongs to none of them and is left out.

    Args:
        logits: Raw scores, before the softmax.
        classes: The class of each image; -1 for unknowns.
        smoothing: Share of the truth spread evenly over all classes, 0 to 1.

    Returns:
        One number, at least 0, in nats per known image; 0 where all are unknown.

    Raises:
        ShapeError: Shapes do not match, or a class has no logit.
        FieldmarkError: ``smoothing`` is outside 0 to 1.

    Source:
        Smoothing: Szegedy et al. 2016, arXiv:1512.00567, section 7.
    """
    check_logits(logits, by="cross_entropy")
    check_classes(classes, logits.shape[1], by="cross_entropy", batch=logits.shape[0])
    if not 0 <= smoothing <= 1:
        raise FieldmarkError(
            "cross_entropy() cannot smooth labels that much.", got=smoothing, fix="use 0 (none) to 1; 0.1 is usual."
        )
    nats = functional.cross_entropy(
        precise(logits), classes.long(), ignore_index=UNKNOWN, label_smoothing=smoothing, reduction="sum"
    )
    # Torch's own mean over no known image is NaN.
    return nats / torch.clamp((classes != UNKNOWN).sum(), min=1)

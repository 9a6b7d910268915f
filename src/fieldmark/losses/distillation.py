"""Distillation of unknown individuals: their truth is what an earlier network says of them."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fieldmark.core.errors import ShapeError
from fieldmark.losses.inputs import UNKNOWN, check_classes, check_logits, precise


def distilled(
    logits: Float[Tensor, "batch class"], classes: Int[Tensor, " batch"], taught: Float[Tensor, "batch class"]
) -> Float[Tensor, ""]:
    """Softmax cross-entropy of the unknown individuals with a teacher's word on them, averaged over the unknown individuals.

    An unknown individual is none of the known, but it is more like some of them than like others, and where it was called a
    unknown individual by mistake, it is one of them. The teacher's probabilities say so, where "unknown" or "everybody equally"
    does not.

    Args:
        logits: Raw scores, before the softmax.
        classes: The class of each image; -1 for unknown individuals, and only of these anything is learnt.
        taught: The teacher's probabilities, of each row; rows of known images are not read.

    Returns:
        One number, at least 0, in nats an unknown individual; 0 where there is none.

    Raises:
        ShapeError: Shapes do not match.

    Source:
        T13: Humpback Whale Identification 2018/19, 9th place ("distillation" of the ensemble's predictions for new
        whales); the cross-entropy with a teacher's probabilities is that of Hinton et al. 2015, arXiv:1503.02531, at
        temperature 1.
    """
    check_logits(logits, by="distilled")
    check_classes(classes, logits.shape[1], by="distilled", batch=logits.shape[0])
    if taught.shape != logits.shape:
        raise ShapeError(
            "distilled() needs the teacher's probability of every class for every image.",
            got=f"taught {tuple(taught.shape)}, logits {tuple(logits.shape)}",
            fix="pass (batch, class); rows of known images may hold anything.",
        )
    logits = precise(logits)
    unknown = classes == UNKNOWN
    taught = torch.where(unknown[:, None], taught.to(logits), 0.0)
    return -(taught * torch.log_softmax(logits, dim=1)).sum() / torch.clamp(unknown.sum(), min=1)

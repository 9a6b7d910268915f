"""Distillation for unknown individuals: their targets are the predictions of an earlier network."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fieldmark.core.errors import ShapeError
from fieldmark.losses.inputs import UNKNOWN, check_classes, check_logits, precise


def distilled(
    logits: Float[Tensor, "batch class"], classes: Int[Tensor, " batch"], taught: Float[Tensor, "batch class"]
) -> Float[Tensor, ""]:
    """Return the softmax cross-entropy of unknown individuals with a teacher's probabilities.

    An unknown individual is more similar to some known individuals than to others. If it was labelled as unknown by
    mistake, it is one of them. The teacher's probabilities contain this information; the label "unknown" and a uniform
    target do not.

    Args:
        logits: Raw scores, before the softmax.
        classes: Class of each image; -1 for unknown individuals. Only these are used.
        taught: Probabilities of the teacher for each row; rows of known individuals are ignored.

    Returns:
        The loss, at least 0, in nats per image of an unknown individual; 0 if the batch has none.

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
            fix="pass (batch, class); rows of known individuals may contain any values.",
        )
    logits = precise(logits)
    unknown = classes == UNKNOWN
    taught = torch.where(unknown[:, None], taught.to(logits), 0.0)
    return -(taught * torch.log_softmax(logits, dim=1)).sum() / torch.clamp(unknown.sum(), min=1)

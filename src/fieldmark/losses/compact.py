"""Compactness loss: small distances between the photos of one individual."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fieldmark.losses.inputs import UNKNOWN, check_classes, check_embedding, precise


def compactness(embedding: Float[Tensor, "batch dim"], classes: Int[Tensor, " batch"]) -> Float[Tensor, ""]:
    """Return the mean squared distance of the photos to the mean embedding of their individual in the batch.

    Unknown individuals, and individuals with one photo in the batch, are left out. If no photo is left, the result
    is 0.

    Args:
        embedding: Embeddings of unit length.
        classes: Identity of each photo; -1 for unknown individuals.

    Returns:
        The loss, 0 to 1.

    Raises:
        ShapeError: Shapes do not match, or the batch is empty.

    Source:
        The compactness term used with batch-all pairs in Humpback Whale Identification 2018/19 (iafoss); the form is
        ours.
    """
    check_embedding(embedding, by="compactness")
    check_classes(classes, None, by="compactness", batch=embedding.shape[0])
    embedding = precise(embedding)
    same = (classes[:, None] == classes[None, :]) & (classes != UNKNOWN)[:, None]
    n_same = same.sum(dim=1)
    middle = same.to(embedding.dtype) @ embedding / n_same.clamp(min=1)[:, None]
    counts = n_same > 1
    squared = (embedding - middle).square().sum(dim=1)
    return torch.where(counts, squared, 0.0).sum() / counts.sum().clamp(min=1)

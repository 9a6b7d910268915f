"""Batch-hard triplet loss with unknown individuals."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import relu

from fieldmark.core.errors import FieldmarkError
from fieldmark.losses.inputs import UNKNOWN, check_classes, check_embedding, precise


def batch_hard_triplet(
    embedding: Float[Tensor, "batch dim"], classes: Int[Tensor, " batch"], *, margin: float = 0.3
) -> Float[Tensor, ""]:
    """Return the batch-hard triplet loss: the mean of ``max(0, margin + furthest positive - nearest negative)``.

    For each image, its furthest positive in the batch (same identity) must be nearer than its nearest negative (other
    identity), by ``margin``. Two unknown individuals may be the same animal, so their pairs are neither positive nor
    negative. For an unknown individual, the furthest positive is the image itself, at distance 0, and the negatives are
    the known individuals. For a known individual, all unknown individuals are negatives.

    Args:
        embedding: Embeddings of unit length; distances are Euclidean, 0 to 2.
        classes: Identity of each image; -1 for unknown individuals.
        margin: Margin of the distances, above 0.

    Returns:
        The loss, at least 0. An image without a negative in the batch counts as 0.

    Raises:
        ShapeError: Shapes do not match, or the batch is empty.
        FieldmarkError: ``margin`` is not above 0.

    Source:
        Hermans et al. 2017, arXiv:1703.07737, equation 5; unknowns: Humpback Whale Identification 2018/19, first
        place.
    """
    check_embedding(embedding, by="batch_hard_triplet")
    check_classes(classes, None, by="batch_hard_triplet", batch=embedding.shape[0])
    if not margin > 0:
        raise FieldmarkError(
            "batch_hard_triplet() needs a margin above 0.", got=margin, fix="use margin = 0.3, as in the source."
        )
    embedding = precise(embedding)
    # Without the dot product, which loses half the digits of near pairs and the gradient of the root at 0.
    distance = torch.cdist(embedding, embedding, compute_mode="donot_use_mm_for_euclid_dist")
    return hardest(distance, classes, margin=margin)


def hardest(
    distance: Float[Tensor, "batch batch"], classes: Int[Tensor, " batch"], *, margin: float
) -> Float[Tensor, ""]:
    """Return the batch-hard triplet loss for a matrix of distances. The distance of an image to itself counts as 0."""
    known = classes != UNKNOWN
    itself = torch.eye(len(classes), dtype=torch.bool, device=classes.device)
    similar = classes[:, None] == classes[None, :]
    same = similar & known[:, None] & ~itself
    # Unequal classes are never both unknown.
    other = ~similar
    furthest = distance.masked_fill(~same, 0.0).amax(dim=1)
    # Infinite distance: without a negative the image counts as 0 and gets no gradient.
    nearest = distance.masked_fill(~other, torch.inf).amin(dim=1)
    return torch.where(other.any(dim=1), relu(margin + furthest - nearest), 0.0).mean()

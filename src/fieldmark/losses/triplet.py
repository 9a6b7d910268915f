"""Batch-hard triplet loss with unknowns: nearer to one's own than to anybody else."""

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
    """Mean over all pictures of ``max(0, margin + furthest same - nearest other)``.

    Each picture looks at its furthest picture of the same identity in the batch and at its nearest of another, and asks
    the first to be nearer by ``margin``. Two unknowns may or may not be the same animal: neither is the other's same
    nor its other. So an unknown's furthest same is itself, at distance 0, and its others are the known ones; to a known
    picture every unknown is an other.

    Args:
        embedding: Unit-length vectors; distances are Euclidean, 0 to 2.
        classes: The identity of each picture; -1 for unknowns.
        margin: By how much, above 0.

    Returns:
        One number, at least 0. A picture without any other in the batch counts as 0.

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
            "batch_hard_triplet() needs a margin above 0.", got=margin, fix="use margin = 0.3, as the source."
        )
    embedding = precise(embedding)
    # Not by the dot product: near pairs would lose half their digits, and the root at 0 its gradient.
    distance = torch.cdist(embedding, embedding, compute_mode="donot_use_mm_for_euclid_dist")
    return hardest(distance, classes, margin=margin)


def hardest(
    distance: Float[Tensor, "batch batch"], classes: Int[Tensor, " batch"], *, margin: float
) -> Float[Tensor, ""]:
    """The batch-hard rule on any distance; what a picture is from itself counts as 0, whatever the matrix says."""
    known = classes != UNKNOWN
    itself = torch.eye(len(classes), dtype=torch.bool, device=classes.device)
    similar = classes[:, None] == classes[None, :]
    same = similar & known[:, None] & ~itself
    # Unequal classes are never both unknown.
    other = ~similar
    furthest = distance.masked_fill(~same, 0.0).amax(dim=1)
    # Filled with what no hinge can reach: without any other the picture counts as 0, and gets no gradient.
    nearest = distance.masked_fill(~other, torch.inf).amin(dim=1)
    return torch.where(other.any(dim=1), relu(margin + furthest - nearest), 0.0).mean()

"""Triplet loss on aligned stripes: the distance of two photos is that of their stripes, matched in order."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.losses.inputs import check_classes, precise
from fieldmark.losses.triplet import hardest


def local_triplet(
    stripes: Float[Tensor, "batch stripe dim"], classes: Int[Tensor, " batch"], *, margin: float = 0.3
) -> Float[Tensor, ""]:
    """Return the batch-hard triplet loss with the distance of aligned stripes (``aligned_distance``).

    A single embedding per photo does not keep positions. Here a photo is a sequence of stripe embeddings from top to
    bottom. A fluke that is higher in one photo than in the other is still compared part by part. Pairs are formed as in
    ``losses.triplet``: unknown individuals are negatives for all known photos and have no positives.

    Args:
        stripes: Unit-length embeddings of the stripes of each photo, from top to bottom.
        classes: Identity of each photo; -1 for unknown individuals.
        margin: Margin of the distances, above 0. An aligned distance is at most 0.76 for each of the 2H - 1 cells of
            the path (H stripes).

    Returns:
        The loss, at least 0.

    Raises:
        ShapeError: Shapes do not match, or the batch is empty.
        FieldmarkError: ``margin`` is not above 0.

    Source:
        Zhang et al. 2017, arXiv:1711.08184, section 3.1; Humpback Whale Identification 2018/19, first place. The
        hardest positives and negatives are found by this distance (in the paper, by the global one).
    """
    check_classes(classes, None, by="local_triplet", batch=len(stripes))
    if not margin > 0:
        raise FieldmarkError(
            "local_triplet() needs a margin above 0.", got=margin, fix="use margin = 0.3, as in the paper."
        )
    return hardest(aligned_distance(stripes), classes, margin=margin)


def aligned_distance(stripes: Float[Tensor, "batch stripe dim"]) -> Float[Tensor, "batch batch"]:
    """Return the aligned distance of all pairs of photos: the cost of the shortest path through their stripe distances.

    Two stripes at distance d cost tanh(d / 2). A path starts at the first stripes of both photos, moves on by one
    stripe in one photo at each step, and ends at the last stripes. The stripes are thus matched in order, each at least
    once. No step moves on in both photos, so the distance of a photo to itself is not 0.

    Args:
        stripes: Unit-length embeddings of the stripes of each photo, from top to bottom.

    Raises:
        ShapeError: ``stripes`` does not have three axes, or one of them is empty.

    Source:
        Zhang et al. 2017, arXiv:1711.08184, equations 1 and 2. ``(e^d - 1) / (e^d + 1)`` is tanh(d / 2).
    """
    if stripes.ndim != 3 or 0 in stripes.shape:
        raise ShapeError(
            "aligned_distance() needs the stripe embeddings of each image.",
            got=f"stripes {tuple(stripes.shape)}",
            fix="pass (batch, stripe, dim) with at least one of each; a network with stripes = 8 computes them.",
        )
    n, n_stripes, _ = stripes.shape
    flat = precise(stripes).flatten(0, 1)
    # Without the dot product, which loses half the digits of near pairs and the gradient of the root at 0.
    distance = torch.cdist(flat, flat, compute_mode="donot_use_mm_for_euclid_dist")
    cost = torch.tanh(distance / 2).view(n, n_stripes, n, n_stripes).permute(1, 3, 0, 2)
    # Dynamic programming over rows, for all pairs at once.
    above: list[Tensor] = []
    for row in range(n_stripes):
        reached: list[Tensor] = []
        for column in range(n_stripes):
            before = [*above[column : column + 1], *reached[-1:]]
            here = cost[row, column]
            reached.append(here + torch.minimum(*before) if len(before) == 2 else sum(before, start=here))
        above = reached
    return above[-1]

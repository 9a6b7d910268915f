"""Triplet loss on aligned stripes: two photos are as far apart as their parts, matched in order."""

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
    """The batch-hard triplet loss by the distance of aligned stripes (``aligned_distance``).

    One vector a photo forgets where in it something was seen. Here a photo is a row of vectors from top to bottom,
    and a fluke that sits higher in one photo than in the other is still compared part by part. Pairs are formed by
    the rules of ``losses.triplet``: unknowns are others to everybody and positives to nobody but themselves.

    Args:
        stripes: Unit-length vectors of each photo, top to bottom.
        classes: The identity of each photo; -1 for unknowns.
        margin: By how much, above 0; an aligned distance is at most 0.76 for each of the path's 2H - 1 cells.

    Returns:
        One number, at least 0.

    Raises:
        ShapeError: Shapes do not match, or the batch is empty.
        FieldmarkError: ``margin`` is not above 0.

    Source:
        Zhang et al. 2017, arXiv:1711.08184, section 3.1; Humpback Whale Identification 2018/19, first place. The
        hardest are found by this very distance (the paper looks for them by the global one).
    """
    check_classes(classes, None, by="local_triplet", batch=len(stripes))
    if not margin > 0:
        raise FieldmarkError(
            "local_triplet() needs a margin above 0.", got=margin, fix="use margin = 0.3, as the source."
        )
    return hardest(aligned_distance(stripes), classes, margin=margin)


def aligned_distance(stripes: Float[Tensor, "batch stripe dim"]) -> Float[Tensor, "batch batch"]:
    """How far each photo is from each: the cheapest way through the table of stripe-to-stripe costs.

    Two stripes at distance d cost tanh(d / 2). A way begins with both photos' first stripes, goes on by a stripe in
    the one or the other, and ends with both photos' last: so parts are matched in order, each at least once. As no
    step moves on in both, a photo is not at distance 0 from itself.

    Args:
        stripes: Unit-length vectors of each photo, top to bottom.

    Raises:
        ShapeError: Not three axes, or one of them is empty.

    Source:
        Zhang et al. 2017, arXiv:1711.08184, equations 1 and 2. ``(e^d - 1) / (e^d + 1)`` is tanh(d / 2).
    """
    if stripes.ndim != 3 or 0 in stripes.shape:
        raise ShapeError(
            "aligned_distance() needs some vectors for each picture.",
            got=f"stripes {tuple(stripes.shape)}",
            fix="pass (batch, stripe, dim) with at least one of each; Net(stripes=8) gives them.",
        )
    n, n_stripes, _ = stripes.shape
    flat = precise(stripes).flatten(0, 1)
    # Not by the dot product: near pairs would lose half their digits, and the root at 0 its gradient.
    apart = torch.cdist(flat, flat, compute_mode="donot_use_mm_for_euclid_dist")
    cost = torch.tanh(apart / 2).view(n, n_stripes, n, n_stripes).permute(1, 3, 0, 2)
    # All pairs at once; the table is walked row by row.
    above: list[Tensor] = []
    for row in range(n_stripes):
        reached: list[Tensor] = []
        for column in range(n_stripes):
            before = [*above[column : column + 1], *reached[-1:]]
            here = cost[row, column]
            reached.append(here + torch.minimum(*before) if len(before) == 2 else sum(before, start=here))
        above = reached
    return above[-1]

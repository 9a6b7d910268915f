"""Affinity loss: every class has a few centres, and an image must be nearer to a centre of its own class."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import relu

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.losses.inputs import UNKNOWN, check_classes, check_logits, precise, without_mirror


def affinity(
    logits: Float[Tensor, "batch class"],
    classes: Int[Tensor, " batch"],
    *,
    margin: float = 0.75,
    flip_identity: bool = False,
) -> Float[Tensor, ""]:
    """Return the affinity loss, averaged over images.

    The loss of an image is the sum over all other classes of ``max(0, margin + affinity to that class - affinity to the
    own class)``. The affinity to a class is 1 at a centre of the class and decreases with the distance (Gaussian
    shape). Distant classes add nothing to the loss, so that frequent classes do not shift the centres of rare ones.

    Args:
        logits: Log-odds of the affinities from the affinity head; their sigmoid is the affinity.
        classes: Class of each image; -1 for unknown individuals, which are left out.
        margin: Required difference of the affinities, above 0 and at most 1.
        flip_identity: Whether the upper half of the classes are flips of the lower half. The flip of an image's own
            class is then left out of the sum.

    Returns:
        The loss, at least 0. Its initial value is about ``margin`` times the number of classes.

    Raises:
        ShapeError: Shapes do not match, a class has no logit, or a class has no flip.
        FieldmarkError: ``margin`` is not above 0 and at most 1.

    Source:
        Hayat et al. 2019, arXiv:1901.07711, equations 4 and 5; flips are ours.
    """
    check_logits(logits, by="affinity")
    check_classes(classes, logits.shape[1], by="affinity", batch=logits.shape[0])
    if not 0 < margin <= 1:
        raise FieldmarkError(
            "affinity() needs a margin above 0 and at most 1.", got=margin, fix="use margin = 0.75, as in the paper."
        )
    near = torch.sigmoid(precise(logits))
    own = classes.clamp(min=0).long()[:, None]
    hinge = relu(margin + near - near.gather(1, own)).scatter(1, own, 0.0)
    if flip_identity:
        hinge = hinge.masked_fill(without_mirror(logits, classes, by="affinity") == -torch.inf, 0.0)
    known = classes != UNKNOWN
    return (hinge.sum(dim=1) * known).sum() / torch.clamp(known.sum(), min=1)


def centre_spread(
    centres: Float[Tensor, "centre dim"], *, sample: int | None = None, chance: torch.Generator | None = None
) -> Float[Tensor, ""]:
    """Return the variance of the squared distances of all pairs of centres: 0 if all distances are equal.

    As a regulariser, it keeps the centres evenly distributed. The pairs are not formed one by one. Let ``a`` be the
    squared lengths of the centred vectors and G their matrix of products (of centres or of dimensions, the smaller one;
    both have the same norm). The variance is then

        (2 n sum (a - mean a)^2 + 4 |G|^2) / (n (n - 1)) - (2 mean a)^2 n / (n - 1)^2.

    Args:
        centres: Centres of all classes, at least 3.
        sample: Number of centres to draw with ``chance``. None, or a number above that of the centres, uses all. The
            expected gradient of a sample equals that of all centres, except for terms of order 1 / sample.
        chance: Random generator for the sample.

    Raises:
        ShapeError: There are fewer than 3 centres.
        FieldmarkError: ``sample`` is given without ``chance``.

    Source:
        Hayat et al. 2019, arXiv:1901.07711, equation 6; the closed form and the sample are ours.
    """
    if centres.ndim != 2 or len(centres) < 3 or (sample is not None and sample < 3):
        raise ShapeError(
            "centre_spread() needs at least 3 centres.",
            got=f"centres {tuple(centres.shape)}, sample {sample}",
            fix="pass (centre, dim), and sample = 512 or None; in a plan, spread = 0 turns it off.",
        )
    if sample is not None and sample < len(centres):
        if chance is None:
            raise FieldmarkError(
                "centre_spread() needs a random generator to draw a sample.",
                got="chance = None",
                fix="pass chance = torch.Generator().",
            )
        drawn = torch.randperm(len(centres), generator=chance, device=chance.device)[:sample]
        centres = centres[drawn.to(centres.device)]
    centres = precise(centres)
    centres = centres - centres.mean(dim=0)
    n = len(centres)
    lengths = centres.square().sum(dim=1)
    mean = lengths.mean()
    products = centres @ centres.T if n < centres.shape[1] else centres.T @ centres
    around = 2 * n * (lengths - mean).square().sum() + 4 * products.square().sum()
    return around / (n * (n - 1)) - n * (2 * mean / (n - 1)).square()

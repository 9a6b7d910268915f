"""Affinity loss: every class has a few centres, and a photo is nearer to one of its own than to all others."""

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
    """Sum over all other classes of ``max(0, margin + affinity to it - affinity to the own)``, averaged over images.

    The affinity to a class is 1 at one of its centres and falls like a bell around it. Classes that a photo is far
    from cost nothing, so those of many photos do not push the rare ones about.

    Args:
        logits: Log-odds of the affinities, as the affinity head gives them: their sigmoid is the affinity.
        classes: The class of each image; -1 for unknowns, who are left out.
        margin: Above 0, at most 1.
        flip_identity: The upper half of the classes are the mirror images of the lower half: an image is not pushed
            away from the mirror image of its own class.

    Returns:
        One number, at least 0: about ``margin`` times the number of classes at first.

    Raises:
        ShapeError: Shapes do not match, a class has no logit, or no mirror image.
        FieldmarkError: ``margin`` is not above 0 and at most 1.

    Source:
        Hayat et al. 2019, arXiv:1901.07711, equations 4 and 5; flips are ours.
    """
    check_logits(logits, by="affinity")
    check_classes(classes, logits.shape[1], by="affinity", batch=logits.shape[0])
    if not 0 < margin <= 1:
        raise FieldmarkError(
            "affinity() needs a margin between 0 and 1.", got=margin, fix="use margin = 0.75, as the source."
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
    """Variance of the squared distances of all pairs of centres: 0 where all are equally far apart.

    It keeps the many centres of common classes from crowding out those of rare ones. All pairs are never formed:
    around their mean, with ``a`` the squared lengths and G the table of products (of centres, or of dimensions, which
    has the same norm: the smaller of the two), the variance is

        (2 n sum (a - mean a)^2 + 4 |G|^2) / (n (n - 1)) - (2 mean a)^2 n / (n - 1)^2.

    Args:
        centres: At least 3, of all classes together.
        sample: Look at so many of them, drawn by ``chance``; None, or where there are no more: at all. The gradient of
            a sample is on average (but for terms of 1 / sample) that of all.
        chance: Where the sample is drawn from.

    Raises:
        ShapeError: Fewer than 3 centres.
        FieldmarkError: A sample without chance.

    Source:
        Hayat et al. 2019, arXiv:1901.07711, equation 6; the closed form and the sample are ours.
    """
    if centres.ndim != 2 or len(centres) < 3 or (sample is not None and sample < 3):
        raise ShapeError(
            "spread() needs at least 3 centres.",
            got=f"centres {tuple(centres.shape)}, sample {sample}",
            fix="pass (centre, dim), and sample = 512 or None; or leave it out with spread = 0.",
        )
    if sample is not None and sample < len(centres):
        if chance is None:
            raise FieldmarkError(
                "spread() cannot draw a sample without chance.", got="chance = None", fix="pass a torch.Generator."
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

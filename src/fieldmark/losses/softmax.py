"""Softmax cross-entropy: one identity out of many."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from fieldmark.core.errors import FieldmarkError
from fieldmark.losses.inputs import UNKNOWN, check_classes, check_logits, precise, without_mirror


def cross_entropy(
    logits: Float[Tensor, "batch class"],
    classes: Int[Tensor, " batch"],
    *,
    smoothing: float = 0.0,
    uniform_unknowns: bool = False,
    flip_identity: bool = False,
) -> Float[Tensor, ""]:
    """Softmax cross-entropy, averaged over the images that are asked about.

    The classes compete: what one gains the others lose. An unknown belongs to none of them: it is left out, or is to
    look like everybody a little.

    Args:
        logits: Raw scores, before the softmax.
        classes: The class of each image; -1 for unknowns.
        smoothing: Share of the truth spread evenly over all classes, 0 to 1.
        uniform_unknowns: The truth of an unknown is the same for every class; else unknowns are left out.
        flip_identity: The upper half of the classes are the mirror images of the lower half: the mirror image of an
            image's own class takes no part (``losses.inputs.without_mirror``), nor in smoothing.

    Returns:
        One number, at least 0, in nats per image asked about; 0 where there is none.

    Raises:
        ShapeError: Shapes do not match, a class has no logit, or no mirror image.
        FieldmarkError: ``smoothing`` is outside 0 to 1.

    Source:
        Smoothing: Szegedy et al. 2016, arXiv:1512.00567, section 7. Uniform unknowns: Humpback Whale Identification
        2018/19, 9th place (1 / 5004 each).
    """
    check_logits(logits, by="cross_entropy")
    check_classes(classes, logits.shape[1], by="cross_entropy", batch=logits.shape[0])
    if not 0 <= smoothing <= 1:
        raise FieldmarkError(
            "cross_entropy() cannot smooth labels that much.", got=smoothing, fix="use 0 (none) to 1; 0.1 is usual."
        )
    logits = precise(logits)
    if flip_identity:
        logits = without_mirror(logits, classes, by="cross_entropy")
    known = classes != UNKNOWN
    nats = functional.cross_entropy(logits, classes.long(), ignore_index=UNKNOWN, reduction="none")
    if smoothing:
        # Torch's own smoothing would spread it over the class that is left out, too, and be infinite.
        nats = (1 - smoothing) * nats + smoothing * known * (logits.logsumexp(dim=1) - _mean_asked(logits))
    asked_about = known
    if uniform_unknowns:
        asked_about = torch.ones_like(known)
        nats = torch.where(known, nats, logits.logsumexp(dim=1) - _mean_asked(logits))
    # Torch's own mean over no known image is NaN.
    return nats.sum() / torch.clamp(asked_about.sum(), min=1)


def _mean_asked(logits: Tensor) -> Tensor:
    """The mean logit of the classes that take part."""
    asked = logits > -torch.inf
    return logits.masked_fill(~asked, 0.0).sum(dim=1) / asked.sum(dim=1)

"""Softmax cross-entropy over identities."""

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
    """Return the softmax cross-entropy, averaged over the images it includes.

    Images of unknown individuals are left out, or their target is uniform over all classes.

    Args:
        logits: Raw scores, before the softmax.
        classes: Class of each image; -1 for unknown individuals.
        smoothing: Share of the truth spread evenly over all classes, 0 to 1.
        uniform_unknowns: Whether unknown individuals get a uniform target over all classes; otherwise they are left
            out.
        flip_identity: Whether the upper half of the classes are flips of the lower half. The flip of an image's own
            class is then left out (``losses.inputs.without_mirror``), also in smoothing.

    Returns:
        The loss, at least 0, in nats per included image; 0 if there is none.

    Raises:
        ShapeError: Shapes do not match, a class has no logit, or a class has no flip.
        FieldmarkError: ``smoothing`` is outside 0 to 1.

    Source:
        Smoothing: Szegedy et al. 2016, arXiv:1512.00567, section 7. Uniform unknowns: Humpback Whale Identification
        2018/19, 9th place (1 / 5004 each).
    """
    check_logits(logits, by="cross_entropy")
    check_classes(classes, logits.shape[1], by="cross_entropy", batch=logits.shape[0])
    if not 0 <= smoothing <= 1:
        raise FieldmarkError(
            "cross_entropy(): smoothing must be between 0 and 1.", got=smoothing, fix="use 0 (none) to 1; 0.1 is usual."
        )
    logits = precise(logits)
    if flip_identity:
        logits = without_mirror(logits, classes, by="cross_entropy")
    known = classes != UNKNOWN
    nats = functional.cross_entropy(logits, classes.long(), ignore_index=UNKNOWN, reduction="none")
    if smoothing:
        # Torch's own smoothing would include the excluded class and be infinite.
        nats = (1 - smoothing) * nats + smoothing * known * (logits.logsumexp(dim=1) - _mean_logit(logits))
    included = known
    if uniform_unknowns:
        included = torch.ones_like(known)
        nats = torch.where(known, nats, logits.logsumexp(dim=1) - _mean_logit(logits))
    # Torch's own mean is NaN for a batch without known individuals.
    return nats.sum() / torch.clamp(included.sum(), min=1)


def _mean_logit(logits: Tensor) -> Tensor:
    """Return the mean logit over the classes that are not excluded (finite logits)."""
    included = logits > -torch.inf
    return logits.masked_fill(~included, 0.0).sum(dim=1) / included.sum(dim=1)

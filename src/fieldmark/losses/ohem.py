"""Online hard example mining by error: one-vs-rest BCE on the classes with the largest errors."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

from fieldmark.core.errors import FieldmarkError
from fieldmark.losses.inputs import UNKNOWN, check_classes, check_logits, one_hot, precise


def ohem_bce(
    logits: Float[Tensor, "batch class"], classes: Int[Tensor, " batch"], *, hardest: int = 30
) -> Float[Tensor, ""]:
    """Return the BCE of the ``hardest`` classes of each image, plus the BCE of its true identity.

    With thousands of identities nearly all classes are easy negatives, whose sum dominates the loss. The first term
    therefore uses only the classes with the largest error ``|truth - proba|`` of each image. The second term is the BCE
    of the true identity. Unknown individuals are negatives for every class and have no second term.

    Args:
        logits: One raw score per identity, before the sigmoid.
        classes: Identity of each image; -1 for unknown individuals.
        hardest: Number of classes per image, at least 1; all classes if there are fewer.

    Returns:
        L1 + L2 in nats per class. L1 is the mean over images and their hardest classes. L2 is the mean BCE of the true
        identity over images of known individuals (0 if there are none).

    Raises:
        ShapeError: Shapes do not match, or a class has no logit.
        FieldmarkError: ``hardest`` is less than 1.

    Source:
        Humpback Whale Identification 2018/19, first place. ``-log(1 - error)`` is the BCE of the class, computed from
        logits. It has the same order as the error, and also separates errors that round to 1.
    """
    check_logits(logits, by="ohem_bce")
    check_classes(classes, logits.shape[1], by="ohem_bce", batch=logits.shape[0])
    if hardest < 1:
        raise FieldmarkError(
            "ohem_bce(): hardest must be at least 1.", got=hardest, fix="use hardest = 30, as in the source."
        )
    logits = precise(logits)
    truth = one_hot(classes, logits.shape[1]).to(logits)
    nats = binary_cross_entropy_with_logits(logits, truth, reduction="none")
    worst = nats.topk(min(hardest, logits.shape[1]), dim=1).values.mean()

    known = classes != UNKNOWN
    true_logits = logits.gather(1, classes.clamp(min=0).long()[:, None])[:, 0]
    true = (softplus(-true_logits) * known).sum() / torch.clamp(known.sum(), min=1)
    return worst + true

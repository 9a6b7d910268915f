"""Error-OHEM: one-vs-rest BCE on the questions an image gets most wrong."""

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
    """BCE of the ``hardest`` questions of each image, plus that of the true identity's own question.

    With thousands of identities nearly all questions are easy noes, whose sum drowns the few that matter. So each image
    is asked only those with the largest error ``|truth - proba|``; and its true identity is asked always. An unknown
    is a no to every question and has no true one.

    Args:
        logits: One raw score an identity, before the sigmoid.
        classes: The identity of each image; -1 for unknowns.
        hardest: Questions an image, at least 1; all of them where there are fewer.

    Returns:
        L1 + L2 in nats per question: the mean over images and hardest questions, and the mean over known images of
        their true question (0 where all are unknown).

    Raises:
        ShapeError: Shapes do not match, or a class has no logit.
        FieldmarkError: ``hardest`` is less than 1.

    Source:
        Humpback Whale Identification 2018/19, first place. ``-log(1 - error)`` is the question's BCE, computed
        from logits; ordering by it is ordering by error, and still tells apart errors that round to 1.
    """
    check_logits(logits, by="ohem_bce")
    check_classes(classes, logits.shape[1], by="ohem_bce", batch=logits.shape[0])
    if hardest < 1:
        raise FieldmarkError(
            "ohem_bce() needs at least one question an image.", got=hardest, fix="use hardest = 30, as the source."
        )
    logits = precise(logits)
    truth = one_hot(classes, logits.shape[1]).to(logits)
    nats = binary_cross_entropy_with_logits(logits, truth, reduction="none")
    worst = nats.topk(min(hardest, logits.shape[1]), dim=1).values.mean()

    known = classes != UNKNOWN
    true_logits = logits.gather(1, classes.clamp(min=0).long()[:, None])[:, 0]
    true = (softplus(-true_logits) * known).sum() / torch.clamp(known.sum(), min=1)
    return worst + true

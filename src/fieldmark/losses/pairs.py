"""Losses on pairs: is it the same individual? Asked of a pair head, which looks at two photos at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, relu

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.losses.inputs import UNKNOWN, check_classes

Compare = Callable[[Int[Tensor, " pair"], Int[Tensor, " pair"]], Float[Tensor, " pair"]]
"""Logits of "the same individual" for pairs of rows of the batch, the same whichever comes first."""


def pair_bce(
    compare: Compare, classes: Int[Tensor, " batch"], *, pairs: Literal["drawn", "all"] = "drawn"
) -> Float[Tensor, ""]:
    """Binary cross-entropy of "the same individual?", the mean of that of same pairs and that of other pairs.

    Among all pairs of a batch hardly any are of one individual; as each half counts similar, they are heard. The
    assignment sampler draws as many of either kind, and the loss is then the plain mean. Two unknowns may or may not be
    the same animal: nobody asks about them.

    Args:
        compare: The pair head.
        classes: The identity of each photo; -1 for unknowns.
        pairs: ``drawn``: rows 2i and 2i + 1; ``all``: each row with each other, once.

    Returns:
        One number, at least 0, in nats. Where the batch has only one kind of pair, its mean; with none, 0.

    Raises:
        ShapeError: ``classes`` is no vector of whole numbers, or the rows of the batch are no pairs.

    Source:
        The Siamese network of Piotte, Humpback Whale Identification 2018/19; all pairs: iafoss, there. Halves: ours.
    """
    check_classes(classes, None, by="pair_bce")
    n = len(classes)
    if n < 2 or (pairs == "drawn" and n % 2):
        raise ShapeError(
            "pair_bce() needs a batch of pairs.", got=f"{n} photos", fix="use an even batch of at least 2 photos."
        )
    first, second = _all(classes) if pairs == "all" else torch.arange(n, device=classes.device).view(-1, 2).T
    told = (classes[first] != UNKNOWN) | (classes[second] != UNKNOWN)
    first, second = first[told], second[told]
    logits = compare(first, second)
    same = classes[first] == classes[second]
    nats = binary_cross_entropy_with_logits(logits, same.to(logits), reduction="none")
    halves = [nats[half].mean() for half in (same, ~same) if bool(half.any())]
    return sum(halves, start=logits.sum() * 0) / max(1, len(halves))


def pair_triplet(compare: Compare, classes: Int[Tensor, " batch"], *, margin: float = 1.0) -> Float[Tensor, ""]:
    """Mean of ``max(0, margin + likeliest other - least likely same)`` over the photos that have both in the batch.

    As ``batch_hard_triplet``, with the pair head's logits in the place of distances: the measure itself is learnt.

    Args:
        compare: The pair head.
        classes: The identity of each photo; -1 for unknowns, who are others to the known and nothing to each other.
        margin: By how many units of logit, above 0.

    Returns:
        One number, at least 0.

    Raises:
        ShapeError: ``classes`` is no vector of whole numbers.
        FieldmarkError: ``margin`` is not above 0.

    Source:
        Hermans et al. 2017, arXiv:1703.07737, equation 5, with a learned measure (iafoss, Humpback Whale
        Identification 2018/19).
    """
    check_classes(classes, None, by="pair_triplet")
    if not margin > 0:
        raise FieldmarkError("pair_triplet() needs a margin above 0.", got=margin, fix="use margin = 1.")
    first, second = _all(classes)
    logits = compare(first, second)
    n = len(classes)
    likeness = logits.new_zeros(n, n).index_put((first, second), logits)
    likeness = likeness + likeness.T

    similar = classes[:, None] == classes[None, :]
    itself = torch.eye(n, dtype=torch.bool, device=classes.device)
    same = similar & (classes != UNKNOWN)[:, None] & ~itself
    other = ~similar
    least = likeness.masked_fill(~same, torch.inf).amin(dim=1)
    most = likeness.masked_fill(~other, -torch.inf).amax(dim=1)
    both = same.any(dim=1) & other.any(dim=1)
    # Chosen before the hinge: infinities of photos without either would turn to NaN in its gradient.
    return relu(margin + most[both] - least[both]).sum() / max(1, int(both.sum()))


def _all(classes: Tensor) -> tuple[Tensor, Tensor]:
    """Each row with each later one."""
    first, second = torch.triu_indices(len(classes), len(classes), offset=1, device=classes.device)
    return first, second

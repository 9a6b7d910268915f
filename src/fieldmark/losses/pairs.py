"""Losses on pairs of photos, for a pair head that predicts whether both show the same individual."""

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
"""Function from pairs of rows of the batch to their logits of "the same individual"; symmetric in the two rows."""


def pair_bce(
    compare: Compare, classes: Int[Tensor, " batch"], *, pairs: Literal["drawn", "all"] = "drawn"
) -> Float[Tensor, ""]:
    """Return the binary cross-entropy of "the same individual", with equal weights of positive and negative pairs.

    The loss is the mean of two means: over positive pairs and over negative pairs. Few of all pairs in a batch are
    positive, and the equal weights compensate for that. The assignment sampler draws equally many of both, so that the
    loss is the plain mean. Pairs of two unknown individuals are left out, because they may show the same animal.

    Args:
        compare: Pair head.
        classes: Identity of each photo; -1 for unknown individuals.
        pairs: ``drawn`` uses the pairs of rows 2i and 2i + 1; ``all`` uses every pair of rows once.

    Returns:
        The loss, at least 0, in nats. If the batch has only positive or only negative pairs, it is their mean; without
        pairs it is 0.

    Raises:
        ShapeError: ``classes`` is not a vector of integers, or the batch does not consist of pairs.

    Source:
        The Siamese network of Piotte, Humpback Whale Identification 2018/19; all pairs: iafoss, same contest. Equal
        weights: ours.
    """
    check_classes(classes, None, by="pair_bce")
    n = len(classes)
    if n < 2 or (pairs == "drawn" and n % 2):
        raise ShapeError(
            "pair_bce() needs a batch of pairs.", got=f"{n} photos", fix="use an even batch of at least 2 photos."
        )
    first, second = _all(classes) if pairs == "all" else torch.arange(n, device=classes.device).view(-1, 2).T
    has_label = (classes[first] != UNKNOWN) | (classes[second] != UNKNOWN)
    first, second = first[has_label], second[has_label]
    logits = compare(first, second)
    same = classes[first] == classes[second]
    nats = binary_cross_entropy_with_logits(logits, same.to(logits), reduction="none")
    halves = [nats[half].mean() for half in (same, ~same) if bool(half.any())]
    return sum(halves, start=logits.sum() * 0) / max(1, len(halves))


def pair_triplet(compare: Compare, classes: Int[Tensor, " batch"], *, margin: float = 1.0) -> Float[Tensor, ""]:
    """Return the batch-hard triplet loss on the logits of a pair head.

    It is the mean of ``max(0, margin + largest logit of a negative pair - smallest logit of a positive pair)`` over the
    photos that have both in the batch. It corresponds to ``batch_hard_triplet`` with a learned similarity.

    Args:
        compare: Pair head.
        classes: Identity of each photo; -1 for unknown individuals. They are negatives for known individuals; pairs of
            two unknown individuals are left out.
        margin: Margin of the logits, above 0.

    Returns:
        The loss, at least 0.

    Raises:
        ShapeError: ``classes`` is not a vector of integers.
        FieldmarkError: ``margin`` is not above 0.

    Source:
        Hermans et al. 2017, arXiv:1703.07737, equation 5, with a learned similarity (iafoss, Humpback Whale
        Identification 2018/19).
    """
    check_classes(classes, None, by="pair_triplet")
    if not margin > 0:
        raise FieldmarkError("pair_triplet() needs a margin above 0.", got=margin, fix="use margin = 1.")
    first, second = _all(classes)
    logits = compare(first, second)
    n = len(classes)
    similarity = logits.new_zeros(n, n).index_put((first, second), logits)
    similarity = similarity + similarity.T

    similar = classes[:, None] == classes[None, :]
    itself = torch.eye(n, dtype=torch.bool, device=classes.device)
    same = similar & (classes != UNKNOWN)[:, None] & ~itself
    other = ~similar
    least = similarity.masked_fill(~same, torch.inf).amin(dim=1)
    most = similarity.masked_fill(~other, -torch.inf).amax(dim=1)
    both = same.any(dim=1) & other.any(dim=1)
    # Selected before the hinge: infinities of photos without positive or negative would give NaN in its gradient.
    return relu(margin + most[both] - least[both]).sum() / max(1, int(both.sum()))


def _all(classes: Tensor) -> tuple[Tensor, Tensor]:
    """Return the pairs of each row with each later row."""
    first, second = torch.triu_indices(len(classes), len(classes), offset=1, device=classes.device)
    return first, second

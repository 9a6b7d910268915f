"""What losses are given: classes as one-hot rows, circumstances, and the refusals all losses share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from fieldmark.core.errors import ShapeError, several

SHUT = -1e4
"""A logit whose sigmoid is 0 and whose gradient is none, in every precision."""
UNKNOWN = -1
"""The class of a photo of nobody we know."""


@dataclass(frozen=True)
class Circumstances:
    """What a loss may have to know besides a network's outputs and the truth.

    Attributes:
        scale: Logit of a cosine of 1, where logits are scaled cosines; else None.
        counts: Training photos of each class; None where nobody counted.
        flip_identity: Whether the upper half of the classes are the mirror images of the lower half, in their order.
        question_of: The question of each answer, where the head answers questions; else None.
        below: Which answers of an earlier question each answer is a kind of, where its form is ``conditional``.
        taught: What teachers say of each image of the batch that is an unknown individual; None where nobody teaches.
        done: Share of the training that is done, 0 to 1.
        chance: Where draws come from.
    """

    scale: float | None = None
    counts: Int[Tensor, " class"] | None = None
    flip_identity: bool = False
    question_of: Int[Tensor, " answer"] | None = None
    below: Bool[Tensor, "answer answer"] | None = None
    taught: Float[Tensor, "batch class"] | None = None
    done: float = 1.0
    chance: torch.Generator | None = None


def one_hot(classes: Int[Tensor, " batch"], n_classes: int) -> Float[Tensor, "batch class"]:
    """A row a picture with 1 at its class; for an unknown (-1) a row of zeros, a no to every question.

    Args:
        classes: -1 to ``n_classes - 1``.
        n_classes: Number of columns.

    Raises:
        ShapeError: ``classes`` is not one whole number a picture, or one of them has no column.

    Example:
        >>> one_hot(torch.tensor([1, -1]), 3).tolist()
        [[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    """
    check_classes(classes, n_classes, by="one_hot")
    return (classes[:, None] == torch.arange(n_classes, device=classes.device)).float()


def with_labels(given: Mapping[str, Tensor]) -> tuple[Float[Tensor, "batch label"], Float[Tensor, "batch label"]]:
    """Logits and truth for losses on labels; classes become one-hot rows, what is not labelled teaches nothing.

    Args:
        given: ``logits``, and ``truth`` (NaN where nothing is labelled) or ``classes``.
    """
    logits, truth = given["logits"], given.get("truth")
    if truth is None:
        return logits, one_hot(given["classes"], logits.shape[1])
    unlabelled = torch.isnan(truth)
    return logits.masked_fill(unlabelled, SHUT), truth.masked_fill(unlabelled, 0)


def check_embedding(embedding: Tensor, *, by: str) -> None:
    """Refuse what is no matrix of embeddings.

    Raises:
        ShapeError: It has other axes, or is empty.
    """
    if embedding.ndim != 2 or 0 in embedding.shape:
        raise ShapeError(
            f"{by}() needs a matrix of embeddings, one row a picture.",
            got=f"embedding {tuple(embedding.shape)}",
            fix="pass (batch, dim) with at least one of each; leave out empty batches.",
        )


def check_classes(classes: Tensor, n_classes: int | None, *, by: str, batch: int | None = None) -> None:
    """Refuse classes that are not one whole number a picture, from -1 up to ``n_classes - 1``.

    Raises:
        ShapeError: As said; naming the loss ``by``.
    """
    if classes.ndim != 1 or classes.is_floating_point() or (batch is not None and classes.shape[0] != batch):
        raise ShapeError(
            f"{by}() needs one class a picture, as whole numbers.",
            got=f"classes {tuple(classes.shape)} of {classes.dtype}"
            + (f" for {batch} pictures" if batch is not None else ""),
            fix="pass a vector of class numbers, -1 for unknowns, as long as the batch.",
        )
    outside = classes[classes < UNKNOWN] if n_classes is None else classes[(classes < UNKNOWN) | (classes >= n_classes)]
    if len(outside):
        raise ShapeError(
            f"{by}() was given classes that have no logit.",
            got=several(outside.tolist()),
            fix=f"use -1 (unknown) to {n_classes - 1}, or build the network with more classes."
            if n_classes is not None
            else "use -1 for unknowns and 0 or more for classes.",
        )


def without_mirror(
    logits: Float[Tensor, "batch class"], classes: Int[Tensor, " batch"], *, by: str
) -> Float[Tensor, "batch class"]:
    """The logits with the mirror image of each picture's own class at minus infinity: it is not asked about.

    Where mirrored photos are other identities, class ``k + n`` is class ``k`` mirrored, for n = half of the classes. A
    fluke and its mirror image look similar; that the one should not be the other is learnt from all others.

    Args:
        logits: Raw scores, before the softmax.
        classes: -1 to number of columns - 1; rows of unknowns (-1) stay as they are.
        by: The loss that asks.

    Raises:
        ShapeError: An odd number of columns: not every class has a mirror image.

    Source:
        Humpback Whale Identification 2018/19, third place, who set that logit to a constant.
    """
    n_columns = logits.shape[1]
    if n_columns % 2:
        raise ShapeError(
            f"{by}() needs a mirrored class for every class.",
            got=f"{n_columns} classes, an odd number",
            fix="build the network with twice as many classes as identities, or set flip_identity = False.",
        )
    mirror = (classes.clamp(min=0).long() + n_columns // 2) % n_columns
    asked = torch.ones_like(logits, dtype=torch.bool).scatter(1, mirror[:, None], (classes == UNKNOWN)[:, None])
    return logits.masked_fill(~asked, -torch.inf)


def check_logits(logits: Tensor, *, by: str, truth: Tensor | None = None) -> None:
    """Refuse logits that are not a matrix with at least one picture and label, or that ``truth`` does not match.

    Raises:
        ShapeError: As said; naming the loss ``by``.
    """
    if logits.ndim != 2 or 0 in logits.shape:
        raise ShapeError(
            f"{by}() needs a matrix of logits, one row a picture.",
            got=f"logits {tuple(logits.shape)}",
            fix="pass (batch, label) with at least one of each; leave out empty batches.",
        )
    if truth is not None and truth.shape != logits.shape:
        raise ShapeError(
            f"{by}() needs one truth value for every logit.",
            got=f"logits {tuple(logits.shape)}, truth {tuple(truth.shape)}",
            fix="pass truth as a (batch, label) matrix of 0 and 1; one_hot() turns classes into one.",
        )


def precise(numbers: Tensor) -> Tensor:
    """At least float32: sums of many small nats are lost in bf16."""
    return numbers.to(torch.promote_types(numbers.dtype, torch.float32))

"""Inputs of losses: one-hot classes, additional inputs, and the checks that all losses share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from fieldmark.core.errors import ShapeError, several

SHUT = -1e4
"""A logit whose sigmoid and gradient are 0 in every precision."""
UNKNOWN = -1
"""Class of photos of unknown individuals."""


@dataclass(frozen=True)
class Circumstances:
    """Inputs of a loss besides the outputs of the network and the ground truth.

    Attributes:
        scale: Logit of a cosine of 1 if logits are scaled cosines; else None.
        counts: Number of training photos of each class; None if unknown.
        flip_identity: Whether the upper half of the classes are the flips of the lower half, in the same order.
        question_of: Question of each answer, for a head for questions; else None.
        below: Parent answers of each answer (to an earlier question), for heads of form ``conditional``.
        taught: Teacher probabilities for each image of an unknown individual in the batch; None without a teacher.
        done: Completed share of the training, 0 to 1.
        chance: Random generator.
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
    """Return one row per image with 1 at its class. Unknown individuals (-1) get zeros: negatives for every class.

    Args:
        classes: Class of each image, -1 to ``n_classes - 1``.
        n_classes: Number of columns.

    Raises:
        ShapeError: ``classes`` is not one integer per image, or a class has no column.

    Example:
        >>> one_hot(torch.tensor([1, -1]), 3).tolist()
        [[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    """
    check_classes(classes, n_classes, by="one_hot")
    return (classes[:, None] == torch.arange(n_classes, device=classes.device)).float()


def with_labels(given: Mapping[str, Tensor]) -> tuple[Float[Tensor, "batch label"], Float[Tensor, "batch label"]]:
    """Return logits and truth for losses on labels. Classes become one-hot rows; unlabelled cells get no gradient.

    Args:
        given: ``logits``, and ``truth`` (NaN for unlabelled cells) or ``classes``.
    """
    logits, truth = given["logits"], given.get("truth")
    if truth is None:
        return logits, one_hot(given["classes"], logits.shape[1])
    unlabelled = torch.isnan(truth)
    return logits.masked_fill(unlabelled, SHUT), truth.masked_fill(unlabelled, 0)


def check_embedding(embedding: Tensor, *, by: str) -> None:
    """Check that ``embedding`` is a matrix of embeddings.

    Raises:
        ShapeError: It has other axes, or is empty.
    """
    if embedding.ndim != 2 or 0 in embedding.shape:
        raise ShapeError(
            f"{by}() needs a matrix of embeddings, one row per image.",
            got=f"embedding {tuple(embedding.shape)}",
            fix="pass (batch, dim) with at least one of each; skip empty batches.",
        )


def check_classes(classes: Tensor, n_classes: int | None, *, by: str, batch: int | None = None) -> None:
    """Check that ``classes`` holds one integer per image, from -1 to ``n_classes - 1``.

    Raises:
        ShapeError: It does not; the error names the loss ``by``.
    """
    if classes.ndim != 1 or classes.is_floating_point() or (batch is not None and classes.shape[0] != batch):
        raise ShapeError(
            f"{by}() needs one class per image, as integers.",
            got=f"classes {tuple(classes.shape)} of {classes.dtype}"
            + (f" for {batch} images" if batch is not None else ""),
            fix="pass a vector of class numbers, -1 for unknown individuals, as long as the batch.",
        )
    outside = classes[classes < UNKNOWN] if n_classes is None else classes[(classes < UNKNOWN) | (classes >= n_classes)]
    if len(outside):
        raise ShapeError(
            f"{by}(): some classes have no logit.",
            got=several(outside.tolist()),
            fix=f"use -1 (unknown) to {n_classes - 1}, or build the network with more classes."
            if n_classes is not None
            else "use -1 for unknown individuals and 0 or more for classes.",
        )


def without_mirror(
    logits: Float[Tensor, "batch class"], classes: Int[Tensor, " batch"], *, by: str
) -> Float[Tensor, "batch class"]:
    """Return the logits with minus infinity for the flip of each image's own class, which excludes it from the loss.

    If flips are separate identities, class ``k + n`` is the flip of class ``k``, where n is half the number of classes.
    A fluke and its flip look similar. The network therefore learns to separate them from other photos only.

    Args:
        logits: Raw scores, before the softmax.
        classes: Class of each image, -1 to number of columns - 1; rows of unknown individuals (-1) are not changed.
        by: Name of the loss for error messages.

    Raises:
        ShapeError: The number of columns is odd, so that not every class has a flip.

    Source:
        Humpback Whale Identification 2018/19, third place, where this logit is set to a constant.
    """
    n_columns = logits.shape[1]
    if n_columns % 2:
        raise ShapeError(
            f"{by}() needs a flipped class for every class.",
            got=f"{n_columns} classes, an odd number",
            fix="build the network with twice as many classes as identities, or set flip_identity = False.",
        )
    mirror = (classes.clamp(min=0).long() + n_columns // 2) % n_columns
    included = torch.ones_like(logits, dtype=torch.bool).scatter(1, mirror[:, None], (classes == UNKNOWN)[:, None])
    return logits.masked_fill(~included, -torch.inf)


def check_logits(logits: Tensor, *, by: str, truth: Tensor | None = None) -> None:
    """Check that ``logits`` is a matrix with at least one image and label, and that ``truth`` has the same shape.

    Raises:
        ShapeError: It is not; the error names the loss ``by``.
    """
    if logits.ndim != 2 or 0 in logits.shape:
        raise ShapeError(
            f"{by}() needs a matrix of logits, one row per image.",
            got=f"logits {tuple(logits.shape)}",
            fix="pass (batch, label) with at least one of each; skip empty batches.",
        )
    if truth is not None and truth.shape != logits.shape:
        raise ShapeError(
            f"{by}() needs one truth value for every logit.",
            got=f"logits {tuple(logits.shape)}, truth {tuple(truth.shape)}",
            fix="pass truth as a (batch, label) matrix of 0 and 1; one_hot() turns classes into one.",
        )


def precise(numbers: Tensor) -> Tensor:
    """Convert to at least float32, because bf16 is too coarse for sums of many small values."""
    return numbers.to(torch.promote_types(numbers.dtype, torch.float32))

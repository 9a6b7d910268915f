"""The weighted sum of a plan's losses, with each part by name."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fieldmark.core.errors import PlanError, several
from fieldmark.losses.asymmetric import asymmetric
from fieldmark.losses.bce import bce
from fieldmark.losses.cross_entropy import cross_entropy
from fieldmark.losses.focal import focal
from fieldmark.losses.inputs import check_logits, one_hot
from fieldmark.losses.ohem import ohem_bce
from fieldmark.losses.soft_f import soft_f
from fieldmark.losses.specs import (
    PER_LABEL,
    Asymmetric,
    BatchHardTriplet,
    Bce,
    CrossEntropy,
    Focal,
    Loss,
    OhemBce,
    SoftF,
)
from fieldmark.losses.triplet import batch_hard_triplet


def total(
    losses: Sequence[Loss],
    *,
    embedding: Float[Tensor, "batch dim"] | None = None,
    logits: Float[Tensor, "batch class"] | None = None,
    classes: Int[Tensor, " batch"] | None = None,
    truth: Float[Tensor, "batch class"] | None = None,
) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
    """The weighted sum of ``losses``, and each of them on its own.

    Args:
        losses: Their settings, at least one.
        embedding: Unit-length vectors, for losses that compare pictures.
        logits: Raw scores, for losses that ask about labels.
        classes: One class a picture, -1 for unknowns. Losses on many labels take it as one-hot rows where ``truth``
            is not given.
        truth: 0 to 1 for every logit.

    Returns:
        The sum to learn from, and a value a loss by its kind (``focal``, a second one ``focal 2``): before its weight,
        without gradient.

    Raises:
        PlanError: There is no loss, or a loss needs what was not given; all such mistakes at once.
        ShapeError: What was given does not match in shape.
    """
    given = {"embedding": embedding, "logits": logits, "classes": classes, "truth": truth}
    _check_given(losses, {name for name, value in given.items() if value is not None})
    sums: list[Tensor] = []
    parts: dict[str, Tensor] = {}
    for loss in losses:
        value = _value(loss, embedding=embedding, logits=logits, classes=classes, truth=truth)
        sums.append(loss.weight * value)
        times = 1 + sum(name.split()[0] == loss.kind for name in parts)
        parts[loss.kind if times == 1 else f"{loss.kind} {times}"] = value.detach()
    return sum(sums[1:], start=sums[0]), parts


def of_each(
    losses: Sequence[Loss], *, logits: Float[Tensor, "batch label"], truth: Float[Tensor, "batch label"]
) -> Float[Tensor, " batch"]:
    """The weighted sum of ``losses`` on labels for each image by itself, without gradient; its mean is ``total``'s.

    Raises:
        PlanError: A loss does not judge images by themselves.
        ShapeError: ``logits`` and ``truth`` do not match in shape.
    """
    if not all(isinstance(loss, PER_LABEL) for loss in losses):
        raise PlanError(
            "Only losses on labels judge each image by itself.",
            got=", ".join(loss.kind for loss in losses if not isinstance(loss, PER_LABEL)),
            fix="use bce, focal, soft_f or asymmetric.",
        )
    check_logits(logits, by="of_each", truth=truth)
    with torch.no_grad():
        return torch.vmap(lambda z, y: total(losses, logits=z[None], truth=y[None])[0])(logits, truth)


def needs(loss: Loss) -> tuple[frozenset[str], ...]:
    """What a loss must be given: any one of these sets."""
    match loss:
        case Bce() | Focal() | SoftF() | Asymmetric():
            return frozenset({"logits", "truth"}), frozenset({"logits", "classes"})
        case CrossEntropy() | OhemBce():
            return (frozenset({"logits", "classes"}),)
        case BatchHardTriplet():
            return (frozenset({"embedding", "classes"}),)


def _check_given(losses: Sequence[Loss], names: set[str]) -> None:
    """Refuse a list of losses that cannot be computed from what is there."""
    if not losses:
        raise PlanError(
            "There is no loss to learn from.", got="an empty list", fix='name at least one, as {kind = "focal"}.'
        )
    lacking = {
        loss.kind: " or ".join(" and ".join(sorted(wanted - names)) for wanted in needs(loss))
        for loss in losses
        if not any(wanted <= names for wanted in needs(loss))
    }
    if not lacking:
        return
    fixes = []
    if any("logits" in lack for lack in lacking.values()):
        fixes.append("give the network a head with logits (sigmoid, one_vs_rest or cosine)")
    if any("classes" in lack or "truth" in lack for lack in lacking.values()):
        fixes.append("train on a collection with identities or labels")
    if any("embedding" in lack for lack in lacking.values()):
        fixes.append("pass the network's embedding")
    raise PlanError(
        "Some losses need what the network or the collection does not give.",
        got=several([f"{kind} lacks {lack}" for kind, lack in lacking.items()]),
        fix=f"{'; '.join(fixes)}; or leave out {', '.join(lacking)}.",
    )


def _value(
    loss: Loss, *, embedding: Tensor | None, logits: Tensor | None, classes: Tensor | None, truth: Tensor | None
) -> Tensor:
    """One loss before its weight; what it needs is there."""
    match loss:
        case BatchHardTriplet() if embedding is not None and classes is not None:
            return batch_hard_triplet(embedding, classes, margin=loss.margin)
        case CrossEntropy() if logits is not None and classes is not None:
            return cross_entropy(logits, classes, smoothing=loss.smoothing)
        case OhemBce() if logits is not None and classes is not None:
            return ohem_bce(logits, classes, hardest=loss.hardest)
        case Bce() | Focal() | SoftF() | Asymmetric() if logits is not None:
            if truth is None and classes is not None:
                truth = one_hot(classes, logits.shape[1])
            if truth is not None:
                return _on_labels(loss, logits, truth)
    raise TypeError(f"no rule computes {loss.kind}")


def _on_labels(loss: Bce | Focal | SoftF | Asymmetric, logits: Tensor, truth: Tensor) -> Tensor:
    match loss:
        case Bce():
            return bce(logits, truth)
        case Focal():
            return focal(logits, truth, gamma=loss.gamma)
        case SoftF():
            return soft_f(logits, truth, beta=loss.beta)
        case Asymmetric():
            return asymmetric(logits, truth, gamma_yes=loss.gamma_yes, gamma_no=loss.gamma_no, clip=loss.clip)

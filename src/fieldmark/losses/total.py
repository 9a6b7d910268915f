"""The weighted sum of a plan's losses, with each part by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fieldmark.core.errors import PlanError, ShapeError, several
from fieldmark.losses.affinities import affinity, spread
from fieldmark.losses.aligned import local_triplet
from fieldmark.losses.asymmetry import asymmetric
from fieldmark.losses.binary import bce
from fieldmark.losses.compact import compactness
from fieldmark.losses.distillation import distilled
from fieldmark.losses.focusing import focal
from fieldmark.losses.inputs import Circumstances, check_classes, check_logits, one_hot
from fieldmark.losses.margins import arcface, combined, cosface, elastic, margins_by_count, ramp, sphereface
from fieldmark.losses.ohem import ohem_bce
from fieldmark.losses.pairs import Compare, pair_bce, pair_triplet
from fieldmark.losses.questions import only_told, question_softmax
from fieldmark.losses.soft_measures import soft_f
from fieldmark.losses.softmax import cross_entropy
from fieldmark.losses.specs import (
    PER_LABEL,
    Affinity,
    ArcFace,
    Asymmetric,
    BatchHardTriplet,
    Bce,
    CombinedMargin,
    Compactness,
    CosFace,
    CrossEntropy,
    Distilled,
    Elastic,
    Focal,
    LocalTriplet,
    Loss,
    MarginByCount,
    OhemBce,
    PairBce,
    PairTriplet,
    QuestionSoftmax,
    SoftF,
    SphereFace,
)
from fieldmark.losses.triplet import batch_hard_triplet

ALONE = Circumstances()
"""Nothing is known but outputs and truth."""

MENDS = {
    "logits": "give the network a head with logits (sigmoid, one_vs_rest or cosine)",
    "classes": "train on a collection with identities or labels",
    "truth": "train on a collection with identities or labels",
    "embedding": "pass the network's embedding",
    "taught": "name an earlier train stage by taught",
    "stripes": "give the network stripes, as stripes = 8",
    "scale": 'use head = {kind = "cosine"}',
    "questions": 'use head = {kind = "questions"}',
    "centres": 'use head = {kind = "affinity"}',
    "compare": 'use head = {kind = "pair"}',
    "counts": "pass the number of training photos of each class",
    "chance": "pass a torch.Generator",
}
"""Where each thing that a loss may need comes from."""


def total(
    losses: Sequence[Loss],
    *,
    embedding: Float[Tensor, "batch dim"] | None = None,
    stripes: Float[Tensor, "batch stripe dim"] | None = None,
    logits: Float[Tensor, "batch class"] | None = None,
    centres: Float[Tensor, "centre width"] | None = None,
    compare: Compare | None = None,
    classes: Int[Tensor, " batch"] | None = None,
    truth: Float[Tensor, "batch class"] | None = None,
    about: Circumstances = ALONE,
) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
    """The weighted sum of ``losses``, and each of them on its own.

    Args:
        losses: Their settings, at least one.
        embedding: Unit-length vectors, for losses that compare pictures.
        stripes: Some such vectors a picture, for ``local_triplet``.
        logits: Raw scores, for losses that ask about labels.
        centres: All centres of an affinity head.
        compare: A pair head, asked about rows of the batch.
        classes: One class a picture, -1 for unknowns. Losses on many labels take it as one-hot rows where ``truth``
            is not given.
        truth: 0 to 1 for every logit; NaN where it is not told, of which nothing is learnt.
        about: What else margins may ask for: scale, counts, flips, teachers, how far training is, chance.

    Returns:
        The sum to learn from, and a value a loss by its kind (``focal``, a second one ``focal 2``): before its weight,
        without gradient.

    Raises:
        PlanError: There is no loss, or a loss needs what was not given; all such mistakes at once.
        ShapeError: What was given does not match in shape.
    """
    given = {
        "embedding": embedding,
        "stripes": stripes,
        "logits": logits,
        "centres": centres,
        "compare": compare,
        "classes": classes,
        "truth": truth,
        "taught": about.taught,
        "scale": about.scale,
        "counts": about.counts,
        "questions": about.question_of,
        "chance": about.chance,
    }
    there = {name: value for name, value in given.items() if value is not None}
    _check_given(losses, set(there))
    sums: list[Tensor] = []
    parts: dict[str, Tensor] = {}
    for loss in losses:
        value = _value(loss, there, about)
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


def needs(loss: Loss) -> tuple[frozenset[str], ...]:  # noqa: PLR0911 - one for each kind of loss
    """What a loss must be given: any one of these sets."""
    match loss:
        case Bce() | Focal() | SoftF() | Asymmetric():
            return frozenset({"logits", "truth"}), frozenset({"logits", "classes"})
        case CrossEntropy() | OhemBce():
            return (frozenset({"logits", "classes"}),)
        case Distilled():
            return (frozenset({"logits", "classes", "taught"}),)
        case QuestionSoftmax():
            return (frozenset({"logits", "truth", "questions"}),)
        case BatchHardTriplet() | Compactness():
            return (frozenset({"embedding", "classes"}),)
        case LocalTriplet():
            return (frozenset({"stripes", "classes"}),)
        case PairBce() | PairTriplet():
            return (frozenset({"compare", "classes"}),)
        case Affinity():
            return (frozenset({"logits", "centres", "classes"} | ({"chance"} if loss.sample else set())),)
        case Elastic():
            return (frozenset({"logits", "classes", "scale", "chance"}),)
        case ArcFace() | CosFace() | SphereFace() | CombinedMargin():
            by_count = isinstance(getattr(loss, "margin", None), MarginByCount)
            return (frozenset({"logits", "classes", "scale"} | ({"counts"} if by_count else set())),)


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
    wanted = dict.fromkeys(mend for name, mend in MENDS.items() if any(name in lack for lack in lacking.values()))
    raise PlanError(
        "Some losses need what the network or the collection does not give.",
        got=several([f"{kind} lacks {lack}" for kind, lack in lacking.items()]),
        fix=f"{'; '.join(wanted)}; or leave out {', '.join(lacking)}.",
    )


def _value(loss: Loss, there: dict[str, Any], about: Circumstances) -> Tensor:  # noqa: PLR0911, PLR0912 - one for each kind
    """One loss before its weight; what it needs is there."""
    match loss:
        case BatchHardTriplet():
            return batch_hard_triplet(there["embedding"], there["classes"], margin=loss.margin)
        case Compactness():
            return compactness(there["embedding"], there["classes"])
        case LocalTriplet():
            return local_triplet(there["stripes"], there["classes"], margin=loss.margin)
        case PairBce():
            return pair_bce(there["compare"], there["classes"], pairs=loss.pairs)
        case PairTriplet():
            return pair_triplet(there["compare"], there["classes"], margin=loss.margin)
        case OhemBce():
            return ohem_bce(there["logits"], there["classes"], hardest=loss.hardest)
        case Affinity():
            flip = about.flip_identity
            hinge = affinity(there["logits"], there["classes"], margin=loss.margin, flip_identity=flip)
            apart = spread(there["centres"], sample=loss.sample, chance=about.chance) if loss.spread else 0.0
            return hinge + loss.spread * apart
        case CrossEntropy():
            return cross_entropy(
                there["logits"],
                there["classes"],
                smoothing=loss.smoothing,
                uniform_unknowns=loss.unknowns == "uniform",
                flip_identity=about.flip_identity,
            )
        case Distilled():
            return distilled(there["logits"], there["classes"], there["taught"])
        case QuestionSoftmax():
            return question_softmax(
                there["logits"], there["truth"], there["questions"], below=about.below, smoothing=loss.smoothing
            )
        case ArcFace() | CosFace() | SphereFace() | CombinedMargin() | Elastic():
            return _with_margin(loss, there, about)
        case Bce() | Focal() | SoftF() | Asymmetric():
            logits, truth = there["logits"], there.get("truth")
            if truth is None:
                return _on_labels(loss, logits, one_hot(there["classes"], logits.shape[1]))
            return _on_labels(loss, *only_told(logits, truth))


def _with_margin(
    loss: ArcFace | CosFace | SphereFace | CombinedMargin | Elastic, there: dict[str, Any], about: Circumstances
) -> Tensor:
    """A loss with a margin, as much of it as the warm-up has come to."""
    logits, classes = there["logits"], there["classes"]
    check_logits(logits, by=loss.kind)
    check_classes(classes, logits.shape[1], by=loss.kind, batch=len(logits))
    part = ramp(about.done, loss.warmup)
    asked: dict[str, Any] = {
        "scale": there["scale"],
        "smoothing": loss.smoothing,
        "flip_identity": about.flip_identity,
    }
    match loss:
        case ArcFace() | CosFace():
            margin: float | Tensor = part
            if isinstance(loss.margin, MarginByCount):
                margin *= margins_by_count(_fitting(about.counts, logits), loss.margin)[classes.clamp(min=0).long()]
            else:
                margin *= loss.margin
            judge = arcface if isinstance(loss, ArcFace) else cosface
            return judge(logits, classes, margin=margin, **asked)
        case SphereFace():
            return sphereface(logits, classes, times=1 + part * (loss.times - 1), **asked)
        case CombinedMargin():
            times, plus, minus = 1 + part * (loss.times - 1), part * loss.plus, part * loss.minus
            return combined(logits, classes, times=times, plus=plus, minus=minus, **asked)
        case Elastic():
            margin, std = part * loss.margin, part * loss.std
            return elastic(logits, classes, margin=margin, std=std, form=loss.form, chance=there["chance"], **asked)


def _fitting(counts: Tensor | None, logits: Tensor) -> Tensor:
    """The counts, if there is one for each class."""
    if counts is None or counts.shape != logits.shape[1:]:
        raise ShapeError(
            "A margin by the number of photos needs that number for each class.",
            got=f"counts {None if counts is None else tuple(counts.shape)}, {logits.shape[1]} classes",
            fix="count the training photos of every class, mirrored ones too where they are classes of their own.",
        )
    return counts


def _on_labels(loss: Bce | Focal | SoftF | Asymmetric, logits: Tensor, truth: Tensor) -> Tensor:
    match loss:
        case Bce():
            return bce(logits, truth)
        case Focal():
            return focal(logits, truth, gamma=loss.gamma, alpha=loss.alpha, detached=loss.detached)
        case SoftF():
            return soft_f(logits, truth, beta=loss.beta)
        case Asymmetric():
            return asymmetric(logits, truth, gamma_yes=loss.gamma_yes, gamma_no=loss.gamma_no, clip=loss.clip)

"""Softmax losses with a margin between the true class and the other classes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fieldmark.core.errors import FieldmarkError, ShapeError, several
from fieldmark.losses.inputs import check_classes, check_logits, precise
from fieldmark.losses.margin_sizes import MarginByCount
from fieldmark.losses.softmax import cross_entropy

FLAT = 1e-6
"""Smallest squared sine. Near a cosine of 1 or -1 it limits the slope of the angle, 1 / sine, to 1,000. (The gradient
of a unit-length embedding is multiplied by the sine, so the limit has no effect on it.)"""

START = 0.2
"""Initial share of the margin in a warm-up; Happywhale 2022, first place."""


def arcface(
    logits: Float[Tensor, "batch class"],
    classes: Int[Tensor, " batch"],
    *,
    scale: float,
    margin: float | Float[Tensor, " batch"] = 0.5,
    smoothing: float = 0.0,
    flip_identity: bool = False,
) -> Float[Tensor, ""]:
    """Return the ArcFace loss: cross-entropy with ``margin`` added to the angle of the true class.

    The angle is that between the embedding and the centre of the class. With the margin added, the true class must
    still have the smallest angle. Embeddings of one class thus move together, and classes move away from each other.

    For angles where ``angle + margin`` exceeds pi, ``cos(angle + margin)`` would increase again. There the cosine is
    reduced by ``margin * sin(margin)`` instead, the usual rule.

    Args:
        logits: Scaled cosines from the cosine head.
        classes: Class of each image; -1 for unknown individuals, which are left out.
        scale: Logit of a cosine of 1.
        margin: Margin in radians, 0 (plain cross-entropy) to pi; or one margin per image. Use
            ``margins_by_count(counts)[classes]`` for larger margins of rare classes.
        smoothing: Label smoothing, as in ``cross_entropy``.
        flip_identity: As in ``cross_entropy``: the flip of an image's own class is left out.

    Returns:
        The loss, at least 0, in nats per image of a known individual.

    Raises:
        ShapeError: Shapes do not match, a class has no logit, or a class has no flip.
        FieldmarkError: Scale, margin or smoothing is outside its range.

    Source:
        Deng et al. 2019, arXiv:1801.07698, equation 3. ArcFaceLoss of pytorch-metric-learning returns the same values
        (checked by a test). It stores the class centres in the loss, so that a network saved without its loss cannot
        predict classes. Its margin is in degrees and the same for all classes. It fails on unknown individuals (class
        -1, IndexError) and cannot leave out a flipped class.
    """
    added = _column(margin, logits, by="arcface", most=math.pi)

    def harder(cosine: Tensor) -> Tensor:
        turned = cosine * torch.cos(added) - _sine(cosine) * torch.sin(added)
        return torch.where(cosine >= -torch.cos(added), turned, cosine - added * torch.sin(added))

    return _with_margin(
        logits, classes, harder, scale=scale, smoothing=smoothing, flip_identity=flip_identity, by="arcface"
    )


def cosface(
    logits: Float[Tensor, "batch class"],
    classes: Int[Tensor, " batch"],
    *,
    scale: float,
    margin: float | Float[Tensor, " batch"] = 0.35,
    smoothing: float = 0.0,
    flip_identity: bool = False,
) -> Float[Tensor, ""]:
    """Return the CosFace loss: cross-entropy with ``margin`` subtracted from the cosine of the true class.

    Args:
        logits: Scaled cosines from the cosine head.
        classes: Class of each image; -1 for unknown individuals, which are left out.
        scale: Logit of a cosine of 1.
        margin: Margin of the cosine, 0 (plain cross-entropy) to 2; or one margin per image.
        smoothing: Label smoothing, as in ``cross_entropy``.
        flip_identity: As in ``cross_entropy``.

    Raises:
        ShapeError: Shapes do not match, a class has no logit, or a class has no flip.
        FieldmarkError: Scale, margin or smoothing is outside its range.

    Source:
        Wang et al. 2018, arXiv:1801.09414, equation 4.
    """
    subtracted = _column(margin, logits, by="cosface", most=2.0)
    return _with_margin(
        logits,
        classes,
        lambda cosine: cosine - subtracted,
        scale=scale,
        smoothing=smoothing,
        flip_identity=flip_identity,
        by="cosface",
    )


def combined(
    logits: Float[Tensor, "batch class"],
    classes: Int[Tensor, " batch"],
    *,
    scale: float,
    times: float = 1.0,
    plus: float = 0.4,
    minus: float = 0.15,
    smoothing: float = 0.0,
    flip_identity: bool = False,
) -> Float[Tensor, ""]:
    """Return the cross-entropy in which the cosine of the true class is ``cos(times * angle + plus) - minus``.

    With ``times`` alone it is SphereFace, with ``plus`` ArcFace, with ``minus`` CosFace. For angles above pi the cosine
    continues to decrease, like SphereFace's psi: it is reflected at -1, without a step. (ArcFace's usual rule has a
    step, and there is no such rule for ``times``.)

    Args:
        logits: Scaled cosines from the cosine head.
        classes: Class of each image; -1 for unknown individuals, which are left out.
        scale: Logit of a cosine of 1.
        times: Factor of the angle, at least 1.
        plus: Margin added to the angle, in radians, 0 to pi.
        minus: Margin subtracted from the cosine, 0 to 2.
        smoothing: Label smoothing, as in ``cross_entropy``.
        flip_identity: As in ``cross_entropy``.

    Raises:
        ShapeError: Shapes do not match, a class has no logit, or a class has no flip.
        FieldmarkError: A setting is outside its range.

    Source:
        Deng et al. 2019, arXiv:1801.07698, equation 4; psi: Liu et al. 2017, arXiv:1704.08063, equation 7.
    """
    if not (times >= 1 and 0 <= plus <= math.pi and 0 <= minus <= 2):
        raise FieldmarkError(
            "combined(): times, plus or minus is outside its range.",
            got=f"times {times}, plus {plus}, minus {minus}",
            fix="use times >= 1, plus of 0 to 3.14 (radians) and minus of 0 to 2; 1, 0.4 and 0.15 are usual.",
        )

    def harder(cosine: Tensor) -> Tensor:
        angle = times * torch.atan2(_sine(cosine), cosine) + plus
        halves = torch.floor(angle.detach() / math.pi)
        return (1 - 2 * (halves % 2)) * torch.cos(angle) - 2 * halves - minus

    return _with_margin(
        logits, classes, harder, scale=scale, smoothing=smoothing, flip_identity=flip_identity, by="combined"
    )


def sphereface(
    logits: Float[Tensor, "batch class"],
    classes: Int[Tensor, " batch"],
    *,
    scale: float,
    times: float = 1.35,
    smoothing: float = 0.0,
    flip_identity: bool = False,
) -> Float[Tensor, ""]:
    """Return the SphereFace loss: cross-entropy with the angle of the true class multiplied by ``times``.

    Args:
        logits: Scaled cosines from the cosine head.
        classes: Class of each image; -1 for unknown individuals, which are left out.
        scale: Logit of a cosine of 1.
        times: Factor of the angle, at least 1 (plain cross-entropy).
        smoothing: Label smoothing, as in ``cross_entropy``.
        flip_identity: As in ``cross_entropy``.

    Returns:
        The loss, at least 0, in nats per image of a known individual.

    Raises:
        ShapeError: Shapes do not match, a class has no logit, or a class has no flip.
        FieldmarkError: A setting is outside its range.

    Source:
        Liu et al. 2017, arXiv:1704.08063, equation 7; 1.35: Deng et al. 2019, arXiv:1801.07698.
    """
    margins = {"times": times, "plus": 0.0, "minus": 0.0}
    return combined(logits, classes, scale=scale, **margins, smoothing=smoothing, flip_identity=flip_identity)


def elastic(
    logits: Float[Tensor, "batch class"],
    classes: Int[Tensor, " batch"],
    *,
    scale: float,
    chance: torch.Generator,
    margin: float = 0.3,
    std: float = 0.025,
    form: Literal["arc", "cos"] = "arc",
    smoothing: float = 0.0,
    flip_identity: bool = False,
) -> Float[Tensor, ""]:
    """Return the ArcFace or CosFace loss with a random margin for each image.

    Random margins allow for classes that differ in how well they can be separated.

    Args:
        logits: Scaled cosines from the cosine head.
        classes: Class of each image; -1 for unknown individuals, which are left out.
        scale: Logit of a cosine of 1.
        chance: Random generator; the same state gives the same margins.
        margin: Mean of the margins.
        std: Standard deviation of the margins; 0 is a fixed margin. Negative margins become 0.
        form: ``arc`` adds the margin to the angle; ``cos`` subtracts it from the cosine.
        smoothing: Label smoothing, as in ``cross_entropy``.
        flip_identity: As in ``cross_entropy``.

    Raises:
        ShapeError: Shapes do not match, a class has no logit, or a class has no flip.
        FieldmarkError: A setting is outside its range.

    Source:
        Boutros et al. 2022, arXiv:2109.09416, equations 5 and 6.
    """
    if not std >= 0:
        raise FieldmarkError("elastic(): std must be at least 0.", got=f"std {std}", fix="use std = 0.025, or 0.")
    check_logits(logits, by="elastic")
    drawn = torch.randn(len(logits), generator=chance, device=chance.device).to(logits.device)
    margins = (margin + std * drawn).clamp(min=0.0, max=math.pi if form == "arc" else 2.0)
    loss = arcface if form == "arc" else cosface
    return loss(logits, classes, scale=scale, margin=margins, smoothing=smoothing, flip_identity=flip_identity)


def margins_by_count(
    counts: Int[Tensor, " class"],
    by: MarginByCount | None = None,
) -> Float[Tensor, " class"]:
    """Return the margin of each class: ``coef * photos ** power + floor``, larger for classes with few photos.

    Classes with few photos need a larger margin to be separated well from the others.

    Args:
        counts: Number of training photos of each class; 0 counts as 1.
        by: Coefficient, power and floor; None uses the defaults of ``MarginByCount``.

    Source:
        Ha et al. 2020, arXiv:2010.05350, section 2.3; values of Happywhale 2022, first place.
    """
    if by is None:
        by = MarginByCount()
    return by.coef * counts.clamp(min=1).float() ** by.power + by.floor


def ramp(done: float, warmup: float) -> float:
    """Return the share of the margin during its warm-up: it rises linearly from a fifth to 1.

    Args:
        done: Completed share of the training, 0 to 1.
        warmup: Share of the training after which the margin is complete; 0 means from the start.

    Source:
        Happywhale 2022, first place: coefficient from 0.2 to 1 over epochs 1 to 5. There only the coefficient of
        ``margins_by_count`` rises; here the whole margin of every loss rises.
    """
    return 1.0 if done >= warmup else START + (1 - START) * done / warmup


def _with_margin(
    logits: Tensor,
    classes: Tensor,
    harder: Callable[[Tensor], Tensor],
    *,
    scale: float,
    smoothing: float,
    flip_identity: bool,
    by: str,
) -> Tensor:
    """Return the cross-entropy with ``harder`` applied to the cosine of the true class; unknown rows are left out."""
    check_logits(logits, by=by)
    check_classes(classes, logits.shape[1], by=by, batch=logits.shape[0])
    if not scale > 0:
        raise FieldmarkError(
            f"{by}(): scale must be above 0.", got=scale, fix="pass the scale of the cosine head, such as 30 or 64."
        )
    logits = precise(logits)
    own = classes.clamp(min=0).long()[:, None]
    cosine = logits.gather(1, own) / scale
    return cross_entropy(
        logits.scatter(1, own, scale * harder(cosine)), classes, smoothing=smoothing, flip_identity=flip_identity
    )


def _sine(cosine: Tensor) -> Tensor:
    return ((1 - cosine) * (1 + cosine)).clamp(min=FLAT).sqrt()


def _column(margin: float | Tensor, logits: Tensor, *, by: str, most: float) -> Float[Tensor, "batch 1"]:
    """Return one margin per image, and check its range."""
    check_logits(logits, by=by)
    margins = torch.as_tensor(margin, device=logits.device).to(precise(logits).dtype)
    if margins.ndim == 0:
        margins = margins.expand(len(logits))
    wrong = margins[~((margins >= 0) & (margins <= most))] if margins.shape == logits.shape[:1] else margins
    if len(wrong):
        raise FieldmarkError(
            f"{by}(): margin is outside its range, or not one per image.",
            got=several([round(one, 4) for one in wrong.flatten().tolist()]),
            fix=f"use one number of 0 to {most:.2f}, or one for each image.",
        )
    return margins[:, None]


def margins_of(
    margin: float | MarginByCount,
    part: float,
    logits: Float[Tensor, "batch class"],
    classes: Int[Tensor, " batch"],
    counts: Int[Tensor, " class"] | None,
) -> float | Float[Tensor, " batch"]:
    """Return ``part`` times the margin: one value for all images, or one per image by the photos of its class.

    Raises:
        ShapeError: The margin needs the number of photos of each class, and ``counts`` does not provide it.
    """
    if isinstance(margin, int | float):
        return part * margin
    if counts is None or counts.shape != logits.shape[1:]:
        raise ShapeError(
            "counts: a margin by the number of photos needs that number for each class.",
            got=f"counts {None if counts is None else tuple(counts.shape)}, {logits.shape[1]} classes",
            fix="pass the number of training photos of every class, with flips if they are separate classes.",
        )
    return part * margins_by_count(counts, margin)[classes.clamp(min=0).long()]

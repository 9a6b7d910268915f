"""Softmax losses with a margin: the true class must win by more than a hair."""

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
"""Least squared sine: nearer to a cosine of 1 or -1 the slope of the angle, 1 / sine, is held at a thousand. (What
comes back to a unit-length embedding is multiplied by the sine again, so nothing is lost.)"""

START = 0.2
"""Where a margin's warm-up begins; Happywhale 2022, first place."""


def arcface(
    logits: Float[Tensor, "batch class"],
    classes: Int[Tensor, " batch"],
    *,
    scale: float,
    margin: float | Float[Tensor, " batch"] = 0.5,
    smoothing: float = 0.0,
    flip_identity: bool = False,
) -> Float[Tensor, ""]:
    """Cross-entropy with the true class's angle counted ``margin`` larger.

    A photo lies at an angle to its class's direction. It is not enough that this be its nearest: it must be nearest
    even if ``margin`` is added. So photos of a class draw together and classes apart.

    Beyond a half circle ``cos(angle + margin)`` would rise again and reward being further off; there the cosine is
    taken ``margin * sin(margin)`` lower instead, the usual rule.

    Args:
        logits: Scaled cosines, as the cosine head gives them.
        classes: The class of each image; -1 for unknowns, who are left out.
        scale: Logit of a cosine of 1.
        margin: In radians, 0 (plain cross-entropy) to pi; or one for each image: larger for rare classes with
            ``margins_by_count(counts)[classes]``.
        smoothing: As in ``cross_entropy``.
        flip_identity: As in ``cross_entropy``: the mirror image of the own class takes no part.

    Returns:
        One number, at least 0, in nats per known image.

    Raises:
        ShapeError: Shapes do not match, a class has no logit, or no mirror image.
        FieldmarkError: Scale, margin or smoothing is outside its range.

    Source:
        Deng et al. 2019, arXiv:1801.07698, equation 3. pytorch-metric-learning's ArcFaceLoss gives the same numbers
        (held by a test), but holds the class directions itself, so that a network saved without its loss cannot
        answer; takes its margin in degrees and one for all classes; and breaks on unknowns (class -1, IndexError),
        where it cannot leave a mirrored class out either.
    """
    added = _column(margin, logits, by="arcface", most=math.pi)

    def harder(cosine: Tensor) -> Tensor:
        turned = cosine * torch.cos(added) - _sine(cosine) * torch.sin(added)
        return torch.where(cosine >= -torch.cos(added), turned, cosine - added * torch.sin(added))

    return _asked_for_more(
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
    """Cross-entropy with the true class's cosine counted ``margin`` smaller; otherwise as ``arcface``.

    Args:
        logits: Scaled cosines.
        classes: The class of each image; -1 for unknowns, who are left out.
        scale: Logit of a cosine of 1.
        margin: 0 (plain cross-entropy) to 2; or one for each image.
        smoothing: As in ``cross_entropy``.
        flip_identity: As in ``cross_entropy``.

    Raises:
        ShapeError: Shapes do not match, a class has no logit, or no mirror image.
        FieldmarkError: Scale, margin or smoothing is outside its range.

    Source:
        Wang et al. 2018, arXiv:1801.09414, equation 4.
    """
    taken = _column(margin, logits, by="cosface", most=2.0)
    return _asked_for_more(
        logits,
        classes,
        lambda cosine: cosine - taken,
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
    """Cross-entropy with the true class's cosine counted as ``cos(times * angle + plus) - minus``.

    With ``times`` alone it is SphereFace, with ``plus`` ArcFace, with ``minus`` CosFace. Beyond a half circle the
    cosine goes on falling as SphereFace's psi does: mirrored at -1, without a step. (ArcFace's usual rule has a step,
    and none is known for ``times``.)

    Args:
        logits: Scaled cosines.
        classes: The class of each image; -1 for unknowns, who are left out.
        scale: Logit of a cosine of 1.
        times: At least 1.
        plus: In radians, 0 to pi.
        minus: 0 to 2.
        smoothing: As in ``cross_entropy``.
        flip_identity: As in ``cross_entropy``.

    Raises:
        ShapeError: Shapes do not match, a class has no logit, or no mirror image.
        FieldmarkError: A setting is outside its range.

    Source:
        Deng et al. 2019, arXiv:1801.07698, equation 4; psi: Liu et al. 2017, arXiv:1704.08063, equation 7.
    """
    if not (times >= 1 and 0 <= plus <= math.pi and 0 <= minus <= 2):
        raise FieldmarkError(
            "combined() cannot learn with these margins.",
            got=f"times {times}, plus {plus}, minus {minus}",
            fix="use times >= 1, plus of 0 to 3.14 (radians) and minus of 0 to 2; 1, 0.4 and 0.15 are usual.",
        )

    def harder(cosine: Tensor) -> Tensor:
        angle = times * torch.atan2(_sine(cosine), cosine) + plus
        halves = torch.floor(angle.detach() / math.pi)
        return (1 - 2 * (halves % 2)) * torch.cos(angle) - 2 * halves - minus

    return _asked_for_more(
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
    """Cross-entropy with the true class's angle counted ``times`` as large; otherwise as ``arcface``.

    Args:
        logits: Scaled cosines.
        classes: The class of each image; -1 for unknowns, who are left out.
        scale: Logit of a cosine of 1.
        times: At least 1 (plain cross-entropy).
        smoothing: As in ``cross_entropy``.
        flip_identity: As in ``cross_entropy``.

    Returns:
        One number, at least 0, in nats per known image.

    Raises:
        ShapeError: Shapes do not match, a class has no logit, or no mirror image.
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
    """``arcface`` or ``cosface`` with a margin drawn anew for each image: classes differ in how far they can be parted.

    Args:
        logits: Scaled cosines.
        classes: The class of each image; -1 for unknowns, who are left out.
        scale: Logit of a cosine of 1.
        chance: Where margins are drawn from; the same state gives the same margins.
        margin: Their mean.
        std: Their standard deviation; 0 is a fixed margin. What is drawn below 0 counts as 0.
        form: Added to the angle or taken off the cosine.
        smoothing: As in ``cross_entropy``.
        flip_identity: As in ``cross_entropy``.

    Raises:
        ShapeError: Shapes do not match, a class has no logit, or no mirror image.
        FieldmarkError: A setting is outside its range.

    Source:
        Boutros et al. 2022, arXiv:2109.09416, equations 5 and 6.
    """
    if not std >= 0:
        raise FieldmarkError("elastic() cannot draw margins.", got=f"std {std}", fix="use std = 0.025, or 0 for none.")
    check_logits(logits, by="elastic")
    drawn = torch.randn(len(logits), generator=chance, device=chance.device).to(logits.device)
    margins = (margin + std * drawn).clamp(min=0.0, max=math.pi if form == "arc" else 2.0)
    judge = arcface if form == "arc" else cosface
    return judge(logits, classes, scale=scale, margin=margins, smoothing=smoothing, flip_identity=flip_identity)


def margins_by_count(
    counts: Int[Tensor, " class"],
    by: MarginByCount | None = None,
) -> Float[Tensor, " class"]:
    """The margin of each class: ``coef * photos ** power + floor``, larger for a class of few photos.

    Of a class with three photos the network knows little, and would make do with little; it is asked for more.

    Args:
        counts: Training photos of each class; a class without any counts as one of a single photo.
        by: Coefficient, power and floor; None: the defaults of ``MarginByCount``.

    Source:
        Ha et al. 2020, arXiv:2010.05350, section 2.3; values of Happywhale 2022, first place.
    """
    if by is None:
        by = MarginByCount()
    return by.coef * counts.clamp(min=1).float() ** by.power + by.floor


def ramp(done: float, warmup: float) -> float:
    """How much of its margin a loss asks for: a fifth at first, growing evenly to all of it.

    Args:
        done: Share of the training that is done, 0 to 1.
        warmup: Share of the training after which the margin is whole; 0: from the beginning.

    Source:
        Happywhale 2022, first place: coefficient from 0.2 to 1 over epochs 1 to 5. There it is that of
        ``margins_by_count``; here the whole margin grows, whichever kind.
    """
    return 1.0 if done >= warmup else START + (1 - START) * done / warmup


def _asked_for_more(
    logits: Tensor,
    classes: Tensor,
    harder: Callable[[Tensor], Tensor],
    *,
    scale: float,
    smoothing: float,
    flip_identity: bool,
    by: str,
) -> Tensor:
    """Cross-entropy with ``harder`` of the true class's cosine in its place; unknown rows are left out there."""
    check_logits(logits, by=by)
    check_classes(classes, logits.shape[1], by=by, batch=logits.shape[0])
    if not scale > 0:
        raise FieldmarkError(
            f"{by}() needs the scale of its cosines.", got=scale, fix="pass the scale of the cosine head, as 30 or 64."
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
    """One margin an image, in range."""
    check_logits(logits, by=by)
    margins = torch.as_tensor(margin, device=logits.device).to(precise(logits).dtype)
    if margins.ndim == 0:
        margins = margins.expand(len(logits))
    wrong = margins[~((margins >= 0) & (margins <= most))] if margins.shape == logits.shape[:1] else margins
    if len(wrong):
        raise FieldmarkError(
            f"{by}() cannot learn with this margin.",
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
    """``part`` of a margin: one for all, or each picture's by the number of photos of its class.

    Raises:
        ShapeError: The margin needs the number of photos of each class, and they are not given.
    """
    if isinstance(margin, int | float):
        return part * margin
    if counts is None or counts.shape != logits.shape[1:]:
        raise ShapeError(
            "A margin by the number of photos needs that number for each class.",
            got=f"counts {None if counts is None else tuple(counts.shape)}, {logits.shape[1]} classes",
            fix="count the training photos of every class, mirrored ones too where they are classes of their own.",
        )
    return part * margins_by_count(counts, margin)[classes.clamp(min=0).long()]

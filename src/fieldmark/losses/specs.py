"""Settings of losses (no torch)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from fieldmark.core.spec import Count, Fraction, Positive, Spec


def _learnable(gamma: float) -> float:
    if 0 < gamma < 1:
        raise ValueError("no gradient can be trusted between 0 and 1: use 0 (plain BCE) or any value >= 1")
    return gamma


class Bce(Spec):
    """Binary cross-entropy, summed over labels, averaged over images."""

    kind: Literal["bce"] = "bce"
    weight: Positive = 1.0


class CrossEntropy(Spec):
    """Softmax cross-entropy over identities.

    Where mirrored photos are other identities, a photo is not asked about its own mirror image.

    Attributes:
        smoothing: Share of the truth spread evenly over all classes.
        unknowns: Photos of strangers are ``left_out``, or their truth is ``uniform``: everybody equally, so that the
            network learns to be in doubt.
        weight: In the sum of losses.
    """

    kind: Literal["cross_entropy"] = "cross_entropy"
    smoothing: Fraction = 0.0
    unknowns: Literal["left_out", "uniform"] = "left_out"
    weight: Positive = 1.0


class Distilled(Spec):
    """Softmax cross-entropy of strangers with what the networks of the stages named by ``taught`` say of them.

    Of photos of known individuals nothing is learnt: it stands beside other losses.
    """

    kind: Literal["distilled"] = "distilled"
    weight: Positive = 1.0


class QuestionSoftmax(Spec):
    """Softmax cross-entropy within each question that is told; needs a head for questions.

    Where several answers are right each has an equal share. With the head's form ``conditional`` an answer competes
    with those only that lie below the right answer to the question above.
    """

    kind: Literal["question_softmax"] = "question_softmax"
    smoothing: Fraction = 0.0
    weight: Positive = 1.0


class Focal(Spec):
    """Focal loss, summed over labels, averaged over images.

    Attributes:
        gamma: How strongly easy questions are muted; 0 is BCE.
        alpha: Weight of labels that are there, those that are not having the rest of 1; None: both weigh 1.
        detached: The muting weighs, and is not learnt from.
        weight: In the sum of losses.
    """

    kind: Literal["focal"] = "focal"
    gamma: Annotated[float, Field(ge=0), AfterValidator(_learnable)] = 2.0
    alpha: Fraction | None = None
    detached: bool = False
    weight: Positive = 1.0


class SoftF(Spec):
    """One minus the F-beta of probabilities, 0 to 1, averaged over images; for last epochs, or beside another loss."""

    kind: Literal["soft_f"] = "soft_f"
    beta: Positive = 2.0
    weight: Positive = 1.0


class Asymmetric(Spec):
    """Focal loss with a power of its own for labels that are not there; summed over labels, averaged over images.

    A label that is not there costs nothing up to a probability of ``clip``.
    """

    kind: Literal["asymmetric"] = "asymmetric"
    gamma_yes: Annotated[float, Field(ge=0), AfterValidator(_learnable)] = 1.0
    gamma_no: Annotated[float, Field(ge=0), AfterValidator(_learnable)] = 4.0
    clip: Fraction = 0.05
    weight: Positive = 1.0


class OhemBce(Spec):
    """One-vs-rest BCE on the ``hardest`` questions of each image, plus the true one's own."""

    kind: Literal["ohem_bce"] = "ohem_bce"
    hardest: Count = 30
    weight: Positive = 1.0


class BatchHardTriplet(Spec):
    """Furthest same, nearest other; unknowns are others to everybody and positives to nobody."""

    kind: Literal["triplet"] = "triplet"
    margin: Positive = 0.3
    weight: Positive = 1.0


class Compactness(Spec):
    """Photos of one individual close together: the mean squared distance to the middle of theirs in the batch."""

    kind: Literal["compactness"] = "compactness"
    weight: Positive = 1.0


class LocalTriplet(Spec):
    """The triplet loss by the distance of aligned stripes (``net.stripes``)."""

    kind: Literal["local_triplet"] = "local_triplet"
    margin: Positive = 0.3
    weight: Positive = 1.0


class MarginByCount(Spec):
    """A margin of each class by its photos: ``coef * photos ** power + floor``; rare classes are asked for more.

    The values are those of Happywhale 2022's first place for individuals; for species it took 0.226253, -0.720133 and
    0.05. Its search ran over coef 0.2 to 1 and power -0.8 to -0.05.
    """

    coef: Positive = 0.27126
    power: Annotated[float, Field(ge=-2, le=0)] = -0.364399
    floor: Annotated[float, Field(ge=0, le=1)] = 0.05


Margin = Annotated[float, Field(ge=0, le=1.5)]
"""An angle in radians, or (CosFace) a part of a cosine."""


class Margined(Spec):
    """What the losses with a margin have in common: softmax cross-entropy that asks the true class for more.

    They need a cosine head, whose ``scale`` is theirs.

    Attributes:
        warmup: The margin grows from a fifth to its whole over this share of the training's epochs.
        smoothing: Share of the truth spread evenly over all classes.
        weight: In the sum of losses.
    """

    warmup: Fraction = 0.0
    smoothing: Fraction = 0.0
    weight: Positive = 1.0


class ArcFace(Margined):
    """The true class's angle is counted ``margin`` radians larger; with scale 64 or 65 and 0.5 in the whale contest."""

    kind: Literal["arcface"] = "arcface"
    margin: Margin | MarginByCount = 0.5


class CosFace(Margined):
    """The true class's cosine is counted ``margin`` smaller; 0.6 with scale 30 or 0.35 with 32."""

    kind: Literal["cosface"] = "cosface"
    margin: Margin | MarginByCount = 0.35


class SphereFace(Margined):
    """The true class's angle is counted ``times`` as large; 4 in the paper, 1.35 in later ones. Many photos each."""

    kind: Literal["sphereface"] = "sphereface"
    times: Annotated[float, Field(ge=1, le=8)] = 1.35


class CombinedMargin(Margined):
    """The true class's cosine becomes ``cos(times * angle + plus) - minus``."""

    kind: Literal["combined"] = "combined"
    times: Annotated[float, Field(ge=1, le=8)] = 1.0
    plus: Margin = 0.4
    minus: Margin = 0.15


class Elastic(Margined):
    """A margin drawn anew for each photo from N(margin, std), added to the angle (``arc``) or taken off the cosine."""

    kind: Literal["elastic"] = "elastic"
    margin: Margin = 0.3
    std: Annotated[float, Field(ge=0, le=0.5)] = 0.025
    form: Literal["arc", "cos"] = "arc"


class Affinity(Spec):
    """Each photo nearer to a centre of its class than to any other's, by ``margin`` (of 1); needs an affinity head.

    Attributes:
        margin: By how much the affinity (0 to 1) to the own class must be larger.
        spread: Weight of what keeps all centres equally far apart.
        sample: Centres that are looked at for it, drawn anew each time; None: all of them.
        weight: In the sum of losses.
    """

    kind: Literal["affinity"] = "affinity"
    margin: Annotated[float, Field(gt=0, le=1)] = 0.75
    spread: Annotated[float, Field(ge=0)] = 1.0
    sample: Annotated[int, Field(ge=3)] | None = 512
    weight: Positive = 1.0


class PairBce(Spec):
    """Binary cross-entropy on pairs of photos, by a pair head: the same individual or not, both halves counting alike.

    ``drawn``: photos 2i and 2i + 1 of the batch, as the assignment sampler lays them; ``all``: all pairs of the batch.
    """

    kind: Literal["pair_bce"] = "pair_bce"
    pairs: Literal["drawn", "all"] = "drawn"
    weight: Positive = 1.0


class PairTriplet(Spec):
    """Batch-hard triplets on a pair head's logits: the least likely same above the likeliest other by ``margin``."""

    kind: Literal["pair_triplet"] = "pair_triplet"
    margin: Positive = 1.0
    weight: Positive = 1.0


Loss = Annotated[
    Bce
    | CrossEntropy
    | Distilled
    | QuestionSoftmax
    | Focal
    | SoftF
    | Asymmetric
    | OhemBce
    | BatchHardTriplet
    | Compactness
    | LocalTriplet
    | ArcFace
    | CosFace
    | SphereFace
    | CombinedMargin
    | Elastic
    | Affinity
    | PairBce
    | PairTriplet,
    Field(discriminator="kind"),
]
Losses = Annotated[tuple[Loss, ...], Field(min_length=1)]
"""A weighted sum."""

PER_LABEL = (Bce, Focal, SoftF, Asymmetric)
"""Losses that take labels, soft ones too, and judge each image by itself."""

SOFTMAX = (CrossEntropy, Margined)
"""Losses in which the classes compete, and which ask no photo about its own mirror image."""

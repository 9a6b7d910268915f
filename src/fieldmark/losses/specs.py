"""Settings of losses, their required inputs and their computation (torch is imported on first use)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import AfterValidator, Field

from fieldmark.core.registry import OneOf, Registry
from fieldmark.core.spec import Count, Fraction, Positive, Spec
from fieldmark.losses.margin_sizes import MarginByCount

if TYPE_CHECKING:
    from torch import Tensor

    from fieldmark.losses.inputs import Circumstances

Needs = tuple[frozenset[str], ...]
"""Required inputs of a loss: any one of these sets of names. See ``losses.total.total`` for the names."""
WITH_LABELS: Needs = (frozenset({"logits", "truth"}), frozenset({"logits", "classes"}))


class Loss(Spec):
    """A loss of a plan: its settings, required inputs and value.

    For your own loss, write a subclass with the decorator ``@loss``.

    Attributes:
        kind: Name of the loss in plans.
        weight: Weight in the sum of losses.
    """

    per_label: ClassVar[bool] = False
    """Whether the loss takes labels (also soft ones) and is a mean over independent images."""
    competes: ClassVar[bool] = False
    """Whether the loss is a softmax over classes, from which the flip of a photo's own class can be left out."""

    kind: str
    weight: Positive = 1.0

    def needs(self) -> Needs:
        """Return the names of the required inputs of ``value``: any one of several sets."""
        return WITH_LABELS

    def value(self, given: Mapping[str, Any], about: Circumstances) -> Tensor:
        """Return the loss of a batch, without its weight, as a scalar tensor.

        Args:
            given: Tensors by the names of ``needs``: ``logits``, ``classes``, ``truth``, ``embedding`` ...
            about: Additional inputs: scale, counts, flipped classes, completed share of the training.
        """
        raise NotImplementedError

    def mistake(self, net: Any) -> str | None:
        """Return why the loss does not work with these network settings (``models.specs.Net``) and a fix, or None."""
        del net
        return None


LOSSES: Registry[type[Loss]] = Registry("fieldmark.losses", what="loss")
"""All losses by kind. Other packages register theirs in the entry-point group ``fieldmark.losses``."""

LossT = TypeVar("LossT", bound=type[Loss])


def loss(kind: LossT) -> LossT:
    """Register a loss under its kind, as a class decorator. Plans in the same process can use it.

    Raises:
        FieldmarkError: Another loss has the same kind.
    """
    LOSSES.add(str(kind.model_fields["kind"].default), kind)
    return kind


def _learnable(gamma: float) -> float:
    if 0 < gamma < 1:
        raise ValueError("the gradient can be infinite between 0 and 1: use 0 (plain BCE) or any value >= 1")
    return gamma


@loss
class Bce(Loss):
    """Binary cross-entropy, summed over labels, averaged over images."""

    kind: Literal["bce"] = "bce"

    per_label: ClassVar[bool] = True

    def value(self, given: Mapping[str, Any], about: Circumstances) -> Tensor:
        """Return the loss of a batch, without its weight."""
        del about
        from fieldmark.losses.binary import bce
        from fieldmark.losses.inputs import with_labels

        return bce(*with_labels(given))


@loss
class CrossEntropy(Loss):
    """Softmax cross-entropy over identities.

    If flipped photos are separate identities, the flip of a photo's own identity is left out of the softmax.

    Attributes:
        smoothing: Share of the truth spread evenly over all classes.
        unknowns: Treatment of unknown individuals: ``left_out``, or ``uniform`` for a uniform target over all classes,
            which trains the network to give them low probabilities.
    """

    kind: Literal["cross_entropy"] = "cross_entropy"
    smoothing: Fraction = 0.0
    unknowns: Literal["left_out", "uniform"] = "left_out"

    competes: ClassVar[bool] = True

    def needs(self) -> Needs:
        """Return its required inputs."""
        return (frozenset({"logits", "classes"}),)

    def value(self, given: Mapping[str, Any], about: Circumstances) -> Tensor:
        """Return the loss of a batch, without its weight."""
        from fieldmark.losses.softmax import cross_entropy

        return cross_entropy(
            given["logits"],
            given["classes"],
            smoothing=self.smoothing,
            uniform_unknowns=self.unknowns == "uniform",
            flip_identity=about.flip_identity,
        )


@loss
class Distilled(Loss):
    """Softmax cross-entropy of unknown individuals with the predictions of the stages named in ``taught``.

    Photos of known individuals are ignored, so it needs another loss beside it.
    """

    kind: Literal["distilled"] = "distilled"

    def needs(self) -> Needs:
        """Return its required inputs."""
        return (frozenset({"logits", "classes", "taught"}),)

    def value(self, given: Mapping[str, Any], about: Circumstances) -> Tensor:
        """Return the loss of a batch, without its weight."""
        del about
        from fieldmark.losses.distillation import distilled

        return distilled(given["logits"], given["classes"], given["taught"])


@loss
class QuestionSoftmax(Loss):
    """Softmax cross-entropy within each labelled question; needs a head for questions.

    If several answers are right, each has an equal share. With the head's form ``conditional``, the softmax covers only
    the answers with a right parent answer.
    """

    kind: Literal["question_softmax"] = "question_softmax"
    smoothing: Fraction = 0.0

    def needs(self) -> Needs:
        """Return its required inputs."""
        return (frozenset({"logits", "truth", "questions"}),)

    def value(self, given: Mapping[str, Any], about: Circumstances) -> Tensor:
        """Return the loss of a batch, without its weight."""
        from fieldmark.losses.questions import question_softmax

        return question_softmax(
            given["logits"], given["truth"], given["questions"], below=about.below, smoothing=self.smoothing
        )

    def mistake(self, net: Any) -> str | None:
        """Return a message if the network lacks the required output."""
        if net.head.kind == "questions":
            return None
        return f'question_softmax needs questions, a {net.head.kind} head has none: use head = {{kind = "questions"}}'


@loss
class Focal(Loss):
    """Focal loss, summed over labels, averaged over images.

    Attributes:
        gamma: Exponent of the focal factor: the larger it is, the less easy labels count; 0 is BCE.
        alpha: Weight of positive labels; negative labels have the weight ``1 - alpha``. None: both weights are 1.
        detached: Whether the focal factor is treated as a constant in the gradient.
    """

    kind: Literal["focal"] = "focal"
    gamma: Annotated[float, Field(ge=0), AfterValidator(_learnable)] = 2.0
    alpha: Fraction | None = None
    detached: bool = False

    per_label: ClassVar[bool] = True

    def value(self, given: Mapping[str, Any], about: Circumstances) -> Tensor:
        """Return the loss of a batch, without its weight."""
        del about
        from fieldmark.losses.focusing import focal
        from fieldmark.losses.inputs import with_labels

        return focal(*with_labels(given), gamma=self.gamma, alpha=self.alpha, detached=self.detached)


@loss
class SoftF(Loss):
    """One minus the F-beta score of probabilities, averaged over images; for the last epochs or as a second loss."""

    kind: Literal["soft_f"] = "soft_f"
    beta: Positive = 2.0

    per_label: ClassVar[bool] = True

    def value(self, given: Mapping[str, Any], about: Circumstances) -> Tensor:
        """Return the loss of a batch, without its weight."""
        del about
        from fieldmark.losses.inputs import with_labels
        from fieldmark.losses.soft_measures import soft_f

        return soft_f(*with_labels(given), beta=self.beta)


@loss
class Asymmetric(Loss):
    """Focal loss with a separate exponent for negative labels; summed over labels, averaged over images.

    A negative label costs nothing up to a probability of ``clip``.
    """

    kind: Literal["asymmetric"] = "asymmetric"
    gamma_yes: Annotated[float, Field(ge=0), AfterValidator(_learnable)] = 1.0
    gamma_no: Annotated[float, Field(ge=0), AfterValidator(_learnable)] = 4.0
    clip: Fraction = 0.05

    per_label: ClassVar[bool] = True

    def value(self, given: Mapping[str, Any], about: Circumstances) -> Tensor:
        """Return the loss of a batch, without its weight."""
        del about
        from fieldmark.losses.asymmetry import asymmetric
        from fieldmark.losses.inputs import with_labels

        return asymmetric(*with_labels(given), gamma_yes=self.gamma_yes, gamma_no=self.gamma_no, clip=self.clip)


@loss
class OhemBce(Loss):
    """One-vs-rest BCE on the ``hardest`` classes of each image, plus the BCE of its true identity."""

    kind: Literal["ohem_bce"] = "ohem_bce"
    hardest: Count = 30

    def needs(self) -> Needs:
        """Return its required inputs."""
        return (frozenset({"logits", "classes"}),)

    def value(self, given: Mapping[str, Any], about: Circumstances) -> Tensor:
        """Return the loss of a batch, without its weight."""
        del about
        from fieldmark.losses.ohem import ohem_bce

        return ohem_bce(given["logits"], given["classes"], hardest=self.hardest)


@loss
class BatchHardTriplet(Loss):
    """Batch-hard triplet loss: the furthest positive must be nearer than the nearest negative, by ``margin``.

    Unknown individuals are negatives for known individuals and have no positives.
    """

    kind: Literal["triplet"] = "triplet"
    margin: Positive = 0.3

    def needs(self) -> Needs:
        """Return its required inputs."""
        return (frozenset({"embedding", "classes"}),)

    def value(self, given: Mapping[str, Any], about: Circumstances) -> Tensor:
        """Return the loss of a batch, without its weight."""
        del about
        from fieldmark.losses.triplet import batch_hard_triplet

        return batch_hard_triplet(given["embedding"], given["classes"], margin=self.margin)


@loss
class Compactness(Loss):
    """Mean squared distance of the photos to the mean embedding of their individual in the batch."""

    kind: Literal["compactness"] = "compactness"

    def needs(self) -> Needs:
        """Return its required inputs."""
        return (frozenset({"embedding", "classes"}),)

    def value(self, given: Mapping[str, Any], about: Circumstances) -> Tensor:
        """Return the loss of a batch, without its weight."""
        del about
        from fieldmark.losses.compact import compactness

        return compactness(given["embedding"], given["classes"])


@loss
class LocalTriplet(Loss):
    """Triplet loss with the distance of aligned stripes (``net.stripes``)."""

    kind: Literal["local_triplet"] = "local_triplet"
    margin: Positive = 0.3

    def needs(self) -> Needs:
        """Return its required inputs."""
        return (frozenset({"stripes", "classes"}),)

    def value(self, given: Mapping[str, Any], about: Circumstances) -> Tensor:
        """Return the loss of a batch, without its weight."""
        del about
        from fieldmark.losses.aligned import local_triplet

        return local_triplet(given["stripes"], given["classes"], margin=self.margin)

    def mistake(self, net: Any) -> str | None:
        """Return a message if the network lacks the required output."""
        if net.stripes is not None:
            return None
        return "local_triplet needs stripes, the network has none: set stripes = 8"


Margin = Annotated[float, Field(ge=0, le=1.5)]
"""Margin of an angle in radians, or of a cosine (CosFace)."""


class Margined(Loss):
    """Base class of softmax losses with a margin for the true class.

    They need a cosine head and use its ``scale``.

    Attributes:
        warmup: Share of the epochs over which the margin rises from a fifth to its full size.
        smoothing: Share of the truth spread evenly over all classes.
    """

    warmup: Fraction = 0.0
    smoothing: Fraction = 0.0

    competes: ClassVar[bool] = True

    def needs(self) -> Needs:
        """Return its required inputs, with the number of photos of each class if the margin depends on it."""
        by_count = isinstance(getattr(self, "margin", None), MarginByCount)
        return (frozenset({"logits", "classes", "scale"} | ({"counts"} if by_count else set())),)

    def value(self, given: Mapping[str, Any], about: Circumstances) -> Tensor:
        """Return the loss of a batch, without its weight, with the margin of the current state of the warm-up."""
        from fieldmark.losses.inputs import check_classes, check_logits
        from fieldmark.losses.margins import ramp

        logits, classes = given["logits"], given["classes"]
        check_logits(logits, by=self.kind)
        check_classes(classes, logits.shape[1], by=self.kind, batch=len(logits))
        common = {
            "scale": given["scale"],
            "smoothing": self.smoothing,
            "flip_identity": about.flip_identity,
        }
        return self.with_margin(given, about, ramp(about.done, self.warmup), **common)

    def with_margin(self, given: Mapping[str, Any], about: Circumstances, part: float, **common: Any) -> Tensor:
        """Return the loss with ``part`` (0 to 1) of its margin."""
        raise NotImplementedError

    def mistake(self, net: Any) -> str | None:
        """Return a message if the network has no cosine head."""
        if net.head.kind == "cosine":
            return None
        return f'{self.kind} needs cosines, a {net.head.kind} head has none: use head = {{kind = "cosine"}}'


@loss
class ArcFace(Margined):
    """``margin`` (radians) is added to the angle of the true class; 0.5 with scale 64 or 65 in the whale contest."""

    kind: Literal["arcface"] = "arcface"
    margin: Margin | MarginByCount = 0.5

    def with_margin(self, given: Mapping[str, Any], about: Circumstances, part: float, **common: Any) -> Tensor:
        """Return the loss with ``part`` (0 to 1) of its margin."""
        from fieldmark.losses.margins import arcface, margins_of

        margin = margins_of(self.margin, part, given["logits"], given["classes"], about.counts)
        return arcface(given["logits"], given["classes"], margin=margin, **common)


@loss
class CosFace(Margined):
    """``margin`` is subtracted from the cosine of the true class; 0.6 with scale 30 or 0.35 with 32."""

    kind: Literal["cosface"] = "cosface"
    margin: Margin | MarginByCount = 0.35

    def with_margin(self, given: Mapping[str, Any], about: Circumstances, part: float, **common: Any) -> Tensor:
        """Return the loss with ``part`` (0 to 1) of its margin."""
        from fieldmark.losses.margins import cosface, margins_of

        margin = margins_of(self.margin, part, given["logits"], given["classes"], about.counts)
        return cosface(given["logits"], given["classes"], margin=margin, **common)


@loss
class SphereFace(Margined):
    """The angle of the true class is multiplied by ``times``: 4 in the paper, 1.35 in later ones.

    Use it for classes with many photos.
    """

    kind: Literal["sphereface"] = "sphereface"
    times: Annotated[float, Field(ge=1, le=8)] = 1.35

    def with_margin(self, given: Mapping[str, Any], about: Circumstances, part: float, **common: Any) -> Tensor:
        """Return the loss with ``part`` (0 to 1) of its margin."""
        del about
        from fieldmark.losses.margins import combined

        times = 1 + part * (self.times - 1)
        return combined(given["logits"], given["classes"], times=times, plus=0.0, minus=0.0, **common)


@loss
class CombinedMargin(Margined):
    """The cosine of the true class becomes ``cos(times * angle + plus) - minus``."""

    kind: Literal["combined"] = "combined"
    times: Annotated[float, Field(ge=1, le=8)] = 1.0
    plus: Margin = 0.4
    minus: Margin = 0.15

    def with_margin(self, given: Mapping[str, Any], about: Circumstances, part: float, **common: Any) -> Tensor:
        """Return the loss with ``part`` (0 to 1) of its margin."""
        del about
        from fieldmark.losses.margins import combined

        times, plus, minus = 1 + part * (self.times - 1), part * self.plus, part * self.minus
        return combined(given["logits"], given["classes"], times=times, plus=plus, minus=minus, **common)


@loss
class Elastic(Margined):
    """A random margin per photo from N(margin, std), added to the angle (``arc``) or subtracted from the cosine."""

    kind: Literal["elastic"] = "elastic"
    margin: Margin = 0.3
    std: Annotated[float, Field(ge=0, le=0.5)] = 0.025
    form: Literal["arc", "cos"] = "arc"

    def needs(self) -> Needs:
        """Return its required inputs, with a random generator for the margins."""
        return (frozenset({"logits", "classes", "scale", "chance"}),)

    def with_margin(self, given: Mapping[str, Any], about: Circumstances, part: float, **common: Any) -> Tensor:
        """Return the loss with ``part`` (0 to 1) of its margin."""
        del about
        from fieldmark.losses.margins import elastic

        return elastic(
            given["logits"],
            given["classes"],
            margin=part * self.margin,
            std=part * self.std,
            form=self.form,
            chance=given["chance"],
            **common,
        )


@loss
class Affinity(Loss):
    """Affinity loss: a photo must have a larger affinity to its own class than to others; needs an affinity head.

    Attributes:
        margin: Required difference of the affinities (0 to 1) to the own class and to another class.
        spread: Weight of the term that makes the distances of all centres equal.
        sample: Number of centres drawn for that term in each step; None uses all centres.
    """

    kind: Literal["affinity"] = "affinity"
    margin: Annotated[float, Field(gt=0, le=1)] = 0.75
    spread: Annotated[float, Field(ge=0)] = 1.0
    sample: Annotated[int, Field(ge=3)] | None = 512

    def needs(self) -> Needs:
        """Return its required inputs, with a random generator if centres are sampled."""
        return (frozenset({"logits", "centres", "classes"} | ({"chance"} if self.sample else set())),)

    def value(self, given: Mapping[str, Any], about: Circumstances) -> Tensor:
        """Return the loss of a batch, without its weight."""
        from fieldmark.losses.affinities import affinity, centre_spread

        flip = about.flip_identity
        hinge = affinity(given["logits"], given["classes"], margin=self.margin, flip_identity=flip)
        variance = centre_spread(given["centres"], sample=self.sample, chance=about.chance) if self.spread else 0.0
        return hinge + self.spread * variance

    def mistake(self, net: Any) -> str | None:
        """Return a message if the network lacks the required output."""
        if net.head.kind == "affinity":
            return None
        return f'affinity needs centres, a {net.head.kind} head has none: use head = {{kind = "affinity"}}'


@loss
class PairBce(Loss):
    """Binary cross-entropy on pairs of photos (same individual or not); needs a pair head.

    Positive and negative pairs have equal weight. ``drawn`` uses photos 2i and 2i + 1 of the batch, as the assignment
    sampler arranges them; ``all`` uses all pairs of the batch.
    """

    kind: Literal["pair_bce"] = "pair_bce"
    pairs: Literal["drawn", "all"] = "drawn"

    def needs(self) -> Needs:
        """Return its required inputs."""
        return (frozenset({"compare", "classes"}),)

    def value(self, given: Mapping[str, Any], about: Circumstances) -> Tensor:
        """Return the loss of a batch, without its weight."""
        del about
        from fieldmark.losses.pairs import pair_bce

        return pair_bce(given["compare"], given["classes"], pairs=self.pairs)

    def mistake(self, net: Any) -> str | None:
        """Return a message if the network lacks the required output."""
        if net.head.kind == "pair":
            return None
        return (
            f'{self.kind} needs pairs of photos, a {net.head.kind} head has single photos: use head = {{kind = "pair"}}'
        )


@loss
class PairTriplet(Loss):
    """Batch-hard triplet loss on the logits of a pair head, with ``margin`` between positive and negative pairs."""

    kind: Literal["pair_triplet"] = "pair_triplet"
    margin: Positive = 1.0

    def needs(self) -> Needs:
        """Return its required inputs."""
        return (frozenset({"compare", "classes"}),)

    def value(self, given: Mapping[str, Any], about: Circumstances) -> Tensor:
        """Return the loss of a batch, without its weight."""
        del about
        from fieldmark.losses.pairs import pair_triplet

        return pair_triplet(given["compare"], given["classes"], margin=self.margin)

    def mistake(self, net: Any) -> str | None:
        """Return a message if the network lacks the required output."""
        if net.head.kind == "pair":
            return None
        return (
            f'{self.kind} needs pairs of photos, a {net.head.kind} head has single photos: use head = {{kind = "pair"}}'
        )


Losses = Annotated[tuple[Annotated[Loss, OneOf(LOSSES, Loss)], ...], Field(min_length=1)]
"""Losses whose weighted sum is minimised."""

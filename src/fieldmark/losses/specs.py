"""Settings of losses, what each needs and how it is computed (torch is loaded when one is)."""

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
"""What a loss must be given: any one of these sets. See ``losses.total.total`` for the names."""
WITH_LABELS: Needs = (frozenset({"logits", "truth"}), frozenset({"logits", "classes"}))


class Loss(Spec):
    """A loss of a plan: its settings, what it needs, and its value. Subclass it and put ``@loss`` above for your own.

    Attributes:
        kind: The name by which plans know the class.
        weight: In the sum of losses.
    """

    per_label: ClassVar[bool] = False
    """Whether it takes labels, soft ones too, and measures each image by itself."""
    competes: ClassVar[bool] = False
    """Whether classes compete (softmax), so that no photo is asked about its own mirror image."""

    kind: str
    weight: Positive = 1.0

    def needs(self) -> Needs:
        """Names of what ``value`` must be given; any one of several sets."""
        return WITH_LABELS

    def value(self, given: Mapping[str, Any], about: Circumstances) -> Tensor:
        """The loss of a batch, before its weight; one number.

        Args:
            given: Tensors by the names of ``needs``: ``logits``, ``classes``, ``truth``, ``embedding`` ...
            about: Scale, counts, mirrored classes, how far training is.
        """
        raise NotImplementedError

    def mistake(self, net: Any) -> str | None:
        """Why it cannot work on a network with these settings (``models.specs.Net``), and what would help; or None."""
        del net
        return None


LOSSES: Registry[type[Loss]] = Registry("fieldmark.losses", what="loss")
"""All losses by kind; those of other packages are listed under the entry-point group ``fieldmark.losses``."""

LossT = TypeVar("LossT", bound=type[Loss])


def loss(kind: LossT) -> LossT:
    """Class decorator that makes a loss known by its kind: plans in the same process can name it.

    Raises:
        FieldmarkError: Another loss has the kind.
    """
    LOSSES.add(str(kind.model_fields["kind"].default), kind)
    return kind


def _learnable(gamma: float) -> float:
    if 0 < gamma < 1:
        raise ValueError("no gradient can be trusted between 0 and 1: use 0 (plain BCE) or any value >= 1")
    return gamma


@loss
class Bce(Loss):
    """Binary cross-entropy, summed over labels, averaged over images."""

    kind: Literal["bce"] = "bce"

    per_label: ClassVar[bool] = True

    def value(self, given: Mapping[str, Any], about: Circumstances) -> Tensor:
        """The loss of a batch, before its weight."""
        del about
        from fieldmark.losses.binary import bce
        from fieldmark.losses.inputs import with_labels

        return bce(*with_labels(given))


@loss
class CrossEntropy(Loss):
    """Softmax cross-entropy over identities.

    Where mirrored photos are other identities, a photo is not asked about its own mirror image.

    Attributes:
        smoothing: Share of the truth spread evenly over all classes.
        unknowns: Photos of unknown individuals are ``left_out``, or their truth is ``uniform``: everybody equally, so that the
            network learns to be in doubt.
    """

    kind: Literal["cross_entropy"] = "cross_entropy"
    smoothing: Fraction = 0.0
    unknowns: Literal["left_out", "uniform"] = "left_out"

    competes: ClassVar[bool] = True

    def needs(self) -> Needs:
        """What it reads."""
        return (frozenset({"logits", "classes"}),)

    def value(self, given: Mapping[str, Any], about: Circumstances) -> Tensor:
        """The loss of a batch, before its weight."""
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
    """Softmax cross-entropy of unknown individuals with what the networks of the stages named by ``taught`` say of them.

    Of photos of known individuals nothing is learnt: it stands beside other losses.
    """

    kind: Literal["distilled"] = "distilled"

    def needs(self) -> Needs:
        """What it reads."""
        return (frozenset({"logits", "classes", "taught"}),)

    def value(self, given: Mapping[str, Any], about: Circumstances) -> Tensor:
        """The loss of a batch, before its weight."""
        del about
        from fieldmark.losses.distillation import distilled

        return distilled(given["logits"], given["classes"], given["taught"])


@loss
class QuestionSoftmax(Loss):
    """Softmax cross-entropy within each question that is told; needs a head for questions.

    Where several answers are right each has an equal share. With the head's form ``conditional`` an answer competes
    with those only that lie below the right answer to the question above.
    """

    kind: Literal["question_softmax"] = "question_softmax"
    smoothing: Fraction = 0.0

    def needs(self) -> Needs:
        """What it reads."""
        return (frozenset({"logits", "truth", "questions"}),)

    def value(self, given: Mapping[str, Any], about: Circumstances) -> Tensor:
        """The loss of a batch, before its weight."""
        from fieldmark.losses.questions import question_softmax

        return question_softmax(
            given["logits"], given["truth"], given["questions"], below=about.below, smoothing=self.smoothing
        )

    def mistake(self, net: Any) -> str | None:
        """A network that does not give what it reads."""
        if net.head.kind == "questions":
            return None
        return f'question_softmax answers questions, a {net.head.kind} head has none: use head = {{kind = "questions"}}'


@loss
class Focal(Loss):
    """Focal loss, summed over labels, averaged over images.

    Attributes:
        gamma: How strongly easy questions are muted; 0 is BCE.
        alpha: Weight of labels that are there, those that are not having the rest of 1; None: both weigh 1.
        detached: The muting weighs, and is not learnt from.
    """

    kind: Literal["focal"] = "focal"
    gamma: Annotated[float, Field(ge=0), AfterValidator(_learnable)] = 2.0
    alpha: Fraction | None = None
    detached: bool = False

    per_label: ClassVar[bool] = True

    def value(self, given: Mapping[str, Any], about: Circumstances) -> Tensor:
        """The loss of a batch, before its weight."""
        del about
        from fieldmark.losses.focusing import focal
        from fieldmark.losses.inputs import with_labels

        return focal(*with_labels(given), gamma=self.gamma, alpha=self.alpha, detached=self.detached)


@loss
class SoftF(Loss):
    """One minus the F-beta of probabilities, 0 to 1, averaged over images; for last epochs, or beside another loss."""

    kind: Literal["soft_f"] = "soft_f"
    beta: Positive = 2.0

    per_label: ClassVar[bool] = True

    def value(self, given: Mapping[str, Any], about: Circumstances) -> Tensor:
        """The loss of a batch, before its weight."""
        del about
        from fieldmark.losses.inputs import with_labels
        from fieldmark.losses.soft_measures import soft_f

        return soft_f(*with_labels(given), beta=self.beta)


@loss
class Asymmetric(Loss):
    """Focal loss with a power of its own for labels that are not there; summed over labels, averaged over images.

    A label that is not there costs nothing up to a probability of ``clip``.
    """

    kind: Literal["asymmetric"] = "asymmetric"
    gamma_yes: Annotated[float, Field(ge=0), AfterValidator(_learnable)] = 1.0
    gamma_no: Annotated[float, Field(ge=0), AfterValidator(_learnable)] = 4.0
    clip: Fraction = 0.05

    per_label: ClassVar[bool] = True

    def value(self, given: Mapping[str, Any], about: Circumstances) -> Tensor:
        """The loss of a batch, before its weight."""
        del about
        from fieldmark.losses.asymmetry import asymmetric
        from fieldmark.losses.inputs import with_labels

        return asymmetric(*with_labels(given), gamma_yes=self.gamma_yes, gamma_no=self.gamma_no, clip=self.clip)


@loss
class OhemBce(Loss):
    """One-vs-rest BCE on the ``hardest`` questions of each image, plus the true one's own."""

    kind: Literal["ohem_bce"] = "ohem_bce"
    hardest: Count = 30

    def needs(self) -> Needs:
        """What it reads."""
        return (frozenset({"logits", "classes"}),)

    def value(self, given: Mapping[str, Any], about: Circumstances) -> Tensor:
        """The loss of a batch, before its weight."""
        del about
        from fieldmark.losses.ohem import ohem_bce

        return ohem_bce(given["logits"], given["classes"], hardest=self.hardest)


@loss
class BatchHardTriplet(Loss):
    """Furthest same, nearest other; unknowns are others to everybody and positives to nobody."""

    kind: Literal["triplet"] = "triplet"
    margin: Positive = 0.3

    def needs(self) -> Needs:
        """What it reads."""
        return (frozenset({"embedding", "classes"}),)

    def value(self, given: Mapping[str, Any], about: Circumstances) -> Tensor:
        """The loss of a batch, before its weight."""
        del about
        from fieldmark.losses.triplet import batch_hard_triplet

        return batch_hard_triplet(given["embedding"], given["classes"], margin=self.margin)


@loss
class Compactness(Loss):
    """Photos of one individual close together: the mean squared distance to the middle of theirs in the batch."""

    kind: Literal["compactness"] = "compactness"

    def needs(self) -> Needs:
        """What it reads."""
        return (frozenset({"embedding", "classes"}),)

    def value(self, given: Mapping[str, Any], about: Circumstances) -> Tensor:
        """The loss of a batch, before its weight."""
        del about
        from fieldmark.losses.compact import compactness

        return compactness(given["embedding"], given["classes"])


@loss
class LocalTriplet(Loss):
    """The triplet loss by the distance of aligned stripes (``net.stripes``)."""

    kind: Literal["local_triplet"] = "local_triplet"
    margin: Positive = 0.3

    def needs(self) -> Needs:
        """What it reads."""
        return (frozenset({"stripes", "classes"}),)

    def value(self, given: Mapping[str, Any], about: Circumstances) -> Tensor:
        """The loss of a batch, before its weight."""
        del about
        from fieldmark.losses.aligned import local_triplet

        return local_triplet(given["stripes"], given["classes"], margin=self.margin)

    def mistake(self, net: Any) -> str | None:
        """A network that does not give what it reads."""
        if net.stripes is not None:
            return None
        return "local_triplet compares stripes, the network gives none: set stripes = 8"


Margin = Annotated[float, Field(ge=0, le=1.5)]
"""An angle in radians, or (CosFace) a part of a cosine."""


class Margined(Loss):
    """What the losses with a margin have in common: softmax cross-entropy that asks the true class for more.

    They need a cosine head, whose ``scale`` is theirs.

    Attributes:
        warmup: The margin grows from a fifth to its whole over this share of the training's epochs.
        smoothing: Share of the truth spread evenly over all classes.
    """

    warmup: Fraction = 0.0
    smoothing: Fraction = 0.0

    competes: ClassVar[bool] = True

    def needs(self) -> Needs:
        """What it reads; the number of photos of each class where the margin depends on it."""
        by_count = isinstance(getattr(self, "margin", None), MarginByCount)
        return (frozenset({"logits", "classes", "scale"} | ({"counts"} if by_count else set())),)

    def value(self, given: Mapping[str, Any], about: Circumstances) -> Tensor:
        """The loss of a batch, before its weight, with as much of the margin as the warm-up has come to."""
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
        """The loss with ``part`` (0 to 1) of its margin."""
        raise NotImplementedError

    def mistake(self, net: Any) -> str | None:
        """A network without cosines."""
        if net.head.kind == "cosine":
            return None
        return (
            f"{self.kind} asks for a margin between cosines, a {net.head.kind} head gives none: "
            'use head = {kind = "cosine"}'
        )


@loss
class ArcFace(Margined):
    """The true class's angle is counted ``margin`` radians larger; with scale 64 or 65 and 0.5 in the whale contest."""

    kind: Literal["arcface"] = "arcface"
    margin: Margin | MarginByCount = 0.5

    def with_margin(self, given: Mapping[str, Any], about: Circumstances, part: float, **common: Any) -> Tensor:
        """The loss with ``part`` (0 to 1) of its margin."""
        from fieldmark.losses.margins import arcface, margins_of

        margin = margins_of(self.margin, part, given["logits"], given["classes"], about.counts)
        return arcface(given["logits"], given["classes"], margin=margin, **common)


@loss
class CosFace(Margined):
    """The true class's cosine is counted ``margin`` smaller; 0.6 with scale 30 or 0.35 with 32."""

    kind: Literal["cosface"] = "cosface"
    margin: Margin | MarginByCount = 0.35

    def with_margin(self, given: Mapping[str, Any], about: Circumstances, part: float, **common: Any) -> Tensor:
        """The loss with ``part`` (0 to 1) of its margin."""
        from fieldmark.losses.margins import cosface, margins_of

        margin = margins_of(self.margin, part, given["logits"], given["classes"], about.counts)
        return cosface(given["logits"], given["classes"], margin=margin, **common)


@loss
class SphereFace(Margined):
    """The true class's angle is counted ``times`` as large; 4 in the paper, 1.35 in later ones. Many photos each."""

    kind: Literal["sphereface"] = "sphereface"
    times: Annotated[float, Field(ge=1, le=8)] = 1.35

    def with_margin(self, given: Mapping[str, Any], about: Circumstances, part: float, **common: Any) -> Tensor:
        """The loss with ``part`` (0 to 1) of its margin."""
        del about
        from fieldmark.losses.margins import combined

        times = 1 + part * (self.times - 1)
        return combined(given["logits"], given["classes"], times=times, plus=0.0, minus=0.0, **common)


@loss
class CombinedMargin(Margined):
    """The true class's cosine becomes ``cos(times * angle + plus) - minus``."""

    kind: Literal["combined"] = "combined"
    times: Annotated[float, Field(ge=1, le=8)] = 1.0
    plus: Margin = 0.4
    minus: Margin = 0.15

    def with_margin(self, given: Mapping[str, Any], about: Circumstances, part: float, **common: Any) -> Tensor:
        """The loss with ``part`` (0 to 1) of its margin."""
        del about
        from fieldmark.losses.margins import combined

        times, plus, minus = 1 + part * (self.times - 1), part * self.plus, part * self.minus
        return combined(given["logits"], given["classes"], times=times, plus=plus, minus=minus, **common)


@loss
class Elastic(Margined):
    """A margin drawn anew for each photo from N(margin, std), added to the angle (``arc``) or taken off the cosine."""

    kind: Literal["elastic"] = "elastic"
    margin: Margin = 0.3
    std: Annotated[float, Field(ge=0, le=0.5)] = 0.025
    form: Literal["arc", "cos"] = "arc"

    def needs(self) -> Needs:
        """What it reads; margins are drawn anew each time."""
        return (frozenset({"logits", "classes", "scale", "chance"}),)

    def with_margin(self, given: Mapping[str, Any], about: Circumstances, part: float, **common: Any) -> Tensor:
        """The loss with ``part`` (0 to 1) of its margin."""
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
    """Each photo nearer to a centre of its class than to any other's, by ``margin`` (of 1); needs an affinity head.

    Attributes:
        margin: By how much the affinity (0 to 1) to the own class must be larger.
        spread: Weight of what keeps all centres equally far apart.
        sample: Centres that are looked at for it, drawn anew each time; None: all of them.
    """

    kind: Literal["affinity"] = "affinity"
    margin: Annotated[float, Field(gt=0, le=1)] = 0.75
    spread: Annotated[float, Field(ge=0)] = 1.0
    sample: Annotated[int, Field(ge=3)] | None = 512

    def needs(self) -> Needs:
        """What it reads; chance where only some centres are looked at."""
        return (frozenset({"logits", "centres", "classes"} | ({"chance"} if self.sample else set())),)

    def value(self, given: Mapping[str, Any], about: Circumstances) -> Tensor:
        """The loss of a batch, before its weight."""
        from fieldmark.losses.affinities import affinity, centre_spread

        flip = about.flip_identity
        hinge = affinity(given["logits"], given["classes"], margin=self.margin, flip_identity=flip)
        apart = centre_spread(given["centres"], sample=self.sample, chance=about.chance) if self.spread else 0.0
        return hinge + self.spread * apart

    def mistake(self, net: Any) -> str | None:
        """A network that does not give what it reads."""
        if net.head.kind == "affinity":
            return None
        return f'affinity needs centres, a {net.head.kind} head has none: use head = {{kind = "affinity"}}'


@loss
class PairBce(Loss):
    """Binary cross-entropy on pairs of photos, by a pair head: the same individual or not, both halves counting similar.

    ``drawn``: photos 2i and 2i + 1 of the batch, as the assignment sampler lays them; ``all``: all pairs of the batch.
    """

    kind: Literal["pair_bce"] = "pair_bce"
    pairs: Literal["drawn", "all"] = "drawn"

    def needs(self) -> Needs:
        """What it reads."""
        return (frozenset({"compare", "classes"}),)

    def value(self, given: Mapping[str, Any], about: Circumstances) -> Tensor:
        """The loss of a batch, before its weight."""
        del about
        from fieldmark.losses.pairs import pair_bce

        return pair_bce(given["compare"], given["classes"], pairs=self.pairs)

    def mistake(self, net: Any) -> str | None:
        """A network that does not give what it reads."""
        if net.head.kind == "pair":
            return None
        return f'{self.kind} asks about two photos, a {net.head.kind} head sees one: use head = {{kind = "pair"}}'


@loss
class PairTriplet(Loss):
    """Batch-hard triplets on a pair head's logits: the least likely same above the likeliest other by ``margin``."""

    kind: Literal["pair_triplet"] = "pair_triplet"
    margin: Positive = 1.0

    def needs(self) -> Needs:
        """What it reads."""
        return (frozenset({"compare", "classes"}),)

    def value(self, given: Mapping[str, Any], about: Circumstances) -> Tensor:
        """The loss of a batch, before its weight."""
        del about
        from fieldmark.losses.pairs import pair_triplet

        return pair_triplet(given["compare"], given["classes"], margin=self.margin)

    def mistake(self, net: Any) -> str | None:
        """A network that does not give what it reads."""
        if net.head.kind == "pair":
            return None
        return f'{self.kind} asks about two photos, a {net.head.kind} head sees one: use head = {{kind = "pair"}}'


Losses = Annotated[tuple[Annotated[Loss, OneOf(LOSSES, Loss)], ...], Field(min_length=1)]
"""A weighted sum."""

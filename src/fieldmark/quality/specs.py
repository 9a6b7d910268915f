"""Settings of cleaning (no arrays, no torch): which images to leave out, which guesses to trust, how names relate."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from fieldmark.core.spec import Count, Fraction, Positive, Spec

Share = Annotated[float, Field(gt=0, le=1)]
"""A share above 0, at most 1."""

ErrorMeasure = Literal["bce", "absolute"]
"""How far the scores of an image are from its labels: mean binary cross-entropy in nats, or mean |truth - proba|."""


class Percentile(Spec):
    """The ``share`` of the images with the largest errors is noisy."""

    kind: Literal["percentile"] = "percentile"
    share: Fraction = 0.05


class Absolute(Spec):
    """Images with an error strictly above this are noisy; in the unit of the error."""

    kind: Literal["absolute"] = "absolute"
    above: Annotated[float, Field(ge=0)]


class RobustZ(Spec):
    """Images more than ``above`` robust deviations over the median error are noisy.

    The deviation is 1.4826 times the median distance from the median, which noisy images hardly move; for normal
    errors it is the standard deviation.
    """

    kind: Literal["robust_z"] = "robust_z"
    above: Positive = 3.5


NoiseRule = Annotated[Percentile | Absolute | RobustZ, Field(discriminator="kind")]


class MeanConfidence(Spec):
    """Mean of |p - 0.5| over all labels, as the source has it.

    With many labels nearly all are surely absent, so an image of which nothing is known looks as sure as any.
    """

    kind: Literal["mean"] = "mean"


class PlausibleConfidence(Spec):
    """Mean of |p - 0.5| over the labels the image may have: its ``top`` likeliest, and all with p above ``tau``.

    An image without any label above ``at`` is never sure: an empty answer teaches nothing.
    """

    kind: Literal["plausible"] = "plausible"
    top: Annotated[int, Field(ge=0)] = 3
    tau: Fraction = 0.1
    at: Fraction = 0.5


ConfidenceMeasure = Annotated[MeanConfidence | PlausibleConfidence, Field(discriminator="kind")]


class TopShare(Spec):
    """This share of the photos, the surest ones."""

    kind: Literal["share"] = "share"
    share: Share = 0.3


class TopCount(Spec):
    """So many photos, the surest ones."""

    kind: Literal["top"] = "top"
    n: Count = 1000


Amount = Annotated[TopShare | TopCount, Field(discriminator="kind")]


class HardTargets(Spec):
    """Learn from yes and no: 1 where p is above ``at``."""

    kind: Literal["hard"] = "hard"
    at: Fraction = 0.5


class SoftTargets(Spec):
    """Learn from the probabilities themselves."""

    kind: Literal["soft"] = "soft"


Targets = Annotated[HardTargets | SoftTargets, Field(discriminator="kind")]


class LabelPseudoLabelRule(Spec):
    """Which photos without labels join the training, and what they are said to show.

    With ``most_per_label``, photos are taken from the surest on, and one that would give some label more than so many
    photos is passed over; what counts as a label is p above ``cap_at``.
    """

    confidence: ConfidenceMeasure = PlausibleConfidence()
    amount: Amount = TopShare()
    targets: Targets = HardTargets()
    most_per_label: Count | None = None
    cap_at: Fraction = 0.5


class ConfidentIdentity(Spec):
    """Photos whose best identity scores at least ``at``."""

    kind: Literal["sure"] = "sure"
    at: float = 0.8


class FewShot(Spec):
    """Photos whose best identity has at most ``most_photos`` known photos and scores at least ``at``.

    They help where it is needed most: an identity of one photo has nothing it could be compared with in training.
    """

    kind: Literal["few_shot"] = "few_shot"
    at: float = 0.65
    most_photos: Count = 1


class Agreement(Spec):
    """Photos whose first identity is that of more than half of the rankings, and in the mean leads by ``gap``."""

    kind: Literal["agreement"] = "agreement"
    gap: Annotated[float, Field(ge=0)] = 0.2


IdentityRule = Annotated[ConfidentIdentity | FewShot | Agreement, Field(discriminator="kind")]


class IdentityPseudoLabelRule(Spec):
    """Which photos without names join the training of identities.

    Attributes:
        rule: When a name is believed.
        most_per_identity: No identity gets more new photos than this, the surest first; None: no limit.
    """

    rule: IdentityRule = ConfidentIdentity()
    most_per_identity: Count | None = None

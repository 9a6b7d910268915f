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


class MeanSurety(Spec):
    """Mean of |p - 0.5| over all labels, as the source has it.

    With many labels nearly all are surely absent, so an image of which nothing is known looks as sure as any.
    """

    kind: Literal["mean"] = "mean"


class PlausibleSurety(Spec):
    """Mean of |p - 0.5| over the labels the image may have: its ``top`` likeliest, and all with p above ``tau``.

    An image without any label above ``at`` is never sure: an empty answer teaches nothing.
    """

    kind: Literal["plausible"] = "plausible"
    top: Annotated[int, Field(ge=0)] = 3
    tau: Fraction = 0.1
    at: Fraction = 0.5


Surety = Annotated[MeanSurety | PlausibleSurety, Field(discriminator="kind")]


class SureShare(Spec):
    """This share of the photos, the surest ones."""

    kind: Literal["share"] = "share"
    share: Share = 0.3


class SureTop(Spec):
    """So many photos, the surest ones."""

    kind: Literal["top"] = "top"
    n: Count = 1000


Amount = Annotated[SureShare | SureTop, Field(discriminator="kind")]


class HardTargets(Spec):
    """Learn from yes and no: 1 where p is above ``at``."""

    kind: Literal["hard"] = "hard"
    at: Fraction = 0.5


class SoftTargets(Spec):
    """Learn from the probabilities themselves."""

    kind: Literal["soft"] = "soft"


Targets = Annotated[HardTargets | SoftTargets, Field(discriminator="kind")]


class Guesses(Spec):
    """Which photos without labels join the training, and what they are said to show.

    With ``most_per_label``, photos are taken from the surest on, and one that would give some label more than so many
    photos is passed over; what counts as a label is p above ``cap_at``.
    """

    surety: Surety = PlausibleSurety()
    amount: Amount = SureShare()
    targets: Targets = HardTargets()
    most_per_label: Count | None = None
    cap_at: Fraction = 0.5

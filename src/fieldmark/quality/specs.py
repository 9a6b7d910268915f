"""Settings for cleaning labels: noisy-label filter, pseudo-labels. This module imports neither numpy nor torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from fieldmark.core.spec import Count, Fraction, Positive, Spec

Share = Annotated[float, Field(gt=0, le=1)]
"""A share above 0 and at most 1."""

ErrorMeasure = Literal["bce", "absolute"]
"""Error between the scores and the labels of an image: mean binary cross-entropy in nats, or mean |truth - proba|."""


class Percentile(Spec):
    """Drop the ``share`` of the images with the largest errors."""

    kind: Literal["percentile"] = "percentile"
    share: Fraction = 0.05


class Absolute(Spec):
    """Drop images with an error strictly above ``above``, in the unit of the error."""

    kind: Literal["absolute"] = "absolute"
    above: Annotated[float, Field(ge=0)]


class RobustZ(Spec):
    """Drop images whose error is more than ``above`` robust standard deviations above the median error.

    The robust standard deviation is 1.4826 times the median absolute deviation. Noisy images hardly change it. For
    normally distributed errors it equals the standard deviation.
    """

    kind: Literal["robust_z"] = "robust_z"
    above: Positive = 3.5


NoiseRule = Annotated[Percentile | Absolute | RobustZ, Field(discriminator="kind")]


class MeanConfidence(Spec):
    """Mean of |p - 0.5| over all labels, as in the source.

    With many labels, nearly all are predicted absent with high confidence. An image without any predicted label then
    has the highest confidence.
    """

    kind: Literal["mean"] = "mean"


class PlausibleConfidence(Spec):
    """Mean of |p - 0.5| over the plausible labels: the ``top`` most likely ones, and all with p above ``tau``.

    An image without any label above ``at`` is never selected, because it adds no label to the training.
    """

    kind: Literal["plausible"] = "plausible"
    top: Annotated[int, Field(ge=0)] = 3
    tau: Fraction = 0.1
    at: Fraction = 0.5


ConfidenceMeasure = Annotated[MeanConfidence | PlausibleConfidence, Field(discriminator="kind")]


class TopShare(Spec):
    """Select this share of the photos, the most confident ones."""

    kind: Literal["share"] = "share"
    share: Share = 0.3


class TopCount(Spec):
    """Select this number of photos, the most confident ones."""

    kind: Literal["top"] = "top"
    n: Count = 1000


Amount = Annotated[TopShare | TopCount, Field(discriminator="kind")]


class HardTargets(Spec):
    """Use binary targets: 1 where p is above ``at``, else 0."""

    kind: Literal["hard"] = "hard"
    at: Fraction = 0.5


class SoftTargets(Spec):
    """Use the predicted probabilities as targets."""

    kind: Literal["soft"] = "soft"


Targets = Annotated[HardTargets | SoftTargets, Field(discriminator="kind")]


class LabelPseudoLabelRule(Spec):
    """Select unlabelled photos for training, with pseudo-labels as targets.

    With ``most_per_label``, photos are selected in order of confidence. A photo is skipped if one of its labels already
    has ``most_per_label`` selected photos. A label counts for this limit if p is above ``cap_at``.
    """

    confidence: ConfidenceMeasure = PlausibleConfidence()
    amount: Amount = TopShare()
    targets: Targets = HardTargets()
    most_per_label: Count | None = None
    cap_at: Fraction = 0.5


class ConfidentIdentity(Spec):
    """Select photos whose best identity scores at least ``at``."""

    kind: Literal["sure"] = "sure"
    at: float = 0.8


class FewShot(Spec):
    """Select photos whose best identity has at most ``most_photos`` known photos and scores at least ``at``.

    These photos help most: in training, an identity with one photo has no second photo to compare with.
    """

    kind: Literal["few_shot"] = "few_shot"
    at: float = 0.65
    most_photos: Count = 1


class Agreement(Spec):
    """Select photos whose best identity is first in more than half of the rankings, with a mean lead of ``gap``."""

    kind: Literal["agreement"] = "agreement"
    gap: Annotated[float, Field(ge=0)] = 0.2


IdentityRule = Annotated[ConfidentIdentity | FewShot | Agreement, Field(discriminator="kind")]


class IdentityPseudoLabelRule(Spec):
    """Select unnamed photos for training identification, with pseudo-labels as identities.

    Attributes:
        rule: Condition for accepting a predicted identity.
        most_per_identity: Maximum number of new photos per identity, the most confident first; None means no limit.
    """

    rule: IdentityRule = ConfidentIdentity()
    most_per_identity: Count | None = None

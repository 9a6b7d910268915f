"""Settings of the decision rules (no arrays, no torch): scores per identity, thresholds, averages."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from fieldmark.core.spec import Count, Fraction, Natural, Positive, Spec

Share = Annotated[float, Field(gt=0, lt=1)]
"""A number strictly between 0 and 1."""


class Best(Spec):
    """The score of an identity is that of its most similar photo."""

    kind: Literal["best"] = "best"


class MeanTop(Spec):
    """The score of an identity is the mean over its ``m`` most similar photos, or over all if it has fewer."""

    kind: Literal["mean_top"] = "mean_top"
    m: Count = 3


class Centroid(Spec):
    """The score of an identity is the cosine to the mean embedding of its photos, without outliers.

    For an identity with fewer than ``least`` photos, the plain mean is used. For others, ``rounds`` times: compute the
    mean, then keep the photos whose cosine to it is above ``close``, but at least the share ``keep`` of nearest photos.
    """

    kind: Literal["centroid"] = "centroid"
    close: Annotated[float, Field(ge=-1, le=1)] = 0.5
    keep: Share = 0.75
    rounds: Natural = 2
    least: Annotated[int, Field(ge=2)] = 4


class Nearest(Spec):
    """As ``Best``, but only the ``n`` photos most similar to the query are used.

    An identity without a photo among them gets the score of the ``n``-th photo.
    """

    kind: Literal["nearest"] = "nearest"
    n: Count = 500


class SumAbove(Spec):
    """The score of an identity is the sum of its photos' similarities above ``floor``, or its best if none is above.

    An identity with a photo above the floor is ranked before all identities without one. With the threshold
    ``Fixed(at=floor)``, "unknown individual" is ranked between these two groups.
    """

    kind: Literal["sum_above"] = "sum_above"
    floor: Share = 0.7


IdentityScore = Annotated[Best | MeanTop | Nearest | SumAbove | Centroid, Field(discriminator="kind")]


class Reciprocal(Spec):
    """Photos count as more similar if they share nearest neighbours (k-reciprocal re-ranking).

    Attributes:
        k1: Number of neighbours of a photo.
        k2: Number of nearest photos over which a photo's neighbourhood is averaged; 1 for no averaging.
        weight: Weight of the plain similarity; 1 changes nothing.
    """

    k1: Annotated[int, Field(ge=2)] = 20
    k2: Count = 6
    weight: Fraction = 0.3


class MaxMap(Spec):
    """The threshold with the highest MAP@k on validation, found by an exact search."""

    kind: Literal["max_map"] = "max_map"


class TargetShare(Spec):
    """The threshold at which this share of the queries is answered "unknown individual" first."""

    kind: Literal["target_share"] = "target_share"
    share: Fraction = 0.276


class FalseMatchBudget(Spec):
    """The lowest threshold at which at most ``budget`` of the unknown individuals get a name (FPIR).

    With ``hold="observed"`` the observed rate on validation stays within the budget. ``hold="bound"`` is stricter: even
    the one-sided upper confidence bound (``confidence``) stays within the budget.
    """

    kind: Literal["false_match_budget"] = "false_match_budget"
    budget: Fraction = 0.05
    hold: Literal["observed", "bound"] = "observed"
    confidence: Share = 0.95


class Fixed(Spec):
    """A fixed threshold, chosen by the user."""

    kind: Literal["fixed"] = "fixed"
    at: float


class PerGroup(Spec):
    """Separate thresholds for groups of photos (a species, a side, a survey).

    Attributes:
        column: The column of the photo table that holds the group names.
        least: Minimum number of validation photos for a group's own threshold; a rule that needs unknown individuals
            counts only those. Smaller groups, and groups that are not in validation, use the common threshold.
    """

    column: str
    least: Count = 50


UnknownAt = Annotated[MaxMap | TargetShare | FalseMatchBudget | Fixed, Field(discriminator="kind")]


class Logistic(Spec):
    """A probability that rises smoothly with the best score and with its margins over the scores of other identities.

    The two margins are those over the second score and over the mean of the first ten scores.

    Attributes:
        pull: Ridge penalty: larger values move the curve towards a constant probability.
    """

    kind: Literal["logistic"] = "logistic"
    pull: Positive = 1.0


class Isotonic(Spec):
    """A probability that never falls as the best score rises, without other constraints; needs hundreds of queries."""

    kind: Literal["isotonic"] = "isotonic"


Calibration = Annotated[Logistic | Isotonic, Field(discriminator="kind")]


class ByScore(Spec):
    """The weighted mean of the models' scores, after each model is standardised.

    The standardisation uses the ``depth`` highest scores of the model's validation queries: their mean becomes 0, their
    standard deviation 1.
    """

    kind: Literal["score"] = "score"
    depth: Count = 20


class ByRank(Spec):
    """The weighted mean of the models' ranks; "unknown individual" is ranked like a class.

    Ranks beyond ``depth`` count as ``depth + 1``. Ties are ordered by the models' scores.
    """

    kind: Literal["rank"] = "rank"
    depth: Count = 100


class ByVote(Spec):
    """Each model votes with its first answers; the first place counts most, and "unknown individual" gets votes too.

    Attributes:
        worth: Value of the first, second ... place. Ties are ordered by the models' scores.
    """

    kind: Literal["vote"] = "vote"
    worth: Annotated[tuple[Positive, ...], Field(min_length=1)] = (1.0, 1 / 2, 1 / 3, 1 / 4, 1 / 5)


RankingAverage = Annotated[ByScore | ByRank | ByVote, Field(discriminator="kind")]


class WeightedMean(Spec):
    """The weighted mean of the models' probabilities; one confident model can be outvoted.

    Attributes:
        each_question: True: separate weights for each question; False: one set of weights for all.
        least: Minimum number of labelled photos for a question's own weights; other questions use the common weights.
    """

    kind: Literal["weighted_mean"] = "weighted_mean"
    each_question: bool = False
    least: Count = 200


class GeometricMean(Spec):
    """The weighted mean of the log-probabilities: an answer with probability 0 in one model is nearly excluded.

    Attributes:
        floor: Lower limit of a probability.
        each_question: As for ``WeightedMean``.
        least: As for ``WeightedMean``.
    """

    kind: Literal["geometric_mean"] = "geometric_mean"
    floor: Annotated[float, Field(gt=0, le=0.01)] = 1e-6
    each_question: bool = False
    least: Count = 200


class RankMean(Spec):
    """The weighted mean of the models' ranks of the answers to a question; their confidence is ignored.

    Attributes:
        each_question: As for ``WeightedMean``.
        least: As for ``WeightedMean``.
    """

    kind: Literal["rank_mean"] = "rank_mean"
    each_question: bool = False
    least: Count = 200


ScoreAverage = Annotated[WeightedMean | GeometricMean | RankMean, Field(discriminator="kind")]


class Swap(Spec):
    """Exchange nearly equal first and second names where that spreads the answers over more individuals.

    Attributes:
        lead: The first name's score must be above the second's by less than this.
        used: The first name must already be the first answer of at least this number of photos.
        adjacent: Also compare places two and three, three and four ...: a name that is already a first answer is
            exchanged with one that is used less.
    """

    kind: Literal["swap"] = "swap"
    lead: Positive = 0.3
    used: Count = 2
    adjacent: bool = False


class Transposed(Spec):
    """Rank the photos for each individual with few photos: which photo is the most similar to it?

    If that photo has the individual in second place, it becomes the first answer. It replaces "unknown individual" only
    if no other photo was given its name.

    Attributes:
        at: Minimum score of the individual for that photo.
        over_new: Whether it may also replace "unknown individual".
        most_photos: Maximum number of photos of the individuals that are ranked this way.
    """

    kind: Literal["transposed"] = "transposed"
    at: float = 0.46
    over_new: bool = True
    most_photos: Count = 1


PostProcessingRule = Annotated[Swap | Transposed, Field(discriminator="kind")]


class LabelThreshold(Spec):
    """When an image gets the labels of one group.

    A label is given if its score is above ``at`` and it is among the ``most`` highest of the group. The ``least``
    highest labels are always given. Labels of equal score are in the order of the labels.

    ``at`` is compared as a float32 number, as scores are: a score of 0.28 is not above 0.28.
    """

    at: float
    least: Natural = 0
    most: Natural | None = None

    @model_validator(mode="after")
    def _least_fits_most(self) -> Self:
        if self.most is not None and self.least > self.most:
            raise ValueError(f"least is {self.least} but most is {self.most}; least must not exceed most")
        return self


class Preset(Spec):
    """Fixed thresholds by group; the default is that of the winner of iMet 2019.

    An entry for the group ``""`` applies to all groups without an entry of their own.
    """

    kind: Literal["preset"] = "preset"
    groups: dict[str, LabelThreshold] = Field(
        default={"culture": LabelThreshold(at=0.28, least=0, most=3), "tag": LabelThreshold(at=0.10, least=1, most=8)}
    )


class GlobalF2(Spec):
    """The one threshold for all labels with the highest mean F, found exactly."""

    kind: Literal["global_f2"] = "global_f2"


class GroupF2(Spec):
    """The threshold of each group with the highest mean F; with ``limits`` also its least and most.

    ``least`` is searched from 0 to ``least_up_to``, ``most`` from 1 to ``most_up_to``; no limits are tried too.
    """

    kind: Literal["group_f2"] = "group_f2"
    limits: bool = True
    least_up_to: Natural = 3
    most_up_to: Count = 12


class LabelF2(Spec):
    """The threshold of each label with the highest mean F, shrunk towards its group's where photos are few.

    A threshold fitted on three photos of a rare label would overfit: it is the score of one of them. So the group's
    threshold counts like ``shrink`` photos in addition to those of the label. ``shrink=0`` keeps the exact optimum.
    With ``limits``, the least and most of each group are searched last.
    """

    kind: Literal["label_f2"] = "label_f2"
    shrink: Annotated[float, Field(ge=0)] = 5.0
    rounds: Count = 4
    limits: bool = True
    least_up_to: Natural = 3
    most_up_to: Count = 12


class Relative(Spec):
    """A label is given if its score is above the image's highest score divided by ``times``."""

    kind: Literal["relative"] = "relative"
    times: Annotated[float, Field(ge=1)] = 7.0


class CountMatch(Spec):
    """The threshold that gives ``mean`` labels per image: one for all labels, or one per group named in ``mean``."""

    kind: Literal["count_match"] = "count_match"
    mean: Positive | dict[str, Positive] = 5.2


ThresholdRule = Annotated[Preset | GlobalF2 | GroupF2 | LabelF2 | Relative | CountMatch, Field(discriminator="kind")]


class MeanWithInterval(Spec):
    """A mean over images with its 95 % interval (bootstrap, percentiles).

    Attributes:
        value: The mean.
        low: Lower end of the interval.
        high: Upper end of the interval.
        unit: What was resampled: groups of photos if the table has groups, otherwise photos.
        n_units: Number of these units.
    """

    value: float
    low: float
    high: float
    unit: Literal["photo", "group"]
    n_units: int

    @property
    def over(self) -> str:
        """The units of the interval, for example ``37 groups``."""
        return f"{self.n_units:,} {self.unit}{'' if self.n_units == 1 else 's'}"

    def __str__(self) -> str:
        """Return a text such as ``0.612 (0.609 to 0.615)``."""
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


class LabelThresholds(Spec):
    """Fitted label thresholds with their measures; made by ``label_thresholds.fit_label_thresholds``.

    Attributes:
        kind: The rule that was used.
        groups: Threshold, least and most of each label group; empty for ``relative``.
        labels: Thresholds, by label name, that differ from the threshold of the group.
        times: For ``relative``: a label is given above the image's highest score divided by this.
        beta: Beta of the measured F-beta.
        n_images: Number of images the thresholds were fitted on.
        mean_labels: Mean number of labels given per image there.
        fitted: Mean F-beta on the scores the thresholds were fitted on; too optimistic. None without truth.
        crossed: Cross-fitted mean F-beta: each image is evaluated with thresholds fitted without it. It is the expected
            value on new photos. It equals ``fitted`` for rules that do not use truth; None if it was not measured.
    """

    kind: Literal["preset", "global_f2", "group_f2", "label_f2", "relative", "count_match"]
    groups: dict[str, LabelThreshold] = Field(default={})
    labels: dict[str, float] = Field(default={})
    times: float | None = None
    beta: float
    n_images: int
    mean_labels: float
    fitted: MeanWithInterval | None = None
    crossed: MeanWithInterval | None = None

    def __str__(self) -> str:
        """Return the thresholds and their measures in one line."""
        parts = []
        for name, group in self.groups.items():
            most = "any number" if group.most is None else group.most
            parts.append(f"{name or 'all labels'} above {group.at:.3g}, {group.least} to {most}")
        if self.labels:
            parts.append(f"{len(self.labels)} labels with their own threshold")
        if self.times is not None:
            parts.append(f"above the highest score / {self.times:g}")
        parts.append(f"{self.mean_labels:.2f} labels per image")
        if self.crossed is not None:
            parts.append(f"F{self.beta:g} {self.crossed}")
        elif self.fitted is not None:
            parts.append(f"F{self.beta:g} {self.fitted} on the scores they were fitted on")
        return "; ".join(parts)

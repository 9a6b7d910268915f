"""Settings of decisions (no arrays, no torch): how identities are scored and where "nobody we know" stands."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from fieldmark.core.spec import Count, Fraction, Natural, Positive, Spec

Share = Annotated[float, Field(gt=0, lt=1)]
"""A share strictly between 0 and 1."""


class Best(Spec):
    """An identity scores as high as its most similar photo."""

    kind: Literal["best"] = "best"


class MeanTop(Spec):
    """An identity scores the mean of its ``m`` most similar photos; the mean of all where it has fewer."""

    kind: Literal["mean_top"] = "mean_top"
    m: Count = 3


class Centroid(Spec):
    """An identity scores by the direction its photos have in common, odd ones left out.

    Identities with fewer than ``least`` photos are averaged as they are. Elsewhere ``rounds`` times: average, then
    keep the photos whose cosine with the average is above ``close``, and never fewer than the nearest ``keep``.
    """

    kind: Literal["centroid"] = "centroid"
    close: Annotated[float, Field(ge=-1, le=1)] = 0.5
    keep: Share = 0.75
    rounds: Natural = 2
    least: Annotated[int, Field(ge=2)] = 4


class Nearest(Spec):
    """As ``Best``, but only the ``n`` photos most similar the query have a say.

    An identity without any photo among them scores as low as the last of them: it is no more similar than that.
    """

    kind: Literal["nearest"] = "nearest"
    n: Count = 500


class SumAbove(Spec):
    """An identity scores the sum of its photos' likeness above ``floor``; its best one where none is above.

    Whoever has a photo above the floor stands before all who have none; with the threshold ``Fixed(at=floor)``
    "nobody we know" stands between the two.
    """

    kind: Literal["sum_above"] = "sum_above"
    floor: Share = 0.7


IdentityScore = Annotated[Best | MeanTop | Nearest | SumAbove | Centroid, Field(discriminator="kind")]


class Reciprocal(Spec):
    """Photos count as similar if they have neighbours in common too (k-reciprocal re-ranking).

    Attributes:
        k1: Neighbours of a photo that are looked at.
        k2: Nearest photos over which a photo's neighbourhood is averaged; 1 for none.
        weight: How much the plain likeness still says; 1 changes nothing.
    """

    k1: Annotated[int, Field(ge=2)] = 20
    k2: Count = 6
    weight: Fraction = 0.3


class MaxMap(Spec):
    """The threshold with the highest MAP@k on validation, found over every useful cut point."""

    kind: Literal["max_map"] = "max_map"


class TargetShare(Spec):
    """The threshold at which this share of the queries is answered "nobody we know" first."""

    kind: Literal["target_share"] = "target_share"
    share: Fraction = 0.276


class FalseMatchBudget(Spec):
    """The lowest threshold at which at most ``budget`` of the unknown individuals are given a name.

    ``hold="observed"`` holds the budget on the validation unknown individuals themselves. ``hold="bound"`` is the careful
    reading: even the upper confidence bound (``confidence``, one-sided) stays within the budget.
    """

    kind: Literal["false_match_budget"] = "false_match_budget"
    budget: Fraction = 0.05
    hold: Literal["observed", "bound"] = "observed"
    confidence: Share = 0.95


class Fixed(Spec):
    """A threshold that is known already."""

    kind: Literal["fixed"] = "fixed"
    at: float


class PerGroup(Spec):
    """Thresholds for each group of photos alone (a species, a side, a survey).

    Attributes:
        column: The column of the photos' table that names the group.
        least: Validation photos, and unknown individuals or known ones among them where the rule asks for those, that a group
            needs for a threshold of its own; smaller groups, and photos of a group never seen, take the common one.
    """

    column: str
    least: Count = 50


UnknownAt = Annotated[MaxMap | TargetShare | FalseMatchBudget | Fixed, Field(discriminator="kind")]


class Logistic(Spec):
    """A probability that rises smoothly with the evidence: the best score, its lead, and its height over the crowd.

    Attributes:
        pull: Towards "the evidence says nothing": counts like so many queries of no evidence.
    """

    kind: Literal["logistic"] = "logistic"
    pull: Positive = 1.0


class Isotonic(Spec):
    """A probability that never falls as the best score rises, and is free otherwise; wants hundreds of queries."""

    kind: Literal["isotonic"] = "isotonic"


Calibration = Annotated[Logistic | Isotonic, Field(discriminator="kind")]


class ByScore(Spec):
    """The weighted mean of the models' scores, each on its own scale first.

    A model's scale is that of the ``depth`` highest scores of its validation queries: their mean becomes 0, their
    standard deviation 1.
    """

    kind: Literal["score"] = "score"
    depth: Count = 20


class ByRank(Spec):
    """The weighted mean of the places that the models give, "nobody we know" being one of the ranked.

    Places beyond ``depth`` count as ``depth + 1``. Equal means go by the models' scores.
    """

    kind: Literal["rank"] = "rank"
    depth: Count = 100


class ByVote(Spec):
    """Each model votes with its first answers: the first place is worth most, "nobody we know" is voted for too.

    Attributes:
        worth: Of the first, second ... place. Equal sums go by the models' scores.
    """

    kind: Literal["vote"] = "vote"
    worth: Annotated[tuple[Positive, ...], Field(min_length=1)] = (1.0, 1 / 2, 1 / 3, 1 / 4, 1 / 5)


RankingAverage = Annotated[ByScore | ByRank | ByVote, Field(discriminator="kind")]


class WeightedMean(Spec):
    """The weighted mean of the models' probabilities: a model that is sure of an answer can be outvoted.

    Attributes:
        each_question: Weights of their own for each question; else one set for all.
        least: Photos that must be told of a question for weights of its own; other questions take the common ones.
    """

    kind: Literal["weighted_mean"] = "weighted_mean"
    each_question: bool = False
    least: Count = 200


class GeometricMean(Spec):
    """The weighted mean of the logarithms: what one model rules out is ruled out.

    Attributes:
        floor: No probability counts as lower than this.
        each_question: As for ``WeightedMean``.
        least: As for ``WeightedMean``.
    """

    kind: Literal["geometric_mean"] = "geometric_mean"
    floor: Annotated[float, Field(gt=0, le=0.01)] = 1e-6
    each_question: bool = False
    least: Count = 200


class RankMean(Spec):
    """The weighted mean of the places that the models give the answers of a question; how sure they are says nothing.

    Attributes:
        each_question: As for ``WeightedMean``.
        least: As for ``WeightedMean``.
    """

    kind: Literal["rank_mean"] = "rank_mean"
    each_question: bool = False
    least: Count = 200


ScoreAverage = Annotated[WeightedMean | GeometricMean | RankMean, Field(discriminator="kind")]


class Swap(Spec):
    """Nearly equal first and second names change places where that spreads the answers over more individuals.

    Attributes:
        lead: The first name must lead by less than this.
        used: The first name must be first on at least so many photos already.
        adjacent: Look also at places two and three, three and four ...: a name used as first gives way to one that
            is used less.
    """

    kind: Literal["swap"] = "swap"
    lead: Positive = 0.3
    used: Count = 2
    adjacent: bool = False


class Transposed(Spec):
    """Ask the other way round: which of these photos is the most similar an individual known from a single photo?

    If that photo has the individual in second place, it comes first; over "nobody we know" only where nobody else
    was given its name.

    Attributes:
        at: The individual's score for that photo must be at least this.
        over_new: Whether it may also come before "nobody we know".
        most_photos: Individuals with at most so many photos ask.
    """

    kind: Literal["transposed"] = "transposed"
    at: float = 0.46
    over_new: bool = True
    most_photos: Count = 1


PostProcessingRule = Annotated[Swap | Transposed, Field(discriminator="kind")]


class LabelThreshold(Spec):
    """When an image is given labels of one group.

    A label is given where its score is above ``at`` and it is among the ``most`` highest of the group; and the
    ``least`` highest are given in any case. Equal scores come in the order of the labels.

    ``at`` is compared as a float32 number, as scores are: a score of 0.28 is not above 0.28.
    """

    at: float
    least: Natural = 0
    most: Natural | None = None

    @model_validator(mode="after")
    def _least_fits_most(self) -> Self:
        if self.most is not None and self.least > self.most:
            raise ValueError(f"least is {self.least} but most is {self.most}; at least cannot exceed at most")
        return self


class Preset(Spec):
    """Thresholds that are known already, by group; as they stand, those of the winner of iMet 2019.

    An entry for the group ``""`` is for all groups that have none of their own.
    """

    kind: Literal["preset"] = "preset"
    groups: dict[str, LabelThreshold] = Field(
        default={"culture": LabelThreshold(at=0.28, least=0, most=3), "tag": LabelThreshold(at=0.10, least=1, most=8)}
    )


class GlobalF2(Spec):
    """The one threshold for all labels with the highest mean F, exactly."""

    kind: Literal["global_f2"] = "global_f2"


class GroupF2(Spec):
    """The threshold of each group with the highest mean F; with ``limits`` its least and most as well.

    ``least`` is searched from 0 to ``least_up_to``, ``most`` from 1 to ``most_up_to``, or no least and most at all.
    """

    kind: Literal["group_f2"] = "group_f2"
    limits: bool = True
    least_up_to: Natural = 3
    most_up_to: Count = 12


class LabelF2(Spec):
    """The threshold of each label with the highest mean F, exactly, then drawn towards its group's where photos are few.

    Rare labels are the trap: a threshold fitted to three photos is the score of one of them. So the group's threshold counts
    like ``shrink`` photos with the label beside those there are. ``shrink=0`` keeps the exact optimum. With ``limits``
    the least and most of each group are found as well, last.
    """

    kind: Literal["label_f2"] = "label_f2"
    shrink: Annotated[float, Field(ge=0)] = 5.0
    rounds: Count = 4
    limits: bool = True
    least_up_to: Natural = 3
    most_up_to: Count = 12


class Relative(Spec):
    """A label is given where its score is above the image's highest score divided by ``times``."""

    kind: Literal["relative"] = "relative"
    times: Annotated[float, Field(ge=1)] = 7.0


class CountMatch(Spec):
    """The threshold that gives ``mean`` labels an image: one for all labels, or one a group if ``mean`` names groups."""

    kind: Literal["count_match"] = "count_match"
    mean: Positive | dict[str, Positive] = 5.2


ThresholdRule = Annotated[Preset | GlobalF2 | GroupF2 | LabelF2 | Relative | CountMatch, Field(discriminator="kind")]


class MeanWithInterval(Spec):
    """A mean over images with its 95 % interval (bootstrap, percentiles).

    Attributes:
        value: The mean.
        low: Lower end of the interval.
        high: Upper end.
        unit: What was resampled: groups of photos where the table has groups, else photos.
        n_units: How many of these there are.
    """

    value: float
    low: float
    high: float
    unit: Literal["photo", "group"]
    n_units: int

    @property
    def over(self) -> str:
        """What the interval is over, as ``37 groups``."""
        return f"{self.n_units:,} {self.unit}{'' if self.n_units == 1 else 's'}"

    def __str__(self) -> str:
        """As ``0.612 (0.609 to 0.615)``."""
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


class LabelThresholds(Spec):
    """Thresholds that answer, and how well they did; found by ``fieldmark.decisions.label_thresholds.fit_label_thresholds``.

    Attributes:
        kind: The rule that found them.
        groups: Threshold, least and most of each label group; empty for ``relative``.
        labels: Labels, by name, whose threshold is not their group's.
        times: For ``relative``: a label is given above the image's highest score divided by this.
        beta: Of the F-beta that was measured.
        n_images: Images they were found on.
        mean_labels: Labels an image they gave there.
        fitted: Mean F-beta on the very scores they were found on: flatters. None without truth.
        crossed: Mean F-beta where each image was judged by thresholds found without it: what to expect of new photos. The
            same as ``fitted`` for rules that do not look at truth; None if it was not measured.
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
        """The thresholds and what they are worth, in one line."""
        parts = []
        for name, group in self.groups.items():
            most = "any number" if group.most is None else group.most
            parts.append(f"{name or 'all labels'} above {group.at:.3g}, {group.least} to {most}")
        if self.labels:
            parts.append(f"{len(self.labels)} labels with a threshold of their own")
        if self.times is not None:
            parts.append(f"above the highest score / {self.times:g}")
        parts.append(f"{self.mean_labels:.2f} labels an image")
        if self.crossed is not None:
            parts.append(f"F{self.beta:g} {self.crossed}")
        elif self.fitted is not None:
            parts.append(f"F{self.beta:g} {self.fitted} on the scores they were found on")
        return "; ".join(parts)

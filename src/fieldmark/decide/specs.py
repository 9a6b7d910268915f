"""Settings of decisions (no arrays, no torch): how identities are scored and where "nobody we know" stands."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from fieldmark.core.spec import Count, Fraction, Natural, Positive, Spec

Share = Annotated[float, Field(gt=0, lt=1)]
"""A share strictly between 0 and 1."""


class Best(Spec):
    """An identity scores as high as its most alike photo."""

    kind: Literal["best"] = "best"


class MeanTop(Spec):
    """An identity scores the mean of its ``m`` most alike photos; the mean of all where it has fewer."""

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


IdentityScore = Annotated[Best | MeanTop | Centroid, Field(discriminator="kind")]


class MaxMap(Spec):
    """The threshold with the highest MAP@k on validation, found over every useful cut point."""

    kind: Literal["max_map"] = "max_map"


class TargetShare(Spec):
    """The threshold at which this share of the queries is answered "nobody we know" first."""

    kind: Literal["target_share"] = "target_share"
    share: Fraction = 0.276


class FalseMatchBudget(Spec):
    """The lowest threshold at which at most ``budget`` of the strangers are given a name.

    ``hold="observed"`` holds the budget on the validation strangers themselves. ``hold="bound"`` is the careful
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


UnknownAt = Annotated[MaxMap | TargetShare | FalseMatchBudget | Fixed, Field(discriminator="kind")]


class Cutoff(Spec):
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
    """Cutoffs that are known already, by group; as they stand, those of the winner of iMet 2019.

    An entry for the group ``""`` is for all groups that have none of their own.
    """

    kind: Literal["preset"] = "preset"
    groups: dict[str, Cutoff] = Field(
        default={"culture": Cutoff(at=0.28, least=0, most=3), "tag": Cutoff(at=0.10, least=1, most=8)}
    )


class GlobalF2(Spec):
    """The one cutoff for all labels with the highest mean F, exactly."""

    kind: Literal["global_f2"] = "global_f2"


class GroupF2(Spec):
    """The cutoff of each group with the highest mean F; with ``limits`` its least and most as well.

    ``least`` is searched from 0 to ``least_up_to``, ``most`` from 1 to ``most_up_to``, or no least and most at all.
    """

    kind: Literal["group_f2"] = "group_f2"
    limits: bool = True
    least_up_to: Natural = 3
    most_up_to: Count = 12


class LabelF2(Spec):
    """The cutoff of each label with the highest mean F, exactly, then drawn towards its group's where photos are few.

    Rare labels are the trap: a cutoff fitted to three photos is the score of one of them. So the group's cutoff counts
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
    """The cutoff that gives ``mean`` labels an image: one for all labels, or one a group if ``mean`` names groups."""

    kind: Literal["count_match"] = "count_match"
    mean: Positive | dict[str, Positive] = 5.2


CutoffRule = Annotated[Preset | GlobalF2 | GroupF2 | LabelF2 | Relative | CountMatch, Field(discriminator="kind")]


class Estimate(Spec):
    """A mean over images, and the 95 % interval of it if images were drawn anew (bootstrap, percentiles)."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """As ``0.612 (0.609 to 0.615)``."""
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


class Cutoffs(Spec):
    """Cutoffs that answer, and how well they did; found by ``fieldmark.decide.cutoffs.find_cutoffs``.

    Attributes:
        kind: The rule that found them.
        groups: Cutoff, least and most of each label group; empty for ``relative``.
        labels: Labels, by name, whose cutoff is not their group's.
        times: For ``relative``: a label is given above the image's highest score divided by this.
        beta: Of the F-beta that was measured.
        n_images: Images they were found on.
        mean_labels: Labels an image they gave there.
        fitted: Mean F-beta on the very scores they were found on: flatters. None without truth.
        crossed: Mean F-beta where each image was judged by cutoffs found without it: what to expect of new photos. The
            same as ``fitted`` for rules that do not look at truth; None if it was not measured.
    """

    kind: Literal["preset", "global_f2", "group_f2", "label_f2", "relative", "count_match"]
    groups: dict[str, Cutoff] = Field(default={})
    labels: dict[str, float] = Field(default={})
    times: float | None = None
    beta: float
    n_images: int
    mean_labels: float
    fitted: Estimate | None = None
    crossed: Estimate | None = None

    def __str__(self) -> str:
        """The cutoffs and what they are worth, in one line."""
        parts = []
        for name, group in self.groups.items():
            most = "any number" if group.most is None else group.most
            parts.append(f"{name or 'all labels'} above {group.at:.3g}, {group.least} to {most}")
        if self.labels:
            parts.append(f"{len(self.labels)} labels with a cutoff of their own")
        if self.times is not None:
            parts.append(f"above the highest score / {self.times:g}")
        parts.append(f"{self.mean_labels:.2f} labels an image")
        if self.crossed is not None:
            parts.append(f"F{self.beta:g} {self.crossed}")
        elif self.fitted is not None:
            parts.append(f"F{self.beta:g} {self.fitted} on the scores they were found on")
        return "; ".join(parts)

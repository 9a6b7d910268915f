"""Settings of decisions (no arrays, no torch): how identities are scored and where "nobody we know" stands."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from fieldmark.core.spec import Count, Fraction, Natural, Spec

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

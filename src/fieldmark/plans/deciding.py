"""Settings of recipes that identify individuals: how scores are made, and when a photo shows an unknown individual."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from fieldmark.core.errors import PlanError
from fieldmark.decisions.specs import (
    Best,
    Centroid,
    FalseMatchBudget,
    Fixed,
    IdentityScore,
    MaxMap,
    MeanTop,
    Nearest,
    PerGroup,
    PostProcessingRule,
    Reciprocal,
    SumAbove,
    Swap,
    TargetShare,
    Transposed,
    UnknownAt,
)
from fieldmark.pipeline.plan import Stage
from fieldmark.plans.settings import Settings, setting
from fieldmark.stages.common.write_submission import WriteSubmission
from fieldmark.stages.identity.post_process import PostProcess

BY_PHOTOS: Mapping[str, IdentityScore] = {
    "best": Best(),
    "mean_top": MeanTop(),
    "nearest": Nearest(),
    "sum_above": SumAbove(),
}
ASSIGNMENTS: Mapping[str, tuple[PostProcessingRule, ...]] = {
    "none": (),
    "swap": (Swap(),),
    "swap_adjacent": (Swap(adjacent=True),),
    "transposed": (Transposed(),),
    "swap_transposed": (Swap(), Transposed()),
}
NOT_CENTROIDS = {"centroids": (False,)}


class SimilaritySettings(Settings):
    """Settings about the similarity of a photo and an individual."""

    centroids: bool = setting(
        "ranking",
        True,
        "Score an individual by the similarity to the centroid of its photos; else by its photos one by one.",
    )
    by_photos: Literal["best", "mean_top", "nearest", "sum_above"] = setting(
        "ranking",
        "best",
        "Score of an individual from its photos: the most similar one, the mean of three, the best of the 500 nearest "
        "photos of all, or the sum of similarities above 0.7.",
        needs=NOT_CENTROIDS,
    )
    reciprocal: bool = setting(
        "ranking",
        False,
        "k-reciprocal re-ranking: photos with neighbours in common count as more similar.",
        needs=NOT_CENTROIDS,
    )


def similarity(settings: SimilaritySettings) -> IdentityScore:
    """How an individual is scored from its photos."""
    return Centroid() if settings.centroids else BY_PHOTOS[settings.by_photos]


def neighbourhood(settings: SimilaritySettings) -> Reciprocal | None:
    """The re-ranking that the settings ask for."""
    return Reciprocal() if settings.reciprocal else None


class DecisionSettings(Settings):
    """Settings about unknown individuals, and about answers to all new photos together."""

    budget: float | None = setting(
        "decision",
        None,
        "Highest share of unknown individuals that may be given a name (false matches), instead of the best MAP@5.",
        ge=0,
        le=1,
        unset="none",
        example=0.05,
    )
    unknown_share: float | None = setting(
        "decision",
        None,
        "Target share of new photos answered as unknown (0.276 in the whale contest), instead of the best MAP@5.",
        ge=0,
        le=1,
        unset="none",
        example=0.276,
    )
    threshold: float | None = setting(
        "decision",
        None,
        "A fixed threshold: photos with a lower best score are answered as unknown.",
        unset="none",
        example=0.5,
    )
    assignment: Literal["none", "swap", "swap_adjacent", "transposed", "swap_transposed"] = setting(
        "decision",
        "none",
        "Post-processing of all answers together: swap nearly equal names that are used often (class-balance swap), at "
        "adjacent places too, or let individuals with one photo choose theirs (transposed ranking).",
    )


class GroupedDecisionSettings(DecisionSettings):
    """The same, with thresholds for groups of photos."""

    threshold_group: str = setting(
        "decision", "", "Column whose groups of photos (a species) get thresholds of their own.", example="species"
    )


def unknown_at(settings: DecisionSettings) -> UnknownAt:
    """The rule for the threshold of unknown individuals.

    Raises:
        PlanError: Two rules are asked for.
    """
    rules: dict[str, UnknownAt] = {}
    if settings.budget is not None:
        rules["budget"] = FalseMatchBudget(budget=settings.budget)
    if settings.unknown_share is not None:
        rules["unknown_share"] = TargetShare(share=settings.unknown_share)
    if settings.threshold is not None:
        rules["threshold"] = Fixed(at=settings.threshold)
    if len(rules) > 1:
        raise PlanError(
            "Only one rule can find the threshold of unknown individuals.",
            got=", ".join(f"{name}={getattr(settings, name)}" for name in rules),
            fix=f"leave out {' and '.join(list(rules)[1:])}.",
        )
    return next(iter(rules.values()), MaxMap())


def groups_of(settings: GroupedDecisionSettings) -> PerGroup | None:
    """The groups of photos with thresholds of their own."""
    return PerGroup(column=settings.threshold_group) if settings.threshold_group else None


def final_stages(settings: DecisionSettings, ranking: str) -> tuple[Stage, ...]:
    """The last stages of a plan: post-processing of the stage ``ranking`` if asked for, and the submission."""
    rules = ASSIGNMENTS[settings.assignment]
    if not rules:
        return (WriteSubmission(name="submission", reads_from=ranking),)
    return (
        PostProcess(name="assignment", reads_from=ranking, on="split", rules=rules),
        WriteSubmission(name="submission", reads_from="assignment"),
    )

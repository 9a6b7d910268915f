"""Settings of identification recipes: scores of individuals, and the threshold for unknown individuals."""

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

PHOTO_SCORES: Mapping[str, IdentityScore] = {
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
NOT_CENTROIDS = {"score_by_centroid": (False,)}


class SimilaritySettings(Settings):
    """Settings for the similarity of a photo and an individual."""

    score_by_centroid: bool = setting(
        "ranking",
        True,
        "If true, score an individual by its similarity to the mean embedding (centroid) of its photos. If false, "
        "compare its photos one by one; see score_by_photo.",
    )
    score_by_photo: Literal["best", "mean_top", "nearest", "sum_above"] = setting(
        "ranking",
        "best",
        "Score of an individual from its single photos. best: highest similarity. mean_top: mean of the three highest. "
        "nearest: best among the 500 nearest photos of all individuals. sum_above: sum of similarities above 0.7.",
        needs=NOT_CENTROIDS,
    )
    k_reciprocal: bool = setting(
        "ranking",
        False,
        "Apply k-reciprocal re-ranking: two photos that share nearest neighbours count as more similar.",
        needs=NOT_CENTROIDS,
    )


def similarity(settings: SimilaritySettings) -> IdentityScore:
    """Return the rule that scores an individual from its photos."""
    return Centroid() if settings.score_by_centroid else PHOTO_SCORES[settings.score_by_photo]


def neighbourhood(settings: SimilaritySettings) -> Reciprocal | None:
    """Return the k-reciprocal re-ranking, or None if it is off."""
    return Reciprocal() if settings.k_reciprocal else None


class DecisionSettings(Settings):
    """Settings for the threshold of unknown individuals, and for post-processing of all answers."""

    max_fpir: float | None = setting(
        "decision",
        None,
        "Highest allowed false-positive identification rate (FPIR): the share of unknown individuals answered with a "
        "name. Replaces the threshold with the best MAP@5.",
        ge=0,
        le=1,
        unset="none",
        example=0.05,
    )
    unknown_share: float | None = setting(
        "decision",
        None,
        "Target share of new photos answered as unknown; 0.276 in the whale contest. Replaces the threshold with the "
        "best MAP@5.",
        ge=0,
        le=1,
        unset="none",
        example=0.276,
    )
    threshold: float | None = setting(
        "decision",
        None,
        "Fixed threshold. A photo whose best score is lower is answered as unknown.",
        unset="none",
        example=0.5,
    )
    assignment: Literal["none", "swap", "swap_adjacent", "transposed", "swap_transposed"] = setting(
        "decision",
        "none",
        "Post-processing of the answers to all new photos. swap: exchange the first two names of a photo where scores "
        "are nearly equal and the first name is used often (class-balance swap). swap_adjacent: also exchange names "
        "at later ranks. transposed: for each individual with a single known photo, find the most similar new photo. "
        "If that photo ranks the individual second, move it to first place. swap_transposed: both.",
    )


class GroupedDecisionSettings(DecisionSettings):
    """Decision settings with a separate threshold for each group of photos."""

    threshold_group: str = setting(
        "decision",
        "",
        "Table column with groups of photos, such as species. Each group gets its own threshold.",
        example="species",
    )


def unknown_at(settings: DecisionSettings) -> UnknownAt:
    """Return the rule for the threshold of unknown individuals.

    Raises:
        PlanError: More than one rule is given.
    """
    rules: dict[str, UnknownAt] = {}
    if settings.max_fpir is not None:
        rules["max_fpir"] = FalseMatchBudget(budget=settings.max_fpir)
    if settings.unknown_share is not None:
        rules["unknown_share"] = TargetShare(share=settings.unknown_share)
    if settings.threshold is not None:
        rules["threshold"] = Fixed(at=settings.threshold)
    if len(rules) > 1:
        raise PlanError(
            f"The settings {' and '.join(rules)} exclude each other: each sets the threshold of unknowns.",
            got=", ".join(f"{name}={getattr(settings, name)}" for name in rules),
            fix=f"leave out {' and '.join(list(rules)[1:])}.",
        )
    return next(iter(rules.values()), MaxMap())


def groups_of(settings: GroupedDecisionSettings) -> PerGroup | None:
    """Return the groups of photos with separate thresholds, or None."""
    return PerGroup(column=settings.threshold_group) if settings.threshold_group else None


def final_stages(settings: DecisionSettings, ranking: str) -> tuple[Stage, ...]:
    """Return the last stages of a plan: post-processing of the stage ``ranking``, if set, and the submission."""
    rules = ASSIGNMENTS[settings.assignment]
    if not rules:
        return (WriteSubmission(name="submission", reads_from=ranking),)
    return (
        PostProcess(name="assignment", reads_from=ranking, on="split", rules=rules),
        WriteSubmission(name="submission", reads_from="assignment"),
    )

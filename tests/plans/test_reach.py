"""Settings of recipes reach every technique of the package: tests of the plan that a setting results in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fieldmark.data.specs import IdentityFolds, LogWeightSampler, StratifiedFolds
from fieldmark.decisions.specs import (
    CountMatch,
    Fixed,
    GlobalF2,
    LabelF2,
    MeanTop,
    Nearest,
    PerGroup,
    Reciprocal,
    Relative,
    SumAbove,
    Swap,
    TargetShare,
    Transposed,
)
from fieldmark.gallery.specs import Akaze, Sift, Superpoint, Xfeat
from fieldmark.images.specs import Align, BoxCrop, FullFrame, GrabCut, TableBoxes, TrainedFinder
from fieldmark.losses.specs import Affinity, CombinedMargin, Compactness, Focal, LocalTriplet, SphereFace
from fieldmark.pipeline.plan import Plan
from fieldmark.plans.imet import IMET_THRESHOLDS
from fieldmark.plans.recipe import RECIPES
from fieldmark.quality.specs import Agreement, FewShot, MeanConfidence, RobustZ, SoftTargets
from fieldmark.stacking.specs import Tuning
from fieldmark.stages.common.boxes import Boxes
from fieldmark.stages.common.split import Split
from fieldmark.stages.common.train import Train
from fieldmark.stages.identity.embed import Embed
from fieldmark.stages.identity.post_process import PostProcess
from fieldmark.stages.identity.pseudo_label_identities import PseudoLabelIdentities
from fieldmark.stages.identity.rank import Rank
from fieldmark.stages.identity.rerank_keypoints import RerankKeypoints
from fieldmark.stages.identity.rerank_pairs import RerankPairs
from fieldmark.stages.identity.rerank_trees import RerankTrees
from fieldmark.stages.labels.drop_noisy import DropNoisy
from fieldmark.stages.labels.pseudo_label import PseudoLabel
from fieldmark.stages.labels.score import Score
from fieldmark.stages.labels.threshold import Threshold
from fieldmark.training.specs import Plateau

SHELF = dict(RECIPES.items())

Lookup = Callable[[Plan], Any]
IDENTITY = ("humpback-classify", "humpback-nearest", "humpback-siamese", "reidentify")
ROUND = {"pseudo_label_rounds": 1}


def losses(plan: Plan) -> tuple[Any, ...]:
    return plan.only(Train).losses


def points(plan: Plan) -> Any:
    return plan.only(RerankKeypoints).matching.points


def forms(plan: Plan) -> set[str]:
    return {vote.by.form for vote in plan.only(Rank).votes if vote.by.kind == "logits"}


def scored(plan: Plan) -> Any:
    return next(vote.by for vote in plan.only(Rank).votes if vote.by.kind != "logits")


def trees(plan: Plan) -> Any:
    return plan.only(RerankTrees).settings


def first(plan: Plan, name: str) -> Train:
    return next(one for one in plan.stages if isinstance(one, Train) and one.name.startswith(f"{name}-"))


def phases(plan: Plan, name: str) -> tuple[Any, ...]:
    return first(plan, name).training.phases


REACHED: list[tuple[str | tuple[str, ...], dict[str, Any], Lookup, Any]] = [
    ("reidentify", {"loss": "sphereface"}, lambda plan: losses(plan)[0], SphereFace(warmup=0.2)),
    ("reidentify", {"loss": "combined"}, lambda plan: losses(plan)[0], CombinedMargin(warmup=0.2)),
    ("reidentify", {"loss": "affinity"}, lambda plan: losses(plan)[0], Affinity()),
    ("reidentify", {"loss": "affinity", "sub_centres": 3}, lambda plan: plan.only(Train).net.head.centres, 3),
    ("reidentify", {"compactness": True}, lambda plan: losses(plan)[-1], Compactness()),
    ("reidentify", {"pool": "max"}, lambda plan: plan.only(Train).net.backbone.pool, "max"),
    ("reidentify", {"feature_maps": 2}, lambda plan: plan.only(Train).net.backbone.maps, 2),
    (("reidentify", "humpback-classify"), {"stripes": 3}, lambda plan: losses(plan)[-1], LocalTriplet()),
    (("reidentify", "humpback-classify"), {"stripes": 3}, lambda plan: plan.only(Train).net.stripes, 3),
    (("reidentify", "humpback-classify"), {"head_output": "logit"}, forms, {"logit"}),
    (IDENTITY, {"unknown_share": 0.276}, lambda plan: plan.only(Rank).unknown, TargetShare(share=0.276)),
    (IDENTITY, {"threshold": 0.5}, lambda plan: plan.only(Rank).unknown, Fixed(at=0.5)),
    (IDENTITY, {"assignment": "swap"}, lambda plan: plan.only(PostProcess).rules, (Swap(),)),
    (IDENTITY, {"assignment": "swap_adjacent"}, lambda plan: plan.only(PostProcess).rules, (Swap(adjacent=True),)),
    (IDENTITY, {"assignment": "transposed"}, lambda plan: plan.only(PostProcess).rules, (Transposed(),)),
    (IDENTITY, {"keypoints": "sift"}, points, Sift()),
    (IDENTITY, {"keypoints": "akaze"}, points, Akaze()),
    (IDENTITY, {"keypoints": "xfeat"}, points, Xfeat()),
    (IDENTITY, {"keypoints": "lighterglue"}, points, Xfeat(matcher="lighterglue")),
    (IDENTITY, {"keypoints": "superpoint", "keypoint_weights": "sp.pth"}, points, Superpoint(path="sp.pth")),
    (IDENTITY, {"keypoints": "sift", "keypoint_shortlist": 20}, lambda plan: plan.only(RerankKeypoints).shortlist, 20),
    (IDENTITY, {"score_by_centroid": False, "score_by_photo": "mean_top"}, scored, MeanTop()),
    (IDENTITY, {"score_by_centroid": False, "score_by_photo": "nearest"}, scored, Nearest()),
    (IDENTITY, {"score_by_centroid": False, "score_by_photo": "sum_above"}, scored, SumAbove()),
    (
        IDENTITY,
        {"score_by_centroid": False, "k_reciprocal": True},
        lambda plan: plan.only(Rank).reciprocal,
        Reciprocal(),
    ),
    (IDENTITY, {"folds": 3}, lambda plan: plan.only(Split).folds, IdentityFolds(n_folds=3)),
    (
        ("humpback-classify", "humpback-nearest", "reidentify"),
        {"threshold_group": "species"},
        lambda plan: plan.only(Rank).per_group,
        PerGroup(column="species"),
    ),
    ("reidentify", {"trees": True, "trees_features": "both"}, lambda plan: trees(plan).columns, "both"),
    ("reidentify", {"trees": True, "trees_trials": 7}, lambda plan: trees(plan).tuning, Tuning(n_trials=7)),
    (
        ("reidentify", "humpback-classify"),
        ROUND | {"pseudo_label_rule": "few_shot", "pseudo_label_max_photos": 2},
        lambda plan: plan.only(PseudoLabelIdentities).rule.rule,
        FewShot(at=0.65, most_photos=2),
    ),
    (
        ("reidentify", "humpback-classify"),
        ROUND | {"pseudo_label_rule": "agreement", "pseudo_label_min_gap": 0.3, "pseudo_label_cap": 4},
        lambda plan: (
            plan.only(PseudoLabelIdentities).judges,
            plan.only(PseudoLabelIdentities).rule.rule,
            plan.only(PseudoLabelIdentities).rule.most_per_identity,
        ),
        (("similarity", "head"), Agreement(gap=0.3), 4),
    ),
    ("humpback-classify", ROUND, lambda plan: plan.only(Train).enlarged, "pseudo_labels2"),
    ("imet2019", {"pseudo_label_rule": "mean"}, lambda plan: plan.only(PseudoLabel).rule.confidence, MeanConfidence()),
    ("imet2019", {"pseudo_label_targets": "soft"}, lambda plan: plan.only(PseudoLabel).rule.targets, SoftTargets()),
    ("imet2019", {"pseudo_label_cap": 9}, lambda plan: plan.only(PseudoLabel).rule.most_per_label, 9),
    ("imet2019", {"pseudo_label_share": 0.1}, lambda plan: plan.only(PseudoLabel).rule.amount.share, 0.1),
    ("imet2019", {"noise_rule": "robust_z"}, lambda plan: plan.only(DropNoisy).rule, RobustZ()),
    ("imet2019", {"noise_share": 0.1}, lambda plan: plan.only(DropNoisy).rule.share, 0.1),
    ("imet2019", {"noise_error": "absolute"}, lambda plan: plan.only(DropNoisy).by, "absolute"),
    ("imet2019", {"hard_negatives_only": True}, lambda plan: phases(plan, "zoo2")[0].mining, "only"),
    ("imet2019", {"oversample_weight": "mean"}, lambda plan: plan.only(Train).sampler, LogWeightSampler(over="mean")),
    ("imet2019", {"focal_alpha": 0.3}, lambda plan: first(plan, "zoo").losses, (Focal(alpha=0.3),)),
    ("imet2019", {"focal_detached": True}, lambda plan: first(plan, "zoo").losses, (Focal(detached=True),)),
    ("imet2019", {"distil": True, "distil_share": 0.5}, lambda plan: first(plan, "zoo2").fill_times, 0.5),
    ("imet2019", {"thresholds": "global"}, lambda plan: plan.only(Threshold).rule, GlobalF2()),
    ("imet2019", {"thresholds": "label"}, lambda plan: plan.only(Threshold).rule, LabelF2()),
    ("imet2019", {"thresholds": "relative"}, lambda plan: plan.only(Threshold).rule, Relative()),
    (
        "imet2019",
        {"thresholds": "count", "labels_per_photo": 4},
        lambda plan: plan.only(Threshold).rule,
        CountMatch(mean=4),
    ),
    ("imet2019", {"thresholds": "published"}, lambda plan: plan.only(Threshold).rule, IMET_THRESHOLDS),
    (
        ("imet2019", "tags-plain", "imaterialist2017"),
        {"fold_method": "greedy", "folds": 4},
        lambda plan: plan.only(Split).folds,
        StratifiedFolds(n_folds=4, method="greedy"),
    ),
    (("imet2019", "tags-plain", "imaterialist2017"), {"tta": False}, lambda plan: plan.only(Score).flip, False),
]


@pytest.mark.parametrize(
    ("names", "given", "lookup", "expected"), REACHED, ids=lambda one: str(one) if isinstance(one, dict) else ""
)
def test_a_setting_reaches_a_technique(
    names: str | tuple[str, ...], given: dict[str, Any], lookup: Lookup, expected: Any
) -> None:
    for name in (names,) if isinstance(names, str) else names:
        for size in ("small", "full"):
            changed = {one: value for one, value in given.items() if not is_default(name, one, value)}
            assert lookup(SHELF[name](size=size, **changed)) == expected, (name, size)


def is_default(name: str, one: str, value: Any) -> bool:
    """Return whether a value is the recipe's default."""
    return SHELF[name].settings[one].default == value


@pytest.mark.parametrize("name", [name for name, made in SHELF.items() if "lr" in made.settings])
@pytest.mark.parametrize("size", ["toy", "small", "full"])
def test_shared_settings_reach_every_training(name: str, size: str) -> None:
    given = {"batch": 36, "accumulate": 3, "precision": "fp32", "optimiser": "sgd", "weight_decay": 0.1, "ema": 0.9}
    given |= {"keep": "best", "lr_head_times": 2.0}
    before, after = SHELF[name](size=size), SHELF[name](size=size, schedule="plateau", lr=0.123, **given)
    pairs = [(a, b) for a, b in zip(before.stages, after.stages, strict=True) if isinstance(a, Train)]
    assert pairs
    lr = pairs[0][0].training.phases[0].lr
    for old, new in pairs:
        assert {one: getattr(new.training, one) for one in given} == given
        assert {phase.schedule for phase in new.training.phases} == {Plateau(drops=2, rebuild=True)}
        assert [phase.lr for phase in new.training.phases] == pytest.approx(
            [phase.lr * 0.123 / lr for phase in old.training.phases]
        )
        assert new.model_copy(update={"training": old.training}) == old
    assert pairs[0][1].training.phases[0].lr == 0.123


@pytest.mark.parametrize("name", [name for name, made in SHELF.items() if "epochs" in made.settings])
@pytest.mark.parametrize("size", ["toy", "small", "full"])
@pytest.mark.parametrize("n", [7, 20, 100])
def test_epochs_sets_the_total_of_the_first_training_and_phases_keep_their_share(name: str, size: str, n: int) -> None:
    before, after = SHELF[name](size=size), SHELF[name](size=size, epochs=n)
    trains = [(a, b) for a, b in zip(before.stages, after.stages, strict=True) if isinstance(a, Train)]
    total = sum(phase.epochs for phase in trains[0][0].training.phases)
    assert sum(phase.epochs for phase in trains[0][1].training.phases) == n
    for old, new in trains:
        for one, other in zip(old.training.phases, new.training.phases, strict=True):
            assert abs(other.epochs - one.epochs * n / total) < 2 or other.epochs == 1
            assert other.epochs >= 1


def test_effort_multiplies_the_epochs_of_all_phases() -> None:
    half = SHELF["humpback-classify"](size="small", effort=0.5).only(Train).training.phases
    assert [phase.epochs for phase in half] == [8, 3, 1]


def test_folds_keep_their_kind_for_labels_and_are_identity_folds_for_individuals() -> None:
    assert SHELF["imaterialist2017"](folds=7).only(Split).folds == StratifiedFolds(n_folds=7)
    assert SHELF["reidentify"](folds=2).only(Split).folds == IdentityFolds(n_folds=2)


def test_box_sources_have_weights_and_the_first_two_are_used_in_prediction() -> None:
    plan = SHELF["humpback-classify"](boxes="table.fin:0.6, grabcut:0.3, full_frame:0.1", masks="features")
    crop = plan.only(Train).preprocess.crop
    assert isinstance(crop, BoxCrop)
    assert [source.by for source in crop.sources] == [TableBoxes(source="fin"), GrabCut(), FullFrame()]
    assert [source.weight for source in crop.sources] == [0.6, 0.3, 0.1]
    assert [source.in_use for source in crop.sources] == [True, True, False]
    finders = [stage.finder.kind for stage in plan.stages if isinstance(stage, Boxes)]
    assert finders == ["grabcut", "feature_norm"]
    assert len({stage.name for stage in plan.stages if isinstance(stage, Boxes)}) == 2


@pytest.mark.parametrize("name", ["humpback-classify", "humpback-siamese", "reidentify"])
def test_landmarks_and_boxes_come_from_a_finder_trained_on_clicks(name: str) -> None:
    by_table = SHELF[name](landmarks="table").only(Train).preprocess.align
    assert isinstance(by_table, Align)
    assert [point.name for point in by_table.points] == ["left_tip", "notch", "right_tip", "root"]
    plan = SHELF[name](landmarks="trained", boxes="trained", finder_folder="mine", keypoints="sift")
    assert plan.only(Boxes).finder == TrainedFinder(folder="mine")
    assert plan.only(Train).preprocess.align.by == plan.only(RerankKeypoints).within == TrainedFinder(folder="mine")


def test_agreement_compares_similarity_head_and_keypoints() -> None:
    plan = SHELF["reidentify"](pseudo_label_rounds=2, pseudo_label_rule="agreement", keypoints="sift")
    scorers = [stage.judges for stage in plan.stages if isinstance(stage, PseudoLabelIdentities)]
    assert scorers == [("similarity", "head", "matching"), ("similarity2", "head2", "matching2")]
    rankings = {stage.name: stage for stage in plan.stages if isinstance(stage, Rank)}
    assert [vote.by.kind for vote in rankings["head"].votes] == ["logits"]
    assert [vote.by.kind for vote in rankings["similarity2"].votes] == ["centroid"]
    assert "similarity3" not in rankings


def test_the_pair_head_gets_the_same_threshold_rule() -> None:
    plan = SHELF["humpback-siamese"](unknown_share=0.2, keypoints="sift")
    assert plan.only(RerankPairs).unknown == plan.only(RerankKeypoints).unknown == TargetShare(share=0.2)
    assert plan.only(Embed).flip

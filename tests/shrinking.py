"""Plans made small, so that what is done with their runs can be tested in seconds."""

from __future__ import annotations

import functools
from dataclasses import replace

from fieldmark.models.specs import Backbone, RandomWeights
from fieldmark.pipeline.plan import Plan
from fieldmark.plans.recipe import Recipe
from fieldmark.plans.settings import Settings
from fieldmark.stages.common.split import Split
from fieldmark.stages.common.train import Train
from fieldmark.stages.identity.rerank_keypoints import RerankKeypoints

SIDE_PX = 192
"""Of photos in which keypoints are looked for."""


def quicker(stage: RerankKeypoints) -> RerankKeypoints:
    """The same stage with points of small photos."""
    points = stage.matching.points.model_copy(update={"size_px": SIDE_PX})
    return stage.model_copy(update={"matching": stage.matching.model_copy(update={"points": points})})


def shrunk(plan: Plan) -> Plan:
    """The same plan with a tiny network, two folds, one short phase and few keypoints, so that it runs in seconds."""

    def small(stage: Train) -> Train:
        phase = stage.training.phases[-1:]  # a recipe that learns nothing has none
        phases = tuple(one.model_copy(update={"epochs": 1, "freeze": (), "min_photos": 1}) for one in phase)
        backbone = Backbone(name="test_efficientnet", weights=RandomWeights())
        return stage.model_copy(
            update={
                "net": stage.net.model_copy(update={"backbone": backbone}),
                "preprocess": stage.preprocess.model_copy(update={"height_px": 32, "width_px": 64}),
                "training": stage.training.model_copy(
                    update={"phases": phases, "batch": 4 * getattr(stage.sampler, "k", 2)}
                ),
            }
        )

    def fewer(stage: Split) -> Split:
        n_folds = {"n_folds": 2} if hasattr(stage.folds, "n_folds") else {}
        return stage.model_copy(update={"folds": stage.folds.model_copy(update=n_folds)})

    shrink = {Train: small, Split: fewer, RerankKeypoints: quicker}
    stages = tuple(shrink.get(type(stage), lambda same: same)(stage) for stage in plan.stages)
    return plan.model_copy(update={"stages": stages}).check()


def shrinking(recipe: Recipe) -> Recipe:
    """The same recipe with shrunk plans of one network and no trees."""
    least = {"networks": 1, "trees": False}
    chosen = {name: value for name, value in least.items() if name in recipe.kind.model_fields}

    @functools.wraps(recipe.build)
    def small(size: str, settings: Settings) -> Plan:
        return shrunk(recipe.build(size, settings.model_copy(update=chosen)))

    return replace(recipe, build=small)

from __future__ import annotations

import functools
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # blocks.py and render.py, which is a script too

from blocks import own_plan

from fieldmark.plans.recipe import RECIPES

if TYPE_CHECKING:
    from fieldmark.pipeline.plan import Plan
    from fieldmark.plans.recipe import Recipe
    from fieldmark.plans.settings import Settings


def shrunk(plan: Plan) -> Plan:
    """The same plan with a tiny network, two folds and one short leg, so that it runs in seconds."""
    from fieldmark.models.specs import Backbone, RandomWeights
    from fieldmark.stages.common.split import Split
    from fieldmark.stages.common.train import Train

    def small(stage: Train) -> Train:
        leg = stage.training.legs[-1:]  # a recipe that learns nothing has none
        legs = tuple(one.model_copy(update={"epochs": 1, "freeze": (), "min_photos": 1}) for one in leg)
        backbone = Backbone(name="test_efficientnet", weights=RandomWeights())
        return stage.model_copy(
            update={
                "net": stage.net.model_copy(update={"backbone": backbone}),
                "preprocess": stage.preprocess.model_copy(update={"height_px": 32, "width_px": 64}),
                "training": stage.training.model_copy(
                    update={"legs": legs, "batch": 4 * getattr(stage.sampler, "k", 2)}
                ),
            }
        )

    def fewer(stage: Split) -> Split:
        n_folds = {"n_folds": 2} if hasattr(stage.folds, "n_folds") else {}
        return stage.model_copy(update={"folds": stage.folds.model_copy(update=n_folds)})

    shrink = {Train: small, Split: fewer}
    stages = tuple(shrink.get(type(stage), lambda same: same)(stage) for stage in plan.stages)
    return plan.model_copy(update={"stages": stages}).check()


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``fieldmark demo`` leaves, small: drawn photos, and a run of the plan that plans.md shows."""
    import fieldmark
    from fieldmark.pipeline.plan import read_plan
    from fieldmark.specimens.collections import draw_flukes

    folder = tmp_path_factory.mktemp("shown") / "fieldmark-demo"
    numbers = {"n_identities": 5, "photos_per_identity": 3, "n_strangers": 5, "n_test": 3}
    draw_flukes(folder / "photos", size_px=(96, 48), n_near_duplicates=0, n_broken=0, **numbers)
    shown = folder / "my_plan.toml"
    shown.write_text(own_plan(), encoding="utf-8")
    fieldmark.train(shrunk(read_plan(shown)), folder / "photos", run=folder / "run", n_workers=0)
    return folder


@pytest.fixture
def shore(demo: Path, museum: Path, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A reader's folder: ``fieldmark-demo/``, ``whales/``, ``museum/``, ``shop/``; recipes that train tiny networks."""
    shutil.copytree(demo, tmp_path / "fieldmark-demo")
    shutil.copytree(demo / "photos", tmp_path / "whales")
    shutil.copytree(museum, tmp_path / "museum")
    shutil.copytree(shop, tmp_path / "shop")
    monkeypatch.setattr(RECIPES, "_parts", {name: _shrinking(recipe) for name, recipe in RECIPES.items()})
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _shrinking(recipe: Recipe) -> Recipe:
    least = {"networks": 1, "trees": False}
    chosen = {name: value for name, value in least.items() if name in recipe.kind.model_fields}

    @functools.wraps(recipe.build)
    def small(size: str, settings: Settings) -> Plan:
        return shrunk(recipe.build(size, settings.model_copy(update=chosen)))

    return replace(recipe, build=small)

"""Tests of every recipe at its default size with tiny networks: predictions after training.

The number of networks and their names stay. At size ``toy`` a recipe has fewer networks, and their names happen to be
in alphabetical order.
"""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import polars as pl
import pytest

import fieldmark
from fieldmark.data.specs import StratifiedFolds
from fieldmark.models.specs import RandomWeights
from fieldmark.pipeline.plan import Plan
from fieldmark.pipeline.stage import Stage
from fieldmark.plans.recipe import RECIPES
from fieldmark.specimens.collections import draw_flukes
from fieldmark.stacking.specs import Trees
from fieldmark.stages.common.split import Split
from fieldmark.stages.common.train import Train
from fieldmark.stages.labels.describe_images import DescribeImages
from fieldmark.stages.labels.stack import Stack
from fieldmark.tasks.task import TaskName, task_of
from kept_values import assert_applied_as_kept, opened
from once import Once

SHELF = dict(RECIPES.items())

TINY_PX = 32
BATCH = 12
"""A batch size that fits all samplers."""


def tiny(stage: Stage) -> Stage:
    """Return the stage with a tiny network, small photos, three folds and a very short training."""
    if isinstance(stage, Split) and isinstance(stage.folds, StratifiedFolds):
        return stage.model_copy(update={"folds": stage.folds.model_copy(update={"n_folds": 3})})
    if isinstance(stage, Train):
        backbone = stage.net.backbone.model_copy(update={"name": "test_efficientnet", "weights": RandomWeights()})
        sides = {name: max(TINY_PX, getattr(stage.preprocess, name) // 5) for name in ("height_px", "width_px")}
        phases = tuple(phase.model_copy(update={"epochs": 1}) for phase in stage.training.phases)
        training = {"phases": phases, "batch": BATCH, "accumulate": 1, "epoch_batches": 1}
        return stage.model_copy(
            update={
                "net": stage.net.model_copy(update={"backbone": backbone}),
                "preprocess": stage.preprocess.model_copy(update=sides),
                "training": stage.training.model_copy(update=training),
                "versions": None if stage.versions is None else 2,
            }
        )
    if isinstance(stage, DescribeImages):
        sides = {"height_px": TINY_PX, "width_px": TINY_PX}
        return stage.model_copy(update={"preprocess": stage.preprocess.model_copy(update=sides)})
    if isinstance(stage, Stack):
        trees = Trees(n_rounds=5, num_leaves=7, min_data_in_leaf=5)
        return stage.model_copy(update={"settings": stage.settings.model_copy(update={"trees": trees})})
    return stage


def tiny_plan(recipe: str, size: str) -> Plan:
    """Return the recipe's plan at a size, with tiny networks and the same stage names."""
    plan = SHELF[recipe](size=size)
    return plan.model_copy(update={"stages": tuple(tiny(stage) for stage in plan.stages)}).check()


def with_truth(known: Path, task: TaskName, folder: Path) -> tuple[Path, Path]:
    """Return new photos as input of ``predict``, and a table of the same photos with their ground truth."""
    if task == "attributes":
        return known / "new.csv", known / "test_truth.csv"
    if task == "identification":
        rows = pl.read_csv(known / "test_truth.csv").iter_rows()
        lines = [("image", "file", "identity"), *((image, known / "test" / image, name) for image, name in rows)]
    else:
        photos = sorted((known / "test").glob("*.png"))
        lines = [("image", "file", "labels"), *((photo.stem, photo, "tag::gold|tag::red") for photo in photos)]
    table = folder / "truth.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(lines)
    return known / "test", table


@pytest.fixture(scope="module")
def museum(museum: Path, once: Once) -> Path:
    """Folder with enough objects for three folds and three new ones; few, because some recipes have many networks."""

    def reduce(folder: Path) -> None:
        shutil.copytree(museum, folder)
        for table, n in (("train.csv", 24), ("sample_submission.csv", 3)):
            pl.read_csv(folder / table, infer_schema=False).head(n).write_csv(folder / table)
            names = set(pl.read_csv(folder / table, infer_schema=False)["id"])
            for photo in (folder / {"train.csv": "train", "sample_submission.csv": "test"}[table]).iterdir():
                if photo.stem not in names:
                    photo.unlink()

    return once("small museum", reduce)


@pytest.fixture(scope="module")
def flukes(once: Once) -> Path:
    """Folder with a few small photos of flukes."""
    few = {"n_identities": 12, "photos_per_identity": 3, "n_unknown": 4, "n_test": 4, "n_near_duplicates": 0}
    return once("few flukes", lambda folder: draw_flukes(folder, **few, size_px=(120, 60), seed=5))


def test_recipes_list_models_in_an_order_that_is_not_alphabetical() -> None:
    scores = [
        stage for size in ("small", "full") for stage in SHELF["imet2019"](size=size).stages if stage.kind == "score"
    ]
    assert all(len(stage.of) == 3 and list(stage.of) != sorted(stage.of) for stage in scores)


@pytest.mark.parametrize("recipe", sorted(SHELF))
def test_a_trained_recipe_repeats_the_answers_of_its_run(
    recipe: str, museum: Path, flukes: Path, shop: Path, tmp_path: Path
) -> None:
    plan, run = tiny_plan(recipe, "small"), tmp_path / "run"
    task = task_of(plan).name
    known = {"tagging": museum, "attributes": shop, "identification": flukes}[task]
    new, truth = with_truth(known, task, tmp_path)
    trained = fieldmark.train(plan, known, new=new, run=run, n_workers=0, skip_broken=True)
    assert trained.submission is not None

    out = tmp_path / "answers.csv"
    answered = fieldmark.predict(run, new, out=out, form="submission", n_workers=0)
    assert out.read_bytes() == trained.submission.read_bytes()
    assert_applied_as_kept(opened(run), tmp_path)

    photo = next(one.file for one in answered if one.file.is_file())
    predict = {"tagging": fieldmark.tag, "attributes": fieldmark.attributes, "identification": fieldmark.identify}[task]
    (answer,) = predict(run, photo, n_workers=0)
    assert answer.file.name == photo.name

    measures = fieldmark.evaluate(run, truth, n_workers=0, allow_outside=True, skip_broken=True)
    assert measures[0].n > 0

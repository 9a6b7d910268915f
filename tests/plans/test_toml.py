"""Tests that a plan written as TOML is read as the same plan, and that comments explain its stages and settings."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fieldmark.cli.main import main
from fieldmark.core.errors import PlanError
from fieldmark.decisions.specs import LabelThreshold, Preset
from fieldmark.pipeline.plan import Plan, read_plan
from fieldmark.plans.recipe import RECIPES
from fieldmark.plans.toml import about, meanings, plan_toml
from fieldmark.stages.common.train import Train
from fieldmark.stages.identity.rank import Rank
from fieldmark.stages.identity.rerank_pairs import RerankPairs
from fieldmark.stages.labels.threshold import Threshold

SHELF = dict(RECIPES.items())

ALL = [(name, size) for name, made in SHELF.items() for size in made.sizes]
OTHERS = [
    (
        "humpback-siamese",
        {"pair_head_only": True, "keypoints": "superpoint", "keypoint_weights": 'C:\\a "b"\n\x7f.pth'},
    ),
    ("humpback-classify", {"masks": "grabcut", "boxes": "table.fin:0.6,features:0.3,full_frame:0.1", "stripes": 3}),
    ("reidentify", {"landmarks": "trained", "finder_folder": "größe/🐋", "loss": "affinity", "folds": 3}),
    ("reidentify", {"pseudo_label_rounds": 2, "pseudo_label_rule": "agreement", "keypoints": "akaze", "distil": True}),
    ("reidentify", {"trees": True, "trees_trials": 5, "threshold_group": "species", "assignment": "swap_transposed"}),
    ("imet2019", {"thresholds": "published", "soft_f2": True, "pseudo_label_rule": "mean", "schedule": "plateau"}),
    ("imaterialist2017", {"text_columns": "name, text", "leaky_columns": "url", "text_model": "minilm", "trees": True}),
]


def again(plan: Plan, text: str, folder: Path) -> Plan:
    (folder / "plan.toml").write_text(text, encoding="utf-8")
    return read_plan(folder / "plan.toml")


@pytest.mark.parametrize(("name", "size"), ALL)
def test_every_recipe_is_read_as_it_was_written(name: str, size: str, tmp_path: Path) -> None:
    plan = SHELF[name](size=size)
    assert again(plan, plan_toml(plan), tmp_path) == plan


@pytest.mark.parametrize(("name", "settings"), OTHERS, ids=str)
def test_a_recipe_with_settings_is_read_as_it_was_written(
    name: str, settings: dict[str, object], tmp_path: Path
) -> None:
    plan = SHELF[name](**settings)
    assert again(plan, plan_toml(plan), tmp_path) == plan


@pytest.mark.parametrize("name", SHELF)
def test_defaults_shown_as_comments_are_the_defaults(name: str, tmp_path: Path) -> None:
    plan = SHELF[name]()
    text, n = re.subn(r"^# (\w+ = \S.*)$", r"\1", plan_toml(plan), flags=re.MULTILINE)
    assert n > 20
    assert again(plan, text, tmp_path) == plan


def test_a_setting_without_value_is_written_and_read(tmp_path: Path) -> None:
    plan = SHELF["humpback-siamese"](pair_head_only=True)
    assert plan.only(RerankPairs).shortlist is None
    text = plan_toml(plan)
    assert 'shortlist = "null"' in text
    changed = again(plan, text.replace('shortlist = "null"', "shortlist = 7"), tmp_path)
    assert changed.only(RerankPairs).shortlist == 7


def test_names_of_groups_and_small_numbers_survive(tmp_path: Path) -> None:
    plan = SHELF["tags-plain"](size="toy")
    groups = Preset(
        groups={"": LabelThreshold(at=0.5), "a b": LabelThreshold(at=1e-6, most=3), 'c"': LabelThreshold(at=1.0)}
    )
    stages = tuple(
        stage.model_copy(update={"rule": groups}) if isinstance(stage, Threshold) else stage for stage in plan.stages
    )
    changed = plan.model_copy(update={"stages": stages})
    assert again(changed, plan_toml(changed), tmp_path) == changed


def test_every_stage_and_each_of_its_settings_is_explained_once() -> None:
    plan = SHELF["imet2019"]()
    text = plan_toml(plan)
    for stage in plan.stages:
        assert f"{stage.name}: " in text
    flat = re.sub(r"\n# ", " ", text)
    assert about(Train) in flat
    for name, meaning in meanings(Train).items():
        if name not in {"name", "kind"}:
            assert flat.count(meaning) == 1, name
    assert text.count("# warm = ") == 1
    assert max(len(line) for line in text.splitlines() if line.startswith("#")) <= 120


def test_settings_of_base_classes_are_explained() -> None:
    from fieldmark.losses.specs import ArcFace

    for kind, name in ((ArcFace, "warmup"), (Rank, "k")):
        (base,) = [one for one in kind.__mro__[1:] if name in vars(one).get("__annotations__", ())]
        assert meanings(kind)[name] == meanings(base)[name] != ""


def test_the_command_writes_a_plan_that_the_command_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "reidentify", "--size", "toy", "--set", "loss=sphereface", "--toml"]) == 0
    (tmp_path / "mine.toml").write_text(capsys.readouterr().out, encoding="utf-8")
    assert read_plan(tmp_path / "mine.toml") == SHELF["reidentify"](size="toy", loss="sphereface")
    assert main(["plan", "reidentify", "--toml", "--json"]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == "  fix: leave out --json or --toml."


def test_null_is_not_a_valid_name_of_a_plan(tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text('name = "null"\n[[stages]]\nkind = "split"\nfolds = {kind = "plain"}\n')
    with pytest.raises(PlanError, match="mistake"):
        read_plan(tmp_path / "plan.toml")

"""Tests that the plan of each recipe is valid and survives JSON and TOML."""

import json
from pathlib import Path
from typing import Any, get_args

import pytest

from fieldmark.core.errors import PlanError
from fieldmark.pipeline.plan import read_plan
from fieldmark.plans.imet import LOSSES, LossName, imet2019, tags_plain
from fieldmark.plans.recipe import RECIPES
from fieldmark.plans.sizes import Size

SHELF = dict(RECIPES.items())

SIZES = get_args(Size)


def toml(value: Any) -> str:
    """Return JSON values as TOML with inline tables; null is left out, because TOML has no null."""
    if isinstance(value, dict):
        return (
            "{" + ", ".join(f"{json.dumps(name)} = {toml(one)}" for name, one in value.items() if one is not None) + "}"
        )
    if isinstance(value, list):
        return "[" + ", ".join(toml(one) for one in value) + "]"
    return json.dumps(value)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", SHELF)
def test_a_recipe_survives_json(name: str, size: str, tmp_path: Path) -> None:
    plan = SHELF[name](size=size)
    assert plan.name == name
    assert plan.check() is plan
    (tmp_path / "plan.json").write_text(plan.model_dump_json())
    assert read_plan(tmp_path / "plan.json") == plan


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", SHELF)
def test_a_recipe_survives_toml(name: str, size: str, tmp_path: Path) -> None:
    plan = SHELF[name](size=size)
    written = plan.model_dump(mode="json")
    (tmp_path / "plan.toml").write_text(f'name = "{name}"\nstages = {toml(written["stages"])}\n', encoding="utf-8")
    assert read_plan(tmp_path / "plan.toml") == plan


SWITCHES: list[dict[str, Any]] = [
    *({"loss": loss} for loss in get_args(LossName)),
    {"drop_noisy": False},
    {"drop_noisy": False, "hard_negatives": 0.0},
    {"pseudo_labels": False},
    {"finetune_group": ""},
    {"finetune_group": "culture"},
    {"trees": False},
    {"distil": True},
    {"soft_f2": True},
    {"mixup": 0.4},
    {"oversample_rare": False},
    {"networks": 1},
    {"thresholds": "published"},
    {"effort": 0.1},
    {"drop_noisy": False, "hard_negatives": 0.0, "pseudo_labels": False, "finetune_group": "", "trees": False},
]


@pytest.mark.parametrize("switch", SWITCHES, ids=str)
def test_every_switch_of_imet2019_results_in_another_valid_plan(switch: dict[str, Any]) -> None:
    for size in SIZES:
        plan = imet2019(size=size, **switch)
        assert plan.check() is plan
        assert (plan == imet2019(size=size)) == (switch == {"loss": "focal"})


def test_a_step_that_is_off_has_no_stages() -> None:
    def kinds(**switch: Any) -> set[str]:
        return {stage.kind for stage in imet2019(size="toy", **switch).stages}

    steps = {"drop_noisy", "pseudo_label", "stack"}
    assert kinds() == {"split", "train", "score", "threshold", "write_submission"} | steps
    assert "drop_noisy" not in kinds(drop_noisy=False)
    assert "pseudo_label" not in kinds(pseudo_labels=False)
    assert "stack" not in kinds(trees=False)
    assert not any(getattr(stage, "groups", ()) for stage in imet2019(finetune_group="").stages)
    assert {stage.kind for stage in tags_plain().stages} == {"split", "train", "score", "threshold", "write_submission"}


def test_invalid_settings_are_refused() -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"loss": "focall"}, "use loss=focal, bce, asymmetric or combined."),
        ({"size": "tiny"}, "use one of: full, small, toy."),
        ({"networks": 4}, "use networks=3 or less."),
        ({"networks": 0}, "for instance --set networks=1, or leave out networks."),
        ({"size": "toy", "finetune_backbone": True}, "add --size small, or leave out finetune_backbone."),
    ]
    for settings, fix in wrong:
        with pytest.raises(PlanError) as caught:
            imet2019(**settings)
        assert caught.value.fix == fix
    assert set(LOSSES) == set(get_args(LossName))

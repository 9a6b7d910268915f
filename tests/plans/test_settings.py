"""Tests of all settings of all recipes at all sizes: each changes the plan, or its error has a fix that works."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import pytest

from fieldmark.api.recipe_plans import choose
from fieldmark.core.errors import FieldmarkError, PlanError
from fieldmark.pipeline.plan import Plan
from fieldmark.plans.recipe import RECIPES, Recipe, recipe
from fieldmark.plans.settings import GROUPS, Settings, Value, as_typed, described, setting

SHELF = dict(RECIPES.items())

WALK = [(name, size, one) for name, made in SHELF.items() for size in made.sizes for one in made.settings]


@pytest.fixture(autouse=True, scope="module")
def made_once() -> Iterator[None]:
    """Build each plan once: the same recipe, size and settings result in the same plan or the same error."""
    make, found = Recipe._made, {}

    def made(one: Recipe[Any], size: str, settings: Any) -> Plan:
        key = (one, size, settings)
        if key not in found:
            try:
                found[key] = make(one, size, settings)
            except PlanError as error:
                found[key] = error
        if isinstance(found[key], PlanError):
            raise found[key].with_traceback(None)
        return found[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Recipe, "_made", made)
        yield


@cache
def default(name: str, size: str) -> Plan:
    return SHELF[name](size=size)


def plan_or_none(made: Recipe[Any], size: str, given: Mapping[str, Value]) -> Plan | None:
    try:
        return made(size=size, **given)
    except PlanError:
        return None


def error_of(name: str, size: str, settings: Mapping[str, Value]) -> PlanError | None:
    try:
        choose(name, size=size, settings=settings)
    except PlanError as error:
        return error
    return None


def apply_fix(size: str, settings: dict[str, str], fix: str) -> tuple[str, dict[str, str]]:
    """Return the size and settings after a user follows the first part of ``fix``."""
    way = re.split(r", or leave out", fix)[0].rstrip(".")
    found = re.findall(r"--set (\w+)=(\S+)", way) + re.findall(r"\buse (\w+)=([^\s,]+)", way)
    sizes = re.findall(r"--size (\w+)", way)
    settings = settings | dict(found)
    if not found and not sizes:
        named = re.split(r" and | or ", way.removeprefix("leave out "))
        assert way.startswith("leave out "), fix
        for one in named:
            settings.pop(one, None)
    return (sizes or [size])[0], settings


def fixed(name: str, size: str, settings: dict[str, str]) -> Plan:
    """Return the plan after following the fix of every error; no error may occur twice."""
    problems: list[str] = []
    while (error := error_of(name, size, settings)) is not None:
        assert str(error).count("\n") == 2, "problem, got, fix"
        assert error.problem not in problems, f"not fixed: {error}"
        problems.append(error.problem)
        assert len(problems) < 5, problems
        size, settings = apply_fix(size, settings, error.fix)
    return choose(name, size=size, settings=settings)


@pytest.mark.parametrize(("name", "size", "one"), WALK)
def test_a_setting_changes_the_plan_or_is_refused_with_a_fix(name: str, size: str, one: str) -> None:
    same, changed, refused = [], [], []
    for value in SHELF[name].settings[one].others():
        if (error := error_of(name, size, {one: value})) is not None:
            refused.append(value)
            assert one in f"{error.problem} {error.got}"
            assert fixed(name, size, {one: as_typed(value)}).check()
            if ", or leave out" in error.fix:
                assert error.fix.endswith(f", or leave out {one}.")
        else:
            plan = SHELF[name](size=size, **{one: value})
            (changed if plan != default(name, size) else same).append(value)
    assert changed or refused, "no value was tried"
    assert changed or not same, f"{same} are ignored"  # the default of the size may have no effect; other values must


@pytest.mark.parametrize(("name", "one"), dict.fromkeys((name, one) for name, _, one in WALK))
def test_a_setting_has_an_effect_with_the_settings_that_it_needs(name: str, one: str) -> None:
    made = SHELF[name]
    needs = made.settings[one].needs
    beside: dict[str, Value] = {other: wanted[0] for other, wanted in needs.items() if other != "size"}
    if one == "keypoint_weights":
        del beside["keypoints"]
    if one == "finder_folder":
        beside = {"boxes": "trained"}
    found = []
    for size in needs.get("size", made.sizes):
        before = plan_or_none(made, size, beside)
        for value in made.settings[one].others():
            more = {"keypoints": "superpoint"} if one == "keypoint_weights" else {}
            more |= {"keypoint_weights": "sp.pth"} if value == "superpoint" else {}
            plan = plan_or_none(made, size, {**beside, one: value, **more})
            found.append(plan is not None and plan != before)
    assert any(found)


@pytest.mark.parametrize("size", ["toy", "small"])
@pytest.mark.parametrize(
    ("name", "settings", "problem", "fix"),
    [
        ("reidentify", {"margin_by_count": "false", "loss": "softmax"}, "with loss=softmax", "add --set loss=arcface"),
        (
            "reidentify",
            {"margin_warmup": "0.5", "loss": "one_vs_rest"},
            "this loss has no margin",
            "add --set loss=arcface",
        ),
        ("reidentify", {"curriculum": "false", "loss": "arcface"}, "loss=arcface", "loss=one_vs_rest"),
        ("reidentify", {"pseudo_label_min_score": "0.7"}, "with pseudo_label_rounds=0", "--set pseudo_label_rounds=1"),
        (
            "reidentify",
            {"score_by_centroid": "false", "trees": "true"},
            "with trees=true",
            "leave out score_by_centroid or trees.",
        ),
        ("reidentify", {"trees": "true", "keypoints": "sift"}, "with keypoints=sift", "add --set keypoints=none"),
        ("reidentify", {"folds": "3", "validation": "humpback"}, "folds replaces the", "add --set folds=none"),
        ("reidentify", {"epochs": "3", "effort": "2"}, "with effort=2.0", "add --set effort=1.0"),
        (
            "humpback-siamese",
            {"mining_noise": "false", "mining": "batch"},
            "with mining=batch",
            "add --set mining=exact",
        ),
        (
            "humpback-siamese",
            {"pair_head_only": "true", "pair_reranking": "false"},
            "pair_reranking=false",
            "add --set pair_reranking=true",
        ),
        ("imet2019", {"noise_share": "0.1", "drop_noisy": "false"}, "drop_noisy=false", "add --set drop_noisy=true"),
        (
            "imaterialist2017",
            {"text_model": "minilm", "text_columns": ""},
            "with text_columns=",
            "leave out text_model or text_columns.",
        ),
        ("imaterialist2017", {"epochs": "3", "use_photos": "false"}, "trains no network", "leave out epochs."),
        ("imaterialist2017", {"tta": "false", "use_photos": "false"}, "use_photos=false", "add --set use_photos=true"),
    ],
)
def test_a_setting_without_effect_because_of_another_one_is_refused(
    name: str, size: str, settings: dict[str, str], problem: str, fix: str
) -> None:
    with pytest.raises(PlanError) as refused:
        choose(name, size=size, settings=settings)
    assert problem in refused.value.problem
    assert fix in refused.value.fix
    assert fixed(name, size, settings)


def test_a_mask_implies_training_all_layers() -> None:
    with pytest.raises(PlanError, match="'train_all_layers' has no effect with masks=table") as refused:
        choose("humpback-classify", settings={"train_all_layers": "true", "masks": "table"})
    assert refused.value.fix == "leave out train_all_layers or masks."


@pytest.mark.parametrize(
    ("name", "setting", "fix"),
    [
        ("imet2019", {"effort": "0"}, "for instance --set effort=0.5, or leave out effort."),
        ("imet2019", {"folds": "1"}, "for instance --set folds=3, or leave out folds."),
        ("imet2019", {"folds": "2"}, "use folds=3"),
        ("reidentify", {"precision": "fp16"}, "use precision=auto, fp32 or bf16."),
        ("reidentify", {"batch": "32"}, "use batch=33."),
        ("reidentify", {"epochs": "1"}, "use epochs=2."),
        ("reidentify", {"keypoints": "superpoint"}, "add --set keypoint_weights=superpoint_v1.pth"),
        ("reidentify", {"boxes": "table:x"}, "for instance --set boxes=table:0.6,full_frame:0.4."),
        ("reidentify", {"boxes": "tabel"}, "did you mean 'table'?"),
        ("reidentify", {"boxes": "full_frame"}, "use boxes=none."),
        ("reidentify", {"boxes": "none,table"}, "use boxes=table,full_frame."),
        ("reidentify", {"max_fpir": "0.1", "threshold": "0.5"}, "leave out threshold."),
        ("reidentify", {"stripes": "9"}, "use stripes=5."),
        (
            "reidentify",
            {"pseudo_label_rounds": "1", "pseudo_label_rule": "agreement", "head_weight": "0"},
            "leave out head_weight.",
        ),
    ],
    ids=str,
)
def test_an_invalid_value_is_refused_with_a_valid_one(name: str, setting: dict[str, str], fix: str) -> None:
    with pytest.raises(PlanError) as refused:
        choose(name, size="small", settings=setting)
    assert fix in refused.value.fix
    if "did you mean" not in fix:
        assert fixed(name, "small", setting)


def test_the_default_value_of_a_size_is_accepted() -> None:
    for name, given in (
        ("reidentify", {"loss": "one_vs_rest", "height_px": 160}),
        ("imet2019", {"networks": 3, "folds": 5, "batch": 256}),
        ("humpback-siamese", {"mining": "nearest", "boxes": "none"}),
    ):
        assert choose(name, size="small", settings=given) == default(name, "small")


def test_the_size_is_not_a_setting() -> None:
    with pytest.raises(PlanError) as refused:
        choose("imet2019", settings={"size": "toy"})
    assert refused.value.fix == "use --size toy."


def test_every_setting_has_a_group_a_description_and_a_description_of_its_values() -> None:
    for made in SHELF.values():
        groups = [one.group for one in made.settings.values()]
        assert groups == sorted(groups, key=GROUPS.index)
        for one in made.settings.values():
            assert one.about.endswith("."), one.name
            assert one.takes
            assert one.otherwise
            assert one.example is not None, one.name


@pytest.mark.parametrize("one", ["effort", "noise_share", "hard_negatives", "labels_per_photo"])
def test_other_values_are_below_and_above_the_default(one: str) -> None:
    """A phase of one epoch cannot get shorter, so a larger value must be tried as well."""
    info = SHELF["imet2019"].settings[one]
    values = [value for value in info.others() if isinstance(value, float)]
    assert min(values) < info.default < max(values)


class Small(Settings):
    useless: bool = setting("data", False, "Nothing.")
    at: float = setting("decision", 0.5, "A threshold.", ge=0, le=1)
    n: int | None = setting("training", None, "A number.", ge=1, example=2)


def build_small(size: str, settings: Small) -> Plan:
    """Return the default plan of another recipe; one setting has an effect at size small only."""
    plan = default("humpback-nearest", size)
    ranking = plan.stages[-2].model_copy(update={"k": settings.n or 5} if size == "small" else {})
    return plan.model_copy(update={"stages": (*plan.stages[:-2], ranking, plan.stages[-1])})


small_one = Recipe("small-one", Small, build_small, sizes=("toy", "small"), size="toy")


def test_a_setting_that_the_recipe_ignores_is_refused() -> None:
    assert small_one() == default("humpback-nearest", "toy")
    with pytest.raises(PlanError, match="'useless' has no effect here: the plan is the same without it") as refused:
        small_one(useless=True)
    assert refused.value.fix == "leave out useless."
    with pytest.raises(PlanError, match="'n' has no effect at size toy") as refused:
        small_one(n=3)
    assert refused.value.fix == "add --size small, or leave out n."
    assert small_one(size="small", n=3) != default("humpback-nearest", "small")
    assert small_one(size="small", n=5) == default("humpback-nearest", "small")


def test_a_recipe_registered_by_a_user_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RECIPES, "_parts", dict(RECIPES._parts))
    monkeypatch.setattr(build_small, "__module__", "__main__")
    mine = recipe("mine", Small, sizes=("toy", "small"), size="toy")(build_small)
    assert RECIPES.find("mine") is mine
    assert "mine" in RECIPES.names()
    assert choose("mine", size="small", settings={"n": "3"}) == mine(size="small", n=3)
    with pytest.raises(FieldmarkError, match="already a recipe of that name") as refused:
        recipe("imet2019", Small)(build_small)
    assert refused.value.fix == "choose another name for your part."
    assert recipe("mine", Small)(build_small).build is build_small  # a notebook cell runs again


def test_settings_are_described_by_group_with_their_limits() -> None:
    found = described(Small, ("toy",))
    assert list(found) == ["useless", "n", "at"]
    assert [found[one].takes for one in found] == ["true or false", "a whole number at least 1", "a number from 0 to 1"]
    assert [found[one].otherwise for one in found] == ["false", "by size", "0.5"]

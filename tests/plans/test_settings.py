"""All settings of all recipes at all sizes: each changes the plan, or is refused with a cure that works."""

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
    """The same recipe, size and settings give the same plan, or the same refusal, so each is made once."""
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


def tried(made: Recipe[Any], size: str, given: Mapping[str, Value]) -> Plan | None:
    try:
        return made(size=size, **given)
    except PlanError:
        return None


def refusal(name: str, size: str, settings: Mapping[str, Value]) -> PlanError | None:
    try:
        choose(name, size=size, settings=settings)
    except PlanError as error:
        return error
    return None


def typed(size: str, settings: dict[str, str], fix: str) -> tuple[str, dict[str, str]]:
    """Size and settings of a user who types what the first half of ``fix`` tells, or leaves out what it tells."""
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


def cured(name: str, size: str, settings: dict[str, str]) -> Plan:
    """The plan at the end of typing what each refusal tells; none comes twice."""
    told: list[str] = []
    while (error := refusal(name, size, settings)) is not None:
        assert str(error).count("\n") == 2, "problem, got, fix"
        assert error.problem not in told, f"not cured: {error}"
        told.append(error.problem)
        assert len(told) < 5, told
        size, settings = typed(size, settings, error.fix)
    return choose(name, size=size, settings=settings)


@pytest.mark.parametrize(("name", "size", "one"), WALK)
def test_a_setting_changes_the_plan_or_is_refused_with_a_cure(name: str, size: str, one: str) -> None:
    same, changed, refused = [], [], []
    for value in SHELF[name].settings[one].others():
        if (error := refusal(name, size, {one: value})) is not None:
            refused.append(value)
            assert one in f"{error.problem} {error.got}"
            assert cured(name, size, {one: as_typed(value)}).check()
            if ", or leave out" in error.fix:
                assert error.fix.endswith(f", or leave out {one}.")
        else:
            plan = SHELF[name](size=size, **{one: value})
            (changed if plan != default(name, size) else same).append(value)
    assert changed or refused, "nothing was tried"
    assert changed or not same, f"{same} are ignored"  # a value that the size has anyway is no fault; others must count


@pytest.mark.parametrize(("name", "one"), dict.fromkeys((name, one) for name, _, one in WALK))
def test_a_setting_has_an_effect_with_the_settings_that_it_names(name: str, one: str) -> None:
    made = SHELF[name]
    needs = made.settings[one].needs
    beside: dict[str, Value] = {other: wanted[0] for other, wanted in needs.items() if other != "size"}
    if one == "keypoint_weights":
        del beside["keypoints"]
    if one == "finder":
        beside = {"boxes": "trained"}
    found = []
    for size in needs.get("size", made.sizes):
        before = tried(made, size, beside)
        for value in made.settings[one].others():
            more = {"keypoints": "superpoint"} if one == "keypoint_weights" else {}
            more |= {"keypoint_weights": "sp.pth"} if value == "superpoint" else {}
            plan = tried(made, size, {**beside, one: value, **more})
            found.append(plan is not None and plan != before)
    assert any(found)


@pytest.mark.parametrize("size", ["toy", "small"])
@pytest.mark.parametrize(
    ("name", "settings", "told", "fix"),
    [
        ("reidentify", {"by_count": "false", "loss": "softmax"}, "with loss=softmax", "add --set loss=arcface"),
        ("reidentify", {"warmup": "0.5", "loss": "questions"}, "this loss has no margin", "add --set loss=arcface"),
        ("reidentify", {"staged": "false", "loss": "arcface"}, "loss=arcface", "loss=questions"),
        ("reidentify", {"pseudo_label_at": "0.7"}, "with rounds=0", "add --set rounds=1"),
        ("reidentify", {"centroids": "false", "trees": "true"}, "with trees=true", "leave out centroids or trees."),
        ("reidentify", {"trees": "true", "keypoints": "sift"}, "with keypoints=sift", "add --set keypoints=none"),
        ("reidentify", {"folds": "3", "validation": "humpback"}, "folds replace it", "add --set folds=none"),
        ("reidentify", {"epochs": "3", "effort": "2"}, "with effort=2.0", "add --set effort=1.0"),
        ("humpback-siamese", {"noise": "false", "mining": "batch"}, "with mining=batch", "add --set mining=exact"),
        ("humpback-siamese", {"alone": "true", "rescoring": "false"}, "rescoring=false", "add --set rescoring=true"),
        ("imet2019", {"noise_share": "0.1", "drop_noisy": "false"}, "drop_noisy=false", "add --set drop_noisy=true"),
        ("imaterialist2017", {"reader": "minilm", "texts": ""}, "with texts=", "leave out reader or texts."),
        ("imaterialist2017", {"epochs": "3", "pictures": "false"}, "trains no network", "leave out epochs."),
        ("imaterialist2017", {"tta": "false", "pictures": "false"}, "pictures=false", "add --set pictures=true"),
    ],
)
def test_what_another_setting_leaves_without_effect_is_refused(
    name: str, size: str, settings: dict[str, str], told: str, fix: str
) -> None:
    with pytest.raises(PlanError) as refused:
        choose(name, size=size, settings=settings)
    assert told in refused.value.problem
    assert fix in refused.value.fix
    assert cured(name, size, settings)


def test_a_mask_trains_the_whole_network_anyway() -> None:
    with pytest.raises(PlanError, match="'whole' has no effect with masks=table") as refused:
        choose("humpback-classify", settings={"whole": "true", "masks": "table"})
    assert refused.value.fix == "leave out whole or masks."


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
        ("reidentify", {"boxes": "table:x"}, "for instance --set boxes=table:0.6,whole:0.4."),
        ("reidentify", {"boxes": "tabel"}, "did you mean 'table'?"),
        ("reidentify", {"boxes": "whole"}, "use boxes=none."),
        ("reidentify", {"boxes": "none,table"}, "use boxes=table,whole."),
        ("reidentify", {"budget": "0.1", "threshold": "0.5"}, "leave out threshold."),
        ("reidentify", {"stripes": "9"}, "use stripes=5."),
        (
            "reidentify",
            {"rounds": "1", "pseudo_label_rule": "agreement", "logits_weight": "0"},
            "leave out logits_weight.",
        ),
    ],
    ids=str,
)
def test_a_value_that_cannot_be_is_refused_with_one_that_can(name: str, setting: dict[str, str], fix: str) -> None:
    with pytest.raises(PlanError) as refused:
        choose(name, size="small", settings=setting)
    assert fix in refused.value.fix
    if "did you mean" not in fix:
        assert cured(name, "small", setting)


def test_a_value_of_the_size_itself_is_no_fault() -> None:
    for name, given in (
        ("reidentify", {"loss": "questions", "height_px": 160}),
        ("imet2019", {"networks": 3, "folds": 5, "batch": 256}),
        ("humpback-siamese", {"mining": "nearest", "boxes": "none"}),
    ):
        assert choose(name, size="small", settings=given) == default(name, "small")


def test_the_size_is_no_setting() -> None:
    with pytest.raises(PlanError) as refused:
        choose("imet2019", settings={"size": "toy"})
    assert refused.value.fix == "use --size toy."


def test_every_setting_has_a_group_a_description_and_words_for_its_values() -> None:
    for made in SHELF.values():
        groups = [one.group for one in made.settings.values()]
        assert groups == sorted(groups, key=GROUPS.index)
        for one in made.settings.values():
            assert one.about.endswith("."), one.name
            assert one.takes
            assert one.otherwise
            assert one.example is not None, one.name


@pytest.mark.parametrize("one", ["effort", "noise_share", "hard_negatives", "labels_per_photo"])
def test_values_tried_lie_on_both_sides_of_a_number(one: str) -> None:
    """Half the epochs of a phase of one epoch are one epoch again; more of them are more."""
    info = SHELF["imet2019"].settings[one]
    tried_out = [value for value in info.others() if isinstance(value, float)]
    assert min(tried_out) < info.default < max(tried_out)


class Small(Settings):
    useless: bool = setting("data", False, "Nothing.")
    at: float = setting("decision", 0.5, "A threshold.", ge=0, le=1)
    n: int | None = setting("training", None, "A number.", ge=1, example=2)


def build_small(size: str, settings: Small) -> Plan:
    """The default plan of another recipe, with one setting that is used at one size."""
    plan = default("humpback-nearest", size)
    ranking = plan.stages[-2].model_copy(update={"k": settings.n or 5} if size == "small" else {})
    return plan.model_copy(update={"stages": (*plan.stages[:-2], ranking, plan.stages[-1])})


small_one = Recipe("small-one", Small, build_small, sizes=("toy", "small"), size="toy")


def test_a_recipe_that_ignores_a_setting_without_saying_so_refuses_it_all_the_same() -> None:
    assert small_one() == default("humpback-nearest", "toy")
    with pytest.raises(PlanError, match="'useless' has no effect here: the plan is the same without it") as refused:
        small_one(useless=True)
    assert refused.value.fix == "leave out useless."
    with pytest.raises(PlanError, match="'n' has no effect at size toy") as refused:
        small_one(n=3)
    assert refused.value.fix == "add --size small, or leave out n."
    assert small_one(size="small", n=3) != default("humpback-nearest", "small")
    assert small_one(size="small", n=5) == default("humpback-nearest", "small")


def test_a_recipe_of_a_users_own_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
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

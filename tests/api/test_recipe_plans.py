"""Typed words become recipes, settings and plans, or an error with a fix."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fieldmark.api.recipe_plans import choose, pairs, recipes
from fieldmark.core.errors import FieldmarkError, PlanError
from fieldmark.plans.recipe import Recipe
from fieldmark.plans.settings import Value
from fieldmark.stages.common.train import Train


def refused(what: object, **options: object) -> PlanError:
    with pytest.raises(PlanError) as caught:
        choose(what, **options)
    return caught.value


@pytest.mark.usefixtures("one_recipe")
def test_a_recipe_accepts_size_and_settings_as_text(tiny: Callable) -> None:
    plan = choose("tiny", size="small", settings={"flip_identity": "false", "epochs": "3", "lr": "1e-4"})
    assert plan == tiny(size="small", flip_identity=False, epochs=3, lr=1e-4)


@pytest.mark.usefixtures("one_recipe")
def test_a_recipe_accepts_settings_as_values(tiny: Callable) -> None:
    assert choose("tiny", settings={"flip_identity": False, "lr": 1}) == tiny(flip_identity=False, lr=1.0)


@pytest.mark.usefixtures("one_recipe")
def test_unknown_recipe_size_and_setting_name_the_nearest() -> None:
    assert refused("tinny").fix == "did you mean 'tiny'?"
    assert refused("tiny", size="smal").fix == "did you mean 'small'?"
    error = refused("tiny", settings={"flip_identiy": "false"})
    assert error.fix == "did you mean 'flip_identity'?"
    assert error.got == "flip_identiy"


@pytest.mark.usefixtures("one_recipe")
def test_an_invalid_setting_gives_an_error_with_a_valid_value() -> None:
    assert (
        refused("tiny", settings={"flip_identity": "maybe"}).fix
        == "for instance --set flip_identity=true, or leave out flip_identity."
    )
    assert refused("tiny", settings={"epochs": "2.5"}).fix == "for instance --set epochs=1, or leave out epochs."
    assert refused("tiny", settings={"lr": "fast"}).problem == "The setting 'lr' takes a number above 0."
    assert refused("tiny", settings={"epochs": True}).problem == "The setting 'epochs' takes a whole number at least 1."


@pytest.mark.parametrize("suffix", [".json", ".toml"])
def test_a_file_is_read_as_a_plan(tmp_path: Path, suffix: str, tiny: Callable) -> None:
    file = tmp_path / f"mine{suffix}"
    toml = 'name = "mine"\n[[stages]]\nkind = "split"\nfolds = {kind = "plain", n_folds = 3}\n'
    file.write_text(tiny().model_dump_json() if suffix == ".json" else toml)
    plan = choose(file)
    assert plan.name == ("tiny" if suffix == ".json" else "mine")


def test_a_file_accepts_no_settings(tmp_path: Path) -> None:
    error = refused(tmp_path / "mine.toml", size="toy", settings={"lr": "1"})
    assert error.got == "size=toy, lr=1"
    assert "fieldmark recipes" in error.fix


def test_a_run_gives_its_plan(trained: Path, tiny: Callable) -> None:
    assert choose(trained / "run") == tiny()


@pytest.mark.usefixtures("one_recipe")
def test_recipes_list_sizes_and_settings() -> None:
    (one,) = recipes()
    assert (one.name, one.sizes, one.size) == ("tiny", ("toy", "small"), "toy")
    assert one.about == "The smallest plan with every step."
    assert {name: info.default for name, info in one.settings.items()} == {
        "flip_identity": True,
        "epochs": 1,
        "lr": 1e-3,
    }


def test_pairs_are_split_at_the_first_sign() -> None:
    assert pairs(["identity=a=b", "group="], option="--column", example="x=y") == {"identity": "a=b", "group": ""}


@pytest.mark.parametrize("typed", [["whale"], ["=whale"], ["a=1", "a=2"]])
def test_pairs_without_name_or_sign_or_twice_are_refused(typed: list[str]) -> None:
    with pytest.raises(FieldmarkError) as caught:
        pairs(typed, option="--column", example="identity=whale")
    assert caught.value.fix == "type --column identity=whale"


def test_an_optional_setting_accepts_a_value_or_none() -> None:
    (imet,) = [one for one in recipes() if one.name == "imet2019"]
    assert (imet.settings["networks"].default, imet.settings["networks"].kind) == (None, int)
    assert choose("imet2019", settings={"networks": "none"}) == choose("imet2019")
    assert choose("imet2019", settings={"networks": "1"}) == choose("imet2019", settings={"networks": 1})
    error = refused("imet2019", settings={"networks": "few"})
    assert (error.problem, error.fix) == (
        "The setting 'networks' takes a whole number at least 1.",
        "for instance --set networks=1, or leave out networks.",
    )


def test_text_settings_stay_text() -> None:
    (imet,) = recipes("imet2019")
    assert imet.settings["finetune_group"].understood("007") == "007"
    assert imet.settings["finetune_group"].understood("none") == "none"
    assert json.dumps(imet.settings["folds"].understood("007")) == "7"


def defaults(one: Recipe) -> dict[str, Value]:
    return {name: info.default for name, info in one.settings.items()}


def test_every_recipe_has_a_description_and_a_plan_at_every_size() -> None:
    for one in recipes():
        assert one.about.endswith("."), one.name
        assert one.sizes, one.name
        assert one.size in one.sizes, one.name
        for size in one.sizes:
            assert choose(one.name, size=size, settings=defaults(one)).name == one.name


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ({"max_fpir": "5"}, "a number from 0 to 1"),
        ({"head_weight": "-1"}, "a number at least 0"),
        ({"margin_warmup": "nan"}, "takes a number"),
        ({"effort": "inf"}, "takes a number"),
        ({"effort": "-1"}, "above 0"),
        ({"horizontal_flip": "Same"}, "horizontal_flip=other_identity, same_identity or none"),
        ({"loss": "softmx"}, "softmax"),
        ({"width_px": "4128"}, "a whole number from 32 to 4096"),
        ({"loss": "arcface", "sub_centres": "0"}, "a whole number at least 1"),
        ({"validation": "whales"}, "validation=open_set or humpback"),
    ],
    ids=str,
)
def test_an_invalid_value_of_a_setting_is_refused_in_three_lines(setting: dict[str, str], problem: str) -> None:
    """The error is raised before training, and it is not a fault of the program."""
    with pytest.raises(PlanError) as refused:
        choose("reidentify", size="small", settings=setting)
    assert problem in str(refused.value)
    assert refused.value.fix


def test_the_choices_of_a_setting_include_its_default() -> None:
    n_with_choices = 0
    for recipe in recipes():
        for info in recipe.settings.values():
            n_with_choices += bool(info.words)
            assert not info.words or info.default is None or info.default in info.words
    assert n_with_choices > 5


def test_none_is_a_choice_if_it_is_listed() -> None:
    """By default the size of the recipe for pairs decides about boxes; "none" turns them off."""
    none = choose("humpback-siamese", size="full", settings={"boxes": "none"})
    by_default = choose("humpback-siamese", size="full", settings={"boxes": None})
    assert none.only(Train).preprocess.crop.kind == "full"
    assert by_default.only(Train).preprocess.crop.kind == "box"


def test_only_the_estimate_in_a_written_plan_is_ignored(tmp_path: Path, tiny: Callable) -> None:
    plan = tiny()
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({**plan.model_dump(mode="json"), "estimate": {"anything": [1, 2]}}))
    assert choose(file) == plan
    file.write_text(json.dumps({**plan.model_dump(mode="json"), "estimates": {}}))
    assert "estimates" in str(refused(file).got)
    file.write_text("{ broken")
    assert "mistake" in refused(file).problem

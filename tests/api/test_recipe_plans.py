"""What is typed becomes the value that was meant, or an error that says what to type."""

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


@pytest.mark.usefixtures("shelf")
def test_a_recipe_takes_its_size_and_settings_as_typed(tiny: Callable) -> None:
    plan = choose("tiny", size="small", settings={"flip_identity": "false", "epochs": "3", "lr": "1e-4"})
    assert plan == tiny(size="small", flip_identity=False, epochs=3, lr=1e-4)


@pytest.mark.usefixtures("shelf")
def test_settings_may_be_values_as_well(tiny: Callable) -> None:
    assert choose("tiny", settings={"flip_identity": False, "lr": 1}) == tiny(flip_identity=False, lr=1.0)


@pytest.mark.usefixtures("shelf")
def test_unknown_recipe_size_and_setting_name_the_nearest() -> None:
    assert refused("tinny").fix == "did you mean 'tiny'?"
    assert refused("tiny", size="smal").fix == "did you mean 'small'?"
    error = refused("tiny", settings={"flip_identiy": "false"})
    assert error.fix == "did you mean 'flip_identity'?"
    assert error.got == "flip_identiy"


@pytest.mark.usefixtures("shelf")
def test_a_setting_of_the_wrong_kind_shows_one_that_works() -> None:
    assert (
        refused("tiny", settings={"flip_identity": "maybe"}).fix
        == "for instance --set flip_identity=true, or leave out flip_identity."
    )
    assert refused("tiny", settings={"epochs": "2.5"}).fix == "for instance --set epochs=1, or leave out epochs."
    assert refused("tiny", settings={"lr": "fast"}).problem == "The setting 'lr' takes a number above 0."
    assert refused("tiny", settings={"epochs": True}).problem == "The setting 'epochs' takes a whole number at least 1."


@pytest.mark.parametrize("suffix", [".json", ".toml"])
def test_a_file_is_the_plan_it_holds(tmp_path: Path, suffix: str, tiny: Callable) -> None:
    file = tmp_path / f"mine{suffix}"
    toml = 'name = "mine"\n[[stages]]\nverb = "split"\nfolds = {kind = "plain", n_folds = 3}\n'
    file.write_text(tiny().model_dump_json() if suffix == ".json" else toml)
    plan = choose(file)
    assert plan.name == ("tiny" if suffix == ".json" else "mine")


def test_a_file_takes_no_settings(tmp_path: Path) -> None:
    error = refused(tmp_path / "mine.toml", size="toy", settings={"lr": "1"})
    assert error.got == "size=toy, lr=1"
    assert "fieldmark recipes" in error.fix


def test_a_run_is_its_plan(trained: Path, tiny: Callable) -> None:
    assert choose(trained / "run") == tiny()


@pytest.mark.usefixtures("shelf")
def test_the_shelf_tells_sizes_and_settings() -> None:
    (one,) = recipes()
    assert (one.name, one.sizes, one.size) == ("tiny", ("toy", "small"), "toy")
    assert one.about == "The smallest plan that does all there is to do."
    assert {name: info.default for name, info in one.settings.items()} == {
        "flip_identity": True,
        "epochs": 1,
        "lr": 1e-3,
    }


def test_pairs_keep_what_stands_after_the_first_sign() -> None:
    assert pairs(["identity=a=b", "group="], option="--column", example="x=y") == {"identity": "a=b", "group": ""}


@pytest.mark.parametrize("typed", [["whale"], ["=whale"], ["a=1", "a=2"]])
def test_pairs_without_name_or_sign_or_twice_are_refused(typed: list[str]) -> None:
    with pytest.raises(FieldmarkError) as caught:
        pairs(typed, option="--column", example="identity=whale")
    assert caught.value.fix == "--column identity=whale"


def test_a_setting_that_may_be_none_takes_its_own_kind_or_none() -> None:
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


def test_every_recipe_of_the_shelf_says_what_it_is_for_and_makes_a_plan_at_every_size() -> None:
    for one in recipes():
        assert one.about.endswith("."), one.name
        assert one.sizes, one.name
        assert one.size in one.sizes, one.name
        for size in one.sizes:
            assert choose(one.name, size=size, settings=defaults(one)).name == one.name


@pytest.mark.parametrize(
    ("setting", "told"),
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
def test_a_value_that_a_setting_cannot_have_is_refused_in_three_lines(setting: dict[str, str], told: str) -> None:
    """Before anything is trained, and not as a fault of the program."""
    with pytest.raises(PlanError) as refused:
        choose("reidentify", size="small", settings=setting)
    assert told in str(refused.value)
    assert refused.value.fix


def test_the_words_of_settings_hold_their_defaults() -> None:
    with_words = 0
    for recipe in recipes():
        for info in recipe.settings.values():
            with_words += bool(info.words)
            assert not info.words or info.default is None or info.default in info.words
    assert with_words > 5


def test_none_is_a_word_where_it_is_one_of_the_words() -> None:
    """Boxes of the pairs' recipe are by its size where nothing is said; "none" says that there are none."""
    none = choose("humpback-siamese", size="full", settings={"boxes": "none"})
    unsaid = choose("humpback-siamese", size="full", settings={"boxes": None})
    assert none.only(Train).preprocess.crop.kind == "full"
    assert unsaid.only(Train).preprocess.crop.kind == "box"


def test_the_estimate_in_a_written_plan_is_left_out_and_nothing_else_is(tmp_path: Path, tiny: Callable) -> None:
    plan = tiny()
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({**plan.model_dump(mode="json"), "estimate": {"anything": [1, 2]}}))
    assert choose(file) == plan
    file.write_text(json.dumps({**plan.model_dump(mode="json"), "estimates": {}}))
    assert "estimates" in str(refused(file).got)
    file.write_text("{ broken")
    assert "mistake" in refused(file).problem

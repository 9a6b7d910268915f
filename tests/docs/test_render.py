"""Tests that generated tables and pages equal the code, and that every setting is described."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from blocks import HOME, headings, pages
from render import (
    CAPTIONS,
    GENERATED,
    GENERATED_PAGES,
    GROUPED_STAGES,
    LINKS,
    MEANINGS,
    NOTES,
    PARTS,
    SECTIONS,
    bases,
    fields,
    kinds,
    meanings,
    plain,
    schema,
    sections,
    settings,
    updated,
)

from fieldmark.pipeline.plan import Plan
from fieldmark.pipeline.stage import STAGES
from fieldmark.plans.recipe import RECIPES

SHOWN = {name: text for page in pages() for name, text in sections(page.read_text(encoding="utf-8")).items()}
SETTINGS_PAGE, STAGES_PAGE = (HOME / "docs" / "reference" / name for name in ("settings.md", "stages.md"))
STAGE_NAMES = [kind.__name__ for _, kind in STAGES.items()]
TABLES = [*STAGE_NAMES, *(name for part in PARTS for name, _ in part.settings)]


@pytest.mark.parametrize("name", SECTIONS)
def test_generated_tables_are_up_to_date(name: str) -> None:
    """If this fails, run ``python tests/docs/render.py`` and read the difference."""
    assert SHOWN.get(name) == SECTIONS[name]()


@pytest.mark.parametrize("page", GENERATED_PAGES, ids=lambda page: page.name)
def test_generated_pages_are_up_to_date(page: Path) -> None:
    """If this fails, run ``python tests/docs/render.py`` and read the difference."""
    text = page.read_text(encoding="utf-8")
    assert text.splitlines()[0] == GENERATED
    assert text == GENERATED_PAGES[page]()


def test_every_table_between_comments_is_generated() -> None:
    assert set(SHOWN) == {*SECTIONS, "path"}  # tests/api/test_photo_path.py generates "path"


def test_every_class_that_a_plan_may_hold_is_described() -> None:
    page = STAGES_PAGE.read_text(encoding="utf-8")
    for name, each in schema().items():
        kind = each["properties"].get("kind", {}).get("const")
        assert settings(name) in page if name in TABLES else f"| `{kind}` |" in page, name
        assert name in LINKS or name in STAGE_NAMES, name


def test_every_stage_is_on_the_page_once() -> None:
    assert sorted(" ".join(GROUPED_STAGES.values()).split()) == sorted(STAGES.names())
    assert NOTES.keys() <= set(STAGES.names())
    assert CAPTIONS.keys() <= {name for part in PARTS for name, _ in part.settings}


def test_links_of_fields_lead_to_headings() -> None:
    assert {part.anchor for part in PARTS} <= headings(STAGES_PAGE)


def test_every_recipe_and_setting_is_on_the_settings_page() -> None:
    page = SETTINGS_PAGE.read_text(encoding="utf-8")
    for name, made in RECIPES.items():
        assert name in headings(SETTINGS_PAGE)
        for one in made.settings.values():
            assert f"| `{one.name}` |" in page, (name, one.name)


def test_the_schema_of_a_plan_takes_every_stage_by_its_kind() -> None:
    items = Plan.model_json_schema()["properties"]["stages"]["items"]
    assert items["discriminator"] == {"propertyName": "kind"}
    assert [one["properties"]["kind"]["const"] for one in items["oneOf"]] == STAGES.names()
    assert len(STAGES.names()) > 20


def test_fields_that_stages_share_are_described_once_and_come_last() -> None:
    own, shared = ["name", "reads_from", "votes", "reciprocal"], ["on", "unknown", "k", "per_group", "calibration"]
    assert fields("Rank") == [*own, *shared]
    assert bases("Rank")
    assert {field: meanings("Rank")[field] for field in shared} == {
        field: meanings("EnsembleRankings")[field] for field in shared
    }
    assert meanings("Rank")["reads_from"] != meanings("EnsembleRankings")["reads_from"]


@pytest.mark.parametrize("name", TABLES)
def test_every_field_has_a_description(name: str) -> None:
    assert not [field for field in fields(name) if field != "name" and not meanings(name).get(field)]


def test_descriptions_are_of_fields_that_exist() -> None:
    assert all(key.partition(".")[2] in fields(key.partition(".")[0]) for key in MEANINGS)


def test_a_table_has_limits_and_defaults() -> None:
    assert "| `focal` | " in kinds("Focal")
    assert "`gamma`: number at least 0 (`2.0`)" in kinds("Focal")
    assert plain("Furthest same (T4), ``x`` and :class:`Y`\n  here.") == "Furthest same, `x` and `Y` here."


def test_an_update_changes_only_the_generated_tables() -> None:
    page = "before\n<!-- begin packages -->\nold\n<!-- end packages -->\nafter"
    changed = updated(page)
    assert changed.startswith("before\n<!-- begin packages -->\n\n| package |")
    assert changed.endswith("<!-- end packages -->\nafter")
    assert updated(changed) == changed


def test_the_table_of_packages_has_every_package() -> None:
    shown = SHOWN["packages"]
    for path in (HOME / "src" / "fieldmark").glob("*/__init__.py"):
        caption = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        assert f"| `{path.parent.name}` | {' '.join(caption.split())} |" in shown

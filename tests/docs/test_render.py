"""What pages tell of settings, columns and rooms is what the code has."""

from __future__ import annotations

import ast

import pytest
from blocks import HOME, pages
from render import MEANINGS, SECTIONS, fields, kinds, meanings, plain, renewed, schema, sections

from fieldmark.pipeline.plan import Plan
from fieldmark.pipeline.stage import STAGES

SHOWN = {name: text for page in pages() for name, text in sections(page.read_text(encoding="utf-8")).items()}


@pytest.mark.parametrize("name", SECTIONS)
def test_made_tables_are_up_to_date(name: str) -> None:
    """If this fails: ``python tests/docs/render.py`` and look at the difference."""
    assert SHOWN.get(name) == SECTIONS[name]()


def test_no_page_has_a_section_that_unknown_makes() -> None:
    assert set(SHOWN) == {*SECTIONS, "path"}  # which tests/api/test_photo_path.py makes


def test_every_class_that_a_plan_may_hold_is_described() -> None:
    told = " ".join(SHOWN.values())
    for name, each in schema().items():
        kind = each["properties"].get("kind", {}).get("const")
        assert f"| `{kind}` |" in told if kind else f"settings {name}" in SHOWN, name


def test_the_schema_of_a_plan_takes_every_stage_by_its_kind() -> None:
    items = Plan.model_json_schema()["properties"]["stages"]["items"]
    assert items["discriminator"] == {"propertyName": "kind"}
    assert [one["properties"]["kind"]["const"] for one in items["oneOf"]] == STAGES.names()
    assert len(STAGES.names()) > 20


def test_settings_that_stages_share_are_described_once_and_come_last() -> None:
    own, shared = ["name", "reads_from", "votes", "reciprocal"], ["on", "unknown", "k", "per_group", "sure"]
    assert fields("Rank") == [*own, *shared]
    assert {field: meanings("Rank")[field] for field in shared} == {
        field: meanings("EnsembleRankings")[field] for field in shared
    }
    assert meanings("Rank")["reads_from"] != meanings("EnsembleRankings")["reads_from"]


def test_every_setting_has_a_meaning() -> None:
    mute = [
        f"{section.partition(' ')[2]}.{field}"
        for section in SECTIONS
        if section.startswith("settings ")
        for field in fields(section.partition(" ")[2])
        if field != "name" and not meanings(section.partition(" ")[2]).get(field)
    ]
    assert not mute


def test_meanings_are_of_settings_that_exist() -> None:
    assert all(key.partition(".")[2] in fields(key.partition(".")[0]) for key in MEANINGS)


def test_a_table_tells_limits_and_defaults() -> None:
    assert "| `focal` | " in kinds("losses")
    assert "`gamma`: number at least 0 (`2.0`)" in kinds("losses")
    assert plain("Furthest same (T4), ``x`` and :class:`Y`\n  here.") == "Furthest same, `x` and `Y` here."


def test_renewing_changes_only_the_made_parts() -> None:
    page = "before\n<!-- begin rooms -->\nold\n<!-- end rooms -->\nafter"
    made = renewed(page)
    assert made.startswith("before\n<!-- begin rooms -->\n\n| room |")
    assert made.endswith("<!-- end rooms -->\nafter")
    assert renewed(made) == made


def test_the_map_of_rooms_has_every_room() -> None:
    shown = SHOWN["rooms"]
    for path in (HOME / "src" / "fieldmark").glob("*/__init__.py"):
        caption = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        assert f"| `{path.parent.name}` | {' '.join(caption.split())} |" in shown

"""The reference parts of docs/commands.md and docs/api.md are complete; ``test_render.py`` compares their texts."""

from __future__ import annotations

import pytest
from blocks import HOME
from reference import PARTS, first_sentence, signature
from render import sections, updated

import fieldmark


@pytest.mark.parametrize("page", PARTS)
def test_a_page_has_all_generated_parts_and_no_others(page: str) -> None:
    text = (HOME / "docs" / page).read_text(encoding="utf-8")
    assert sorted(sections(text)) == sorted(PARTS[page])
    assert updated(text) == text


@pytest.mark.parametrize("page", PARTS)
def test_a_page_names_the_script_in_its_first_line(page: str) -> None:
    text = (HOME / "docs" / page).read_text(encoding="utf-8")
    assert "`python tests/docs/render.py`" in text.partition("\n")[0]


def test_a_public_name_has_a_signature_and_a_first_sentence() -> None:
    assert signature(fieldmark.plan) == "(what, *, size=None, settings=None)"
    assert first_sentence(fieldmark.relocate) == "Update the photo folders of a run after its photos were moved."

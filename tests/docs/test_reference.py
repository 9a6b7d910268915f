"""The reference parts of docs/commands.md and docs/api.md agree with the code."""

from __future__ import annotations

import pytest
from reference import DOCS, PARTS, first_sentence, part, parts_of, renewed, signature

import fieldmark


@pytest.mark.parametrize(("page", "name"), [(page, name) for page, names in PARTS.items() for name in names])
def test_generated_parts_are_up_to_date(page: str, name: str) -> None:
    """If this fails, run ``python tests/docs/reference.py`` and look at the difference."""
    assert parts_of(page).get(name) == part(name)


@pytest.mark.parametrize("page", PARTS)
def test_a_page_has_all_generated_parts_and_no_others(page: str) -> None:
    assert sorted(parts_of(page)) == sorted(PARTS[page])


@pytest.mark.parametrize("page", PARTS)
def test_a_page_names_the_script_in_its_first_line(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    assert "`python tests/docs/reference.py`" in text.partition("\n")[0]
    assert renewed(text) == text


def test_a_public_name_has_a_signature_and_a_first_sentence() -> None:
    assert signature(fieldmark.plan) == "(what, *, size=None, settings=None)"
    assert first_sentence(fieldmark.relocate) == "Update the photo folders of a run after its photos were moved."

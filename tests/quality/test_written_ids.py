"""Ids written in photos, compared with the names of the table."""

import pytest

from fieldmark.core.errors import FieldmarkError
from fieldmark.quality.leakage.written_ids import letters_and_digits, written_ids

KNOWN = ["w_0a1b2c3", "w_ffffff1", "bo"]


def found(lines: list[list[str]], names: list[str], pattern: str | None = None) -> list[tuple[int, str, str, str]]:
    return [(one.row, one.found, one.name, one.meaning) for one in written_ids(lines, names, KNOWN, pattern=pattern)]


def test_only_letters_and_digits_count() -> None:
    assert letters_and_digits(" w_0A-1b 2c3.") == "W0A1B2C3"
    assert found([["W 0a1b2c3 HWC"]], ["w_0a1b2c3"]) == [(0, "W0A1B2C3", "w_0a1b2c3", "its name")]


def test_ids_are_compared_with_the_name_in_the_table() -> None:
    lines = [["w0a1b2c3"], ["2004", "w ffffff1"], [], ["w_ffffff1"]]
    assert found(lines, ["w_ffffff1", "", "w_ffffff1", "w_ffffff1"]) == [
        (0, "W0A1B2C3", "w_0a1b2c3", "another name"),
        (1, "WFFFFFF1", "w_ffffff1", "a name"),
        (3, "WFFFFFF1", "w_ffffff1", "its name"),
    ]


def test_ids_that_are_not_names_are_found_by_pattern_once_per_photo() -> None:
    lines = [["HWC 034", "hwc-034"], ["HWC 03"]]
    assert found(lines, ["bo", "bo"], pattern="HWC[0-9]{3}") == [(0, "HWC034", "", "an id")]
    assert found(lines, ["bo", "bo"]) == []


def test_short_names_are_not_searched() -> None:
    assert found([["A BOAT"]], ["bo"]) == []


def test_a_pattern_that_matches_empty_text_finds_nothing() -> None:
    assert found([["HWC"]], [""], pattern="[0-9]*") == []


def test_an_invalid_pattern_is_rejected() -> None:
    with pytest.raises(FieldmarkError) as caught:
        found([], [], pattern="HWC[")
    assert "HWC[0-9]{3}" in caught.value.fix

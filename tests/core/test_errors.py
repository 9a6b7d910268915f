from __future__ import annotations

from fieldmark.core.errors import FieldmarkError, nearest, several


def test_an_error_is_three_lines_with_further_values_indented() -> None:
    error = FieldmarkError("Two files are missing.", got=several(["a.jpg", "b.jpg"]), fix="check the folder.")
    assert str(error) == "Two files are missing.\n  got: a.jpg\n       b.jpg\n  fix: check the folder."


def test_several_counts_the_omitted_values() -> None:
    assert several([1, 2, 3, 4], most=2) == "1\n2\n... and 2 more (4 in all)"
    assert several([1, 2], most=2) == "1\n2"


def test_nearest_suggests_a_similar_name_or_lists_all() -> None:
    assert nearest("humpbak", ["humpback", "imet"]) == "did you mean 'humpback'?"
    assert nearest("zzz", ["b", "a"]) == "use one of: a, b."

"""Names that may be typing mistakes."""

from __future__ import annotations

import pytest

from fieldmark.quality.odd_names import NO_NAMES, odd_names, plain


@pytest.mark.parametrize("other", ["w_1 ", " w_1", "W_1", "w_1\u00a0", "w\uff3f1", "w_1\t"])
def test_spelling_variants_are_listed_with_the_more_frequent_name(other: str) -> None:
    (found,) = odd_names({"w_1": 3, other: 2, "w_2": 1, "w_11": 1})
    assert (found.name, found.n_photos, found.other, found.n_other) == (other, 2, "w_1", 3)
    (found,) = odd_names({"w_1": 2, other: 3})
    assert (found.name, found.other) == ("w_1", other)


@pytest.mark.parametrize("word", ["NaN", "None", "null", " ", "-", "N/A", "?"])
def test_words_that_mean_no_name(word: str) -> None:
    assert plain(word) in NO_NAMES
    assert [(one.name, one.other, one.n_photos) for one in odd_names({word: 4, "w": 1})] == [(word, None, 4)]


def test_other_differences_are_ignored() -> None:
    assert odd_names({"w_1": 1, "w_10": 1, "w-1": 1, "w 1": 1, "Nana": 1, "nullarbor": 2}) == []

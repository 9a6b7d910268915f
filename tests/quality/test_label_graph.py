"""Relations between label names: hand-made names, brute force, and the labels of iMet 2019."""

from __future__ import annotations

import itertools
import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.data.reading import read
from fieldmark.quality.labels.label_graph import implied, inspect_labels

NAMES = ("tag::bow and arrow", "tag::bows", "tag::arrows", "c::french or swiss", "c::french", "c::swiss", "c::arrows")


def slow_levenshtein(one: str, other: str) -> int:
    """Return the Levenshtein distance by its definition."""

    @cache
    def edits(m: int, n: int) -> int:
        if not m or not n:
            return m + n
        return min(edits(m - 1, n) + 1, edits(m, n - 1) + 1, edits(m - 1, n - 1) + (one[m - 1] != other[n - 1]))

    return edits(len(one), len(other))


@settings(max_examples=80, deadline=None)
@given(st.text("abc", min_size=1, max_size=7), st.text("abc", min_size=1, max_size=7))
def test_similarity_of_names_equals_the_definition(one, other):
    found = inspect_labels([one, other], np.ones((1, 2)), ratio=1e-6).similar
    wanted = 1 - slow_levenshtein(one, other) / max(len(one), len(other))
    assert [each.ratio for each in found] == ([wanted] if wanted > 0 else [])


def test_names_with_and_or_imply_their_sides_within_the_group():
    truth = np.zeros((4, 7), dtype=bool)
    truth[:3, 0] = True
    truth[0, 1] = True
    truth[3, 3] = True
    found = inspect_labels(NAMES, truth).implications
    assert [(each.label, each.implied, each.rule, each.n, each.n_missing) for each in found] == [
        ("tag::bow and arrow", "tag::arrows", "and", 3, 3),
        ("tag::bow and arrow", "tag::bows", "and", 3, 2),
        ("c::french or swiss", "c::french", "or", 1, 1),
        ("c::french or swiss", "c::swiss", "or", 1, 1),
    ]
    assert [each.n_kept for each in found] == [0, 1, 0, 0]


def test_a_name_within_a_name_is_the_more_general_one():
    names = ("north indian", "Indian", "indianapolis", "horse riding", "horses", "riding")
    found = {(each.label, each.implied, each.rule) for each in inspect_labels(names, np.zeros((1, 6))).implications}
    assert found == {
        ("north indian", "Indian", "contains"),
        ("horse riding", "horses", "contains"),
        ("horse riding", "riding", "contains"),
    }


def test_indirectly_implied_labels_are_added():
    names = ("a and b", "a", "b", "big a", "big a and b")
    truth = np.zeros((2, 5), dtype=bool)
    truth[0, 4] = True
    graph = inspect_labels(names, truth)
    assert implied(truth, graph).tolist() == [[False, False, True, True, True], [False] * 5]
    assert implied(truth, graph, rules=("and", "or", "contains"))[0].tolist() == [False, True, True, True, True]
    assert truth.sum() == 1


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text("abcd", min_size=1, max_size=6), min_size=2, max_size=9, unique=True), st.floats(0.3, 1))
def test_similar_names_are_all_found(names, ratio):
    found = {
        frozenset((each.first, each.second))
        for each in inspect_labels(names, np.ones((1, len(names))), ratio=ratio).similar
    }
    wanted = {
        frozenset(pair)
        for pair in itertools.combinations(names, 2)
        if 1 - slow_levenshtein(*pair) / max(map(len, pair)) >= ratio
    }
    assert found == wanted


def test_similar_names_have_counts_with_the_more_frequent_first():
    truth = np.array([[1, 1, 0], [0, 1, 1], [0, 1, 0]])
    (each,) = inspect_labels(["t::tables", "t::tablets", "u::tables"], truth).similar
    assert (each.first, each.second, each.n_first, each.n_second, each.n_both) == ("t::tablets", "t::tables", 3, 1, 1)
    assert each.ratio == pytest.approx(6 / 7)


def test_labels_that_never_occur_together_are_listed_if_expected_by_chance():
    truth = np.zeros((100, 4), dtype=bool)
    truth[:50, 0] = truth[50:, 1] = truth[::2, 2] = truth[:3, 3] = True
    (each,) = inspect_labels(["g::a", "g::b", "g::c", "g::rare"], truth).exclusive
    assert ({each.first, each.second}, each.expected) == ({"g::a", "g::b"}, 25)
    assert inspect_labels(["g::a", "h::b", "g::c", "g::rare"], truth).exclusive == ()


def test_refusals():
    with pytest.raises(ShapeError) as caught:
        inspect_labels(["a"], np.zeros((1, 2)))
    assert "vocabulary.tags" in caught.value.fix
    with pytest.raises(FieldmarkError) as ratio:
        inspect_labels(["a"], np.zeros((1, 1)), ratio=0)
    assert "0.8" in ratio.value.fix
    with pytest.raises(FieldmarkError) as soft:
        inspect_labels(["a"], np.full((1, 1), 0.5))
    assert "soft targets" in soft.value.fix
    with pytest.raises(ShapeError) as other:
        implied(np.zeros((1, 2)), inspect_labels(["a"], np.zeros((1, 1))))
    assert "inspect_labels()" in other.value.fix


@pytest.mark.real
def test_imet_2019():
    folder = Path(os.environ.get("FIELDMARK_DATA", Path(__file__).parents[3] / "shared" / "data")) / "meta_imet2019"
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set FIELDMARK_DATA")
    collection = read(folder, check_files=False).take(np.arange(0, 109_237, 10))
    graph = inspect_labels(collection.vocabulary.tags, collection.truth)
    joined = [each for each in graph.implications if each.rule == "or"]
    assert len(joined) == 34
    # The annotators used "french or swiss" as a separate label: its two sides are almost never given as well.
    assert sum(each.n_kept for each in joined) < 0.01 * sum(each.n for each in joined)
    pairs = [{each.first, each.second} for each in graph.similar]
    assert {"culture::northern italian", "culture::north italian"} in pairs
    assert graph.exclusive[0].first == "culture::french"

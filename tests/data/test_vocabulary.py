"""Conversion of names to columns and back, for every string that a user may type."""

import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldmark.core.errors import DataError
from fieldmark.data.vocabulary import Vocabulary, default_unknown
from naughty_strings import NAUGHTY

NAMES = st.text(st.characters(codec="utf-8"), max_size=12)


def museum() -> Vocabulary:
    return Vocabulary.of(
        identities=["w_2", "new_whale", "w_1", "w_2"],
        unknown="new_whale",
        tags=["tag::dog", "culture::french", "tag::cat", "loose"],
        questions={"colour": ["red", "blue"], "sole": ["flat", "red"]},
    )


def test_identities_are_sorted_and_the_label_of_unknowns_is_not_a_class() -> None:
    assert museum().identities == ("w_1", "w_2")
    assert museum().classes(["w_2", "new_whale", None, "w_1"]).tolist() == [1, -1, -2, 0]
    assert [museum().identity(column) for column in (1, -1, 0)] == ["w_2", "new_whale", "w_1"]


def test_tags_keep_their_order_and_are_grouped_by_the_text_before_the_mark() -> None:
    assert museum().groups == {"tag": (0, 2), "culture": (1,), "": (3,)}
    truth = museum().truth([["tag::cat", "loose"], None, []])
    assert truth.tolist() == [[0, 0, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert truth.dtype == np.float32


def test_groups_may_come_from_a_table() -> None:
    vocabulary = Vocabulary.of(tags=["a", "b"], tag_groups={"a": "x", "b": "y"})
    assert vocabulary.groups == {"x": (0,), "y": (1,)}
    with pytest.raises(DataError) as caught:
        Vocabulary.of(tags=["a", "b"], tag_groups={"a": "x"})
    assert caught.value.fix == "give a group for every tag, or for none."


def test_an_answer_may_belong_to_two_questions_and_a_photo_may_have_two() -> None:
    vocabulary = museum()
    assert vocabulary.answers("colour", [["red"], None, ["blue", "red"]]).tolist() == [[1, 0], [0, 0], [1, 1]]
    assert vocabulary.answers("sole", [["red"]]).tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ("ask", "fix"),
    [
        (lambda v: v.classes(["w_1", "w_3x"]), "use one of: new_whale, w_1, w_2."),
        (lambda v: v.classes(["w__2"]), "did you mean 'w_2'?"),
        (lambda v: v.truth([["tag::dgo"]]), "did you mean 'tag::dog'?"),
        (lambda v: v.answers("color", [["red"]]), "did you mean 'colour'?"),
        (lambda v: v.answers("colour", [["bleu"]]), "did you mean 'blue'?"),
        (lambda v: v.identity(2), "use a class from 0 to 1."),
        (lambda v: Vocabulary.of(tags=["a", "a"]), "give each name once."),
        (lambda v: Vocabulary(identities=("a",), unknown="a"), "remove it from identities; it is not a class."),
        (lambda v: Vocabulary(tags=("a",)), "give tag_groups as many entries as tags; '' means no group."),
        (
            lambda v: Vocabulary.from_json("{"),
            "read the table again and write the collection; this writes a new vocabulary.json.",
        ),
        (
            lambda v: Vocabulary.from_json('{"tagz": []}'),
            "read the table again and write the collection; this writes a new vocabulary.json.",
        ),
        (lambda v: Vocabulary().classes(["x"]), "use a table with at least one identity."),
    ],
)
def test_refusals_say_what_to_do(ask, fix) -> None:
    with pytest.raises(DataError) as caught:
        ask(museum())
    assert caught.value.fix == fix


@pytest.mark.parametrize(
    ("identities", "usual", "label"),
    [
        (["a"], "new_individual", "new_individual"),
        (["a"], "new_whale", "new_whale"),
        (["a", "new_whale"], "new_whale", "new_individual"),
        (["NEW_INDIVIDUAL ", "New_whale"], "new_whale", "new_individual_2"),
        (["new_individual", "new_individual_2", "new_individual_3"], "new_individual", "new_individual_4"),
    ],
)
def test_the_default_label_of_unknown_individuals_is_no_identity(identities, usual, label) -> None:
    assert default_unknown(identities, usual) == label


@given(st.lists(NAMES | st.sampled_from(["new_individual", "new_individual_2", "NEW_WHALE"])))
def test_no_vocabulary_is_without_a_label_of_unknown_individuals(identities) -> None:
    for unknown in (None, ""):
        vocabulary = Vocabulary.of(identities=identities, unknown=unknown)
        assert set(vocabulary.identities) == set(identities) - {unknown}
        assert vocabulary.unknown.casefold() not in {name.strip().casefold() for name in identities}
        assert vocabulary.unknown.split() == [vocabulary.unknown]
        assert vocabulary.identity(-1) == vocabulary.unknown
        assert vocabulary.classes([vocabulary.unknown]).tolist() == [-1]
        assert vocabulary.has_default_unknown
        assert Vocabulary.from_json(vocabulary.to_json()) == vocabulary


def test_a_file_of_an_earlier_version_without_the_label_gets_it() -> None:
    assert (
        Vocabulary.from_json('{"identities": ["a", "new_individual"], "unknown": null}').unknown == "new_individual_2"
    )
    assert Vocabulary.from_json('{"identities": ["a"]}').unknown == "new_individual"
    assert not museum().model_copy(update={"unknown": "unidentified"}).has_default_unknown


def test_among_very_many_names_the_hint_does_not_list_all() -> None:
    vocabulary = Vocabulary.of(identities=[f"w_{number:05}" for number in range(5004)])
    with pytest.raises(DataError) as caught:
        vocabulary.classes(["zebra"])
    assert caught.value.fix == "use one of the 5004 known names, such as 'w_00000', 'w_00001', 'w_00002'."


@settings(max_examples=20, deadline=None)
@given(st.sets(NAMES), st.lists(NAMES, unique=True), st.dictionaries(NAMES, st.lists(NAMES, unique=True), max_size=3))
def test_json_round_trip_is_exact(identities, tags, questions) -> None:
    vocabulary = Vocabulary.of(identities=identities, unknown="new_whale", tags=tags, questions=questions)
    again = Vocabulary.from_json(vocabulary.to_json())
    assert again == vocabulary
    assert again.fingerprint() == vocabulary.fingerprint()
    names = list(again.identities)
    assert again.classes(names).tolist() == list(range(len(names)))
    json.loads(vocabulary.to_json())


def test_naughty_strings_are_names_like_any_other() -> None:
    naughty = sorted(set(NAUGHTY))
    vocabulary = Vocabulary.of(identities=naughty, tags=naughty)
    again = Vocabulary.from_json(vocabulary.to_json())
    assert again == vocabulary
    truth = again.truth(pl.Series([[name] for name in naughty]))
    assert (truth == np.eye(len(naughty))).all()

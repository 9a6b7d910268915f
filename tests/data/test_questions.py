"""Questions of a table: definition in a small TOML file, with their relations."""

from __future__ import annotations

import polars as pl
import pytest

from fieldmark.core.errors import DataError
from fieldmark.data.collection import Collection
from fieldmark.data.questions import QuestionEntry, questions_of, read_questions
from fieldmark.data.reading import read
from fieldmark.data.vocabulary import Applies, Question, Vocabulary

TOML = """
[[questions]]
name = "kind"
answers = ["shoe", "dress"]

[[questions]]
name = "heel"
applies = { kind = ["shoe"] }

[[questions]]
name = "model"
below = "kind"
"""
TABLE = "image,kind,heel,model\na.jpg,shoe,flat|wedge,clog\nb.jpg,dress,,gown\nc.jpg,dress,,\nd.jpg,shoe,high,clog\n"


@pytest.fixture
def shop(tmp_path):
    (tmp_path / "labels.csv").write_text(TABLE)
    (tmp_path / "questions.toml").write_text(TOML)
    return tmp_path


def test_a_file_in_the_folder_of_the_table_defines_the_relations_of_questions(shop):
    photos = read(shop / "labels.csv", check_files=False)
    kind, heel, model = photos.vocabulary.questions
    assert kind.answers == ("shoe", "dress")
    assert heel == Question(
        name="heel", answers=("flat", "high", "wedge"), applies=Applies(question="kind", answers=("shoe",))
    )
    assert model.below == "kind"
    assert model.parents == (("shoe",), ("dress",))
    assert photos.has_answer.tolist() == [
        [True, True, True],
        [True, False, True],
        [True, False, False],
        [True, True, True],
    ]


def test_new_photos_need_no_answers(shop):
    (shop / "new.csv").write_text("image\nx.jpg\n")
    assert read(shop / "new.csv", labelled=False, check_files=False).vocabulary.questions == ()


def test_every_answer_becomes_a_label_in_the_group_of_its_question(shop):
    labels = read(shop / "labels.csv", check_files=False).answering()
    assert labels.vocabulary.tags == labels.vocabulary.answer_names
    assert labels.vocabulary.tags[:3] == ("kind::shoe", "kind::dress", "heel::flat")
    assert labels.vocabulary.groups == {"kind": (0, 1), "heel": (2, 3, 4), "model": (5, 6)}
    assert labels.table["labels"].to_list()[0] == ["kind::shoe", "heel::flat", "heel::wedge", "model::clog"]
    assert labels.truth.sum(axis=1).tolist() == [4, 2, 1, 3]
    assert labels.answering().table.equals(labels.table)


def test_a_vocabulary_with_relations_survives_json(shop):
    vocabulary = read(shop / "labels.csv", check_files=False).vocabulary
    assert Vocabulary.from_json(vocabulary.to_json()) == vocabulary


def test_an_answer_that_is_not_listed_is_refused():
    table = pl.DataFrame({"kind": [["shoe"], ["dres"]]})
    with pytest.raises(DataError, match="kind") as refusal:
        questions_of(table, [QuestionEntry(name="kind", answers=("shoe", "dress"))])
    assert "did you mean 'dress'" in refusal.value.fix


def test_an_answer_that_never_occurs_may_have_any_parent():
    table = pl.DataFrame({"kind": [["shoe"]], "model": [["clog"]]})
    entries = [
        QuestionEntry(name="kind", answers=("shoe", "dress")),
        QuestionEntry(name="model", answers=("clog", "gown"), below="kind"),
    ]
    assert questions_of(table, entries)[1].parents == (("shoe",), ("shoe", "dress"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[[questions]]\nname = "a"\nbelow = "b"\n[[questions]]\nname = "b"\n', "depends on 'b'"),
        ('[[questions]]\nname = "a"\n[[questions]]\nname = "a"\n', "occurs twice"),
        ('[[questions]]\nname = "a"\nkolour = 1\n', "kolour"),
        ("not toml [", "cannot be read"),
    ],
)
def test_bad_files_are_refused(tmp_path, text, message):
    path = tmp_path / "questions.toml"
    path.write_text(text)
    with pytest.raises(DataError) as refusal:
        read_questions(path)
    assert message in str(refusal.value)


def test_a_column_that_is_not_there_is_refused(shop):
    with pytest.raises(DataError) as refusal:
        read(shop / "labels.csv", questions=["kidn"], check_files=False)
    assert "did you mean 'kind'" in str(refusal.value)


def test_relations_to_later_questions_are_refused():
    with pytest.raises(DataError, match="relations between questions") as refusal:
        Vocabulary.of(
            questions=[
                Question(name="heel", answers=("flat",), applies=Applies(question="kind", answers=("shoe",))),
                Question(name="kind", answers=("shoe",)),
            ]
        )
    assert "earlier questions" in refusal.value.fix


def test_an_empty_file_name_marks_a_missing_photo():
    photos = Collection.of({"image": ["a", "b"], "file": ["a.jpg", ""]}, root=".")
    assert photos.present.tolist() == [True, False]

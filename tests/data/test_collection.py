"""Collections: conversion to arrays, selection of rows, fingerprints, writing and reading."""

import datetime as dt
import hashlib
import json
import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldmark.core.errors import DataError
from fieldmark.data.collection import Collection
from fieldmark.data.vocabulary import Vocabulary
from naughty_strings import NAUGHTY


def whales(tmp_path, **columns) -> Collection:
    frame = {
        "image": ["007", "8", "9", "10"],
        "file": ["a.jpg", "b.jpg", "c.jpg", "d.jpg"],
        "identity": ["w_2", "new_whale", "w_1", None],
        "group": ["x", None, "x", None],
    }
    return Collection.of(frame | columns, root=tmp_path, name="whales")


def test_columns_become_arrays(tmp_path) -> None:
    collection = whales(
        tmp_path,
        labels=[["tag::a"], ["tag::b", "tag::a"], None, []],
        date=["2019-01-02", None, "2019-01-03", "2020-12-31"],
        box_x=[1, None, 2, 3],
        box_y=[1.5, None, 2, 3],
        box_w=[10, None, 2, 3],
        box_h=[10, None, 2, 3],
        width=[100.0, 100, 100, None],
        encounter=[1, 2, 3, 4],
    )
    assert len(collection) == 4
    assert collection.images == ["007", "8", "9", "10"]
    assert collection.paths[0] == tmp_path / "a.jpg"
    assert collection.classes.tolist() == [1, -1, 0, -2]
    assert collection.truth.tolist() == [[1, 0], [1, 1], [0, 0], [0, 0]]
    groups = collection.groups.tolist()
    assert groups[0] == groups[2]
    assert len(set(groups)) == 3
    assert collection.dates[2] == np.datetime64("2019-01-03")
    assert np.isnat(collection.dates[1])
    assert collection.boxes.dtype == np.float32
    assert collection.boxes[0].tolist() == [1, 1.5, 10, 10]
    assert np.isnan(collection.boxes[1]).all()
    assert collection.table["width"].to_list() == [100, 100, 100, None]
    assert collection.table["encounter"].to_list() == ["1", "2", "3", "4"]


def test_without_those_columns_there_are_no_boxes_dates_or_identities(tmp_path) -> None:
    plain = Collection.of({"image": ["1", "2"]}, root=tmp_path)
    assert plain.boxes is None
    assert plain.dates is None
    assert plain.classes.tolist() == [-2, -2]
    assert plain.truth.shape == (2, 0)
    assert len(set(plain.groups.tolist())) == 2
    assert plain.paths == [tmp_path / "1", tmp_path / "2"]


def test_shared_arrays_cannot_be_written(tmp_path) -> None:
    with pytest.raises(ValueError, match="read-only"):
        whales(tmp_path).classes[0] = 5


def test_take_keeps_the_vocabulary_so_classes_mean_the_same(tmp_path) -> None:
    collection = whales(tmp_path)
    assert collection.take([2, 0]).images == ["9", "007"]
    assert collection.take([2, 0]).classes.tolist() == [0, 1]
    assert collection.take(np.array([True, False, False, True])).images == ["007", "10"]
    assert len(collection.take([])) == 0
    with pytest.raises(DataError) as caught:
        collection.take(np.array([True]))
    assert caught.value.fix == "pass a mask with one value per photo, or row numbers."


def test_questions_have_one_column_each(tmp_path) -> None:
    frame = {"image": ["1", "2"], "gender": ["men", None], "colours": [["red", "blue"], ["blue"]]}
    collection = Collection.of(frame, root=tmp_path, questions=["gender", "colours"])
    assert collection.answers("gender").tolist() == [[1], [0]]
    assert collection.answers("colours").tolist() == [[1, 1], [1, 0]]
    with pytest.raises(DataError) as caught:
        collection.answers("colour")
    assert caught.value.fix == "did you mean 'colours'?"


def test_grouping_by_another_column(tmp_path) -> None:
    collection = whales(tmp_path, dup_group=[5, 5, 6, None]).with_group("dup_group")
    groups = collection.groups.tolist()
    assert groups[0] == groups[1] != groups[2] != groups[3]
    with pytest.raises(DataError) as caught:
        collection.with_group("dupgroup")
    assert caught.value.fix == "did you mean 'dup_group'?"


def test_a_group_may_have_any_name(tmp_path) -> None:
    groups = whales(tmp_path, group=["photo 1", None, "1", "group 1"]).groups
    assert len(set(groups.tolist())) == 4


def test_under_a_trained_vocabulary_new_individuals_are_unknowns(tmp_path) -> None:
    trained = Vocabulary.of(identities=["w_2", "w_9"], unknown="new_whale")
    assert whales(tmp_path).under(trained).classes.tolist() == [0, -1, -1, -2]
    closed = Vocabulary.of(identities=["w_2"])
    assert whales(tmp_path).under(closed).table["identity"].to_list()[1:3] == [closed.unknown] * 2
    assert whales(tmp_path).under(closed).classes.tolist() == [0, -1, -1, -2]


class FakePandas:
    """A stand-in for a pandas frame: ``columns`` and columns with ``tolist``; integers with nan are floats."""

    def __init__(self, columns: dict[str, list]) -> None:
        self._columns = columns
        self.columns = list(columns)

    def __getitem__(self, name: str) -> np.ndarray:
        return np.array(self._columns[name], dtype=object)


def test_pandas_frames_are_converted(tmp_path) -> None:
    frame = FakePandas(
        {"image": ["01", "02"], "identity": ["w", math.nan], "group": [7969.0, math.nan], "width": [5, 6]}
    )
    collection = Collection.of(frame, root=tmp_path)
    assert collection.images == ["01", "02"]
    assert collection.classes.tolist() == [0, -2]
    assert collection.table["group"].to_list() == ["7969", None]
    with pytest.raises(DataError) as caught:
        Collection.of(7, root=tmp_path)
    assert caught.value.fix.startswith("pass a polars or pandas frame")


@pytest.mark.parametrize(
    ("frame", "options", "fix"),
    [
        ({"who": ["a"]}, {}, "add or rename columns; the table has who."),
        ({"image": ["1", "1"]}, {}, "give every row a unique image id."),
        ({"image": ["1", None]}, {}, "give every row a unique image id."),
        ({"image": ["1"], "width": ["wide"]}, {}, "convert it to Int32, or remove the column."),
        ({"image": ["1"], "date": ["yesterday"]}, {}, "convert it to Date, or remove the column."),
        ({"image": ["1"], "gender": ["f"]}, {"questions": ["gendre"]}, "did you mean 'gender'?"),
        ({"image": ["1"], "text": ["f"]}, {"questions": ["text"]}, "rename the column of that question."),
        ({"image": ["1"], "identity": ["x"]}, {"vocabulary": Vocabulary.of(identities=["xx"])}, "did you mean 'xx'?"),
        (
            {"image": ["1", "2"], "identity": ["unknown", "new_whale"]},
            {},
            "choose one, for example unknown='new_whale', or use one label in the whole table.",
        ),
    ],
)
def test_refusals_say_what_to_do(tmp_path, frame, options, fix) -> None:
    with pytest.raises(DataError) as caught:
        Collection.of(frame, root=tmp_path, **options)
    assert caught.value.fix == fix


@pytest.mark.parametrize("word", ["new_whale", "Unknown", "new_individual"])
def test_the_unknown_identity_is_recognised(tmp_path, word) -> None:
    collection = Collection.of({"image": ["1", "2"], "identity": [word, "w"]}, root=tmp_path)
    assert collection.vocabulary.unknown == word
    assert collection.classes.tolist() == [-1, 0]
    without_unknown = Collection.of({"image": ["1", "2"], "identity": [word, "w"]}, root=tmp_path, unknown=None)
    assert (without_unknown.classes >= 0).all()


def test_a_written_collection_reads_back_equal(tmp_path) -> None:
    collection = whales(tmp_path, labels=[["a"], [], None, ["b", "c"]], date=[dt.date(2020, 1, 2), None, None, None])
    collection.write(tmp_path / "out")
    again = Collection.open(tmp_path / "out")
    assert again.table.equals(collection.table, null_equal=True)
    assert again.table.schema == collection.table.schema
    assert again.vocabulary == collection.vocabulary
    assert (again.root, again.name) == (tmp_path, "whales")
    assert Collection.open(tmp_path / "out", root="/elsewhere").paths[0].as_posix() == "/elsewhere/a.jpg"


@pytest.mark.parametrize("damage", ["collection.parquet", "vocabulary.json", "collection.json"])
def test_a_damaged_folder_is_refused(tmp_path, damage) -> None:
    whales(tmp_path).write(tmp_path)
    (tmp_path / damage).write_bytes((tmp_path / damage).read_bytes()[:20])
    with pytest.raises(DataError) as caught:
        Collection.open(tmp_path)
    assert "vocabulary.json" in caught.value.fix
    (tmp_path / damage).unlink()
    with pytest.raises(DataError):
        Collection.open(tmp_path)


def test_naughty_strings_round_trip_as_ids_and_labels(tmp_path) -> None:
    naughty = sorted(set(NAUGHTY))
    assert len(NAUGHTY) == 485
    frame = {"image": naughty, "identity": naughty, "labels": [[name, f"tag::{name}"] for name in naughty]}
    collection = Collection.of(frame, root=tmp_path, unknown=None)
    collection.write(tmp_path)
    again = Collection.open(tmp_path)
    assert again.images == naughty
    assert again.table.equals(collection.table)
    assert [again.vocabulary.identity(column) for column in again.classes.tolist()] == naughty
    assert (again.truth.sum(axis=1) == 2).all()


CELL = st.one_of(st.none(), st.text(st.characters(codec="utf-8"), max_size=6))


@settings(max_examples=30, deadline=None)
@given(rows=st.lists(st.tuples(CELL, CELL, st.lists(st.text(st.characters(codec="utf-8"), max_size=3))), max_size=6))
def test_any_table_round_trips(tmp_path_factory, rows) -> None:
    folder = tmp_path_factory.mktemp("any")
    table = pl.DataFrame(
        {
            "image": [str(number) for number in range(len(rows))],
            "identity": [row[0] for row in rows],
            "group": [row[1] for row in rows],
            "labels": [row[2] for row in rows],
        },
        schema={"image": pl.String, "identity": pl.String, "group": pl.String, "labels": pl.List(pl.String)},
    )
    collection = Collection.of(table, root=folder, unknown=None)
    collection.write(folder)
    assert Collection.open(folder).table.equals(collection.table, null_equal=True)
    assert Collection.open(folder).fingerprint() == collection.fingerprint()


def test_the_fingerprint_depends_on_content_not_on_the_folder(tmp_path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.jpg").write_bytes(b"four")
    one, two = whales(tmp_path / "one"), whales(tmp_path / "two")
    first_print = one.fingerprint()
    assert first_print == two.fingerprint()
    assert len(first_print) == 16
    assert one.take([1, 0, 2, 3]).fingerprint() != first_print
    assert whales(tmp_path / "one", group=["x", "y", "x", None]).fingerprint() != first_print
    other_names = Vocabulary.of(identities=["w_1", "w_2", "w_3"], unknown="new_whale")
    assert one.under(other_names).fingerprint() != first_print
    (tmp_path / "two" / "a.jpg").write_bytes(b"fives")
    assert two.fingerprint() != first_print
    json.dumps(first_print)


def test_every_collection_has_a_label_for_unknown_individuals(tmp_path) -> None:
    closed = Collection.of({"image": ["1", "2"], "identity": ["a", "b"]}, root=tmp_path)
    assert closed.vocabulary.unknown == "new_individual"
    assert closed.classes.tolist() == [0, 1]
    taken = Collection.of({"image": ["1", "2"], "identity": ["New_Individual", "b"]}, root=tmp_path, unknown=None)
    assert taken.vocabulary.unknown == "new_individual_2"
    assert taken.classes.tolist() == [0, 1]
    unnamed = Collection.of({"image": ["1", "2", "3"], "identity": ["a", "", None]}, root=tmp_path, unknown="")
    assert unnamed.table["identity"].to_list() == ["a", "new_individual", None]
    assert unnamed.classes.tolist() == [0, -1, -2]


def test_a_label_without_photos_does_not_change_the_fingerprint(tmp_path) -> None:
    table = {"image": ["1", "2"], "identity": ["a", "b"]}
    first, second = (
        Collection.of(table, root=tmp_path, vocabulary=Vocabulary.of(identities="ab", unknown=word))
        for word in ("new_individual", "new_whale")
    )
    assert first.fingerprint() == second.fingerprint()
    named = Collection.of(table, root=tmp_path, unknown="unidentified").fingerprint()
    with_label = Collection.of({**table, "identity": ["a", "new_whale"]}, root=tmp_path).fingerprint()
    assert len({first.fingerprint(), named, with_label}) == 3
    names = {"identities": ["a", "b"], "unknown": None, "tags": [], "tag_groups": [], "questions": []}
    old = json.dumps(names, indent=1)
    digest = hashlib.sha256(old.encode())
    digest.update(repr(sorted(first.table.schema.items())).encode())
    digest.update(first.table.select(sorted(first.table.columns)).write_json().encode())
    digest.update(json.dumps([-1, -1]).encode())
    assert first.fingerprint() == digest.hexdigest()[:16]

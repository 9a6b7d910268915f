"""Writing and reading of the layout of iMaterialist 2017."""

import json
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldmark.core.errors import DataError
from fieldmark.data.collection import Collection
from fieldmark.data.imaterialist_writing import write_imaterialist2017
from fieldmark.data.json_entries import stream_json
from fieldmark.data.questions import QuestionEntry
from fieldmark.data.reading import read, survey

NAME = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=6)
IDS = st.text("abc019_-é", min_size=1, max_size=5)
URL = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=12)


@st.composite
def collections(draw: st.DrawFn) -> Collection:
    """Random photos with random questions, some of them named category:attribute."""
    names = draw(
        st.lists(
            st.one_of(NAME, st.sampled_from(["shoe:heel", "shoe:sole", "dress:colour"])),
            min_size=1,
            max_size=4,
            unique=True,
        )
    )
    taken = {
        "image",
        "file",
        "url",
        "urls",
        "category",
        "identity",
        "labels",
        "group",
        "date",
        "text",
        "width",
        "height",
    }
    names = [name for name in names if name not in taken] or ["shoe:heel"]
    entries = [
        QuestionEntry(name=name, answers=tuple(draw(st.lists(NAME, min_size=1, max_size=4, unique=True))))
        for name in names
    ]
    images = draw(st.lists(IDS, min_size=1, max_size=6, unique=True))
    urls = [draw(st.lists(URL, max_size=3)) for _ in images]
    table: dict[str, list] = {
        "image": images,
        "file": [f"{image}.jpg" for image in images],
        "url": [(each or [None])[0] for each in urls],
    }
    if any(len(each) > 1 for each in urls):
        table["urls"] = [each or None for each in urls]
    for one in entries:
        cell = st.lists(st.sampled_from(one.answers), min_size=1, unique=True)
        table[one.name] = [draw(st.none() | cell) for _ in images]
    if draw(st.booleans()):
        kinds = ["shoe", "dress"]
        table["category"] = [draw(st.none() | st.sampled_from(kinds).map(lambda kind: [kind])) for _ in images]
        entries.insert(0, QuestionEntry(name="category", answers=tuple(kinds)))
    schema = {name: pl.List(pl.String) for name in [*[one.name for one in entries], *({"urls"} & table.keys())]}
    frame = pl.DataFrame(table, schema_overrides={"url": pl.String, **schema})
    return Collection.of(frame, root="photos", questions=entries)


@settings(max_examples=40, deadline=None)
@given(collection=collections())
def test_a_written_collection_reads_back_equal(
    collection: Collection, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("written")
    written = write_imaterialist2017(folder, collection)
    again = read(folder, check_files=False)
    derived = "category" not in collection.table.columns and "category" in again.table.columns
    columns = [name for name in again.table.columns if not (derived and name == "category")]
    assert sorted(columns) == sorted(collection.table.columns)
    assert again.table.select(collection.table.columns).equals(collection.table)
    answers = [
        (one.name, one.answers) for one in again.vocabulary.questions if not (derived and one.name == "category")
    ]
    assert answers == [(one.name, one.answers) for one in collection.vocabulary.questions]
    cells = sum(collection.table[name].list.len().sum() for name, _ in answers)
    assert written.n_images == len(collection)
    assert written.n_annotations == cells or "category" in collection.table.columns
    second = folder / "second"
    write_imaterialist2017(second, again)
    for file in folder.glob("*.*"):
        assert (second / file.name).read_bytes() == file.read_bytes()


def shoes(**more: object) -> Collection:
    table = {
        "image": ["01", "2", "3"],
        "file": ["01.jpg", "2.jpg", "3.jpg"],
        "url": ["http://x/1", "http://x/2", None],
        "category": [["shoe"], ["shoe", "dress"], None],
        "shoe:colour": [["red"], ["black", "red"], None],
        "dress:colour": [None, ["red"], None],
        **more,
    }
    entries = [
        QuestionEntry(name="category", answers=("shoe", "dress")),
        QuestionEntry(name="shoe:colour", answers=("red", "black", "blue"), applies={"category": ("shoe",)}),
        QuestionEntry(name="dress:colour", answers=("black", "red"), applies={"category": ("dress",)}),
    ]
    schema = dict.fromkeys(("category", "shoe:colour", "dress:colour"), pl.List(pl.String))
    return Collection.of(pl.DataFrame(table, schema_overrides=schema), root="photos", questions=entries)


def test_the_files_are_those_of_the_contest(tmp_path: Path) -> None:
    collection = shoes(text=["a", "b", "c"])
    written = write_imaterialist2017(tmp_path, collection, validation=collection.take([1]), test=collection.take([2]))
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "fgvc4_iMat.label_map.json",
        "fgvc4_iMat.task_id_label_map.txt",
        "fgvc4_iMat.task_map.json",
        "fgvc4_iMat.test.image.json",
        "fgvc4_iMat.train.data.json",
        "fgvc4_iMat.validation.data.json",
    ]
    assert (written.n_images, written.n_annotations, written.left_out) == (5, 7, ("text",))
    content = json.loads((tmp_path / "fgvc4_iMat.train.data.json").read_text())
    assert content == {
        "images": [
            {"imageId": "01", "url": "http://x/1"},
            {"imageId": "2", "url": "http://x/2"},
            {"imageId": "3"},
        ],
        "annotations": [
            {"imageId": "01", "taskId": "1", "labelId": "1"},
            {"imageId": "2", "taskId": "1", "labelId": "2"},
            {"imageId": "2", "taskId": "1", "labelId": "1"},
            {"imageId": "2", "taskId": "2", "labelId": "1"},
        ],
    }
    assert json.loads((tmp_path / "fgvc4_iMat.test.image.json").read_text()) == {"images": [{"imageId": "3"}]}
    maps = json.loads((tmp_path / "fgvc4_iMat.task_map.json").read_text())
    assert maps["taskInfo"][0] == {"taskName": "shoe:colour", "taskId": "1"}
    assert (tmp_path / "fgvc4_iMat.task_id_label_map.txt").read_text() == "1 1 2 3\n2 2 1\n"


def test_the_category_comes_from_the_names_of_the_tasks(tmp_path: Path) -> None:
    write_imaterialist2017(tmp_path, shoes())
    again = read(tmp_path, check_files=False)
    assert again.table["category"].to_list() == [["shoe"], ["shoe", "dress"], None]
    category, shoe, dress = again.vocabulary.questions
    assert category.answers == ("shoe", "dress")
    assert shoe.applies is not None
    assert (shoe.applies.question, shoe.applies.answers) == ("category", ("shoe",))
    assert dress.applies is not None
    assert dress.applies.answers == ("dress",)
    assert (shoe.code, shoe.answers, shoe.codes) == ("1", ("red", "black", "blue"), ("1", "2", "3"))
    assert (dress.code, dress.answers, dress.codes) == ("2", ("black", "red"), ("2", "1"))


def test_a_category_that_differs_from_the_task_names_is_a_separate_task(tmp_path: Path) -> None:
    collection = shoes(category=[["shoe"], ["dress"], ["dress"]])
    write_imaterialist2017(tmp_path, collection)
    again = read(tmp_path, check_files=False)
    assert again.table["category"].to_list() == [["shoe"], ["dress"], ["dress"]]
    assert [one.code for one in again.vocabulary.questions] == ["1", "2", "3"]


def test_ids_are_kept_through_reading_and_writing(tmp_path: Path) -> None:
    write_imaterialist2017(tmp_path / "one", shoes())
    for name, old, new in (("task_map", '"2"', '"45"'), ("label_map", '"3"', '"381"')):
        file = tmp_path / "one" / f"fgvc4_iMat.{name}.json"
        file.write_text(file.read_text().replace(old, new))
    (tmp_path / "one" / "fgvc4_iMat.task_id_label_map.txt").write_text("1 1 2 381\n45 2 1\n")
    data = tmp_path / "one" / "fgvc4_iMat.train.data.json"
    data.write_text(data.read_text().replace('"taskId":"2"', '"taskId":"45"'))
    write_imaterialist2017(tmp_path / "two", read(data, check_files=False))
    for file in (tmp_path / "one").iterdir():
        assert (tmp_path / "two" / file.name).read_text() == file.read_text()


def test_listed_labels_come_before_others_that_occur(tmp_path: Path) -> None:
    write_imaterialist2017(tmp_path, shoes())
    (tmp_path / "fgvc4_iMat.task_id_label_map.txt").write_text("1 3\n\n")
    again = read(tmp_path, check_files=False)
    assert again.vocabulary.question("shoe:colour").answers == ("blue", "black", "red")
    assert again.vocabulary.question("dress:colour").answers == ("red",)
    (tmp_path / "fgvc4_iMat.task_id_label_map.txt").write_text("1 3\n9 1\n2 77\n")
    found = survey(tmp_path, check_files=False)
    assert [(each.row, each.problem, each.value) for each in found.mistakes] == [
        (2, "unknown id", "9"),
        (3, "unknown id", "77"),
    ]


def test_all_addresses_are_kept(tmp_path: Path) -> None:
    write_imaterialist2017(tmp_path, shoes(urls=[["http://x/1"], ["http://x/2", "http://y/2"], None]))
    again = read(tmp_path, check_files=False)
    assert again.table["url"].to_list() == ["http://x/1", "http://x/2", None]
    assert again.table["urls"].to_list() == [["http://x/1"], ["http://x/2", "http://y/2"], None]


def test_a_file_without_annotations_holds_new_photos(tmp_path: Path) -> None:
    write_imaterialist2017(tmp_path, shoes(), test=shoes().take([0, 1]))
    new = read(tmp_path / "fgvc4_iMat.test.image.json", check_files=False, labelled=False)
    assert new.images == ["01", "2"]
    assert new.table["url"].to_list() == ["http://x/1", "http://x/2"]


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    plain = Collection.of({"image": ["1"]}, root=tmp_path)
    with pytest.raises(DataError) as caught:
        write_imaterialist2017(tmp_path, plain)
    assert "questions=" in caught.value.fix
    other = Collection.of(
        {"image": ["1"], "shoe:colour": ["pink"], "age": ["old"]}, root=tmp_path, questions=["shoe:colour", "age"]
    )
    with pytest.raises(DataError) as caught:
        write_imaterialist2017(tmp_path, shoes(), validation=other)
    assert str(caught.value.got).splitlines() == ["shoe:colour = 'pink'", "question 'age'"]
    assert "the same questions" in caught.value.fix
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("codes", "got"),
    [
        ({"red": "1", "blue": "1"}, "id '1' belongs to the labels 'blue' and 'red'"),
        ({"red": "a b", "blue": "1"}, "id 'a b' of the label 'red' is empty or contains spaces"),
    ],
)
def test_ids_that_contradict_each_other_are_refused(tmp_path: Path, codes: dict[str, str], got: str) -> None:
    entry = QuestionEntry(name="colour", answers=("red", "blue"), code="1", codes=codes)
    with pytest.raises(DataError) as caught:
        write_imaterialist2017(
            tmp_path, Collection.of({"image": ["1"], "colour": ["red"]}, root="x", questions=[entry])
        )
    assert got in str(caught.value.got)
    assert caught.value.fix.startswith("use one id per name")


def test_one_label_with_two_ids_is_refused(tmp_path: Path) -> None:
    entries = [
        QuestionEntry(name=name, answers=("red",), code=name, codes={"red": own})
        for name, own in (("a", "1"), ("b", "2"))
    ]
    with pytest.raises(DataError) as caught:
        write_imaterialist2017(
            tmp_path, Collection.of({"image": ["1"], "a": ["red"], "b": ["red"]}, root="x", questions=entries)
        )
    assert "label 'red' has the ids" in str(caught.value.got)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=50, deadline=None)
@given(
    content=st.dictionaries(st.text(max_size=4), VALUES | st.lists(VALUES, max_size=6), max_size=4),
    indent=st.sampled_from([None, 1]),
    piece=st.sampled_from([1, 3, 50]),
)
def test_streaming_returns_the_lists_of_the_whole_file(content, indent, piece, tmp_path_factory) -> None:
    file = tmp_path_factory.mktemp("streamed") / "x.json"
    file.write_text(json.dumps(content, indent=indent), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fieldmark.data.json_entries.PIECE", piece)
        found: dict[str, list] = {}
        for key, entries in stream_json(file, batch=2):
            assert len(entries) <= 2
            found.setdefault(key, []).extend(entries)
    lists = {key: value for key, value in content.items() if isinstance(value, list)}
    assert found == {key: [one if isinstance(one, dict) else {} for one in value] for key, value in lists.items()}


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"a": [1', '{"a": [1 2]}', '{"a": 1} x', "{1: 2}", '{"a" 1}', '{"a": 1,}', "[" * 10_000]
)
def test_streaming_refuses_invalid_json(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(DataError) as caught:
        list(stream_json(tmp_path / "x.json"))
    assert caught.value.fix.startswith("give a complete JSON file")

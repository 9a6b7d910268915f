"""The out-of-fold store: it refuses scores of training photos."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldmark.core.errors import DataError, RunError
from fieldmark.data.scores import OutOfFold, Scores

FOLDS = {0: ["a.jpg", "007.jpg"], 1: ["c.jpg"], -1: ["new=1.jpg"]}
COLUMNS = ["W1", "culture::french", "ä"]


def scores_of(images):
    return np.array([[sum(image.encode()) - column for column in range(3)] for image in images], np.float32)


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "oof"
    with OutOfFold.create(place, COLUMNS) as store:
        for fold, images in FOLDS.items():
            training = [image for other, some in FOLDS.items() if other not in (fold, -1) for image in some]
            store.add(images, scores_of(images), fold=fold, trained_on=training)
    return place


def test_it_is_read_as_it_was_written(folder):
    scores = Scores.open(folder)
    assert scores.columns == tuple(COLUMNS)
    assert scores.images == ("a.jpg", "007.jpg", "c.jpg", "new=1.jpg")
    assert scores.fold.tolist() == [0, 0, 1, -1]
    assert (len(scores), "c.jpg" in scores, "x" in scores) == (4, True, False)
    wanted = ["c.jpg", "a.jpg", "c.jpg"]
    rows = scores.rows(wanted)
    assert rows.dtype == np.float32
    assert (rows == scores_of(wanted)).all()
    assert scores.rows([]).shape == (0, 3)
    assert (np.asarray(scores.values) == scores_of(scores.images)).all()
    assert not scores.values.flags.writeable
    assert not scores.fold.flags.writeable


def test_numpy_reads_the_values_and_no_temporary_file_is_left(folder):
    assert np.load(folder / "values.npy").shape == (4, 3)
    assert [path.name for path in folder.parent.iterdir()] == ["oof"]
    assert sorted(path.name for path in folder.iterdir()) == ["columns.json", "meta.json", "rows.parquet", "values.npy"]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=6), st.integers(1, 5), st.integers(0, 2**32))
def test_any_number_of_rows_survives(tmp_path_factory, sizes, width, seed):
    place = tmp_path_factory.mktemp("oof") / "s"
    blocks = [np.random.default_rng(seed + i).normal(size=(size, width)) for i, size in enumerate(sizes)]
    if not sum(sizes):
        return
    with OutOfFold.create(place, [f"dim{i}" for i in range(width)]) as store:
        for i, block in enumerate(blocks):
            store.add([f"{i}-{row}" for row in range(len(block))], block, fold=i, trained_on=())
    assert (Scores.open(place).values == np.concatenate(blocks).astype(np.float32)).all()


def test_the_same_rows_give_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        with OutOfFold.create(tmp_path / name, COLUMNS) as store:
            store.add(FOLDS[0], scores_of(FOLDS[0]), fold=0, trained_on=["z"])
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_a_class_without_photos_may_score_minus_infinity(tmp_path):
    with OutOfFold.create(tmp_path / "s", ["W1", "W2"]) as store:
        store.add(["a"], np.array([[-3.0, -np.inf]]), fold=0, trained_on=())
    assert Scores.open(tmp_path / "s").rows(["a"]).tolist() == [[-3.0, -np.inf]]


ONE = np.zeros((1, 3))


@pytest.mark.parametrize(
    ("images", "values", "trained_on", "got", "fix"),
    [
        (["b"], ONE, ["x", "b"], "b: the network was trained on it", "holds them out"),
        (["a"], ONE, [], "a: already added for fold 0 (now fold 1)", "without common photos"),
        (["b", "b"], np.zeros((2, 3)), [], "b: twice", "each photo once"),
        (["b"], ONE * np.nan, [], "b: NaN", "outputs of the network"),
        (["b"], np.zeros((1, 2)), [], "(1, 2) for 1 photos and 3 columns", "order of images"),
        (["b"], np.zeros((2, 3)), [], "(2, 3) for 1 photos and 3 columns", "order of images"),
        ("b", ONE, [], "(1, 3)", "order of images"),
        (["b"], ONE, "b", "'b'", "list or set of ids"),
    ],
)
def test_invalid_rows_are_listed_and_not_added(tmp_path, images, values, trained_on, got, fix):
    with OutOfFold.create(tmp_path / "s", COLUMNS) as store:
        store.add(["a"], ONE, fold=0, trained_on=["b"])
        with pytest.raises(DataError) as refusal:
            store.add(images, values, fold=1, trained_on=trained_on)
        assert got in str(refusal.value.got)
        assert fix in refusal.value.fix
    assert Scores.open(tmp_path / "s").images == ("a",)


def test_all_mistakes_are_listed_at_once(tmp_path):
    with OutOfFold.create(tmp_path / "s", COLUMNS) as store:
        store.add(["a"], ONE, fold=0, trained_on=())
        with pytest.raises(DataError, match=r"4 row\(s\)") as refusal:
            store.add(
                ["a", "b", "c", "c"],
                np.array([[0, 0, 0], [0, 0, 0], [0, np.nan, 0], [0, 0, 0]]),
                fold=1,
                trained_on=iter("b"),
            )
        assert len(str(refusal.value.got).splitlines()) == 4


def test_the_same_photo_of_the_same_fold_is_refused_too(tmp_path):
    with OutOfFold.create(tmp_path / "s", COLUMNS) as store:
        store.add(["a"], ONE, fold=0, trained_on=())
        with pytest.raises(DataError, match="cannot be added"):
            store.add(["a"], ONE, fold=0, trained_on=())


def test_photos_without_scores_are_refused_with_the_reason(folder):
    with pytest.raises(DataError) as refusal:
        Scores.open(folder).rows(["a.jpg", "trained.jpg"])
    assert str(refusal.value.got) == "trained.jpg"
    assert "use validation or new photos" in refusal.value.fix
    with pytest.raises(DataError) as refusal:
        Scores.open(folder).rows("a.jpg")
    assert "rows(['a.jpg'])" in refusal.value.fix


def test_the_folder_appears_at_close_and_not_after_an_error(tmp_path):
    store = OutOfFold.create(tmp_path / "s", COLUMNS)
    store.add(["a"], ONE, fold=0, trained_on=())
    assert not (tmp_path / "s").exists()
    store.close()
    store.close()
    assert (tmp_path / "s").exists()
    with pytest.raises(DataError), OutOfFold.create(tmp_path / "t", COLUMNS) as store:
        store.add(["a"], ONE, fold=0, trained_on=["a"])
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_files_of_a_killed_writer_are_deleted(tmp_path):
    killed = OutOfFold.create(tmp_path / "s", COLUMNS)
    killed.add(["a"], ONE, fold=0, trained_on=())
    killed._file.close()
    with OutOfFold.create(tmp_path / "s", COLUMNS) as store:
        store.add(["b"], ONE, fold=0, trained_on=())
    assert Scores.open(tmp_path / "s").images == ("b",)


def test_an_empty_store_is_refused(tmp_path):
    with pytest.raises(DataError) as refusal:
        OutOfFold.create(tmp_path / "s", COLUMNS).close()
    assert "add()" in refusal.value.fix
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("columns", [[], ["W1", "W2", "W1"], "W1"])
def test_columns_need_different_names(tmp_path, columns):
    with pytest.raises(DataError) as refusal:
        OutOfFold.create(tmp_path / "s", columns)
    assert "label names" in refusal.value.fix


def test_a_store_is_written_once(folder):
    with pytest.raises(RunError) as refusal:
        OutOfFold.create(folder, COLUMNS)
    assert "another folder" in refusal.value.fix


@pytest.mark.parametrize("name", ["values.npy", "rows.parquet", "columns.json", "meta.json"])
@pytest.mark.parametrize("missing", [True, False])
def test_damage_is_refused(folder, name, missing):
    path = folder / name
    content = path.read_bytes()
    path.unlink()
    if not missing:
        path.write_bytes(content[:-5])
    with pytest.raises(RunError) as refusal:
        Scores.open(folder)
    assert "again" in refusal.value.fix


def test_another_kind_of_folder_is_refused(folder):
    (folder / "meta.json").write_text(json.dumps({"kind": "gallery", "format": 1}))
    with pytest.raises(RunError) as refusal:
        Scores.open(folder)
    assert "run the stage" in refusal.value.fix


def test_rows_are_added_only_with_add():
    """The writer has no other public method for rows than add(), which requires trained_on."""
    assert {name for name in dir(OutOfFold) if not name.startswith("_")} == {"create", "add", "close"}
    with pytest.raises(TypeError):
        OutOfFold.add(None, [], ONE, fold=0)

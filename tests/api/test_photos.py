"""Reading of photos from tables, folders and files; broken photos are reported or left out."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fieldmark.api.photos import gather, look_up, new_photos, of_files
from fieldmark.core.errors import DataError, FieldmarkError
from fieldmark.core.progress import QUIET
from fieldmark.data.collection import Collection
from fieldmark.tasks.identification.evaluation import evaluation_photos


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:300])


def test_readable_photos_are_kept(whales: Path) -> None:
    found = gather(whales, labelled=True, reading={})
    assert len(found.collection) == 18
    assert found.skipped == ()
    assert found.collection.vocabulary.unknown == "new_whale"


def test_all_broken_photos_are_reported_together(whales: Path) -> None:
    truncate(whales / "train/w0_0.jpg")
    truncate(whales / "train/w3_1.jpg")
    with pytest.raises(DataError) as caught:
        gather(whales, labelled=True, reading={})
    assert caught.value.problem == f"2 photo(s) of {whales} cannot be read."
    assert "w0_0.jpg" in str(caught.value.got)
    assert "w3_1.jpg" in str(caught.value.got)
    assert "--skip-broken" in caught.value.fix


def test_broken_and_missing_photos_are_left_out_and_listed(whales: Path) -> None:
    truncate(whales / "train/w0_0.jpg")
    (whales / "train/w3_1.jpg").unlink()
    found = gather(whales, labelled=True, reading={"skip_broken": True})
    assert len(found.collection) == 16
    assert {one.file for one in found.skipped} == {"w0_0.jpg", "w3_1.jpg"}
    assert all(one.reason for one in found.skipped)


def test_individuals_without_photos_are_removed_from_the_vocabulary(whales: Path) -> None:
    for shot in range(3):
        truncate(whales / f"train/w2_{shot}.jpg")
    found = gather(whales, labelled=True, reading={"skip_broken": True})
    assert found.collection.vocabulary.identities == ("w_0", "w_1", "w_3", "w_4")
    assert found.collection.vocabulary.unknown == "new_whale"


def test_other_errors_are_refused_even_if_broken_photos_are_skipped(whales: Path) -> None:
    rows = (whales / "train.csv").read_text().splitlines()
    (whales / "train.csv").write_text("\n".join([*rows, "w0_0.jpg,w_4"]) + "\n")
    with pytest.raises(DataError) as caught:
        gather(whales, labelled=True, reading={"skip_broken": True})
    assert "keep the row with the right label" in caught.value.fix


def test_no_photo_left_is_an_error(tmp_path: Path, draw: Callable) -> None:
    draw(tmp_path / "w" / "a.jpg", 0, shot=0)
    truncate(tmp_path / "w" / "a.jpg")
    with pytest.raises(DataError) as caught:
        gather(tmp_path, labelled=True, reading={"skip_broken": True})
    assert caught.value.fix.startswith("run `fieldmark inspect")


def test_reading_options_reach_the_reader(tmp_path: Path, draw: Callable, write_csv: Callable) -> None:
    draw(tmp_path / "elsewhere" / "a.jpg", 0, shot=0)
    write_csv(tmp_path / "other.csv", [("img", "name"), ("a.jpg", "stray")])
    found = gather(
        tmp_path / "other.csv",
        labelled=True,
        reading={"columns": {"identity": "name"}, "photos": tmp_path / "elsewhere", "unknown": "stray"},
    )
    assert found.collection.classes.tolist() == [-1]


def test_a_collection_takes_no_reading_options(whales: Path) -> None:
    photos = gather(whales, labelled=True, reading={}).collection
    assert look_up(photos, labelled=True, reading={"skip_broken": True}).collection is photos
    with pytest.raises(FieldmarkError) as caught:
        look_up(photos, labelled=True, reading={"encoding": "latin-1"})
    assert "fieldmark.read()" in caught.value.fix


def test_a_single_photo_and_a_flat_folder_are_photos_too(whales: Path) -> None:
    one = gather(whales / "test/t1.jpg", labelled=False, reading={})
    assert one.collection.paths == [whales / "test/t1.jpg"]
    many = gather(whales / "test", labelled=False, reading={})
    assert sorted(many.collection.images) == ["t0.jpg", "t1.jpg", "t2.jpg"]


def test_the_id_of_a_file_is_its_path_as_typed(whales: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(whales)
    found = of_files([Path("test/t1.jpg"), Path("train/w0_0.jpg"), Path("test/t1.jpg")])
    assert found.images == ["test/t1.jpg", "train/w0_0.jpg"]
    assert found.paths == [whales / "test/t1.jpg", whales / "train/w0_0.jpg"]


def test_missing_photos_and_folders_are_refused(whales: Path) -> None:
    with pytest.raises(DataError) as caught:
        of_files([whales / "nowhere.jpg"])
    assert caught.value.fix == "check the path."
    with pytest.raises(DataError) as caught:
        of_files([whales / "test"])
    assert caught.value.fix == f"for a folder, use `fieldmark predict RUN {whales / 'test'} --out answers.csv`."


def test_a_file_name_that_is_not_unicode_is_refused(whales: Path) -> None:
    odd = whales / "t\udcff.jpg"
    odd.write_bytes((whales / "test/t0.jpg").read_bytes())
    with pytest.raises(DataError) as caught:
        of_files([odd])
    assert caught.value.fix == "rename the photo."
    str(caught.value).encode()


def test_the_test_photos_of_a_contest_have_its_order_and_no_names(whales: Path) -> None:
    for data in (whales, whales / "train.csv"):
        found = new_photos(data, None, {})
        assert found is not None
        assert found.collection.images == ["t2.jpg", "t0.jpg", "t1.jpg"]
        assert "identity" not in found.collection.table.columns


def test_other_folders_have_no_new_photos_unless_named(tmp_path: Path, whales: Path, draw: Callable) -> None:
    draw(tmp_path / "mine" / "anna" / "a.jpg", 0, shot=0)
    assert new_photos(tmp_path / "mine", None, {}) is None
    named = new_photos(tmp_path / "mine", whales / "test", {"columns": {"identity": "whatever"}})
    assert named is not None
    assert len(named.collection) == 3


def test_training_photos_are_left_out_of_the_evaluation(whales: Path, draw: Callable) -> None:
    known = gather(whales, labelled=True, reading={}).collection
    draw(whales / "later" / "again.jpg", 0, shot=50)
    (whales / "later" / "copied.jpg").write_bytes((whales / "train/w1_1.jpg").read_bytes())
    draw(whales / "later" / "other.jpg", 70, shot=0)
    draw(whales / "later" / "unnamed.jpg", 71, shot=0)
    table = {
        "image": ["again.jpg", "copied.jpg", "other.jpg", "unnamed.jpg"],
        "identity": ["w_0", "w_1", "w_70", None],
    }
    photos, truth = evaluation_photos(Collection.of(table, root=whales / "later"), known, progress=QUIET)
    assert photos.images == ["again.jpg", "other.jpg"]
    assert truth.tolist() == [0, -1]


def test_an_evaluation_without_photos_is_an_error(whales: Path) -> None:
    known = gather(whales, labelled=True, reading={}).collection
    with pytest.raises(DataError) as caught:
        evaluation_photos(known, known, progress=QUIET)
    assert "18 of them known to the run" in str(caught.value.got)
    with pytest.raises(DataError) as caught:
        evaluation_photos(of_files([whales / "test/t0.jpg"]), known, progress=QUIET)
    assert "--column identity=NAME" in caught.value.fix

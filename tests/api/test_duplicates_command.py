"""``fieldmark duplicates`` on the command line: output, files, errors."""

import csv
from pathlib import Path

import pytest
from PIL import Image

import fieldmark
from fieldmark.api.guards import INSTALL
from fieldmark.cli.main import main
from fieldmark.core.errors import FieldmarkError, RunError

Printed = pytest.CaptureFixture[str]


@pytest.fixture
def copied(whales: Path) -> Path:
    """The whales with w0_0 once more, smaller and as an unknown individual, and in the test folder."""
    with Image.open(whales / "train/w0_0.jpg") as photo:
        photo.resize((58, 29)).save(whales / "train/copy.png")
        photo.save(whales / "test/t9.png")
    with (whales / "train.csv").open("a", newline="") as file:
        csv.writer(file).writerow(("copy.png", "new_whale"))
    return whales


def test_counts_conflicts_and_files_are_printed(
    capsys: Printed, copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [
        "duplicates",
        str(copied),
        "--new",
        str(copied / "test"),
        "--transfer",
        "over.csv",
        "--identities",
        "names.csv",
    ]
    assert main([*words, "--html", "duplicates.html", "--workers", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["Photos", "23"]
    assert any("w0_0.jpg" in line and "copy.png" in line and "unknown and named" in line for line in lines)
    assert lines[-4:] == [
        "written: duplicates.csv",
        "page: duplicates.html",
        "names: names.csv",
        "transferred names: over.csv",
    ]
    with (tmp_path / "duplicates.csv").open(encoding="utf-8-sig") as file:
        pictures = [row for row in csv.DictReader(file) if row["verdict"] == "unknown and named"]
    assert {row["image"] for row in pictures} >= {"w0_0.jpg", "copy.png", "t9.png"}
    assert (tmp_path / "duplicates.html").read_text().startswith("<!doctype html>")
    assert (tmp_path / "over.csv").read_text().startswith("image,identity\n")


def test_an_existing_table_is_kept(capsys: Printed, copied: Path, tmp_path: Path) -> None:
    out = tmp_path / "duplicates.csv"
    out.write_text("mine")
    assert main(["duplicates", str(copied), "--out", str(out)]) == 1
    assert "--force" in capsys.readouterr().err
    assert out.read_text() == "mine"


def test_the_function_writes_no_file_by_default(copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    found = fieldmark.duplicates(copied, n_workers=1)
    assert any({duplicate.image for duplicate in one.duplicates} >= {"w0_0.jpg", "copy.png"} for one in found.conflicts)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_run_suggests_names_of_similar_photos(trained: Path) -> None:
    """The similarity of a network trained for one epoch is noise: suggestions have valid names, and none raises."""
    found = fieldmark.duplicates(trained / "whales", run=trained / "run", n_workers=1)
    names = {f"w_{number}" for number in range(5)}
    assert all({one.first, one.second} <= names and one.score < 1 for one in found.suggested if not one.n_shared)


def test_transferred_names_need_new_photos(copied: Path) -> None:
    with pytest.raises(FieldmarkError) as caught:
        fieldmark.duplicates(copied, transfer="over.csv")
    assert "--new PHOTOS" in caught.value.fix


def test_a_pattern_without_text_recognition_is_refused(copied: Path) -> None:
    with pytest.raises(FieldmarkError) as caught:
        fieldmark.duplicates(copied, pattern="HWC[0-9]+")
    assert "--texts texts.csv" in caught.value.fix


def test_identifiers_in_photos_are_written_beside_names(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a fake text reader; names as short as those of these whales are not searched."""
    read = iter([["W 4"], ["HWC 034"], *[[]] * 99])
    monkeypatch.setattr("fieldmark.images.texts.text_reader", lambda by: lambda pixels: next(read))
    fieldmark.duplicates(copied, texts=tmp_path / "texts.csv", pattern="HWC[0-9]{3}", n_workers=1)
    with (tmp_path / "texts.csv").open(encoding="utf-8-sig") as file:
        (row,) = csv.DictReader(file)
    assert (row["table"], row["written"], row["is_name"], row["meaning"]) == ("known", "HWC034", "", "an id")
    assert row["line"] == "HWC 034"


@pytest.mark.parametrize("within", [-1, 17])
def test_distances_out_of_range_are_refused(copied: Path, within: int) -> None:
    with pytest.raises(FieldmarkError) as caught:
        fieldmark.duplicates(copied, within=within)
    assert "--within 6" in caught.value.fix


def test_missing_packages_give_an_error_with_the_command_to_install(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fieldmark.api.duplicates.find_spec", lambda name: None)
    with pytest.raises(FieldmarkError) as caught:
        fieldmark.duplicates(copied)
    assert caught.value.got == "numba"
    assert caught.value.fix == INSTALL


def test_a_missing_run_gives_an_error(copied: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError):
        fieldmark.duplicates(copied, run=tmp_path / "nothing")

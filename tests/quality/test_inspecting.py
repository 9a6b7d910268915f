"""Summary of a collection with known faults."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fieldmark.core.errors import ImageError
from fieldmark.data.collection import Collection
from fieldmark.data.reading import Survey, survey
from fieldmark.quality.inspecting import broken, inspection, look_at_files
from fieldmark.reporting.contents import Fact, InspectPage


def paint(path: Path, seed: int, *, size_px: tuple[int, int] = (40, 20), **notes: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    width, height = size_px
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **notes)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four photos of two animals and an unknown one, a copy with another name, a broken and a missing file."""
    paint(tmp_path / "photos/a1.jpg", 1)
    paint(tmp_path / "photos/a2.png", 2, size_px=(80, 60))
    paint(tmp_path / "photos/b1.jpg", 3)
    paint(tmp_path / "photos/new.jpg", 4)
    shutil.copy(tmp_path / "photos/a1.jpg", tmp_path / "photos/duplicate.jpg")
    (tmp_path / "photos/cut.jpg").write_bytes((tmp_path / "photos/b1.jpg").read_bytes()[:300])
    rows = [
        "a1.jpg,anna",
        "a2.png,anna",
        "b1.jpg,bo",
        "new.jpg,unknown",
        "duplicate.jpg,bo",
        "cut.jpg,bo",
        "gone.jpg,bo",
    ]
    (tmp_path / "table.csv").write_text("\n".join(["image,identity", *rows]) + "\n")
    return tmp_path


@pytest.fixture
def page(folder: Path) -> InspectPage:
    return inspection(survey(folder / "table.csv"), n_workers=2)


def fact(page: InspectPage, name: str) -> Fact:
    return next(one for one in page.facts if one.name == name)


def test_counts_are_those_of_the_table(page: InspectPage) -> None:
    assert page.summary == (
        "6 photos of 2 individuals and 1 of unknown individuals. 1 mistake in the table must be corrected before "
        "training. 1 file cannot be read."
    )
    assert fact(page, "Individuals") == Fact(
        "Individuals", "2", "0 with a single photo; at most 3 photos of one individual"
    )
    assert fact(page, "Unknown individuals").value == "1"
    assert page.photos_per_identity.tolist() == [2, 3]


def test_sizes_and_kinds_are_those_of_the_readable_files(page: InspectPage) -> None:
    assert sorted(zip(page.widths_px.tolist(), page.heights_px.tolist(), strict=True)) == [(40, 20)] * 4 + [(80, 60)]
    assert fact(page, "Median size") == Fact("Median size", "40 x 20 px", "from 40 x 20 to 80 x 60")
    assert fact(page, "File formats").value == "JPEG 4, PNG 1"


def test_broken_missing_and_equal_files_are_found(page: InspectPage) -> None:
    assert [one.file for one in page.broken] == ["cut.jpg"]
    assert "truncated" in page.broken[0].reason
    (problem,) = page.problems
    assert (problem.file, problem.row, problem.column, problem.value) == ("table.csv", 8, "image", "gone.jpg")
    (duplicates,) = page.duplicates
    assert duplicates.files == ("a1.jpg", "duplicate.jpg")
    assert duplicates.names == ("anna", "bo")
    assert duplicates.is_conflict
    assert fact(page, "Pictures in several files") == Fact(
        "Pictures in several files", "1", "1 picture with different names"
    )


def test_samples_are_readable_photos_with_their_names(page: InspectPage) -> None:
    assert sorted(tile.name for tile in page.samples) == ["a1.jpg", "a2.png", "b1.jpg", "duplicate.jpg", "new.jpg"]
    assert all(tile.picture for tile in page.samples)
    assert {tile.name: tile.note for tile in page.samples}["new.jpg"] == "unknown"
    assert {row.name: row.n_photos for row in page.identities} == {"anna": 2, "bo": 2}


def test_the_same_collection_gives_the_same_page_for_any_number_of_threads(folder: Path) -> None:
    found = survey(folder / "table.csv")
    one, two = inspection(found, n_workers=1), inspection(found, n_workers=4)
    assert one.samples == two.samples
    assert one.facts == two.facts


def test_pictures_on_the_page_have_no_metadata(tmp_path: Path) -> None:
    notes = Image.Exif()
    notes[0x010E] = "SECRET"
    paint(tmp_path / "anna/a.jpg", 1, exif=notes)
    page = inspection(survey(tmp_path))
    assert b"SECRET" in (tmp_path / "anna/a.jpg").read_bytes()
    assert all(b"SECRET" not in tile.picture for tile in page.samples)


def test_labels_and_their_cooccurrence_are_counted(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        paint(tmp_path / f"{name}.jpg", ord(name))
    table = {
        "image": ["a", "b", "c"],
        "file": ["a.jpg", "b.jpg", "c.jpg"],
        "labels": [["calf", "scar"], ["scar"], []],
    }
    page = inspection(Survey(Collection.of(table, root=tmp_path), ()))
    assert {one.name: one.count for one in page.labels} == {"calf": 1, "scar": 2}
    assert page.cooccurrence.labels == ("scar", "calf")
    assert page.cooccurrence.counts.tolist() == [[2, 1], [1, 1]]
    assert fact(page, "Labels") == Fact("Labels", "2", "1.0 per photo")
    assert page.photos_per_identity is None


def test_answers_of_questions_are_counted(tmp_path: Path) -> None:
    for name in ("a", "b"):
        paint(tmp_path / f"{name}.jpg", ord(name))
    table = {"image": ["a.jpg", "b.jpg"], "colour": [["red"], ["red", "blue"]]}
    page = inspection(Survey(Collection.of(table, root=tmp_path, questions=["colour"]), ()))
    assert {one.name: one.count for one in page.labels} == {"colour: red": 2, "colour: blue": 1}


def test_a_table_without_valid_rows_gives_a_page(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("image,identity\ngone.jpg,anna\n")
    page = inspection(survey(tmp_path / "table.csv"))
    assert fact(page, "Photos").value == "0"
    assert len(page.problems) == 1
    assert page.widths_px is None


def test_the_summary_of_a_valid_table_reports_no_mistakes(tmp_path: Path) -> None:
    paint(tmp_path / "anna/a.jpg", 1)
    assert inspection(survey(tmp_path)).summary == (
        "1 photo of 1 individual. 1 individual has a single photo. No mistakes or broken files were found."
    )


def test_file_checks_give_size_or_error_in_the_order_of_paths(folder: Path) -> None:
    paths = [folder / "photos" / name for name in ("a2.png", "cut.jpg", "none.jpg")]
    good, cut, gone = look_at_files(paths, n_workers=2)
    assert (good.kind, good.width_px, good.height_px, good.fault) == ("PNG", 80, 60, None)
    assert isinstance(cut.fault, ImageError)
    assert isinstance(gone.fault, ImageError)


def test_broken_files_have_the_names_of_the_table(folder: Path) -> None:
    photos = survey(folder / "table.csv").collection
    assert [one.file for one in broken(photos, look_at_files(photos.paths))] == ["cut.jpg"]


def test_relations_between_label_names_are_listed(tmp_path: Path) -> None:
    rows = []
    for number in range(60):
        paint(tmp_path / f"{number}.png", number % 3)
        rows.append(f"{number}.png,{'men and women|men' if number < 8 else 'teapots' if number < 30 else 'teapotts'}")
    rows[0] = "0.png,men and women|men|women"
    (tmp_path / "objects.csv").write_text("\n".join(["image,labels", *rows]) + "\n")
    hints = {(one.label, one.relation, one.other): one.seen for one in inspection(survey(tmp_path)).name_hints}
    assert hints["men and women", "implies", "women"] == "7 of 8 photos lack it"
    assert ("men and women", "implies", "men") not in hints
    assert hints["teapotts", "has nearly the same spelling as", "teapots"] == "30 and 22; 0 have both"
    assert hints["teapotts", "never occurs with", "teapots"] == "30 and 22; 11 photos with both expected by chance"


def test_tables_of_individuals_have_no_label_hints(page: InspectPage) -> None:
    assert page.name_hints == ()


def test_possible_typing_mistakes_in_names_are_listed(tmp_path: Path) -> None:
    rows = [("a", "Ursula"), ("b", "Ursula"), ("c", "ursula "), ("d", "NaN"), ("e", "Basil")]
    for name, _ in rows:
        Image.new("RGB", (20, 20)).save(tmp_path / f"{name}.png")
    (tmp_path / "t.csv").write_text("image,identity\n" + "".join(f"{image}.png,{name}\n" for image, name in rows))
    page = inspection(survey(tmp_path / "t.csv", unknown="novel"))
    hints = [(one.label, one.relation, one.other, one.seen) for one in page.odd_names]
    assert hints == [
        ("'novel'", "is the label for unknown individuals", "", "no photo has it"),
        ("'NaN'", "looks like no name", "", "1 photo"),
        ("'ursula '", "has nearly the same spelling as", "'Ursula'", "1 and 2 photos"),
    ]
    assert page.summary.endswith("No mistakes or broken files were found. 3 names should be checked.")

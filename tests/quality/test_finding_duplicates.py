"""Near-duplicates in two tables with known copies."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fieldmark.data.collection import Collection
from fieldmark.quality.duplicates.finding import IdentityLikeness, NearDuplicates, find_duplicates
from fieldmark.quality.duplicates.pages import (
    DUPLICATES,
    duplicate_page,
    write_duplicates,
    write_identities,
    write_taken_over,
)
from fieldmark.reporting.duplicate_pages import duplicates_page


def paint(path: Path, seed: int, *, size_px: tuple[int, int] = (360, 240), **settings: object) -> None:
    coarse = np.random.default_rng(seed).integers(0, 255, (8, 12, 3), dtype=np.uint8)
    large = np.asarray(Image.fromarray(coarse).resize((720, 480), Image.BICUBIC), float)
    noisy = np.clip(large + np.random.default_rng(seed).normal(0, 5, large.shape), 0, 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noisy).resize(size_px, Image.LANCZOS).save(path, **settings)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> tuple[Collection, Collection]:
    """Two tables: picture 1 is anna's in three sizes, 2 bo's and unknown, 3 carl's and dora's, 4 has no copy."""
    folder = tmp_path_factory.mktemp("tables")
    paint(folder / "a1.jpg", 1)
    paint(folder / "a2.png", 1, size_px=(720, 480))
    paint(folder / "a3.jpg", 1, size_px=(150, 100), quality=60)
    paint(folder / "b.jpg", 2)
    shutil.copy(folder / "b.jpg", folder / "s.jpg")
    paint(folder / "c.jpg", 3)
    paint(folder / "d.jpg", 3, quality=40)
    paint(folder / "lone.jpg", 4)
    (folder / "cut.jpg").write_bytes((folder / "lone.jpg").read_bytes()[:400])
    images = ["a1.jpg", "a2.png", "a3.jpg", "b.jpg", "s.jpg", "c.jpg", "d.jpg", "lone.jpg", "cut.jpg"]
    names = ["anna", "anna", None, "bo", "unknown", "carl", "dora", "eve", "eve"]
    known = Collection.of({"image": images, "identity": names}, root=folder, name="seen")
    paint(folder / "new/n1.jpg", 1, size_px=(300, 200))
    paint(folder / "new/n3.jpg", 3, size_px=(300, 200))
    paint(folder / "new/n9.jpg", 9)
    new = Collection.of({"image": ["n1.jpg", "n3.jpg", "n9.jpg"]}, root=folder / "new", name="later")
    return known, new


@pytest.fixture(scope="module")
def found(tables: tuple[Collection, Collection]) -> NearDuplicates:
    return find_duplicates(*tables, n_workers=1)


def test_pictures_are_found_across_sizes_files_and_tables(found: NearDuplicates) -> None:
    groups = [(one.verdict, [duplicate.image for duplicate in one.duplicates]) for one in found.pictures]
    assert groups == [
        ("two names", ["c.jpg", "d.jpg", "n3.jpg"]),
        ("unknown and named", ["b.jpg", "s.jpg"]),
        ("same name", ["a1.jpg", "a2.png", "a3.jpg", "n1.jpg"]),
    ]
    assert len(found.conflicts) == 2
    assert [one.crosses for one in found.pictures] == [True, False, True]
    assert [duplicate.image for duplicate in found.pictures[2].duplicates if duplicate.largest] == ["a2.png"]
    assert (found.pictures[2].duplicates[1].width_px, found.pictures[2].duplicates[1].height_px) == (720, 480)
    assert [duplicate.source for duplicate in found.pictures[2].duplicates] == ["known"] * 3 + ["new"]


def test_broken_files_are_listed_and_not_compared(found: NearDuplicates) -> None:
    assert [one.file for one in found.broken] == ["cut.jpg"]
    assert (found.n_known, found.n_new) == (8, 3)


def test_only_new_photos_whose_duplicates_agree_get_a_name(found: NearDuplicates) -> None:
    assert found.taken_over == (("n1.jpg", "anna"),)


def test_identities_that_share_a_picture_are_suggested(found: NearDuplicates) -> None:
    assert [(one.first, one.second, one.n_shared) for one in found.suggested] == [("carl", "dora", 1)]


def test_identities_that_look_similar_are_suggested_by_name(tables: tuple[Collection, Collection]) -> None:
    names = ("zoe", "anna", "bo", "carl", "eve", *(f"w{n}" for n in range(20)))
    of = 0.1 + 0.01 * np.random.default_rng(0).random((len(names), len(names)))
    of[1, 4] = of[4, 1] = 0.9
    of[0, 2] = of[2, 0] = 0.8  # zoe is not in the table
    found = find_duplicates(*tables, likeness=IdentityLikeness(names, of), n_workers=1)
    assert [(one.first, one.second) for one in found.suggested] == [("carl", "dora"), ("anna", "eve")]
    assert found.suggested[1].cosine == pytest.approx(0.9)


def test_the_order_of_the_table_changes_no_group(tables: tuple[Collection, Collection], found: NearDuplicates) -> None:
    known, new = tables
    turned = find_duplicates(known.take(np.arange(len(known))[::-1]), new, n_workers=2)
    as_sets = [
        {frozenset(duplicate.image for duplicate in one.duplicates) for one in some.pictures}
        for some in (found, turned)
    ]
    assert as_sets[0] == as_sets[1]


def test_true_sizes_in_the_table_separate_resized_files(tables: tuple[Collection, Collection]) -> None:
    known, _ = tables
    sizes = [(700, 400) if image == "d.jpg" else (360, 240) for image in known.images]
    width, height = zip(*sizes, strict=True)
    wide = Collection.of(known.table.with_columns(width=np.array(width), height=np.array(height)), root=known.root)
    assert all(
        "d.jpg" not in [duplicate.image for duplicate in one.duplicates] for one in find_duplicates(wide).pictures
    )


def test_different_labels_are_also_a_conflict(tables: tuple[Collection, Collection]) -> None:
    known, _ = tables
    labels = Collection.of(
        {"image": ["c.jpg", "d.jpg", "b.jpg", "s.jpg"], "labels": [["cup"], ["cup", "vase"], ["cup"], ["cup"]]},
        root=known.root,
    )
    found = find_duplicates(labels)
    assert [one.verdict for one in found.pictures] == ["two names", "same name"]
    assert found.suggested == ()


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_csv_files_hold_the_results(found: NearDuplicates, tmp_path: Path) -> None:
    write_duplicates(tmp_path / "duplicates.csv", found)
    rows = rows_of(tmp_path / "duplicates.csv")
    assert [row["picture"] for row in rows] == ["1"] * 3 + ["2"] * 2 + ["3"] * 4
    assert list(rows[2]) == list(DUPLICATES)
    assert list(rows[2].values()) == ["1", "new", "n3.jpg", "n3.jpg", "", "two names", "300", "200", "no"]
    write_identities(tmp_path / "names.csv", found)
    (pair,) = rows_of(tmp_path / "names.csv")
    assert (pair["first"], pair["second"], pair["cosine"], pair["decision"]) == ("carl", "dora", "", "")
    write_taken_over(tmp_path / "over.csv", found)
    assert (tmp_path / "over.csv").read_text() == "image,identity\nn1.jpg,anna\n"


def test_formulas_in_names_are_escaped(tmp_path: Path) -> None:
    paint(tmp_path / "=cmd.jpg", 1)
    paint(tmp_path / "b.jpg", 1)
    hostile = Collection.of({"image": ["=cmd.jpg", "b.jpg"], "identity": ["@x", "@x"]}, root=tmp_path)
    write_duplicates(tmp_path / "duplicates.csv", find_duplicates(hostile))
    assert [(row["image"], row["name"]) for row in rows_of(tmp_path / "duplicates.csv")] == [
        ("'=cmd.jpg", "'@x"),
        ("b.jpg", "'@x"),
    ]


def test_page_shows_photos_side_by_side(tables: tuple[Collection, Collection], found: NearDuplicates) -> None:
    shown = duplicate_page(found, *tables)
    assert shown.summary == "3 groups of near-duplicate photos. 2 groups have names that contradict each other."
    html = duplicates_page(shown)
    assert html.count("<img") == 9 + 2  # photos of three pictures, and one of carl and one of dora
    assert "two names" in html
    assert "1 picture in common" in html
    assert "cut.jpg" in html
    assert "http" not in html.replace("http-equiv", "")


def test_a_table_without_duplicates_makes_a_page(tmp_path: Path) -> None:
    paint(tmp_path / "one.jpg", 1)
    alone = Collection.of({"image": ["one.jpg"]}, root=tmp_path)
    found = find_duplicates(alone)
    assert found.pictures == ()
    assert "0 groups of near-duplicate photos." in duplicates_page(duplicate_page(found, alone))

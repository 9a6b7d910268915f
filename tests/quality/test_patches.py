"""Label issues as a list for people, and the filled list as a patch: no loss, no formulas, all mistakes listed."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldmark.core.errors import DataError
from fieldmark.data.collection import Collection
from fieldmark.data.vocabulary import Vocabulary
from fieldmark.quality.labels.issues import likely_label_errors
from fieldmark.quality.patches import LabelDecision, Patch, apply, export_issues, read_patch, write_patch

NASTY = ("=cmd|' /C calc'!A0", "+1", "-x", "@sum", "'=quoted", "''@twice", 'comma, quote "', "two\nlines", "plain", "'")


@pytest.fixture
def museum() -> Collection:
    """Return a collection of three objects, one without labels."""
    frame = {
        "image": ["001", "=2", "3"],
        "file": ["001.jpg", "=2.jpg", "3.jpg"],
        "labels": [["jar", "red"], None, ["lute"]],
    }
    vocabulary = Vocabulary.of(tags=["jar", "lute", "red", "@sign"])
    return Collection.of(frame, root=Path(), name="museum", vocabulary=vocabulary)


def filled(path: Path, decisions: list[str]) -> None:
    """Fill the decisions of an exported list, as a person does."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, "decision": word} for row, word in zip(rows, decisions, strict=True))


def issues_table() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "row": [0, 1, 2, 0],
            "label": ["red", "@sign", "lute", "lute"],
            "kind": ["wrong", "missing", "wrong", "missing"],
            "given": [True, False, True, False],
            "proba": [0.01, 0.9, 0.2, 0.7],
            "label_error_proba": [0.9, 0.8, 0.7, 0.6],
        }
    )


def test_a_filled_list_is_a_patch(museum, tmp_path):
    path = tmp_path / "issues.csv"
    export_issues(path, issues_table(), museum)
    assert read_patch(path).changes == ()  # nothing decided yet
    filled(path, ["remove", "Add ", "keep", ""])
    patch = read_patch(path)
    assert patch.changes == (
        LabelDecision("001", "red", add=False, row=2),
        LabelDecision("=2", "@sign", add=True, row=3),
    )
    changed = apply(patch, museum)
    assert changed.table["labels"].to_list() == [["jar"], ["@sign"], ["lute"]]
    assert museum.table["labels"].to_list() == [["jar", "red"], None, ["lute"]]
    assert changed.fingerprint() != museum.fingerprint()
    assert changed.truth.tolist() == [[1, 0, 0, 0], [0, 0, 0, 1], [0, 1, 0, 0]]


def test_a_patch_may_be_applied_twice_and_may_change_nothing(museum, tmp_path):
    write_patch(
        tmp_path / "p.csv", Patch((LabelDecision("3", "red", add=True), LabelDecision("001", "red", add=False)))
    )
    patch = read_patch(tmp_path / "p.csv")
    once = apply(patch, museum)
    assert once.table["labels"].to_list() == [["jar"], None, ["lute", "red"]]
    assert apply(patch, once).fingerprint() == once.fingerprint()
    idle = Patch((LabelDecision("3", "lute", add=True), LabelDecision("=2", "jar", add=False)))
    assert apply(idle, museum).fingerprint() == museum.fingerprint()


def test_the_list_holds_the_issues(tmp_path):
    chance = np.random.default_rng(0)
    truth = chance.random((40, 3)) < 0.4
    frame = {"image": [f"{number:03}" for number in range(40)]}
    frame["labels"] = [[name for name, has in zip("abc", row, strict=True) if has] for row in truth]
    collection = Collection.of(frame, root=Path(), vocabulary=Vocabulary.of(tags="abc"))
    table = likely_label_errors(np.clip(truth * 0.8 + 0.1, 0, 1), truth, collection.vocabulary.tags, most=5)
    export_issues(tmp_path / "new" / "issues.csv", table, collection)
    with (tmp_path / "new" / "issues.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["image", "file", "label", "kind", "given", "proba", "label_error_proba", "decision"]
    assert [row["image"] for row in rows] == [f"{row:03}" for row in table["row"]]
    assert all((row["kind"] == "wrong") == (row["given"] == "1") for row in rows)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.one_of(
                st.sampled_from(NASTY), st.text(st.characters(codec="utf-8", exclude_characters="\r\x00"), min_size=1)
            ),
            st.booleans(),
        ),
        min_size=1,
        unique_by=lambda change: change[0],
    )
)
def test_any_name_is_restored_and_no_cell_starts_a_formula(tmp_path_factory, changes):
    path = tmp_path_factory.mktemp("patch") / "p.csv"
    wanted = [(name, name, add) for name, add in changes]
    write_patch(path, Patch(tuple(LabelDecision(image, label, add=add) for image, label, add in wanted)))
    assert [(each.image, each.label, each.add) for each in read_patch(path).changes] == wanted
    with path.open(encoding="utf-8-sig", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in cells)


def test_all_mistakes_of_a_file_are_listed_at_once(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("image,label,set\n1,a,perhaps\n2,a,1\n2,a,remove\n2,a,add\n3,a,\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"p\.csv has 3 mistake") as caught:
        read_patch(path)
    text = str(caught.value)
    assert "p.csv, row 2, column 'set': is not a decision: 'perhaps'" in text
    assert "row 4, column 'set': contradicts an earlier row about 'a' of image '2' (row 3): 'remove'" in text
    assert "row 6, column 'set': is not a decision: ''" in text
    assert "add" in caught.value.fix
    assert "decide once" in caught.value.fix


@pytest.mark.parametrize(
    ("header", "problem", "fix"),
    [
        ("image,label", "needs either set or decision", "one column for the decisions"),
        ("image,label,set,decision", "needs either set or decision", "one column for the decisions"),
        ("image,set", "lacks a column: 'label'", "image, label and set"),
        ("image,label,set,desicion", "is not a column of a patch: 'desicion'", "did you mean 'decision'"),
    ],
)
def test_wrong_columns_are_listed(tmp_path, header, problem, fix):
    path = tmp_path / "p.csv"
    path.write_text(f"{header}\n{','.join('1' for _ in header.split(','))}\n", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_patch(path)
    assert problem in caught.value.got
    assert fix in caught.value.fix


def test_ragged_and_missing_files_are_rejected(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("image,label,set\n1,a\n", encoding="utf-8")
    with pytest.raises(DataError, match="1 mistake") as caught:
        read_patch(path)
    assert "cells" in caught.value.fix
    with pytest.raises(DataError) as gone:
        read_patch(tmp_path / "gone.csv")
    assert "check the path" in gone.value.fix


def test_unknown_images_and_labels_are_collected_with_the_nearest_name(museum):
    patch = Patch((LabelDecision("1", "jar", add=True, row=2), LabelDecision("9", "redd", add=True, row=3)), "mine.csv")
    with pytest.raises(DataError, match=r"mine\.csv has 3 mistake") as caught:
        apply(patch, museum)
    assert "mine.csv, row 2, column 'image': is not an image of this collection: '1'" in caught.value.got
    assert "row 3, column 'label': is not a label of this collection: 'redd'" in caught.value.got
    assert "did you mean 'red'?" in caught.value.fix
    assert "leading zeros" in caught.value.fix


def test_collections_without_labels_and_other_tables_are_rejected(museum, tmp_path):
    bare = Collection.of({"image": ["a"]}, root=Path())
    with pytest.raises(DataError) as caught:
        apply(Patch(()), bare)
    assert "whose issues were listed" in caught.value.fix
    with pytest.raises(DataError) as columns:
        export_issues(tmp_path / "d.csv", pl.DataFrame({"row": [0]}), museum)
    assert "likely_label_errors()" in columns.value.fix
    with pytest.raises(DataError) as outside:
        export_issues(tmp_path / "d.csv", issues_table().with_columns(row=pl.lit(7)), museum)
    assert "row 7" in outside.value.got


@pytest.fixture
def whales() -> Collection:
    names = ["A", "A", "B", "new_whale", "new_whale"]
    return Collection.of({"image": ["1", "2", "3", "4", "5"], "identity": names}, root=Path(), name="whales")


def test_an_added_name_replaces_the_name_of_a_photo(whales: Collection) -> None:
    changes = (
        LabelDecision("4", "A", add=True),
        LabelDecision("2", "A", add=False),
        LabelDecision("1", "A", add=False),
        LabelDecision("1", "B", add=True),
    )
    for patch in (Patch(changes), Patch(changes[::-1])):
        patched = apply(patch, whales)
        assert patched.table["identity"].to_list() == ["B", "new_whale", "B", "A", "new_whale"]
        assert patched.classes.tolist() == [1, -1, 1, 0, -1]
        assert patched.fingerprint() != whales.fingerprint()
        assert apply(patch, patched).fingerprint() == patched.fingerprint()


def test_a_name_without_photos_is_removed_from_the_classes(whales: Collection) -> None:
    patched = apply(Patch((LabelDecision("3", "A", add=True),)), whales)
    assert patched.vocabulary.identities == ("A",)
    assert patched.vocabulary.unknown == "new_whale"


def test_two_names_for_a_photo_and_unknown_names_are_listed(whales: Collection) -> None:
    patch = Patch(
        (
            LabelDecision("4", "A", add=True, row=2),
            LabelDecision("4", "B", add=True, row=3),
            LabelDecision("5", "C", add=True),
        )
    )
    with pytest.raises(DataError, match="2 mistake") as caught:
        apply(patch, whales)
    assert "row 3, column 'label': is a second name for '4' (row 2): 'B'" in caught.value.got
    assert "'C'" in caught.value.got


def test_a_list_of_identity_issues_is_read_as_a_patch(whales: Collection, tmp_path: Path) -> None:
    table = pl.DataFrame(
        {
            "row": [3, 0],
            "label": ["B", "B"],
            "kind": ["unknown", "two names"],
            "given": [False, False],
            "proba": [0.9, 0.4],
            "label_error_proba": [0.9, 0.4],
            "beside": ["3", "=3"],
        }
    )
    export_issues(tmp_path / "d.csv", table, whales)
    with (tmp_path / "d.csv").open(encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert [(row["image"], row["beside"], row["kind"]) for row in rows] == [
        ("4", "3", "unknown"),
        ("1", "'=3", "two names"),
    ]
    text = (tmp_path / "d.csv").read_text(encoding="utf-8-sig").splitlines()
    (tmp_path / "decided.csv").write_text("\n".join([text[0], text[1] + "add", text[2] + "keep"]), encoding="utf-8")
    patched = apply(read_patch(tmp_path / "decided.csv"), whales)
    assert patched.table["identity"].to_list() == ["A", "A", "B", "B", "new_whale"]

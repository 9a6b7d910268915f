import csv
import hashlib
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fieldmark.core.errors import DataError, PlanError
from fieldmark.data.reading import read
from fieldmark.specimens.files import Drawn
from fieldmark.specimens.labelling import LABELS, NO_NOISE, Noise
from fieldmark.specimens.museum import draw_museum

SMALL = {"n_train": 40, "n_test": 12, "n_near_duplicates": 4, "n_broken": 2, "shorter_px": 48, "seed": 5}


def table(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def digests(folder: Path) -> dict[str, str]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    return draw_museum(tmp_path_factory.mktemp("drawn") / "museum", **SMALL)


def test_the_contest_layout_is_read_with_all_labels_in_their_groups(drawn: Drawn) -> None:
    collection = read(drawn.folder)
    assert len(collection.table) == 40 + 4 + 2
    assert collection.vocabulary.tags == LABELS
    assert set(collection.vocabulary.tag_groups) == {"culture", "tag"}
    assert all(
        tag.startswith(f"{group}::") for tag, group in zip(LABELS, collection.vocabulary.tag_groups, strict=True)
    )
    assert collection.root == drawn.folder / "train"
    truth = read(drawn.truth_file, photos=drawn.folder / "test")
    assert len(truth.table) == 12
    assert truth.vocabulary == collection.vocabulary
    both = read(drawn.folder / "truth.csv", check_files=False)
    assert set(both.table["image"]) == set(collection.table["image"]) | set(truth.table["image"])
    assert drawn.n_photos == len(both.table) == 58


def test_the_plain_table_says_the_same_with_photos_of_one_object_in_one_group(drawn: Drawn) -> None:
    contest, plain = read(drawn.folder), read(drawn.folder / "photos.csv")
    assert plain.table.select("image", "labels").equals(contest.table.select("image", "labels"))
    group = dict(zip(plain.table["image"], plain.table["group"], strict=True))
    objects = {row["id"]: row["object"] for row in table(drawn.folder / "objects.csv")}
    assert all(objects[image] == name for image, name in group.items())
    assert max(Counter(group.values()).values()) > 1
    for flaw in table(drawn.folder / "flaws.csv"):
        assert flaw["flaw"] != "copy" or group[flaw["id"]] == group[flaw["of"]]
    parts = {(row["object"], row["part"]) for row in table(drawn.folder / "objects.csv")}
    assert len(parts) == len({name for name, _ in parts})


def test_photos_of_one_object_have_the_same_true_labels(drawn: Drawn) -> None:
    truth = {row["id"]: row["attribute_ids"] for row in table(drawn.folder / "truth.csv")}
    found: dict[str, set[str]] = {}
    for row in table(drawn.folder / "objects.csv"):
        found.setdefault(row["object"], set()).add(truth[row["id"]])
    assert all(len(labels) == 1 for labels in found.values())


def test_photos_have_the_shorter_side_asked_for_and_differ(drawn: Drawn) -> None:
    flaws = {row["id"] for row in table(drawn.folder / "flaws.csv") if row["flaw"] != "labels"}
    files = [file for file in drawn.folder.rglob("*.jpg") if file.stem not in flaws]
    assert len(files) == 52
    assert len({file.read_bytes() for file in files}) == 52
    sizes = set()
    for file in files:
        assert re.fullmatch(r"[0-9a-f]{8}", file.stem)
        with Image.open(file) as picture:
            picture.load()
            sizes.add(picture.size)
    assert {min(size) for size in sizes} == {48}
    assert len(sizes) > 15


def test_flaws_are_what_they_are_listed_as(drawn: Drawn) -> None:
    flaws = table(drawn.folder / "flaws.csv")
    kinds = Counter(row["flaw"] for row in flaws)
    assert kinds["copy"] == 4
    assert kinds["broken"] == 2
    assert kinds["labels"] == 1
    truth = {row["id"]: row["attribute_ids"] for row in table(drawn.folder / "truth.csv")}
    given = {row["id"]: row["attribute_ids"] for row in table(drawn.folder / "train.csv")}
    for row in flaws:
        file = drawn.folder / "train" / f"{row['id']}.jpg"
        if row["flaw"] == "broken":
            with Image.open(file) as picture, pytest.raises(OSError, match=r"truncated|cannot identify"):
                picture.load()
        elif row["flaw"] == "labels":
            assert given[row["id"]] == truth[row["of"]] != truth[row["id"]]
        else:
            with Image.open(file) as copy, Image.open(drawn.folder / "train" / f"{row['of']}.jpg") as original:
                assert min(copy.size) < 48
                again = np.asarray(copy.resize(original.size, Image.Resampling.BICUBIC), dtype=float)
                assert np.abs(again - np.asarray(original, dtype=float)).mean() < 12


def test_the_same_arguments_give_the_same_bytes_with_any_number_of_workers(drawn: Drawn, tmp_path: Path) -> None:
    again = draw_museum(tmp_path / "again", **SMALL, n_workers=3)
    assert digests(again.folder) == digests(drawn.folder)
    other = draw_museum(tmp_path / "other", **{**SMALL, "seed": 6, "n_train": 6, "n_test": 2, "n_near_duplicates": 1})
    assert not {name for name in digests(drawn.folder) if name.endswith(".jpg")} & set(digests(other.folder))


def test_without_noise_the_given_labels_are_the_true_ones_and_png_is_read(tmp_path: Path) -> None:
    drawn = draw_museum(
        tmp_path, n_train=5, n_test=0, n_near_duplicates=1, n_broken=0, noise=NO_NOISE, shorter_px=32, form="png"
    )
    assert table(tmp_path / "train.csv") == table(tmp_path / "truth.csv")
    assert table(drawn.truth_file) == table(tmp_path / "sample_submission.csv") == []
    assert all(file.endswith(".png") for file in read(tmp_path).table["file"])
    assert "form='png'" in (tmp_path / "README.txt").read_text(encoding="utf-8")


def test_all_impossible_numbers_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(PlanError) as refused:
        draw_museum(tmp_path, n_train=0, shorter_px=8, noise=Noise(missing_tags=0.9, wrong=-0.1))
    assert "n_train from 1 to" in refused.value.fix
    assert "shorter_px from 32 to 2048" in refused.value.fix
    assert "missing_tags from 0.0 to 0.5" in refused.value.fix
    assert "wrong from 0.0 to 0.5" in refused.value.fix
    with pytest.raises(PlanError) as refused:
        draw_museum(tmp_path, form="gif")  # type: ignore[arg-type]
    assert "'jpg' or 'png'" in refused.value.fix
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_use_is_never_drawn_into(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep me", encoding="utf-8")
    with pytest.raises(DataError) as refused:
        draw_museum(tmp_path, n_train=2, n_near_duplicates=0)
    assert f"{tmp_path.name}-2" in refused.value.fix

import csv
import hashlib
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fieldmark.core.errors import DataError, PlanError
from fieldmark.data.reading import read
from fieldmark.specimens.files import Drawn
from fieldmark.specimens.museum import draw_museum, given_labels
from fieldmark.specimens.objects import CULTURES, KINDS, LABELS, MOTIFS

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


def test_photos_are_different_and_have_the_requested_shorter_side(drawn: Drawn) -> None:
    flaws = {row["id"] for row in table(drawn.folder / "flaws.csv")}
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


def test_listed_flaws_are_correct(drawn: Drawn) -> None:
    flaws = table(drawn.folder / "flaws.csv")
    assert Counter(row["flaw"] for row in flaws) == {"copy": 4, "broken": 2}
    truth = {row["id"]: row["attribute_ids"] for row in table(drawn.folder / "truth.csv")}
    for row in flaws:
        file = drawn.folder / "train" / f"{row['id']}.jpg"
        if row["flaw"] == "broken":
            with Image.open(file) as picture, pytest.raises(OSError, match=r"truncated|cannot identify"):
                picture.load()
        else:
            assert truth[row["id"]] == truth[row["of"]]
            with Image.open(file) as copy, Image.open(drawn.folder / "train" / f"{row['of']}.jpg") as original:
                assert min(copy.size) < 48
                again = np.asarray(copy.resize(original.size, Image.Resampling.BICUBIC), dtype=float)
                assert np.abs(again - np.asarray(original, dtype=float)).mean() < 16


def test_the_same_arguments_give_the_same_bytes_with_any_number_of_workers(drawn: Drawn, tmp_path: Path) -> None:
    again = draw_museum(tmp_path / "again", **SMALL, n_workers=3)
    assert digests(again.folder) == digests(drawn.folder)
    other = draw_museum(tmp_path / "other", **{**SMALL, "seed": 6, "n_train": 6, "n_test": 2, "n_near_duplicates": 1})
    assert not {name for name in digests(drawn.folder) if name.endswith(".jpg")} & set(digests(other.folder))


def test_without_noise_the_given_labels_are_the_true_ones(tmp_path: Path) -> None:
    numbers = {"n_train": 5, "n_test": 0, "n_near_duplicates": 1, "n_broken": 0, "shorter_px": 32}
    drawn = draw_museum(tmp_path, share_missing=0, share_wrong=0, **numbers)
    assert table(tmp_path / "train.csv") == table(tmp_path / "truth.csv")
    assert table(drawn.truth_file) == table(tmp_path / "sample_submission.csv") == []
    assert "share_missing=0 " in (tmp_path / "README.txt").read_text(encoding="utf-8")


def test_missing_and_wrong_labels_have_the_requested_numbers(drawn: Drawn) -> None:
    truth = {row["id"]: set(row["attribute_ids"].split()) for row in table(drawn.folder / "truth.csv")}
    given = {row["id"]: set(row["attribute_ids"].split()) for row in table(drawn.folder / "train.csv")}
    n_true = sum(len(truth[image]) for image in given)
    assert sum(len(truth[image] - labels) for image, labels in given.items()) == round(0.1 * n_true)
    assert sum(len(labels - truth[image]) for image, labels in given.items()) == round(0.03 * n_true)


@given(st.integers(1, 60), st.integers(0, 1000), st.floats(0, 0.5), st.floats(0, 0.5))
@settings(max_examples=40, deadline=None)
def test_every_photo_keeps_a_label_under_any_noise(n: int, seed: int, missing: float, wrong: float) -> None:
    chance = np.random.default_rng(seed)
    truth = chance.random((n, 8)) < 0.3
    truth[np.arange(n), chance.integers(8, size=n)] = True
    labels = given_labels(truth, missing=missing, wrong=wrong, chance=chance)
    assert (labels & truth).any(axis=1).all()
    assert (truth & ~labels).sum() <= round(missing * truth.sum())


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "many"
    numbers = {"n_train": 250, "n_test": 0, "n_near_duplicates": 0, "n_broken": 0, "shorter_px": 32}
    return draw_museum(folder, share_missing=0, share_wrong=0, **numbers, n_workers=2).folder


def labelled(folder: Path) -> dict[str, set[str]]:
    rows = table(folder / "truth.csv")
    return {row["id"]: {LABELS[int(number)] for number in row["attribute_ids"].split()} for row in rows}


def test_labels_have_a_long_tail_and_each_occurs(many: Path) -> None:
    labels = list(labelled(many).values())
    counts = Counter(label for own in labels for label in own)
    assert set(counts) == set(LABELS)
    for group, names in (("culture", CULTURES), ("tag", KINDS), ("tag", MOTIFS)):
        first, *_, last = (counts[f"{group}::{name}"] for name in names)
        assert first > 2 * last
    assert {sum(label.startswith("culture::") for label in own) for own in labels} == {0, 1, 2}


@pytest.mark.parametrize("names", [[f"tag::{kind}" for kind in KINDS], [f"culture::{name}" for name in CULTURES]])
def test_kinds_and_cultures_can_be_predicted_from_the_pixels(many: Path, names: list[str]) -> None:
    vectors, found = [], []
    for image, labels in labelled(many).items():
        own = labels & set(names)
        if len(own) == 1:
            with Image.open(many / "train" / f"{image}.jpg") as photo:
                vectors.append(np.asarray(photo.resize((12, 12)), dtype=float).ravel())
            found.append(own.pop())
    vectors, found = np.stack(vectors), np.array(found)
    far = ((vectors[:, None] - vectors[None]) ** 2).sum(axis=2)
    np.fill_diagonal(far, np.inf)
    right = (found[far.argmin(axis=1)] == found).mean()
    assert right > max(Counter(found.tolist()).values()) / len(found) + 0.2


def test_all_numbers_out_of_range_are_listed(tmp_path: Path) -> None:
    with pytest.raises(PlanError) as refused:
        draw_museum(tmp_path, n_train=0, shorter_px=8, share_missing=0.9, share_wrong=-0.1)
    assert "n_train from 1 to" in refused.value.fix
    assert "shorter_px from 32 to 2048" in refused.value.fix
    assert "share_missing from 0 to 0.5" in refused.value.fix
    assert "share_wrong from 0 to 0.5" in refused.value.fix
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_files_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep me", encoding="utf-8")
    with pytest.raises(DataError) as refused:
        draw_museum(tmp_path, n_train=2, n_near_duplicates=0)
    assert f"{tmp_path.name}-2" in refused.value.fix

"""Real tables of contests and prepared collections, compared with the counts in their README files."""

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cpu import least_cpu_s
from fieldmark.data.collection import Collection
from fieldmark.data.folds import assign, describe
from fieldmark.data.reading import read
from fieldmark.data.specs import HumpbackSplit, IdentityFolds

pytestmark = pytest.mark.real


@pytest.fixture
def real() -> Path:
    """The folder of the shared data."""
    folder = Path(os.environ.get("FIELDMARK_DATA", Path(__file__).parents[3] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set FIELDMARK_DATA")
    return folder


def photos_per_identity(collection: Collection) -> np.ndarray:
    return np.bincount(collection.classes[collection.classes >= 0])


def photos_per_label(collection: Collection) -> dict[str, int]:
    return dict(zip(collection.vocabulary.tags, collection.truth.sum(axis=0).tolist(), strict=True))


def test_humpback_2019(real, tmp_path) -> None:
    path = real / "meta_humpback2019" / "train.csv"
    collection = read(path, check_files=False)
    assert least_cpu_s(lambda: read(path, check_files=False)) < 1.5
    counts = photos_per_identity(collection)
    assert (len(collection), len(counts), int((collection.classes == -1).sum())) == (25_361, 5_004, 9_664)
    assert (int((counts == 1).sum()), int((counts == 2).sum()), counts.max()) == (2_073, 1_285, 73)
    fold = assign(HumpbackSplit(), classes=collection.classes, groups=collection.groups, seed=0)
    assert describe(fold, collection.classes)[0].known == 512
    assert describe(fold, collection.classes)[0].unknowns == 230
    collection.write(tmp_path)
    assert Collection.open(tmp_path).table.equals(collection.table)


def test_imet_2019(real) -> None:
    collection = read(real / "meta_imet2019", check_files=False)
    counts = photos_per_label(collection)
    assert len(collection) == 109_237
    assert {group: len(columns) for group, columns in collection.vocabulary.groups.items()} == {
        "culture": 398,
        "tag": 705,
    }
    assert max(counts.items(), key=lambda item: item[1]) == ("tag::men", 19_970)
    assert sum(counts.values()) / len(collection) == pytest.approx(3.17, abs=0.005)
    assert collection.truth.sum(axis=1).max() == 11


def test_humpback_2018(real) -> None:
    collection = read(real / "humpback2018_100px")
    assert (len(collection), len(photos_per_identity(collection))) == (8_164, 3_961)
    assert sum(collection.table.null_count().row(0)) == 0
    fold = assign(IdentityFolds(), classes=collection.classes, groups=collection.groups, seed=0)
    contradicting = collection.table.select(pl.col("identity").n_unique().over("group") > 1).to_series().to_numpy()
    assert contradicting.sum() > 300
    assert (fold[contradicting] == -1).all()
    challenge = read(real / "humpback2018_100px" / "challenge.csv", labelled=False)
    assert len(challenge) == 1_686
    assert not set(challenge.images) & set(collection.images)


def test_openclipart(real) -> None:
    collection = read(real / "openclipart")
    assert len(collection) == 6_616
    assert len(photos_per_label(collection)) == 485
    assert photos_per_label(collection)["tag::hash"] == 1_924


def test_fashion_products(real) -> None:
    questions = ["gender", "masterCategory", "subCategory", "articleType", "baseColour", "season", "year", "usage"]
    collection = read(real / "fashion_products", questions=questions)
    assert len(collection) == 12_490
    sizes = [len(question.answers) for question in collection.vocabulary.questions]
    assert sizes[:2] == [5, 7]
    assert collection.answers("gender").sum() == 12_490 - collection.table["gender"].null_count()
    assert collection.images[0] == "1163"


def test_liondata(real) -> None:
    collection = read(real / "liondata")
    assert (len(collection), len(collection.vocabulary.identities)) == (740, 94)
    assert set(collection.table["split"]) == {"train", "test"}

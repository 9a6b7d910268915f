"""The contests' real tables and our prepared collections, against the counts that their README files state."""

import os
import time
from pathlib import Path

import numpy as np
import pytest

from fieldmark.data.collection import Collection
from fieldmark.data.facts import facts
from fieldmark.data.folds import assign, describe
from fieldmark.data.reading import read
from fieldmark.data.specs import HumpbackHoldout, IdentityFolds

pytestmark = pytest.mark.real


@pytest.fixture
def real() -> Path:
    """The folder of the shared data."""
    folder = Path(os.environ.get("FIELDMARK_DATA", Path(__file__).parents[3] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set FIELDMARK_DATA")
    return folder


def test_humpback_2019(real, tmp_path) -> None:
    path = real / "meta_humpback2019" / "train.csv"
    start = time.process_time()
    collection = read(path, check_files=False)
    assert time.process_time() - start < 1.5
    counted = facts(collection)
    assert (counted.n_photos, counted.n_identities, counted.n_unknown) == (25_361, 5_004, 9_664)
    assert (counted.n_singletons, counted.photos_per_identity[2], max(counted.photos_per_identity)) == (
        2_073,
        1_285,
        73,
    )
    fold = assign(HumpbackHoldout(), classes=collection.classes, groups=collection.groups, seed=0)
    assert describe(fold, collection.classes)[0].known == 512
    assert describe(fold, collection.classes)[0].strangers == 230
    collection.write(tmp_path)
    assert Collection.open(tmp_path).table.equals(collection.table)


def test_imet_2019(real) -> None:
    collection = read(real / "meta_imet2019", check_files=False)
    counted = facts(collection)
    assert counted.n_photos == 109_237
    assert {group: len(columns) for group, columns in collection.vocabulary.groups.items()} == {
        "culture": 398,
        "tag": 705,
    }
    assert counted.top(1) == (("tag::men", 19_970),)
    assert sum(count for _, count in counted.label_counts) / counted.n_photos == pytest.approx(3.17, abs=0.005)
    assert max(counted.labels_per_photo) == 11


def test_humpback_2018(real) -> None:
    collection = read(real / "humpback2018_100px")
    counted = facts(collection)
    assert (counted.n_photos, counted.n_identities) == (8_164, 3_961)
    assert counted.missing == {}
    fold = assign(IdentityFolds(), classes=collection.classes, groups=collection.groups, seed=0)
    doubtful = {conflict.group for conflict in counted.conflicts}
    in_doubt = np.array([group in doubtful for group in collection.table["group"]])
    assert in_doubt.sum() > 300
    assert (fold[in_doubt] == -1).all()
    challenge = read(real / "humpback2018_100px" / "challenge.csv", labelled=False)
    assert len(challenge) == 1_686
    assert not set(challenge.images) & set(collection.images)


def test_openclipart(real) -> None:
    counted = facts(read(real / "openclipart"))
    assert counted.n_photos == 6_616
    assert len(counted.label_counts) == 485
    assert dict(counted.label_counts)["tag::hash"] == 1_924


def test_fashion_products(real) -> None:
    questions = ["gender", "masterCategory", "subCategory", "articleType", "baseColour", "season", "year", "usage"]
    collection = read(real / "fashion_products", questions=questions)
    assert len(collection) == 12_490
    sizes = [len(question.answers) for question in collection.vocabulary.questions]
    assert sizes[:2] == [5, 7]
    assert collection.answers("gender").sum() == 12_490 - facts(collection).missing.get("gender", 0)
    assert collection.images[0] == "1163"


def test_liondata(real) -> None:
    collection = read(real / "liondata")
    assert (len(collection), len(collection.vocabulary.identities)) == (740, 94)
    assert set(collection.table["split"]) == {"train", "test"}

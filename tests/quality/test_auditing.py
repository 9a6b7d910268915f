"""Audits of tables with and without files, and with one or two parts."""

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from fieldmark.core.errors import DataError, FieldmarkError
from fieldmark.data.collection import Collection
from fieldmark.data.reading import read
from fieldmark.quality.leakage.auditing import Audit, AuditPhotos, audit_side_features, judged
from fieldmark.quality.leakage.side_columns import MEANINGS, meaning, side_features, targets

N = 120
WORDS = ("shirt", "shoe", "bag")


def shop(**columns: object) -> Collection:
    """Return a table of product addresses without any photo files."""
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 3, N)
    table = {
        "image": [f"{rng.integers(10**9):09d}" for _ in range(N)],
        "kind": [WORDS[one] for one in kind],
        "colour": rng.choice(["red", "blue"], N).tolist(),
        "url": [f"http://h{rng.integers(2)}.example/{WORDS[one]}s/{rng.integers(10**6)}.jpg" for one in kind],
        "text": [f"a {WORDS[one]} \u00e0 la mode" if rng.random() < 0.8 else None for one in kind],
        **columns,
    }
    return Collection.of(pl.DataFrame(table), root=Path("nowhere"), questions=["kind", "colour"])


def of(photos: Collection, **options: object) -> Audit:
    return audit_side_features(AuditPhotos(photos, [None] * len(photos)), n_workers=1, **options)  # type: ignore[arg-type]


def found(result: Audit, target: str) -> set[str]:
    return {one.side_feature for one in result.leaks if one.target == target}


def test_addresses_and_texts_predict_labels_without_files() -> None:
    result = of(shop())
    assert found(result, "kind") == {"URL", "text"}
    assert found(result, "colour") == set()
    assert (result.n_photos, result.n_tried, result.n_files, result.n_hashed) == (N, N, 0, 0)
    assert {judged(one) for one in result.leaks} == {"possible leak: you decide"}
    assert [one.gain.value for one in result.gains] == sorted((one.gain.value for one in result.gains), reverse=True)


def test_only_requested_targets_are_audited() -> None:
    assert {one.target for one in of(shop(), only=["colour"]).gains} == {"colour"}
    with pytest.raises(FieldmarkError) as caught:
        of(shop(), only=["colours"])
    assert "did you mean 'colour'?" in caught.value.fix


def test_further_columns_are_side_features_by_name_only() -> None:
    photos = shop(shelf=[f"{WORDS.index(kind)}" for kind in shop().table["kind"].list.first()])
    assert "column shelf" not in found(of(photos), "kind")
    assert "column shelf" in found(of(photos, columns=["shelf"]), "kind")
    with pytest.raises(DataError) as caught:
        of(photos, columns=["shelve"])
    assert "shelf" in str(caught.value.got)


def test_file_size_and_encoder_predict_labels(tmp_path: Path) -> None:
    photos, paths = shop(), []
    chance = np.random.default_rng(1)
    for number, (kind, colour) in enumerate(photos.table.select("kind", "colour").iter_rows()):
        width, quality = 16 + 8 * (kind == ["bag"]), 75 if colour == ["red"] else 80
        pixels = chance.integers(0, 255, (16, width, 3), dtype=np.uint8)
        paths.append(tmp_path / f"{number}.jpg")
        Image.fromarray(pixels).save(paths[-1], quality=quality)
    paths[3].unlink()
    result = audit_side_features(AuditPhotos(photos, [path if path.exists() else None for path in paths]), n_workers=1)
    assert {"size", "shape", "pixels"} <= found(result, "kind")
    assert "encoder" in found(result, "colour")
    assert "size" not in found(result, "colour")
    assert "camera" in result.same_everywhere
    assert (result.n_files, result.n_hashed) == (N - 1, N - 1)


def test_copies_within_a_table_and_across_its_parts(tmp_path: Path) -> None:
    chance = np.random.default_rng(2)
    paths = [tmp_path / f"{number}.png" for number in range(60)]
    for number, path in enumerate(paths):
        rng = np.random.default_rng(number % 40)  # twenty pictures are in two files each
        Image.fromarray(rng.integers(0, 255, (32, 32), dtype=np.uint8)).save(path, compress_level=1 + number // 40)
    table = {
        "image": [path.name for path in paths],
        "identity": [f"w{number % 40 % 10}" for number in range(60)],
        "split": ["train"] * 40 + ["test"] * 20,
        "text": chance.permutation(60).astype(str).tolist(),
    }
    result = audit_side_features(AuditPhotos(Collection.of(table, root=tmp_path), paths), n_workers=1)
    assert "same hash" in found(result, "identity")
    ((kind, compared),) = result.copies
    assert (kind, compared.n_same, compared.n_other) == ("same hash", 40, 0)
    assert [(one.part, one.other, one.n_copied) for _, one in result.crossings] == [
        ("test", "train", 20),
        ("train", "test", 20),
    ]
    known = AuditPhotos(Collection.of(table, root=tmp_path).take(range(40)), paths[:40])
    new = AuditPhotos(Collection.of(table, root=tmp_path).take(range(40, 60)), paths[40:])
    across = audit_side_features(known, new, n_workers=1)
    assert ("new", "train", 20) in [(one.part, one.other, one.n_copied) for _, one in across.crossings]
    assert not across.copies


def test_a_column_of_hashes_is_used_instead_of_files() -> None:
    hashes = [f"{number % 100 + 1:016x}" for number in range(N)]
    result = of(shop(phash=hashes))
    assert result.n_hashed == N
    assert next(one for kind, one in result.copies if kind == "same hash").gain.n_given == 40


def test_the_same_address_twice_is_a_copy() -> None:
    urls = [f"http://h.example/{number % 60:03d}" for number in range(N)]
    kinds = [WORDS[number % 60 % 3] for number in range(N)]
    assert "same address" in found(of(shop(url=urls, kind=kinds)), "kind")


def test_large_tables_are_sampled_with_the_number_in_the_result() -> None:
    result = of(shop(), most_photos=100)
    assert (result.n_photos, result.n_tried) == (N, 100)
    assert all(one.n_photos <= 100 for one in result.gains)
    assert of(shop(), most_photos=100).gains == result.gains


def test_unknown_or_known_is_a_separate_target_from_identity() -> None:
    names = [f"w{number % 10}" if number % 3 else "new_whale" for number in range(N)]
    images = [f"{name}-{number}.jpg" for number, name in enumerate(names)]
    photos = Collection.of({"image": images, "identity": names}, root=Path("nowhere"))
    assert [one.name for one in targets(photos)] == ["identity", "known or unknown individual"]
    result = of(photos)
    assert "photo id" in found(result, "identity") & found(result, "known or unknown individual")
    assert {one.n_photos for one in result.gains if one.target == "identity"} == {80}


def test_folders_that_are_the_labels_are_not_a_leak() -> None:
    files = [f"w{number % 6}/{number:03d}.jpg" for number in range(60)]
    photos = Collection.of({"file": files, "identity": [file[:2] for file in files]}, root=Path("nowhere"))
    assert "folder" not in side_features(photos, [None] * 60, np.arange(60))
    elsewhere = Collection.of({"file": files, "identity": [f"x{file[1]}" for file in files]}, root=Path("nowhere"))
    assert "folder" in found(of(elsewhere), "identity")


def test_invalid_and_hostile_cells_are_accepted_as_side_features() -> None:
    urls = ["http://[::1", "http://", "//", "\u0000", "http://a\u202e/%ff%zz", "9" * 5000] * 20
    result = of(shop(url=urls, image=[f"{'9' * 4400}{n}" for n in range(N)]))
    assert any(one.side_feature == "URL" for one in result.gains)


def test_every_side_feature_has_a_description() -> None:
    photos = shop(date=["2020-01-01"] * N, width=[3] * N, height=[2] * N, file=[f"f/{n}.jpg" for n in range(N)])
    names = {*side_features(photos, [None] * N, np.arange(N)), "same bytes", "same address", "same hash"}
    assert names <= set(MEANINGS)
    assert meaning("column shelf") == "a column of the table"


def test_tables_without_labels_are_rejected() -> None:
    nothing = Collection.of({"image": ["a", "b"]}, root=Path("nowhere"))
    with pytest.raises(DataError) as caught:
        of(nothing)
    assert "--question COLUMN" in caught.value.fix
    few = Collection.of({"image": ["a", "b"], "identity": ["x", "y"]}, root=Path("nowhere"))
    with pytest.raises(DataError) as caught:
        of(few)
    assert "more photos" in caught.value.fix
    assert "2 photos have a label" in str(caught.value.got)


DATA = Path(os.environ.get("FIELDMARK_DATA", Path(__file__).parents[3] / "shared" / "data"))


@pytest.mark.real
@pytest.mark.skipif(not (DATA / "fashion_products").is_dir(), reason="fashion_products is not there")
def test_texts_and_addresses_of_a_real_shop_predict_its_labels() -> None:
    photos = read(DATA / "fashion_products" / "labels.csv", questions=["gender", "season"], check_files=False)
    result = of(photos, most_photos=2000)
    assert {"text", "order of ids", "URL"} <= found(result, "gender")
    assert next(one for one in result.gains if one.side_feature == "text" and one.target == "gender").guessed > 0.9


@pytest.mark.real
@pytest.mark.skipif(not (DATA / "humpback2018_100px").is_dir(), reason="humpback2018_100px is not there")
def test_real_copies_predict_whales_unless_groups_keep_them_together() -> None:
    photos = read(DATA / "humpback2018_100px" / "labels.csv", check_files=False)
    alone = Collection(photos.table.drop("group"), photos.root, photos.vocabulary)
    result = audit_side_features(AuditPhotos(alone, alone.paths), most_photos=300, only=["identity"], n_workers=1)
    assert "same bytes" in found(result, "identity")
    held = audit_side_features(AuditPhotos(photos, photos.paths), most_photos=300, only=["identity"], n_workers=1)
    assert not [one for kind, one in held.copies if kind == "same bytes"]

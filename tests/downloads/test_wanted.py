"""Tables of URLs: columns, lists, JSON, and rejected tables."""

import json
from pathlib import Path

import polars as pl
import pytest

from fieldmark.core.errors import DataError
from fieldmark.downloads.wanted import read_manifest, read_wanted


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_url_columns_are_in_order_and_other_columns_are_kept(tmp_path: Path) -> None:
    table = written(tmp_path / "t.csv", "id,url10,url2,url,labels,file\n007,d,c,b,red|blue,old.jpg\n008,,,e,red,x\n")
    found = read_wanted(table)
    assert found.urls == {"007": ("b", "c", "d"), "008": ("e",)}
    assert found.table.columns == ["image", "url10", "url2", "url", "labels"]
    assert read_wanted(table, urls=("url2", "url"), columns={"image": "labels"}).urls["red|blue"] == ("c", "b")


def test_rows_of_one_photo_are_merged(tmp_path: Path) -> None:
    found = read_wanted(written(tmp_path / "t.csv", "id,url\na,x\nb,y\na,z\na,x\n"))
    assert found.urls == {"a": ("x", "z"), "b": ("y",)}
    assert found.table["image"].to_list() == ["a", "b"]
    assert found.n_repeats == 2


def test_lists_in_parquet(tmp_path: Path) -> None:
    pl.DataFrame({"image": [1, 2], "url": [["a", "b"], ["c"]]}).write_parquet(tmp_path / "t.parquet")
    assert read_wanted(tmp_path / "t.parquet").urls == {"1": ("a", "b"), "2": ("c",)}


def test_contest_json_keeps_its_questions(tmp_path: Path) -> None:
    content = {
        "images": [{"imageId": "1", "url": ["http://a/1", "http://b/1"]}, {"imageId": "2", "url": "http://a/2"}],
        "annotations": [{"imageId": "1", "taskId": "5", "labelId": "9"}],
    }
    found = read_wanted(written(tmp_path / "train.data.json", json.dumps(content)))
    assert found.urls == {"1": ("http://a/1", "http://b/1"), "2": ("http://a/2",)}
    assert found.table["5"].to_list() == [["9"], None]


def test_plain_json(tmp_path: Path) -> None:
    content = {"images": [{"id": 1, "coco_url": "http://a/1", "flickr_url": "http://b/1"}]}
    assert read_wanted(written(tmp_path / "t.json", json.dumps(content))).urls == {"1": ("http://a/1", "http://b/1")}


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("id,link\na,b\n", "--urls"),
        ("number,url\na,b\n", "--column image=number"),
        ("id,url\na,\n,b\n", "give every image an address"),
        ("id,url\n", "at least one id"),
        ("id,url\na,b,c\n", "as many cells"),
    ],
)
def test_invalid_tables_are_rejected(tmp_path: Path, text: str, fix: str) -> None:
    with pytest.raises(DataError) as caught:
        read_wanted(written(tmp_path / "t.csv", text))
    assert fix in caught.value.fix


def test_all_mistakes_are_listed_at_once(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read_wanted(written(tmp_path / "t.csv", "id,url\na,\n,b\nc,\n"))
    assert "3 mistake(s)" in caught.value.problem


def test_a_missing_table_column_or_broken_json(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist") as caught:
        read_wanted(tmp_path / "none.csv")
    assert ".csv" in caught.value.fix
    with pytest.raises(DataError) as caught:
        read_wanted(written(tmp_path / "t.csv", "id,url\na,b\n"), urls=("urll",))
    assert "'url'" in caught.value.fix
    with pytest.raises(DataError) as caught:
        read_wanted(written(tmp_path / "t.json", "[1]"))
    assert '"images"' in caught.value.fix


def test_manifests(tmp_path: Path) -> None:
    digest = "A" * 64
    assert read_manifest(written(tmp_path / "m.csv", f"image,sha256\na,{digest}\n")) == {"a": "a" * 64}
    for text, fix in (("image,sha\na,b\n", "manifest.csv"), ("image,sha256\na,b\n", "64 hex digits")):
        with pytest.raises(DataError) as caught:
            read_manifest(written(tmp_path / "m.csv", text))
        assert fix in caught.value.fix
    with pytest.raises(DataError) as caught:
        read_manifest(tmp_path / "none.csv")
    assert "manifest.csv" in caught.value.fix

"""Layouts that other packages or scripts register, and their recognition."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from fieldmark.core.errors import DataError
from fieldmark.data.drafts import Options
from fieldmark.data.readers import READERS, reader
from fieldmark.data.reading import read, survey


@pytest.fixture
def lines(tmp_path: Path) -> Iterator[Path]:
    """A file with lines ``photo > labels``, its photos, and a registered reader."""
    (tmp_path / "images").mkdir()
    for name in ("a", "b"):
        Image.new("RGB", (8, 8)).save(tmp_path / "images" / f"{name}.png")
    path = tmp_path / "list.lines"
    path.write_text("a.png > red,round\nb.png > red\n")

    @reader("lines", recognises=lambda file: file.suffix == ".lines")
    def by_line(file: Path, options: Options) -> pl.DataFrame:
        cells = [line.split(" > ") for line in file.read_text(encoding=options.encoding).splitlines()]
        return pl.DataFrame({"file": [one for one, _ in cells], "labels": [two.split(",") for _, two in cells]})

    yield path
    READERS._parts.pop("lines")


def test_a_registered_layout_is_recognised_and_read(lines: Path) -> None:
    photos = read(lines)
    assert photos.images == ("a.png", "b.png") or list(photos.images) == ["a.png", "b.png"]
    assert photos.vocabulary.tags == ("red", "round")
    assert photos.truth.tolist() == [[1, 1], [1, 0]]
    assert all(path.is_file() for path in photos.paths)


def test_its_mistakes_name_file_and_row(lines: Path) -> None:
    lines.write_text("a.png > red\nnone.png > red\n")
    (mistake,) = survey(lines, layout="lines").mistakes
    assert (mistake.file, mistake.row, mistake.value) == ("list.lines", 2, "none.png")


def test_a_layout_without_recognition_must_be_named(tmp_path: Path) -> None:
    try:

        @reader("fixed")
        def fixed(path: Path, options: Options) -> dict[str, list[str]]:
            del options
            return {"file": sorted(one.name for one in path.iterdir()), "identity": ["w1"]}

        Image.new("RGB", (8, 8)).save(tmp_path / "x.png")
        assert read(tmp_path, layout="fixed", photos=tmp_path).images[0] == "x.png"
        with pytest.raises(DataError):
            read(tmp_path)
    finally:
        READERS._parts.pop("fixed", None)


def test_a_misspelt_layout_gets_a_suggestion(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("image\n")
    with pytest.raises(DataError, match="no layout") as caught:
        read(tmp_path / "t.csv", layout="coco_identites")
    assert caught.value.fix == "did you mean 'coco_identities'?"

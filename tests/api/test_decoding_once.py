"""Each predicted photo is decoded once, and all broken photos are reported together."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import fieldmark
from fieldmark.core.errors import DataError
from fieldmark.core.progress import QUIET
from fieldmark.images import preprocess, reading
from fieldmark.quality import inspecting


@pytest.fixture
def some(trained: Path, tmp_path: Path) -> list[Path]:
    """Copies of four photos; the second and the last are truncated after their headers."""
    files = []
    for number, path in enumerate(sorted((trained / "whales").rglob("*.jpg"))[:4]):
        files.append(Path(shutil.copy(path, tmp_path / f"{number}.jpg")))
    for file in (files[1], files[3]):
        data = file.read_bytes()
        file.write_bytes(data[: len(data) // 2])
    return files


def counting(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that collects the names of decoded photos."""
    names: list[str] = []
    decode = reading.decode

    def counted(photo: reading.Photo, **how: object) -> object:
        names.append(photo.name)
        return decode(photo, **how)

    for module in (reading, preprocess, inspecting):
        monkeypatch.setattr(module, "decode", counted)
    return names


def test_good_photos_are_decoded_once(trained: Path, some: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    names = counting(monkeypatch)
    assert len(fieldmark.identify(trained / "run", [some[0], some[2]])) == 2
    assert sorted(names) == [str(some[0]), str(some[2])]


def test_all_broken_photos_are_named_at_once(trained: Path, some: list[Path]) -> None:
    with pytest.raises(DataError, match=r"2 photo\(s\) of photos cannot be read") as caught:
        fieldmark.identify(trained / "run", some)
    assert str(some[1]) in str(caught.value.got)
    assert str(some[3]) in str(caught.value.got)


def test_broken_photos_are_left_out_and_reported_once(trained: Path, some: list[Path]) -> None:
    lines: list[str] = []
    progress = type("Recorder", (type(QUIET),), {"say": lambda _, text: lines.append(text)})()
    (some[0].parent / "none.jpg").write_bytes(b"not a photo")
    files = [*some, some[0].parent / "none.jpg"]
    answers = fieldmark.identify(trained / "run", files, skip_broken=True, progress=progress)
    assert [one.file for one in answers] == [some[0], some[2]]
    left_out = [line for line in lines if line.startswith("left out")]
    assert len(left_out) == len(set(left_out)) == 3


def test_embedding_decodes_once_and_names_all_broken_photos(
    trained: Path, some: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = fieldmark.load(trained / "run")
    with pytest.raises(DataError, match=r"2 photo\(s\) of photos cannot be read"):
        predictor.embed(some)
    assert len(predictor.embed(some, skip_broken=True)) == 2
    names = counting(monkeypatch)
    predictor.embed([some[0], some[2]])
    assert sorted(names) == [str(some[0]), str(some[2])]

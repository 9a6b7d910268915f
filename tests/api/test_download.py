"""``fieldmark download`` on the command line: output, files, errors."""

import csv
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import fieldmark
from downloads.server import BadWeb
from fieldmark.cli.main import main
from fieldmark.core.errors import FieldmarkError


@pytest.fixture
def web() -> Iterator[BadWeb]:
    with BadWeb() as server:
        yield server


@pytest.fixture
def table(web: BadWeb, tmp_path: Path) -> Path:
    path = tmp_path / "t.csv"
    kinds = {"one": "ok", "two": "ok", "three": "missing", "=four": "soft"}
    lines = [f"{name},{web.url(kind, at)},w_{at % 2}" for at, (name, kind) in enumerate(kinds.items())]
    path.write_text("\n".join(["photo_id,url,identity", *lines, ""]))
    return path


def test_downloaded_and_missing_photos_are_printed(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["download", str(table), "--out", str(out), "--allow-private", "--tries", "1", "--resize", "50"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("2 of 4 photos are downloaded")
    assert {"not_found 1", "web_page 1"} <= {" ".join(line.split()[:2]) for line in lines}
    assert ["127.0.0.1", "4", "2"] in [line.split() for line in lines]
    assert lines[-1] == f"next: fieldmark inspect {out}"
    with (out / "failures.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["image"], row["cause"], row["status"]) for row in rows] == [
        ("=four", "web_page", "200"),
        ("three", "not_found", "404"),
    ]
    assert fieldmark.read(out).images == ["one", "two"]
    assert "default-src 'none'" in (out / "survival.html").read_text()


def test_private_addresses_are_refused_unless_allowed(table: Path, web: BadWeb, tmp_path: Path) -> None:
    found = fieldmark.download(table, out=tmp_path / "out", columns={"image": "photo_id"})
    assert found.holdings.causes == {"private_address": 4}
    assert not web.asked


@pytest.mark.parametrize(
    ("words", "fix"),
    [
        (["--mirror", "nothing"], "--mirror"),
        (["--mirror", "(=x"], "--mirror"),
        (["--header", "Bad Name=x"], "--header"),
        (["--timeout", "0", "1", "1"], "--timeout"),
        (["--urls", "link"], "use one of"),
        (["--manifest", "none.csv"], "manifest.csv"),
    ],
)
def test_invalid_options_are_refused(
    words: list[str], fix: str, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["download", str(table), "--out", str(tmp_path / "out"), *words]) == 1
    assert fix in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_the_missing_package_is_named(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fieldmark.api.download as module

    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(FieldmarkError) as caught:
        fieldmark.download(table, out=tmp_path / "out")
    assert caught.value.fix == 'pip install "fieldmark[download]"'


def test_the_package_has_the_name_of_the_function_and_imports_nothing_large() -> None:
    code = (
        "import sys, fieldmark, fieldmark.downloads.specs; assert callable(fieldmark.download); "
        "sys.exit(any(name in sys.modules for name in ('aiohttp', 'yarl', 'torch', 'polars')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

"""The package that docs/extending.md shows, installed outside the source tree: its parts work in every command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from blocks import HOME, blocks

import fieldmark

PAGE = HOME / "docs" / "extending.md"
MOST_LINES = 30


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of installed packages with the one of the page."""
    folder = tmp_path_factory.mktemp("site")
    project, points = {}, {}
    for block in blocks(PAGE):
        if block.title == "pyproject.toml":
            told = tomllib.loads(block.text)["project"]
            project, points = told, told["entry-points"]
        elif block.title is not None:
            path = folder / block.title
            path.parent.mkdir(exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
    (folder / "fieldmark_sharper" / "__init__.py").touch()
    about = folder / f"fieldmark_sharper-{project['version']}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    listed = [f"[{group}]\n" + "\n".join(f"{name} = {at}" for name, at in one.items()) for group, one in points.items()]
    (about / "entry_points.txt").write_text("\n\n".join(listed) + "\n")
    return folder


@pytest.fixture(scope="module")
def photos(museum: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The drawn museum as a list of lines, in the layout that the page's reader knows."""
    known = fieldmark.read(museum)
    folder = tmp_path_factory.mktemp("lines")
    path = folder / "photos.lines"
    rows = zip(known.paths, known.table["labels"].to_list(), strict=True)
    path.write_text("".join(f"{file.name}: {', '.join(labels)}\n" for file, labels in rows), encoding="utf-8")
    (folder / "images").symlink_to(museum / "train")
    (folder / "test").symlink_to(museum / "test")
    return path


def ran(*words: object, site: Path | None, fails: bool = False) -> str:
    """What a command prints, in a process of its own; of one that fails the error."""
    found = os.pathsep.join(str(one) for one in (HOME / "src", site) if one is not None)
    done = subprocess.run(
        [sys.executable, "-m", "fieldmark", *map(str, words)],
        env={**os.environ, "PYTHONPATH": found},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode != 0) == fails, done.stderr
    return done.stderr if fails else done.stdout


def test_each_part_is_short() -> None:
    parts = [block for block in blocks(PAGE) if block.title and block.title.endswith(".py")]
    assert len(parts) == 5
    assert [block.title for block in parts if len(block.text.splitlines()) > MOST_LINES] == []


def test_the_commands_know_its_parts(site: Path) -> None:
    assert "tags-sharper" in ran("recipes", site=site)
    assert "tags-sharper" not in ran("recipes", site=None)
    assert "epsilon" in ran("recipes", "tags-sharper", site=site)
    told = json.loads(ran("plan", "tags-sharper", "--size", "toy", "--set", "epsilon=2", "--json", site=site))
    assert told["needs"] == ["fieldmark-sharper==0.1.0"]
    assert told["stages"][1]["losses"] == [{"kind": "poly_bce", "weight": 1.0, "epsilon": 2.0}]


def test_its_parts_train_and_predict(site: Path, photos: Path, tmp_path: Path) -> None:
    plan = tmp_path / "mine.toml"
    plan.write_text(ran("plan", "tags-sharper", "--size", "toy", "--toml", site=site), encoding="utf-8")
    assert 'needs = ["fieldmark-sharper==0.1.0"]' in plan.read_text(encoding="utf-8")
    run = tmp_path / "run"
    ran("train", plan, photos, "--new", photos.parent / "test", "--run", run, "--workers", 0, site=site)
    assert (run / "sharper" / "power.txt").read_text() in {"0.5", "1.0", "2.0"}
    assert json.loads((run / "plan.json").read_text())["needs"] == ["fieldmark-sharper==0.1.0"]
    photo = min((photos.parent / "images").iterdir())
    answer = json.loads(ran("tag", run, photo, "--json", site=site))
    assert answer["photo"] == str(photo)
    out = tmp_path / "again.csv"
    ran("predict", run, photos.parent / "test", "--out", out, "--format", "submission", site=site)
    assert out.read_bytes() == (run / "answers" / "submission.csv").read_bytes()


def test_without_the_package_the_error_says_what_to_install(site: Path, tmp_path: Path) -> None:
    plan = tmp_path / "mine.toml"
    plan.write_text(ran("plan", "tags-sharper", "--size", "toy", "--toml", site=site), encoding="utf-8")
    problem, *_, fix = ran("plan", plan, site=None, fails=True).splitlines()
    assert "fieldmark-sharper==0.1.0" in fix
    assert fix.startswith("  fix: run `pip install fieldmark-sharper==0.1.0`")
    assert str(plan) in problem

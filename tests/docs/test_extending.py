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
            output = tomllib.loads(block.text)["project"]
            project, points = output, output["entry-points"]
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


COMMANDS = """
import contextlib, io, json, sys
from fieldmark.cli.main import main

output = []
for words in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(words)
    output.append([status, out.getvalue(), err.getvalue()])
print(json.dumps(output))
"""


def ran(*commands: tuple[object, ...], site: Path | None) -> list[tuple[int, str, str]]:
    """Exit status, output and errors of each command, run one after the other in one fresh process."""
    found = os.pathsep.join(str(one) for one in (HOME / "src", site) if one is not None)
    words = json.dumps([[str(word) for word in command] for command in commands])
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, words],
        env={**os.environ, "PYTHONPATH": found},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [(status, out, err) for status, out, err in json.loads(done.stdout.splitlines()[-1])]


def succeeded(*commands: tuple[object, ...], site: Path | None) -> list[str]:
    """What each command prints; none may fail."""
    output = ran(*commands, site=site)
    assert [err for status, _, err in output if status != 0] == []
    return [out for _, out, _ in output]


@pytest.fixture(scope="module")
def plan(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plan of the page's recipe in a file."""
    (text,) = succeeded(("plan", "tags-sharper", "--size", "toy", "--toml"), site=site)
    assert 'needs = ["fieldmark-sharper==0.1.0"]' in text
    path = tmp_path_factory.mktemp("plans") / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_each_part_is_short() -> None:
    parts = [block for block in blocks(PAGE) if block.title and block.title.endswith(".py")]
    assert len(parts) == 5
    assert [block.title for block in parts if len(block.text.splitlines()) > MOST_LINES] == []


def test_the_commands_know_its_parts(site: Path) -> None:
    known, of_it, plan = succeeded(
        ("recipes",),
        ("recipes", "tags-sharper"),
        ("plan", "tags-sharper", "--size", "toy", "--set", "epsilon=2", "--json"),
        site=site,
    )
    assert "tags-sharper" in known
    assert "epsilon" in of_it
    output = json.loads(plan)
    assert output["needs"] == ["fieldmark-sharper==0.1.0"]
    assert output["stages"][1]["losses"] == [{"kind": "poly_bce", "weight": 1.0, "epsilon": 2.0}]


def test_its_parts_train_and_predict(site: Path, plan: Path, photos: Path, tmp_path: Path) -> None:
    run, out, new = tmp_path / "run", tmp_path / "again.csv", photos.parent / "test"
    photo = min((photos.parent / "images").iterdir())
    _, tagged, _ = succeeded(
        ("train", plan, photos, "--new", new, "--run", run, "--workers", 0),
        ("tag", run, photo, "--json"),
        ("predict", run, new, "--out", out, "--format", "submission"),
        site=site,
    )
    assert (run / "sharper" / "power.txt").read_text() in {"0.5", "1.0", "2.0"}
    assert json.loads((run / "plan.json").read_text())["needs"] == ["fieldmark-sharper==0.1.0"]
    assert json.loads(tagged)["photo"] == str(photo)
    assert out.read_bytes() == (run / "submission" / "submission.csv").read_bytes()


def test_without_the_package_the_error_says_what_to_install(plan: Path) -> None:
    (status, out, _), (failed, _, output) = ran(("recipes",), ("plan", plan), site=None)
    assert status == 0
    assert "tags-sharper" not in out
    assert failed != 0
    problem, *_, fix = output.splitlines()
    assert "fieldmark-sharper==0.1.0" in fix
    assert fix.startswith("  fix: run `pip install fieldmark-sharper==0.1.0`")
    assert str(plan) in problem

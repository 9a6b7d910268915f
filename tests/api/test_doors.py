"""What opens the doors: help, versions, errors in three lines, nothing heavy on the way."""

import gc
import json
import os
import resource
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest

import fieldmark
from fieldmark.cli import shell
from fieldmark.cli.main import ROOMY, application, main
from fieldmark.core.errors import FieldmarkError

HEAVY = ("torch", "torchvision", "timm", "polars", "matplotlib", "sklearn", "numpy", "PIL", "pydantic", "rich")
ROOT = Path(__file__).parents[2]
COMMANDS = (
    "demo inspect near-duplicates audit boxes match download train rates flips plan recipes runs evaluate predict identify "
    "blend tag attributes issues tune report relocate"
)


def woken(code: str) -> list[str]:
    """Which heavy packages a fresh Python has loaded after ``code``."""
    told = f"{code}\nimport sys, json; print(json.dumps([n for n in {HEAVY!r} if n in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_help_wakes_nothing_heavy() -> None:
    assert woken("from fieldmark.cli.main import main; main(['--help']); main(['train', '--help'])") == []


def test_import_wakes_nothing_heavy_and_still_knows_all_names() -> None:
    assert woken("import fieldmark; assert 'identify' in dir(fieldmark); assert fieldmark.__version__") == []


def test_only_a_process_of_our_own_collects_garbage_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = gc.get_threshold()
    try:
        assert main(["--version"]) == 0
        assert gc.get_threshold() == kept  # a notebook, or another program, keeps its own
        monkeypatch.setattr(sys, "argv", ["fieldmark", "--version"])
        assert main() == 0
        assert gc.get_threshold() == ROOMY
    finally:
        gc.set_threshold(*kept)


def test_showing_and_inspecting_wake_no_torch(tmp_path: Path, whales: Path) -> None:
    loaded = woken(
        "from fieldmark.cli.main import main\n"
        f"assert main(['inspect', {str(whales)!r}, '--html', {str(tmp_path / 'page.html')!r}]) == 0\n"
        f"assert main(['runs', {str(tmp_path)!r}]) == 0\n"
    )
    assert not {"torch", "torchvision", "timm", "sklearn"} & set(loaded)


def test_help_takes_less_than_half_a_second_of_cpu() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "fieldmark", "--help"], capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5


def test_version_is_that_of_the_project(capsys: pytest.CaptureFixture[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"fieldmark {project['version']}\n"
    assert fieldmark.__version__ == project["version"]


def test_no_words_at_all_show_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "fieldmark demo" in capsys.readouterr().out


def test_every_kind_is_a_command_and_a_function() -> None:
    assert list(application.commands) == COMMANDS.split()
    for name in COMMANDS.split():
        function = getattr(fieldmark, name)
        assert callable(function), name


def test_no_package_or_module_bears_a_public_functions_name() -> None:
    package = Path(fieldmark.__file__).parent
    beside = {path.stem for path in package.iterdir() if path.suffix == ".py" or path.is_dir()}
    functions = {name for name in fieldmark.__all__ if callable(getattr(fieldmark, name))}
    assert len(functions) > 20
    assert not beside & functions


def test_an_unknown_name_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="no attribute 'tarin'"):
        _ = fieldmark.tarin


def test_an_error_is_told_in_three_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(tmp_path)]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == (
        f"There is no run in that folder.\n  got: {tmp_path}\n"
        "  fix: list the runs below a folder with `fieldmark runs FOLDER`.\n"
    )


@pytest.mark.parametrize("words", [["--debug", "evaluate"], ["evaluate", "--debug"]])
def test_debug_shows_the_traceback(words: list[str], tmp_path: Path) -> None:
    with pytest.raises(FieldmarkError):
        main([*words, str(tmp_path)])


def test_a_mistyped_command_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trian", "x"]) == 2
    problem, got, fix = capsys.readouterr().err.splitlines()
    assert "trian" in problem
    assert "train" in problem
    assert got == "  got: fieldmark trian x"
    assert fix == "  fix: fieldmark --help"


def test_a_missing_argument_points_to_the_commands_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["identify"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "  fix: fieldmark identify --help"


def test_ctrl_c_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fieldmark.api.functions.train", stopped)
    assert main(["train", "tiny", "data", "--run", "run"]) == 130
    assert "The same command goes on where it was." in capsys.readouterr().err


def test_without_torch_the_package_to_install_is_named(
    monkeypatch: pytest.MonkeyPatch, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("fieldmark.api.guards.find_spec", lambda name: None if name == "torch" else object())
    assert main(["identify", str(trained / "run"), str(trained / "whales/test/t0.jpg")]) == 1
    assert capsys.readouterr().err.splitlines()[1:] == ["  got: torch", '  fix: pip install "fieldmark[train]"']


def test_torch_missing_where_unknown_looked_is_told_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lacking(*_: object, **__: object) -> None:
        raise ModuleNotFoundError("No module named 'torch._C'", name="torch._C")

    monkeypatch.setattr("fieldmark.api.functions.recipes", lacking)
    assert main(["recipes"]) == 1
    assert capsys.readouterr().err.endswith('fix: pip install "fieldmark[train]"\n')


def test_another_missing_module_is_our_mistake_and_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(*_: object, **__: object) -> None:
        raise ModuleNotFoundError("No module named 'fieldmark.nowhere'", name="fieldmark.nowhere")

    monkeypatch.setattr("fieldmark.api.functions.recipes", lacking)
    with pytest.raises(ModuleNotFoundError):
        main(["recipes"])


def test_control_characters_of_what_was_typed_do_not_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "no\x1b[2Jsuch"]) == 1
    assert "\x1b" not in capsys.readouterr().err


def test_other_processes_of_a_training_say_who_speaks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(os.environ, "RANK", "1")
    assert main(["evaluate", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("[process 1] There is no run")


def test_every_command_and_option_is_on_the_page_about_commands() -> None:
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    sections = dict(part.split("\n", 1) for part in page.split("\n## `fieldmark ")[1:])
    common = page.split("\n## ")[0]
    missing = []
    for command in shell.ALL.values():
        section = next((text for title, text in sections.items() if title.split("`")[0].split()[0] == command.name), "")
        options = [one for one in command.params if isinstance(one, click.Option)]
        missing += [f"{command.name} {one.opts[0]}" for one in options if one.opts[0] not in section + common]
        missing += [command.name] if f"$ fieldmark {command.name}" not in section else []
    assert missing == []


def test_the_page_about_commands_has_no_command_that_is_not_there() -> None:
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    typed = [line.split()[2] for line in page.splitlines() if line.startswith("$ fieldmark ")]
    assert {word for word in typed if not word.startswith("-")} == set(application.commands)


def test_every_command_has_a_line_of_help() -> None:
    for command in shell.ALL.values():
        assert command.help, command.name
        assert all(one.help for one in command.params if isinstance(one, click.Option)), command.name

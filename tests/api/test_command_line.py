"""The program as a whole: help, version, completion, errors in three lines, start-up."""

import gc
import json
import os
import resource
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest
from click.shell_completion import get_completion_class

import fieldmark
from fieldmark.cli import shell
from fieldmark.cli.main import GC_THRESHOLDS, application, main
from fieldmark.core.errors import FieldmarkError

HEAVY = ("torch", "torchvision", "timm", "polars", "matplotlib", "sklearn", "numpy", "PIL", "pydantic", "rich")
ROOT = Path(__file__).parents[2]
HEADINGS = ("Data", "Train", "Predict", "Review", "Reports")
COMMANDS = (
    "inspect duplicates audit download boxes symmetry demo recipes plan train lr-find identify tag attributes predict "
    "ensemble match evaluate issues thresholds report runs relocate"
)
MAX_SUMMARY = 55
"""Maximum length of the summary of a command in the list."""


def imported(code: str) -> list[str]:
    """Run ``code`` in a new Python and return the large packages that it imported."""
    program = f"{code}\nimport sys, json; print(json.dumps([n for n in {HEAVY!r} if n in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_help_imports_no_large_package() -> None:
    assert imported("from fieldmark.cli.main import main; main(['--help']); main(['train', '--help'])") == []


def test_the_import_loads_no_large_package_and_lists_all_names() -> None:
    assert imported("import fieldmark; assert 'identify' in dir(fieldmark); assert fieldmark.__version__") == []


def test_garbage_collection_is_changed_only_in_our_own_process(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = gc.get_threshold()
    try:
        assert main(["--version"]) == 0
        assert gc.get_threshold() == kept  # a notebook or another program keeps its own
        monkeypatch.setattr(sys, "argv", ["fieldmark", "--version"])
        assert main() == 0
        assert gc.get_threshold() == GC_THRESHOLDS
    finally:
        gc.set_threshold(*kept)


def test_runs_and_inspect_do_not_import_torch(tmp_path: Path, whales: Path) -> None:
    loaded = imported(
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
    for option in ("--version", "-V"):
        assert main([option]) == 0
        assert capsys.readouterr().out == f"fieldmark {project['version']}\n"
    assert fieldmark.__version__ == project["version"]


@pytest.mark.parametrize("words", [[], ["-h"], ["help"]])
def test_the_program_without_a_command_prints_its_help(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("Identify, tag and describe photographs, with measured error rates.\n")
    assert main(words) == 0
    assert capsys.readouterr().out == text


def test_the_help_lists_every_command_with_its_summary_under_a_heading(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    positions = [lines.index(f"{heading}:") for heading in HEADINGS]
    assert positions == sorted(positions)
    listed = [line.split(maxsplit=1) for line in lines[positions[0] : lines.index("Options:")] if line.startswith("  ")]
    assert [name for name, _ in listed] == COMMANDS.split()
    for name, summary in listed:
        assert len(summary) <= MAX_SUMMARY, name
        assert summary.endswith("."), name
        assert not summary.endswith("..."), name
        assert summary == (application.commands[name].help or "").partition("\n")[0]


def test_help_of_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--help"]) == 0
    text = capsys.readouterr().out
    assert main(["help", "train"]) == 0
    assert capsys.readouterr().out == text
    assert main(["help", "trian"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "There is no command 'trian'.",
        "  got: fieldmark help trian",
        "  fix: did you mean 'train'? `fieldmark help` lists all commands.",
    ]


@pytest.mark.parametrize("name", COMMANDS.split())
def test_the_help_of_a_command_ends_with_two_valid_examples(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", name]) == 0
    *_, heading, first, second = capsys.readouterr().out.splitlines()
    assert heading == "Examples:"
    command = application.commands[name]
    assert [first.strip(), second.strip()] == list(command.examples)  # type: ignore[attr-defined]
    for example in (first, second):
        program, typed, *words = shlex.split(example)
        assert (program, typed) == ("fieldmark", name)
        command.make_context(name, words)


def completed(*words: str) -> list[str]:
    """Complete the last of the words typed after ``fieldmark`` as bash does, and return the suggestions."""
    typed = ["fieldmark", *words]
    variables = {
        "_FIELDMARK_COMPLETE": "bash_complete",
        "COMP_WORDS": "\n".join(typed),
        "COMP_CWORD": str(len(typed) - 1),
    }
    program = "import sys; from fieldmark.cli.main import main; sys.argv = ['fieldmark']; main()"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, env={**os.environ, **variables}
    )
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


def test_bash_completes_commands_options_and_choices() -> None:
    assert completed("id") == ["identify"]
    assert completed("re") == ["recipes", "report", "relocate"]
    assert completed("train", "--fea") == ["--features"]
    assert completed("match", "a.jpg", "b.jpg", "--by", "si") == ["sift"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_the_completion_script_works_in_bash(tmp_path: Path) -> None:
    """The script that docs/commands.md describes, with a program ``fieldmark`` on the path."""
    program = tmp_path / "fieldmark"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nfrom fieldmark.cli.main import main\nsys.exit(main())\n", encoding="utf-8"
    )
    program.chmod(0o755)
    script = (
        'eval "$(_FIELDMARK_COMPLETE=bash_source fieldmark)"; COMP_WORDS=(fieldmark thr); COMP_CWORD=1; '
        'complete -p fieldmark; _fieldmark_completion fieldmark; echo "${COMPREPLY[@]}"'
    )
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "--norc", "-c", script], capture_output=True, text=True, check=True, env={**os.environ, "PATH": path}
    )
    assert done.stdout.splitlines() == ["complete -o nosort -F _fieldmark_completion fieldmark", "thresholds"]


@pytest.mark.parametrize("shell_name", ["bash", "zsh", "fish"])
def test_completion_scripts_exist_for_the_documented_shells(shell_name: str) -> None:
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert f"_FIELDMARK_COMPLETE={shell_name}_source" in page
    completion = get_completion_class(shell_name)
    assert completion is not None
    assert "fieldmark" in completion(application, {}, "fieldmark", "_FIELDMARK_COMPLETE").source()


def test_every_command_is_a_function_of_the_same_name() -> None:
    assert list(application.commands) == COMMANDS.split()
    for name in COMMANDS.split():
        function = getattr(fieldmark, name.replace("-", "_"))
        assert callable(function), name


def test_no_module_has_the_name_of_a_public_function() -> None:
    package = Path(fieldmark.__file__).parent
    beside = {path.stem for path in package.iterdir() if path.suffix == ".py" or path.is_dir()}
    functions = {name for name in fieldmark.__all__ if callable(getattr(fieldmark, name))}
    assert len(functions) > 20
    assert not beside & functions


def test_a_name_that_does_not_exist_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="no attribute 'tarin'"):
        _ = fieldmark.tarin


def test_an_error_has_three_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(tmp_path)]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err == (
        f"There is no run in that folder.\n  got: {tmp_path}\n"
        "  fix: list the runs below a folder with `fieldmark runs FOLDER`.\n"
    )


@pytest.mark.parametrize("words", [["--debug", "evaluate"], ["evaluate", "--debug"]])
def test_debug_shows_the_traceback(words: list[str], tmp_path: Path) -> None:
    with pytest.raises(FieldmarkError):
        main([*words, str(tmp_path)])


def test_a_mistyped_command_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trian", "x"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "There is no command 'trian'.",
        "  got: fieldmark trian x",
        "  fix: did you mean 'train'? `fieldmark help` lists all commands.",
    ]
    assert main(["xyzzy"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "  fix: `fieldmark help` lists all commands."


def test_a_missing_argument_names_the_help_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["identify"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "  fix: fieldmark identify --help"


def test_ctrl_c_prints_how_to_continue(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fieldmark.api.functions.train", stopped)
    assert main(["train", "tiny", "data", "--run", "run"]) == 130
    assert "Run the same command again to continue." in capsys.readouterr().err


def test_without_torch_the_package_to_install_is_named(
    monkeypatch: pytest.MonkeyPatch, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("fieldmark.api.guards.find_spec", lambda name: None if name == "torch" else object())
    assert main(["identify", str(trained / "run"), str(trained / "whales/test/t0.jpg")]) == 1
    assert capsys.readouterr().err.splitlines()[1:] == ["  got: torch", '  fix: pip install "fieldmark[train]"']


def test_a_missing_part_of_torch_is_reported_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lacking(*_: object, **__: object) -> None:
        raise ModuleNotFoundError("No module named 'torch._C'", name="torch._C")

    monkeypatch.setattr("fieldmark.api.functions.recipes", lacking)
    assert main(["recipes"]) == 1
    assert capsys.readouterr().err.endswith('fix: pip install "fieldmark[train]"\n')


def test_another_missing_module_is_a_fault_of_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(*_: object, **__: object) -> None:
        raise ModuleNotFoundError("No module named 'fieldmark.nowhere'", name="fieldmark.nowhere")

    monkeypatch.setattr("fieldmark.api.functions.recipes", lacking)
    with pytest.raises(ModuleNotFoundError):
        main(["recipes"])


def test_control_characters_in_arguments_are_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "no\x1b[2Jsuch"]) == 1
    assert "\x1b" not in capsys.readouterr().err


def test_errors_of_other_processes_name_the_process(
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


def test_the_page_about_commands_has_only_existing_commands() -> None:
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    typed = [line.split()[2] for line in page.splitlines() if line.startswith("$ fieldmark ")]
    assert {word for word in typed if not word.startswith("-")} == set(application.commands)


def test_every_command_has_a_line_of_help() -> None:
    for command in shell.ALL.values():
        assert command.help, command.name
        assert all(one.help for one in command.params if isinstance(one, click.Option)), command.name

"""The pages mention every command, stage, recipe, error and public name; their links are valid; no machine is named."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from blocks import HOME, blocks, headings, pages, prose

import fieldmark
from fieldmark.cli.main import application
from fieldmark.data.readers import READERS
from fieldmark.pipeline.stage import STAGES
from fieldmark.plans.recipe import RECIPES

SOURCES = sorted((HOME / "src").rglob("*.py"))
OPTIONS = {option for command in application.commands.values() for one in command.params for option in one.opts}
OTHERS = {"--help", "--version", "--force-reinstall", "--no-deps", "--nproc-per-node", "--query-gpu"}
"""Options of every program, of pip, of torchrun and of nvidia-smi."""
BY_HAND = ("labbook.md",)
"""Pages with measured numbers."""


@cache
def site() -> str:
    return "\n".join(page.read_text(encoding="utf-8") for page in pages())


def errors() -> Iterator[str]:
    """Yield the names of the error classes, found without importing torch."""
    for path in SOURCES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and any(getattr(base, "id", "").endswith("Error") for base in node.bases):
                yield node.name
    yield "FieldmarkError"


def tracked() -> list[Path]:
    """Return the files under version control; without git, all source files."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=HOME, capture_output=True, check=False
    )
    if listed.returncode == 0:
        found = [HOME / name for name in listed.stdout.decode().split("\0") if name]
    else:
        found = [path for top in ("src", "tests", "docs", "benchmarks") for path in (HOME / top).rglob("*.*")]
    return [
        path
        for path in found
        if path.is_file() and path.suffix in {".py", ".md", ".toml", ".txt", ".yml", ".html", ".css", ""}
    ]


@pytest.mark.parametrize("command", application.commands)
def test_every_command_and_option_is_described(command: str) -> None:
    page = (HOME / "docs" / "commands.md").read_text(encoding="utf-8")
    assert f"## `fieldmark {command}`" in page
    options = {option for one in application.commands[command].params for option in one.opts if option.startswith("--")}
    assert not {option for option in options if f"`{option}" not in page}


@pytest.mark.parametrize("kind", STAGES.names())
def test_every_stage_kind_has_a_section(kind: str) -> None:
    assert kind in headings(HOME / "docs" / "reference" / "stages.md")


@pytest.mark.parametrize("name", [*RECIPES.names(), *errors(), "auto", *READERS.names()])
def test_every_recipe_error_and_layout_is_mentioned(name: str) -> None:
    assert f"`{name}`" in site()


@pytest.mark.parametrize("name", [name for name in fieldmark.__all__ if not name.startswith("__")])
def test_every_public_name_is_on_the_page_about_python(name: str) -> None:
    page = (HOME / "docs" / "api.md").read_text(encoding="utf-8")
    if inspect.ismodule(module := getattr(fieldmark, name)):
        section = page.partition(f"### `fieldmark.{name}`\n")[2].partition("\n#")[0]
        described = set(re.findall(r"^::: [\w.]*\.(\w+)$", page, flags=re.MULTILINE)) | set(
            re.findall(r"`(\w+)`", section)
        )
        assert section
        assert not set(module.__all__) - described
        return
    described = set(re.findall(r"^::: [\w.]*\.(\w+)$", page, flags=re.MULTILINE)) | set(
        re.findall(r"members: \[(.*)\]", page)[0].split(", ")
    )
    assert name in described


def test_the_page_about_python_names_what_exists() -> None:
    missing = []
    for path in re.findall(r"^::: (\S+)$", (HOME / "docs" / "api.md").read_text(encoding="utf-8"), flags=re.MULTILINE):
        module, _, name = path.rpartition(".")
        if path == "fieldmark.api.running":
            module, name = path, "train"
        source = HOME / "src" / f"{module.replace('.', '/')}.py"
        tree = ast.parse(source.read_text(encoding="utf-8")) if source.is_file() else ast.Module([], [])
        if name not in {getattr(node, "name", None) for node in tree.body}:
            missing.append(path)
    assert not missing


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_links_have_a_target(page: Path) -> None:
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)", prose(page)):
        file, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", link):
            continue
        target = page.parent / file if file else page
        if not target.exists() or (anchor and anchor not in headings(target)):
            broken.append(link)
    assert not broken


def test_the_menu_lists_exactly_the_pages() -> None:
    menu = set(
        re.findall(r"^ +- .*: ([\w/-]+\.md)$", (HOME / "mkdocs.yml").read_text(encoding="utf-8"), flags=re.MULTILINE)
    )
    docs = HOME / "docs"
    assert menu == {page.relative_to(docs).as_posix() for page in pages() if page.is_relative_to(docs)}


def test_options_and_commands_in_messages_exist() -> None:
    """``--option`` in a message is an option of a command, and `fieldmark command` is a command."""
    unknown = []
    for path in SOURCES:
        if path.parent.name == "reporting":  # its strings are style sheets
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                options = re.findall(r"(?<![\w-])--[a-z]+(?:-[a-z]+)*", node.value)
                unknown += [f"{path.name}: {one}" for one in options if one not in OPTIONS | OTHERS]
                named = re.findall(r"`fieldmark ([a-z][a-z-]*)", node.value)
                unknown += [
                    f"{path.name}: fieldmark {one}" for one in named if one not in {*application.commands, "help"}
                ]
    assert not unknown


def test_no_page_has_unfinished_parts() -> None:
    """Unfinished work is not marked in pages or sources."""
    wrong = re.compile(
        r"\b(TODO|FIXME|XXX|TBD|tbd|WIP|lorem ipsum|coming soon)\b|<(not measured|to be measured|n/a|\?+)>"
    )
    assert not [path.name for path in [*SOURCES, *pages()] if wrong.search(path.read_text(encoding="utf-8"))]


def test_no_file_names_a_folder_of_the_authors_machine() -> None:
    folders = re.compile(r"(?<![\w.])/(?:root|work|tmp|home/\w+)/")
    found = [
        f"{path.relative_to(HOME)}: {match[0]}"
        for path in tracked()
        if path.is_relative_to(HOME / "src") or path.is_relative_to(HOME / "docs") or path.parent == HOME
        for match in folders.finditer(path.read_text(encoding="utf-8", errors="replace"))
    ]
    assert not found


def test_no_file_names_a_package_host_or_an_author_tool() -> None:
    hosts = re.compile(r"(pypi|pythonhosted|npmjs|debian|huggingface)\.(org|com|co)\b", re.IGNORECASE)
    tools = re.compile(
        r"\b(claude|anthropic|openai|chatgpt|copilot|subagents?|AI assistant|this session)\b", re.IGNORECASE
    )
    found = [
        f"{path.relative_to(HOME)}: {match[0]}"
        for path in tracked()
        if path != Path(__file__) and "naughty_strings" not in path.parts
        for pattern in (hosts, tools)
        for match in pattern.finditer(path.read_text(encoding="utf-8", errors="replace"))
    ]
    assert not found


def test_contributing_is_short() -> None:
    assert len((HOME / "CONTRIBUTING.md").read_text(encoding="utf-8").splitlines()) <= 60


def test_only_the_lab_book_shows_measured_scores() -> None:
    """Scores in blocks of other pages would become outdated."""
    scores = re.compile(r"MAP@5\s+0\.\d")
    found = [
        str(block)
        for page in pages()
        if page.name not in BY_HAND
        for block in blocks(page)
        if scores.search(block.text)
    ]
    assert not found

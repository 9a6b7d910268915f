"""The structure of the source: no import cycles, one way down, few places to touch for a new part."""

import ast
from collections.abc import Iterator
from pathlib import Path

import grimp
import pytest

from fieldmark.pipeline.stage import STAGES

SOURCE = Path(__file__).parents[2] / "src" / "fieldmark"


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    """All imports between modules, those within functions too; those for type checkers alone left out."""
    return grimp.build_graph("fieldmark", exclude_type_checking_imports=True, cache_dir=None)


def test_no_module_imports_itself_through_others(graph: grimp.ImportGraph) -> None:
    assert cycles({module: graph.find_modules_directly_imported_by(module) for module in graph.modules}) == []


def test_a_cycle_would_be_found() -> None:
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]


def cycles(imports: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that import each other, by Tarjan's walk; each group sorted."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def walk(module: str) -> None:
        number[module] = lowest[module] = len(number)
        stack.append(module)
        for other in sorted(imports.get(module, ())):
            if other not in number:
                walk(other)
                lowest[module] = min(lowest[module], lowest[other])
            elif other in stack:
                lowest[module] = min(lowest[module], number[other])
        if lowest[module] == number[module]:
            group = [stack.pop()]
            while group[-1] != module:
                group.append(stack.pop())
            if len(group) > 1:
                found.append(sorted(group))

    for module in sorted(imports):
        if module not in number:
            walk(module)
    return found


def named_stages() -> Iterator[tuple[str, str]]:
    """The class and the kind of each stage of this library."""
    for path in (SOURCE / "stages").rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                for line in node.body:
                    if isinstance(line, ast.AnnAssign) and getattr(line.target, "id", "") == "kind" and line.value:
                        yield node.name, ast.literal_eval(line.value)


def test_the_pipeline_knows_no_stage_by_name() -> None:
    stages = dict(named_stages())
    assert len(stages) > 20
    for path in (SOURCE / "pipeline").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            assert not (isinstance(node, ast.Name) and node.id in stages), (path, node.id)
            compared = [node.left, *node.comparators] if isinstance(node, ast.Compare) else []
            assert not {one.value for one in compared if isinstance(one, ast.Constant)} & set(STAGES.names()), path


FACES = ("api", "cli", "assignment", "calibration", "folds", "keypoints", "near_duplicates", "thresholding")
"""A command and the function of its name, and the public modules, which lead to functions of the same name."""
PROTOCOLS = ("tasks",)
"""Modules of one form, a module for each task."""
SHARED = {"read", "describe_images", "table", "texts", "imet2019", "imaterialist2017"}
"""Names that two packages use: readers of files and tables; recipes, and the layouts of the contests they come from."""


def test_public_names_are_unique() -> None:
    homes: dict[str, list[str]] = {}
    for path in SOURCE.rglob("*.py"):
        package = path.relative_to(SOURCE).parts[0].removesuffix(".py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(package)
    packages = {path.name for path in SOURCE.iterdir() if path.is_dir()}
    assert packages & set(homes) == set()
    twice = {}
    for name, places in homes.items():
        own = [place for place in places if place not in {*FACES, *PROTOCOLS}]
        if len(own) > 1 and name not in SHARED:
            twice[name] = own
    assert twice == {}

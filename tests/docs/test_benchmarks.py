"""The scripts of benchmarks/: each can be imported, and every name of fieldmark that it uses exists."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "benchmarks"
SCRIPTS = sorted(FOLDER.glob("*.py"))
OF_PACKAGE = {"iterative-stratification": "iterstrat"}
"""Module of a package of the extra ``bench`` whose name differs from that of the package."""

WRONG = """
from fieldmark.core import nowhere
from fieldmark.core.seeds import generator, sower
import fieldmark.gone
from fieldmark.cli import tables


def later() -> None:
    import fieldmark
    from fieldmark.models.network import Network as Net

    print(tables.write_lines, tables.leeks, fieldmark.read, fieldmark.reed, Net.upper, Net.uper, generator(0).random)
    Net.forwards = print
"""


@pytest.fixture(autouse=True)
def beside(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Scripts import each other by name, as they do when one is run."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(FOLDER))
    yield
    for name in {script.stem for script in SCRIPTS} & (set(sys.modules) - before):
        del sys.modules[name]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_script_can_be_imported(script: Path) -> None:
    spec = importlib.util.spec_from_file_location(f"benchmark_{script.stem}", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up by name
    try:
        spec.loader.exec_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in bench_modules():
            raise
        pytest.skip(f"needs {error.name}: pip install 'fieldmark[bench]'")
    finally:
        del sys.modules[spec.name]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_all_names_of_fieldmark_in_a_script_exist(script: Path) -> None:
    assert list(missing_names(script.read_text(encoding="utf-8"))) == []


def test_names_that_do_not_exist_are_found() -> None:
    assert list(missing_names(WRONG)) == [
        "line 2: fieldmark.core.nowhere",
        "line 3: fieldmark.core.seeds.sower",
        "line 4: fieldmark.gone",
        "line 12: fieldmark.cli.tables.leeks",
        "line 12: fieldmark.reed",
        "line 12: fieldmark.models.network.Network.uper",
        "line 13: fieldmark.models.network.Network.forwards",
    ]


def missing_names(source: str) -> Iterator[str]:
    """Yield the imported names of fieldmark, and attributes of imported modules and classes, that do not exist.

    Imports inside functions count too. A local variable with the name of an import is read as the import.
    """
    tree, path_of = ast.parse(source), {}
    for node, (path, local) in imports(tree):
        if exists(path):
            path_of[local] = path if local != "fieldmark" else "fieldmark"
        else:
            yield f"line {node.lineno}: {path}"
    for node in sorted((one for one in ast.walk(tree) if isinstance(one, ast.Attribute)), key=lambda one: one.lineno):
        owner = ast.unparse(node.value)
        first, _, rest = owner.partition(".")
        if first not in path_of or not re.fullmatch(r"[\w.]+", owner):
            continue
        path = path_of[first] + (f".{rest}" if rest else "")
        if has_fixed_names(path) and not exists(f"{path}.{node.attr}"):
            yield f"line {node.lineno}: {path}.{node.attr}"


def imports(tree: ast.AST) -> Iterator[tuple[ast.stmt, tuple[str, str]]]:
    """Yield each import from fieldmark: the statement, the dotted path, and the local name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for one in node.names:
                if one.name.partition(".")[0] == "fieldmark":
                    yield node, (one.name, one.asname or "fieldmark")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "fieldmark":
            for one in node.names:
                yield node, (f"{node.module}.{one.name}", one.asname or one.name)


@cache
def found(path: str) -> tuple[object, ...]:
    """Return the object at a dotted path in a tuple, or an empty tuple if there is none."""
    try:
        return (importlib.import_module(path),)
    except ModuleNotFoundError:
        owner, _, name = path.rpartition(".")
        holder = found(owner) if owner else ()
        return (getattr(holder[0], name),) if holder and hasattr(holder[0], name) else ()


def exists(path: str) -> bool:
    """Return whether a dotted path names a module or a name in it, or an attribute or a field of a class."""
    if found(path):
        return True
    owner, _, name = path.rpartition(".")
    holder = found(owner) if owner else ()
    return bool(holder) and name in getattr(holder[0], "__annotations__", {})


def has_fixed_names(path: str) -> bool:
    """Return whether a dotted path names a module or a class; attributes of other objects are not checked."""
    holder = found(path)
    return bool(holder) and isinstance(holder[0], type(ast) | type)


@cache
def bench_modules() -> frozenset[str]:
    """Return the names of the modules of the packages in the extra ``bench``."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    packages = [re.split(r"[^\w-]", one, maxsplit=1)[0] for one in listed["bench"]]
    return frozenset(OF_PACKAGE.get(one, one.replace("-", "_")) for one in packages)

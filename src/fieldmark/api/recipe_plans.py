"""Conversion of typed words to recipes, settings and plans."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fieldmark.core.errors import FieldmarkError, PlanError, nearest, several

if TYPE_CHECKING:
    from fieldmark.pipeline.plan import Plan
    from fieldmark.plans.recipe import Recipe

Setting = bool | int | float | str | None
PLAN_SUFFIXES = (".toml", ".json")
PLAN = "plan.json"


def recipes(name: str | None = None) -> tuple[Recipe[Any], ...]:
    """Return all recipes, or the recipe of a name, including those of installed packages.

    Raises:
        PlanError: There is no recipe of that name.
    """
    from fieldmark.plans.recipe import RECIPES

    return tuple(one for _, one in RECIPES.items()) if name is None else (_recipe(name),)


def choose(what: str | Path | Plan, *, size: str | None = None, settings: Mapping[str, Setting] | None = None) -> Plan:
    """Return the plan of a recipe, a file or a run.

    Args:
        what: A plan, the name of a recipe, a ``.toml`` or ``.json`` file, or a run folder.
        size: Size of a recipe: ``toy``, ``small`` or ``full``.
        settings: Of a recipe; texts are converted to the type of the setting.

    Raises:
        PlanError: The recipe, size or setting does not exist, or the file holds no valid plan.
    """
    from fieldmark.pipeline.plan import Plan, read_plan

    path = Path(what) if isinstance(what, str | Path) else None
    if path is None or path.suffix in PLAN_SUFFIXES or path.is_dir():
        if size or settings:
            chosen = [f"size={size}"] if size else []
            raise PlanError(
                "--size and --set apply to recipes only; a plan in a file or run is complete.",
                got=", ".join([*chosen, *(f"{name}={value}" for name, value in (settings or {}).items())]),
                fix="leave out --size and --set, or give a recipe: `fieldmark recipes` lists them.",
            )
        if isinstance(what, Plan):
            return what.check()
        assert path is not None  # noqa: S101 - for the type checker: only a plan has none
        return read_plan(path / PLAN if path.is_dir() else path)
    if settings and "size" in settings:
        raise PlanError(
            "The size is not a setting.", got=f"size={settings['size']}", fix=f"use --size {settings['size']}."
        )
    return _recipe(str(what))(size=size, **(settings or {}))


def _recipe(name: str) -> Recipe[Any]:
    from fieldmark.plans.recipe import RECIPES

    found = RECIPES.find(name)
    if found is None:
        raise PlanError("There is no recipe of that name.", got=name, fix=nearest(name, RECIPES.names()))
    return found


def pairs(typed: Iterable[str], *, option: str, example: str) -> dict[str, str]:
    """Return texts of the form ``name=value`` as a mapping.

    Raises:
        FieldmarkError: A text has no ``=``, or a name occurs twice.

    Example:
        >>> pairs(["identity=whale"], option="--column", example="identity=whale")
        {'identity': 'whale'}
    """
    found: dict[str, str] = {}
    wrong = []
    for text in typed:
        name, equals, value = text.partition("=")
        if not equals or not name or name in found:
            wrong.append(text)
        found[name] = value
    if wrong:
        raise FieldmarkError(
            f"{option} needs the form NAME=VALUE, each name once.", got=several(wrong), fix=f"type {option} {example}"
        )
    return found

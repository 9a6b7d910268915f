"""What a user types, as values: recipes by name with their settings, plans by recipe, file or run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from inspect import Parameter, signature
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from fieldmark.core.errors import FieldmarkError, PlanError, nearest, several

if TYPE_CHECKING:
    from fieldmark.pipeline.plan import Plan

Setting = bool | int | float | str | None
PLAN_SUFFIXES = (".toml", ".json")
PLAN = "plan.json"


@dataclass(frozen=True)
class Recipe:
    """One recipe of the shelf.

    Attributes:
        name: As typed.
        about: What it is for, in a line.
        sizes: What ``--size`` takes, the smallest first; the default is ``size``.
        settings: What ``--set`` takes, with the defaults.
        kinds: The kind of value that each setting takes.
        words: The words that a setting takes, of those that take some words only.
    """

    name: str
    about: str
    sizes: tuple[str, ...]
    size: str | None
    settings: Mapping[str, Setting]
    kinds: Mapping[str, type]
    words: Mapping[str, tuple[str, ...]]


def recipes() -> tuple[Recipe, ...]:
    """The recipes on the shelf, by name."""
    from fieldmark.plans.shelf import SHELF

    return tuple(_described(name, SHELF[name]) for name in sorted(SHELF))


def choose(what: str | Path | Plan, *, size: str | None = None, settings: Mapping[str, Setting] | None = None) -> Plan:
    """The plan that is meant.

    Args:
        what: A plan, the name of a recipe, a ``.toml`` or ``.json`` file, or a run folder.
        size: Of a recipe: ``toy``, ``small`` or ``full``.
        settings: Of a recipe; texts are understood as the setting's own kind.

    Raises:
        PlanError: There is no such recipe, size or setting, or the file holds no plan that works.
    """
    from fieldmark.pipeline.plan import Plan, read_plan

    path = Path(what) if isinstance(what, str | Path) else None
    if path is None or path.suffix in PLAN_SUFFIXES or path.is_dir():
        if size or settings:
            chosen = [f"size={size}"] if size else []
            raise PlanError(
                "Only recipes have sizes and settings; a plan that is written down says all itself.",
                got=", ".join([*chosen, *(f"{name}={value}" for name, value in (settings or {}).items())]),
                fix="leave out --size and --set, or name a recipe: `fieldmark recipes` lists them.",
            )
        if isinstance(what, Plan):
            return what.check()
        assert path is not None  # noqa: S101 - for the type checker: only a plan has none
        return read_plan(path / PLAN if path.is_dir() else path)
    return _cook(str(what), size, settings or {})


def _cook(name: str, size: str | None, settings: Mapping[str, Setting]) -> Plan:
    from pydantic import ValidationError

    from fieldmark.core.spec import mistaken, parse
    from fieldmark.plans.shelf import SHELF

    if name not in SHELF:
        raise PlanError("There is no recipe of that name.", got=name, fix=nearest(name, SHELF))
    recipe = _described(name, SHELF[name])
    if size is not None and size not in recipe.sizes:
        raise PlanError(f"The recipe '{name}' has no such size.", got=size, fix=nearest(size, recipe.sizes))
    strange = [one for one in settings if one not in recipe.settings]
    if strange:
        raise PlanError(
            f"The recipe '{name}' has no such setting.", got=several(strange), fix=nearest(strange[0], recipe.settings)
        )
    chosen = {
        one: value  # the word "none" is no None where it is one of the words
        if value in recipe.words[one]
        else understood(one, value, kind=recipe.kinds[one], like=recipe.settings[one])
        for one, value in settings.items()
    }
    wrong = [
        one
        for one, value in chosen.items()
        if recipe.words[one] and value not in recipe.words[one] and value != recipe.settings[one]
    ]
    if wrong:
        one = wrong[0]
        raise PlanError(
            f"The setting '{one}' takes one of some words.",
            got=chosen[one],
            fix=f"use {one}=" + ", ".join(recipe.words[one][:-1]) + f" or {recipe.words[one][-1]}.",
        )
    try:
        plan = SHELF[name](**({"size": size} if size is not None else {}), **chosen)
    except ValidationError as error:
        raise mistaken(error, name=name) from error
    parse(type(plan), plan.model_dump_json(), name=name)  # a value put into a finished part has not been looked at
    return plan.check()


def _described(name: str, recipe: Callable[..., Plan]) -> Recipe:
    parameters = signature(recipe, eval_str=True).parameters
    size = parameters.get("size")
    rest = {one: parameter for one, parameter in parameters.items() if one != "size"}
    return Recipe(
        name=name,
        about=(recipe.__doc__ or "").strip().partition("\n")[0],
        sizes=get_args(size.annotation) if size else (),
        size=size.default if size and size.default is not Parameter.empty else None,
        settings={one: parameter.default for one, parameter in rest.items()},
        kinds={one: _kind(parameter) for one, parameter in rest.items()},
        words={one: _words(parameter.annotation) for one, parameter in rest.items()},
    )


def _words(annotation: object) -> tuple[str, ...]:
    """The words of a setting that takes one of some; without any for all others."""
    if get_origin(annotation) is Literal:
        return tuple(str(word) for word in get_args(annotation))
    return tuple(word for part in get_args(annotation) if get_origin(part) is Literal for word in _words(part))


def _kind(parameter: Parameter) -> type:
    """The kind of a setting's default; where that is None, what stands beside None in the annotation."""
    if parameter.default is not None:
        return type(parameter.default)
    found = next(kind for kind in get_args(parameter.annotation) if kind is not type(None))
    # One of several words is typed as a word; the recipe refuses those it does not know.
    return str if get_origin(found) is Literal else found


def understood(name: str, value: Setting, *, like: Setting, kind: type[Any] | None = None) -> Setting:
    """``value`` in the kind of the setting: texts are read, and a wrong kind is refused.

    Args:
        name: Of the setting.
        value: As typed, or as a value.
        like: The setting's default; where that is None, None (``none``) may be chosen.
        kind: What it takes; None for the default's own kind.

    Raises:
        PlanError: It is of another kind.

    Example:
        >>> understood("flip_identity", "false", like=True), understood("epochs", "3", like=1.0)
        (False, 3.0)
    """
    takes: type[Any] = kind or type(like)
    if like is None and (value is None or str(value).lower() == "none"):
        return None
    try:
        if takes is bool:
            return value if isinstance(value, bool) else {"true": True, "false": False}[str(value).lower()]
        if value is None or isinstance(value, bool) or (takes is int and isinstance(value, float)):
            raise ValueError(value)  # noqa: TRY301 - one way out
        if takes is float and not isfinite(float(value)):
            raise ValueError(value)  # noqa: TRY301 - one way out
        return takes(value)
    except (KeyError, ValueError) as error:
        wanted = {"bool": "true or false", "int": "a whole number", "float": "a number"}.get(takes.__name__, "text")
        raise PlanError(
            f"The setting '{name}' takes {wanted}.", got=value, fix=f"for instance --set {name}={as_typed(like)}."
        ) from error


def pairs(typed: Iterable[str], *, option: str, example: str) -> dict[str, str]:
    """The texts ``name=value`` as a mapping.

    Raises:
        FieldmarkError: One has no ``=``, or a name stands twice.

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
            f"{option} takes a name, =, and a value, each name once.", got=several(wrong), fix=f"{option} {example}"
        )
    return found


def as_typed(value: Setting) -> str:
    """The value as a user types it."""
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)

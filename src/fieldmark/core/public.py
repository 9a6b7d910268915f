"""Public modules whose names are imported on first use."""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from fieldmark.core.errors import FieldmarkError, PlanError, nearest

if TYPE_CHECKING:
    from fieldmark.core.spec import Spec

SpecT = TypeVar("SpecT", bound="Spec")


def exports(
    module: str, homes: Mapping[str, str], *, own: Iterable[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Create ``__getattr__`` and ``__dir__`` of a public module.

    The exported functions also accept lists, tensors and columns (``fieldmark.core.arrays.takes_arrays``).

    Args:
        module: Name of the public module.
        homes: For each exported name the module that defines it.
        own: Names that the public module defines itself.

    Example:
        ``__getattr__, __dir__ = exports(__name__, {"map_at_k": "fieldmark.metrics.ranking"})``
    """
    loaded: dict[str, Any] = {}

    def attribute(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module '{module}' has no attribute '{name}'")
        if name not in loaded:
            from fieldmark.core.arrays import takes_arrays

            found = getattr(importlib.import_module(homes[name]), name)
            loaded[name] = takes_arrays(found) if inspect.isfunction(found) else found
        return loaded[name]

    def names() -> list[str]:
        return sorted({*homes, *own})

    return attribute, names


def named(kinds: Mapping[str, type[SpecT]], value: str | SpecT, settings: Mapping[str, Any], *, what: str) -> SpecT:
    """Create a settings object from a name and keyword arguments.

    Args:
        kinds: Classes of settings by name.
        value: A name, or a settings object.
        settings: Values that differ from the defaults.
        what: Noun for error messages, such as ``rule`` or ``strategy``.

    Raises:
        PlanError: One of ``settings`` is unknown or has an invalid value.
        FieldmarkError: There are no settings of that name.

    Example:
        ``named({"plain": PlainFolds}, "plain", {"n_folds": 3}, what="strategy")``
    """
    if isinstance(value, str):
        if value not in kinds:
            raise FieldmarkError(f"There is no {what} of that name.", got=value, fix=nearest(value, kinds))
        return _parsed(kinds[value], settings, what=f"{what} '{value}'")
    if not isinstance(value, tuple(kinds.values())):
        got = f"{type(value).__name__}: {value}"
        raise FieldmarkError(
            f"The value is not a valid {what}.", got=got, fix=f"use one of: {', '.join(sorted(kinds))}."
        )
    return _parsed(type(value), {**value.model_dump(mode="json"), **settings}, what=f"{what} {type(value).__name__}")


def _parsed(kind: type[SpecT], settings: Mapping[str, Any], *, what: str) -> SpecT:
    """A checked settings object. An error lists the possible settings with their defaults."""
    from fieldmark.core.spec import parse

    try:
        return parse(kind, json.dumps(dict(settings), default=str), name=what)
    except PlanError as error:
        names = ", ".join(f"{name}={field.default!r}" for name, field in kind.model_fields.items() if name != "kind")
        fix = f"the settings with their defaults are: {names}." if names else "remove it: there are no settings."
        raise PlanError(error.problem, got=error.got, fix=fix) from error


def kinds_of(*specs: type[SpecT]) -> dict[str, type[SpecT]]:
    """Classes of settings by their ``kind``."""
    return {one.model_fields["kind"].default: one for one in specs}

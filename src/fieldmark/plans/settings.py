"""Settings of a recipe: typed values with a group, a description and the settings that they depend on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import Field
from pydantic.fields import FieldInfo

from fieldmark.core.errors import PlanError
from fieldmark.core.spec import Spec

Group = Literal["data", "model", "training", "ranking", "decision"]
GROUPS: tuple[Group, ...] = get_args(Group)
Value = bool | int | float | str | None
Conditions = Mapping[str, tuple[Any, ...]]
"""Other settings (or ``size``), each with the values for which a setting has an effect.

A tuple that ends in ``...`` stands for every value except 0, an empty text and false. Its first item is an example.
"""
TAKES = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


def setting(
    group: Group,
    default: Value,
    about: str,
    *,
    needs: Conditions | None = None,
    why: str = "",
    example: Value = None,
    unset: str = "by size",
    **limits: float,
) -> Any:
    """Return the field of a ``Settings`` class for one setting of a recipe.

    Args:
        group: Group of the setting: ``data``, ``model``, ``training``, ``ranking`` or ``decision``.
        default: Default value; None if ``unset`` describes the default.
        about: Description of the setting and its values.
        needs: Other settings on which its effect depends.
        why: Reason for that dependence. The error for a setting without effect ends with it.
        example: Example value. Give one if the default is None or turns the setting off.
        unset: Description of the default None.
        **limits: Limits of a number: ``ge``, ``gt``, ``le`` or ``lt``.
    """
    extra = {"group": group, "needs": dict(needs or {}), "why": why, "example": example, "unset": unset}
    return Field(default, description=about, json_schema_extra=extra, **limits)  # type: ignore[arg-type, call-overload]


class Settings(Spec):
    """Base class for the settings of a recipe."""

    @classmethod
    def by_size(cls, size: str) -> Mapping[str, Value]:
        """Return the values at a size of the settings whose default is None, where a single value exists."""
        del size
        return {}

    def chosen(self) -> dict[str, Value]:
        """Return the settings that differ from their defaults."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: value for name, value in values.items() if value != type(self).model_fields[name].default}

    def values_at(self, size: str) -> dict[str, Value]:
        """Return all settings and the size; settings left at None have the value of the size."""
        own = type(self).by_size(size)
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return {"size": size} | {name: own.get(name) if value is None else value for name, value in values.items()}


@dataclass(frozen=True)
class SettingInfo:
    """Name, type, default and description of one setting of a recipe.

    Attributes:
        name: Name of the setting, as typed.
        group: Group of the setting, such as ``training``.
        about: Description of the setting and its values.
        default: Default value; None if the default depends on the size.
        own: Default by size; empty if the default is not None or no single value exists.
        kind: Type of the values.
        words: Allowed words; empty if the setting is not a choice of words.
        takes: Allowed values as text, such as "a number from 0 to 1".
        example: Example value.
        needs: Other settings on which its effect depends.
        unset: Description of the default None.
        why: Reason for that dependence.
    """

    name: str
    group: Group
    about: str
    default: Value
    own: Mapping[str, Value]
    kind: type
    words: tuple[str, ...]
    takes: str
    example: Value
    needs: Conditions
    unset: str
    why: str

    @property
    def otherwise(self) -> str:
        """The default as text."""
        if self.default is not None:
            return as_typed(self.default) or "empty"
        by_value: dict[str, list[str]] = {}
        for size, value in self.own.items():
            by_value.setdefault(as_typed(value), []).append(size)
        if len(by_value) == 1:
            return next(iter(by_value))
        return ", ".join(f"{value} ({', '.join(sizes)})" for value, sizes in by_value.items()) or self.unset

    @property
    def condition(self) -> str:
        """The settings on which the effect depends, as a sentence; empty if it depends on none."""
        parts = []
        for other, wanted in self.needs.items():
            if wanted == (None,):
                parts.append(f"no {other}")
            elif wanted[-1] is ...:
                parts.append(f"{other} above 0" if isinstance(wanted[0], int | float) else f"{other} set")
            else:
                words = [as_typed(value) for value in wanted]
                parts.append(f"{other}=" + ", ".join(words[:-1]) + " or " * (len(words) > 1) + words[-1])
        return f"Only with {' and '.join(parts)}." if parts else ""

    def refusal(self, value: object) -> PlanError:
        """Return the error for a value that the setting does not allow."""
        one = self.name
        if self.words:
            fix = f"use {one}=" + (", ".join(self.words[:-1]) + f" or {self.words[-1]}.").removeprefix(" or ")
            return PlanError(f"The setting '{one}' takes {self.takes}.", got=f"{one}={_shown(value)}", fix=fix)
        return PlanError(
            f"The setting '{one}' takes {self.takes}.",
            got=f"{one}={_shown(value)}",
            fix=f"for instance --set {one}={as_typed(self.example)}, or leave out {one}.",
        )

    def understood(self, value: Value) -> Value:
        """Return ``value`` in the type of the setting; text is parsed as a user types it.

        Raises:
            PlanError: The value has another type.
        """
        if isinstance(value, str) and (value in self.words or (self.kind is str and not self.words)):
            return value
        if self.default is None and (value is None or str(value).lower() == "none"):
            return None
        try:
            return _converted(value, self.kind, self.words)
        except (KeyError, ValueError) as error:
            raise self.refusal(value) from error

    def others(self) -> Iterator[Value]:
        """Yield values other than the default, to test whether the setting has an effect; some may be invalid."""
        some: tuple[Value, ...] = self.words or (self.example,)
        if self.kind is bool:
            some = (True, False)
        elif self.kind in (int, float) and isinstance(self.example, int | float):
            one = self.example
            some = (one, one + 1, one - 1, one * 2) if self.kind is int else (one, one / 2, one * 1.5, one * 4)
        yield from (value for value in dict.fromkeys(some) if value != self.default)


def described(kind: type[Settings], sizes: tuple[str, ...]) -> dict[str, SettingInfo]:
    """Return the settings of a class by name, sorted by group; inherited settings come last in each group."""
    own = {size: kind.by_size(size) for size in sizes}
    found = [_described(name, field, own) for name, field in kind.model_fields.items()]
    home = {
        name: place
        for place, one in reversed([*enumerate(kind.__mro__)])
        for name in vars(one).get("__annotations__", ())
    }
    return {one.name: one for one in sorted(found, key=lambda one: (GROUPS.index(one.group), home[one.name]))}


def _described(name: str, field: FieldInfo, own: Mapping[str, Mapping[str, Value]]) -> SettingInfo:
    extra = field.json_schema_extra
    if not isinstance(extra, dict) or extra.get("group") not in GROUPS:
        raise TypeError(f"{name}: define this field with fieldmark.plans.settings.setting(GROUP, ...)")
    of_kind, words = _kind(field.annotation)
    example = extra["example"]
    if example is None:
        example = field.default if field.default is not None else words[0] if words else None
    takes = ", ".join(words[:-1]) + f" or {words[-1]}" if words else TAKES[of_kind] + _limits(field)
    return SettingInfo(
        name=name,
        group=extra["group"],  # type: ignore[arg-type]
        about=field.description or "",
        default=field.default,
        own={size: values[name] for size, values in own.items() if name in values},
        kind=of_kind,
        words=words,
        takes=takes,
        example=example,  # type: ignore[arg-type]
        needs=extra["needs"],  # type: ignore[arg-type]
        unset=str(extra["unset"]),
        why=str(extra["why"]),
    )


def _kind(annotation: Any) -> tuple[type, tuple[str, ...]]:
    """Return the type of a setting's values, and the allowed words if it is a choice of words."""
    parts = [one for one in get_args(annotation) if one is not type(None)]
    if get_origin(annotation) is Literal:
        return str, tuple(str(word) for word in get_args(annotation))
    if get_origin(annotation) is Union or (parts and not isinstance(annotation, type)):
        return _kind(parts[0])
    return annotation, ()


def _limits(field: FieldInfo) -> str:
    """Return the limits of a number as text."""
    found = {
        name: getattr(one, name) for one in field.metadata for name in ("ge", "gt", "le", "lt") if hasattr(one, name)
    }
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    if {"ge", "le"} <= found.keys():
        return f" from {found['ge']:g} to {found['le']:g}"
    return (" " if found else "") + " and ".join(f"{words[name]} {value:g}" for name, value in found.items())


def _converted(value: Value, kind: type, words: tuple[str, ...]) -> Value:
    """Return the value in the given type.

    Raises:
        KeyError: The text is neither true nor false.
        ValueError: The value has another type, or is not one of the words.
    """
    if kind is str and value not in words:
        raise ValueError(value)
    if kind is bool:
        return value if isinstance(value, bool) else {"true": True, "false": False}[str(value).lower()]
    if value is None or isinstance(value, bool) or (kind is int and isinstance(value, float)):
        raise ValueError(value)
    if kind is float and not isfinite(float(value)):
        raise ValueError(value)
    return kind(value)  # type: ignore[no-any-return]


def as_typed(value: Value) -> str:
    """Return the value as a user types it.

    Example:
        >>> as_typed(True), as_typed(None), as_typed(0.5)
        ('true', 'none', '0.5')
    """
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def _shown(value: object) -> str:
    return as_typed(value) if isinstance(value, bool | int | float | str | None) else repr(value)

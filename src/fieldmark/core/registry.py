"""Parts by name: those of this package, those that installed packages bring, those of a user's own script."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from fieldmark.core.errors import FieldmarkError, PlanError
from fieldmark.core.spec import Spec

PartT = TypeVar("PartT")

_REGISTRIES: list[Registry[Any]] = []
"""All there are, as ``packages_of`` needs them."""


class Registry(Generic[PartT]):
    """Parts of one kind (stages, losses, recipes ...) by the name that plans and commands use.

    Args:
        group: Entry-point group in which other packages list their parts, such as ``fieldmark.stages``.
        what: What one part is called in messages.
        home: Module or package of this library whose parts are registered when it is imported; None if they are listed
            by ``add`` where the registry is made.
    """

    def __init__(self, group: str, *, what: str, home: str | None = None) -> None:
        self.group, self.what = group, what
        self._home = home
        self._parts: dict[str, PartT] = {}
        self._offered: dict[str, EntryPoint] | None = None
        _REGISTRIES.append(self)

    def add(self, name: str, part: PartT) -> PartT:
        """Register ``part`` under ``name``; the same part again is fine, another one is refused.

        Raises:
            FieldmarkError: The name is taken.
        """
        there = self._parts.get(name)
        if there is not None and not _same(there, part):
            raise FieldmarkError(
                f"There is already a {self.what} of that name.",
                got=f"{name}: {_origin(there)} and {_origin(part)}",
                fix="give yours another name.",
            )
        self._parts[name] = part
        return part

    def find(self, name: str) -> PartT | None:
        """The part of that name, its module or package imported where needed; None if nobody brings it."""
        if name not in self._parts:
            self._import_home()
        if name not in self._parts and (entry := self._entries().get(name)) is not None:
            self._load(entry)
        return self._parts.get(name)

    def names(self) -> list[str]:
        """All names that can be used here, sorted."""
        self._import_home()
        return sorted({*self._parts, *self._entries()})

    def items(self) -> Iterator[tuple[str, PartT]]:
        """Names and parts, by name; imports every package that brings one."""
        for name in self.names():
            part = self.find(name)
            if part is not None:
                yield name, part

    def brought_by(self, name: str) -> str | None:
        """Distribution and version that brings the part; None for parts of this library and of scripts."""
        entry = self._entries().get(name)
        if entry is None or entry.dist is None:
            return None
        return f"{entry.dist.name}=={entry.dist.version}"

    def package_of(self, part: object) -> str | None:
        """What ``brought_by`` says of a part in use; None also for what is no part of this registry."""
        return next((self.brought_by(name) for name, one in self._parts.items() if one is part), None)

    def _entries(self) -> dict[str, EntryPoint]:
        if self._offered is None:
            self._offered = {entry.name: entry for entry in entry_points(group=self.group)}
        return self._offered

    def _load(self, entry: EntryPoint) -> None:
        try:
            part = entry.load()
        except Exception as error:
            raise PlanError(
                f"The {self.what} '{entry.name}' of another package cannot be loaded.",
                got=f"{entry.value}: {type(error).__name__}: {error}",
                fix=f"repair or remove {self.brought_by(entry.name) or entry.value}.",
            ) from error
        if entry.name not in self._parts:
            self.add(entry.name, part)

    def _import_home(self) -> None:
        home, self._home = self._home, None
        if home is not None:
            package = importlib.import_module(home)
            for module in pkgutil.walk_packages(getattr(package, "__path__", ()), f"{home}."):
                if module.name not in sys.modules:
                    importlib.import_module(module.name)


def _same(one: Any, other: Any) -> bool:
    """Whether both are one part; a class that a notebook cell defines again replaces the earlier one."""
    return one is other or (_origin(one) == _origin(other) and inspect.unwrap(one).__module__ == "__main__")


def _origin(part: Any) -> str:
    part = inspect.unwrap(part)
    return f"{getattr(part, '__module__', '?')}.{getattr(part, '__qualname__', part)}"


@dataclass(frozen=True)
class NameIn:
    """Annotation of a text setting that may name one of a registry's parts, among other names.

    Attributes:
        registry: Where ``packages_of`` looks the name up.
    """

    registry: Registry[Any]


def packages_of(value: Any) -> tuple[str, ...]:
    """The other packages that bring parts of a value, and of all values inside it: ``name==version``, sorted."""
    found: set[str | None] = set()
    if isinstance(value, Spec):
        found.update(registry.package_of(type(value)) for registry in _REGISTRIES)
        for name, field in type(value).model_fields.items():
            inner = getattr(value, name)
            found.update(packages_of(inner))
            found.update(one.registry.brought_by(inner) for one in field.metadata if isinstance(one, NameIn))
    elif isinstance(value, list | tuple):
        found.update(*map(packages_of, value))
    elif isinstance(value, dict):
        found.update(*map(packages_of, value.values()))
    return tuple(sorted(filter(None, found)))


@dataclass(frozen=True)
class OneOf:
    """Annotation of a setting that holds one of a registry's parts, told apart by one of their settings.

    The union is open: it is looked up when a value is read, so parts that were registered since are understood.

    Attributes:
        registry: Of classes of settings.
        base: What all of them are.
        key: The setting whose value is the part's name.
    """

    registry: Registry[Any]
    base: type[Spec]
    key: str = "kind"

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Validation by the class that the name stands for; a dump of the class's own settings."""
        del source, handler
        return core_schema.no_info_plain_validator_function(
            self._validated,
            serialization=core_schema.plain_serializer_function_ser_schema(_dumped, info_arg=True),
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """One of the parts that are registered now, told apart by ``key``."""
        del schema
        parts = [handler(kind.__pydantic_core_schema__) for _, kind in self.registry.items()]
        return {"discriminator": {"propertyName": self.key}, "oneOf": parts}

    def _validated(self, value: Any) -> Any:
        if isinstance(value, self.base):
            return value
        if not isinstance(value, dict):
            raise PydanticCustomError("model_type", "Input should be a table of settings")
        name = value.get(self.key)
        kind = self.registry.find(name) if isinstance(name, str) else None
        if kind is None:
            listed = ", ".join(f"'{one}'" for one in self.registry.names())
            raise PydanticCustomError(
                "union_tag_invalid",
                "Input tag '{tag}' found using '{key}' does not match any of the expected tags: {listed}"
                if name is not None
                else "Unable to extract tag using discriminator '{key}'",
                {"tag": str(name), "key": self.key, "listed": listed},
            )
        try:
            return kind.model_validate_json(json.dumps(value))
        except ValidationError as error:
            raise _below(error, str(name)) from None


def _dumped(value: Spec, info: core_schema.SerializationInfo) -> Any:
    return value.model_dump(mode="json" if info.mode == "json" else "python")


def _below(error: ValidationError, name: str) -> ValidationError:
    """The same mistakes, found in the part ``name``."""
    custom: Any = PydanticCustomError  # its own hint asks for literal texts; these are pydantic's
    lines: list[Any] = [
        {
            "type": custom(line["type"], line["msg"].replace("{", "{{").replace("}", "}}")),
            "loc": (name, *line["loc"]),
            "input": line["input"],
        }
        for line in error.errors(include_url=False, include_context=False)
    ]
    return ValidationError.from_exception_data(error.title, lines)

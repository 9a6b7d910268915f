"""Registries of parts (stages, losses, recipes ...) by name: built in, from installed packages, or from user code."""

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
"""All registries, for ``packages_of``."""


class Registry(Generic[PartT]):
    """A registry of parts of one kind (stages, losses, recipes ...) by the name that plans and commands use.

    Args:
        group: Entry-point group in which other packages list their parts, for example ``fieldmark.stages``.
        what: Noun for one part in messages.
        home: Module or package of this library that registers its parts on import. None if the parts are registered
            with ``add`` where the registry is created.
    """

    def __init__(self, group: str, *, what: str, home: str | None = None) -> None:
        self.group, self.what = group, what
        self._home = home
        self._parts: dict[str, PartT] = {}
        self._offered: dict[str, EntryPoint] | None = None
        _REGISTRIES.append(self)

    def add(self, name: str, part: PartT) -> PartT:
        """Register ``part`` under ``name``. Registering the same part twice is allowed.

        Raises:
            FieldmarkError: The name belongs to another part.
        """
        there = self._parts.get(name)
        if there is not None and not _same(there, part):
            raise FieldmarkError(
                f"There is already a {self.what} of that name.",
                got=f"{name}: {_origin(there)} and {_origin(part)}",
                fix="choose another name for your part.",
            )
        self._parts[name] = part
        return part

    def find(self, name: str) -> PartT | None:
        """The part of that name; None if there is none. The module or package of the part is imported if needed."""
        if name not in self._parts:
            self._import_home()
        if name not in self._parts and (entry := self._entries().get(name)) is not None:
            self._load(entry)
        return self._parts.get(name)

    def names(self) -> list[str]:
        """All available names, sorted."""
        self._import_home()
        return sorted({*self._parts, *self._entries()})

    def items(self) -> Iterator[tuple[str, PartT]]:
        """Names and parts, sorted by name. Every package that provides a part is imported."""
        for name in self.names():
            part = self.find(name)
            if part is not None:
                yield name, part

    def brought_by(self, name: str) -> str | None:
        """Package and version that provides the part, as ``name==version``; None for built-in parts and user code."""
        entry = self._entries().get(name)
        if entry is None or entry.dist is None:
            return None
        return f"{entry.dist.name}=={entry.dist.version}"

    def package_of(self, part: object) -> str | None:
        """Package and version that provides a part; see ``brought_by``. None if the part is not registered here."""
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
                fix=f"repair or uninstall {self.brought_by(entry.name) or entry.value}.",
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
    """Whether both are the same part. A class that a notebook cell defines again replaces the earlier one."""
    return one is other or (_origin(one) == _origin(other) and inspect.unwrap(one).__module__ == "__main__")


def _origin(part: Any) -> str:
    part = inspect.unwrap(part)
    return f"{getattr(part, '__module__', '?')}.{getattr(part, '__qualname__', part)}"


@dataclass(frozen=True)
class NameIn:
    """Annotation of a text setting that may contain the name of a registered part.

    Attributes:
        registry: Registry in which ``packages_of`` looks up the name.
    """

    registry: Registry[Any]


def packages_of(value: Any) -> tuple[str, ...]:
    """Packages that provide parts of a value or of the values inside it, as ``name==version``, sorted."""
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
    """Annotation of a setting that holds one of the parts of a registry.

    The value of ``key`` selects the part, as in a discriminated union. The union is open: the registry is read when a
    value is validated, so parts that were registered later are accepted.

    Attributes:
        registry: Registry of classes of settings.
        base: Common base class of these classes.
        key: Name of the setting whose value is the name of the part.
    """

    registry: Registry[Any]
    base: type[Spec]
    key: str = "kind"

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Schema that validates with the class of that name and serialises the settings of that class."""
        del source, handler
        return core_schema.no_info_plain_validator_function(
            self._validated,
            serialization=core_schema.plain_serializer_function_ser_schema(_dumped, info_arg=True),
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """JSON schema: one of the registered parts, discriminated by ``key``."""
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
            raise _inside(error, str(name)) from None


def _dumped(value: Spec, info: core_schema.SerializationInfo) -> Any:
    return value.model_dump(mode="json" if info.mode == "json" else "python")


def _inside(error: ValidationError, name: str) -> ValidationError:
    """The same mistakes, with ``name`` in front of their locations."""
    custom: Any = PydanticCustomError  # its type hint requires literal texts; these are texts of pydantic
    lines: list[Any] = [
        {
            "type": custom(line["type"], line["msg"].replace("{", "{{").replace("}", "}}")),
            "loc": (name, *line["loc"]),
            "input": line["input"],
        }
        for line in error.errors(include_url=False, include_context=False)
    ]
    return ValidationError.from_exception_data(error.title, lines)

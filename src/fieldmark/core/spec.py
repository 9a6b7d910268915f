"""Settings as frozen pydantic models. They are strict, equal by content, and read from JSON or TOML."""

from __future__ import annotations

import hashlib
import json
import tomllib
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from fieldmark.core.errors import PlanError, several

Fraction = Annotated[float, Field(ge=0, le=1)]
"""A number from 0 to 1."""
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]

NULL = "null"
"""The text that means "no value" in a TOML file, because TOML has no null."""

SpecT = TypeVar("SpecT")


class Spec(BaseModel):
    """Base class of all settings: a frozen, strict model that rejects unknown names."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())

    def fingerprint(self) -> str:
        """The first 16 hex digits of the SHA-256 of the settings."""
        return fingerprint(self.model_dump(mode="json"))


def fingerprint(value: Any) -> str:
    """A short hash of a JSON value. Equal values have the same hash on every machine.

    Example:
        >>> fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
        True
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def parse(kind: type[SpecT] | Any, text: str, *, name: str) -> SpecT:
    """Read a value of type ``kind`` from JSON text. One error reports all mistakes.

    TOML files are converted to JSON first, because a strict model accepts lists for tuples only in JSON.

    Raises:
        PlanError: The text is not valid JSON, or does not fit ``kind``.
    """
    try:
        return TypeAdapter(kind).validate_json(text)  # type: ignore[no-any-return]
    except ValidationError as error:
        raise mistaken(error, name=name) from error


def mistaken(error: ValidationError, *, name: str) -> PlanError:
    """Convert an error of pydantic to a ``PlanError`` that lists every mistake with its location and value."""
    found = error.errors()
    with_fix = [one for one in found if "fix" in one.get("ctx", {})]
    found = with_fix or found  # the others are consequences of these
    # If all items of a list are wrong, pydantic also reports the list as too short; the items are enough.
    inner = {e["loc"][:depth] for e in found for depth in range(len(e["loc"]))}
    mistakes = [
        f"{'.'.join(str(part) for part in e['loc']) or name}: {e['msg']}, got {e['input']!r}"
        for e in found
        if not (e["type"] == "too_short" and e["loc"] in inner)
    ]
    return PlanError(
        f"{name} has {len(mistakes)} mistake(s).",
        got=several(mistakes, most=10),
        fix=with_fix[0]["ctx"]["fix"]
        if with_fix
        else "correct these settings; `fieldmark plan NAME --json` prints a complete valid plan.",
    )


def read_spec(kind: type[SpecT] | Any, path: Path, *, beside: str | None = None) -> SpecT:
    """Read a value of type ``kind`` from a ``.json`` or ``.toml`` file. In TOML the text ``"null"`` means no value.

    Args:
        kind: Type of the value.
        path: Path of the file.
        beside: Name of a top-level entry that is not part of the value and is ignored.

    Raises:
        PlanError: The file cannot be read, or does not fit ``kind``.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix == ".toml":
            text = json.dumps(_with_nulls(tomllib.loads(text)), default=str)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PlanError(f"{path} cannot be read.", got=error, fix="give a .toml or .json file in UTF-8.") from error
    return parse(kind, text if beside is None else _without(text, beside), name=str(path))


def _with_nulls(value: Any) -> Any:
    """The value with None in place of the text ``null``."""
    if isinstance(value, dict):
        return {name: _with_nulls(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_with_nulls(one) for one in value]
    return None if value == NULL else value


def _without(text: str, name: str) -> str:
    """JSON text without one top-level entry; other text is returned unchanged."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    if not isinstance(value, dict) or name not in value:
        return text
    return json.dumps({key: one for key, one in value.items() if key != name})

"""Settings as frozen values: strict, closed, equal by content, readable from JSON and TOML."""

from __future__ import annotations

import hashlib
import json
import tomllib
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from fieldmark.core.errors import PlanError, several

Fraction = Annotated[float, Field(ge=0, le=1)]
"""A share between 0 and 1."""
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]

NULL = "null"
"""What stands for no value in a TOML file, as TOML has no word for it."""

SpecT = TypeVar("SpecT")


class Spec(BaseModel):
    """A frozen, strict value of settings; unknown names are refused."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())

    def fingerprint(self) -> str:
        """The first 16 hex digits of the SHA-256 of the settings."""
        return fingerprint(self.model_dump(mode="json"))


def fingerprint(value: Any) -> str:
    """A short hash of any JSON value; equal values hash similar on every machine.

    Example:
        >>> fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
        True
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def parse(kind: type[SpecT] | Any, text: str, *, name: str) -> SpecT:
    """A value of ``kind`` from JSON text, every mistake told at once.

    JSON is also the way of TOML: a strict model reads JSON lists as tuples.

    Raises:
        PlanError: The text is no JSON, or does not fit ``kind``.
    """
    try:
        return TypeAdapter(kind).validate_json(text)  # type: ignore[no-any-return]
    except ValidationError as error:
        raise mistaken(error, name=name) from error


def mistaken(error: ValidationError, *, name: str) -> PlanError:
    """What pydantic found wrong, as an error for people: every mistake with its place and value."""
    found = error.errors()
    curable = [one for one in found if "fix" in one.get("ctx", {})]
    found = curable or found  # the others follow from them
    # A list whose items are all wrong is also called too short; the items say it already.
    inner = {e["loc"][:depth] for e in found for depth in range(len(e["loc"]))}
    mistakes = [
        f"{'.'.join(str(part) for part in e['loc']) or name}: {e['msg']}, got {e['input']!r}"
        for e in found
        if not (e["type"] == "too_short" and e["loc"] in inner)
    ]
    return PlanError(
        f"{name} has {len(mistakes)} mistake(s).",
        got=several(mistakes, most=10),
        fix=curable[0]["ctx"]["fix"]
        if curable
        else "mend those settings; `fieldmark plan NAME --json` prints a whole plan that works.",
    )


def read_spec(kind: type[SpecT] | Any, path: Path, *, beside: str | None = None) -> SpecT:
    """A value of ``kind`` from a ``.json`` or ``.toml`` file; in TOML the text ``"null"`` stands for no value.

    Args:
        kind: Of the value.
        path: The file.
        beside: A name at the top of the file that is not part of the value and is left out.

    Raises:
        PlanError: The file cannot be read, or does not fit ``kind``.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix == ".toml":
            text = json.dumps(_with_nulls(tomllib.loads(text)), default=str)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PlanError(
            f"{path} cannot be read.", got=error, fix="give a readable UTF-8 .toml or .json file."
        ) from error
    return parse(kind, text if beside is None else _without(text, beside), name=str(path))


def _with_nulls(value: Any) -> Any:
    """The value with None where the text ``null`` stands."""
    if isinstance(value, dict):
        return {name: _with_nulls(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_with_nulls(one) for one in value]
    return None if value == NULL else value


def _without(text: str, name: str) -> str:
    """JSON text without one name at its top; any other text as it is."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    if not isinstance(value, dict) or name not in value:
        return text
    return json.dumps({key: one for key, one in value.items() if key != name})

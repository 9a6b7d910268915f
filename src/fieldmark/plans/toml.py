"""Writing a plan as a TOML file with comments, which users can edit and read again."""

from __future__ import annotations

import inspect
import json
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fieldmark.core.spec import NULL, Spec
from fieldmark.pipeline.plan import Plan

MOST_CHARACTERS = 118
MOST_INLINE = 80
"""A part whose settings take more characters than this gets its own table."""
ALWAYS = ("kind", "name")
"""Fields that are written even if they have their default value."""
TOML_HEAD = """\
# The plan '{name}'. Edit this file, then check it and train:
#   fieldmark plan FILE.toml                        lists its stages, or the mistakes in the file.
#   fieldmark train FILE.toml DATA --run RUN        trains it on DATA.
# Lines such as "# flip = true" are defaults; remove the "#" to change one. The text "null" means no value.
"""


def plan_toml(plan: Plan) -> str:
    """Return the plan as the text of a ``.toml`` file; ``read_plan`` reads an equal plan from it.

    A comment explains each stage, and each setting at its first use. Settings with their default value are commented
    out.
    """
    explained: set[type[Spec]] = set()
    needs = plan.with_needs().needs
    lines = [TOML_HEAD.format(name=plan.name), f"name = {_inline(plan.name)}"]
    if needs:
        lines += ["", *_comment(meanings(Plan)["needs"]), f"needs = {_inline(needs)}"]
    for number, stage in enumerate(plan.stages, start=1):
        lines += ["", *_comment(f"{number}. {stage.name}: {about(type(stage))}"), "[[stages]]"]
        lines += _table(stage, "stages", explained)
    return "\n".join(lines) + "\n"


def about(kind: type[Spec]) -> str:
    """Return the first paragraph of the docstring of a class of settings."""
    return _plain(inspect.cleandoc(kind.__doc__ or "").partition("\n\n")[0])


def meanings(kind: type[Spec]) -> dict[str, str]:
    """Return the descriptions of the settings of a class by name, from the docstrings of the class and its bases."""
    found: dict[str, str] = {}
    for one in reversed([one for one in kind.__mro__ if issubclass(one, Spec)]):
        attributes = inspect.cleandoc(one.__doc__ or "").partition("Attributes:\n")[2]
        for name, text in re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", attributes, flags=re.MULTILINE):
            found[name] = _plain(text)
    return found


def _table(part: Spec, path: str, explained: set[type[Spec]]) -> Iterator[str]:
    """Yield the lines of a table: its own settings first, then subtables of parts that are too long for a line."""
    kind, subtables = type(part), []
    is_new, words = kind not in explained, meanings(kind)
    explained.add(kind)
    for name in kind.model_fields:
        value = getattr(part, name)
        meaning = words.get(name, "") if is_new and name not in ALWAYS else ""
        if is_new and isinstance(value, Spec) and "kind" not in type(value).model_fields:
            subtables.append((name, value, meaning))  # written with all its settings, even if all are defaults
        elif _is_left_out(part, name):
            default = f"{name} = {_inline(value)}"
            if is_new and len(default) <= MOST_CHARACTERS:
                yield from _commented(f"# {default}", meaning)
        elif _is_long(value):
            subtables.append((name, value, meaning))
        else:
            yield from _commented(f"{name} = {_inline(value)}", meaning)
    for name, value, meaning in subtables:
        here = f"{path}.{name}"
        if isinstance(value, Spec):
            yield from ["", *_comment(meaning), f"[{here}]", *_table(value, here, explained)]
            continue
        for place, one in enumerate(value):
            yield from ["", *_comment(meaning if not place else ""), f"[[{here}]]", *_table(one, here, explained)]


def _is_left_out(part: Spec, name: str) -> bool:
    """Return whether a setting has its default value and may be omitted."""
    field = type(part).model_fields[name]
    return name not in ALWAYS and not field.is_required() and getattr(part, name) == field.default


def _is_long(value: Any) -> bool:
    """Return whether a value is a part, or a list of parts, that is too long for one line."""
    parts = value if isinstance(value, tuple) else (value,)
    return bool(parts) and all(isinstance(one, Spec) for one in parts) and len(_inline(value)) > MOST_INLINE


def _inline(value: Any) -> str:
    """Return the value on one line; a part is written with only the settings that differ from their defaults."""
    if value is None:
        return _inline(NULL)
    if isinstance(value, Spec):
        value = {name: getattr(value, name) for name in type(value).model_fields if not _is_left_out(value, name)}
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(name)} = {_inline(one)}" for name, one in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(_inline(one) for one in value) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _inline(name)


def _commented(line: str, meaning: str) -> list[str]:
    """Return the line with its description behind it, or above it if the line would be too long."""
    if not meaning:
        return [line]
    one = f"{line}  # {meaning}"
    return [one] if len(one) <= MOST_CHARACTERS else [*_comment(meaning), line]


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, MOST_CHARACTERS, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text.replace("``", "`"))).strip()

"""A plan as TOML with comments, to be edited by its user and read again."""

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
"""A part whose settings take more characters than this gets a table of its own."""
ALWAYS = ("kind", "name", "kind")
TOML_HEAD = """\
# The plan '{name}'. Change what you like, then
#   fieldmark plan FILE.toml                        shows its stages, or what is wrong with them,
#   fieldmark train FILE.toml DATA --run RUN        runs it.
# Lines such as "# flip = true" show defaults. The text "null" stands for no value.
"""


def plan_toml(plan: Plan) -> str:
    """The plan as the text of a ``.toml`` file that ``read_plan`` reads as an equal plan.

    Each stage has a comment that says what it does, and each setting one that says what it means, where the stage or
    setting comes first. Settings with their default value are comments themselves.
    """
    told: set[type[Spec]] = set()
    needs = plan.with_needs().needs
    lines = [TOML_HEAD.format(name=plan.name), f"name = {_inline(plan.name)}"]
    if needs:
        lines += ["", *_comment(meanings(Plan)["needs"]), f"needs = {_inline(needs)}"]
    for number, stage in enumerate(plan.stages, start=1):
        lines += ["", *_comment(f"{number}. {stage.name}: {about(type(stage))}"), "[[stages]]"]
        lines += _table(stage, "stages", told)
    return "\n".join(lines) + "\n"


def about(kind: type[Spec]) -> str:
    """What a class of settings is for: the first paragraph of its docstring."""
    return _plain(inspect.cleandoc(kind.__doc__ or "").partition("\n\n")[0])


def meanings(kind: type[Spec]) -> dict[str, str]:
    """The settings of a class and what each means, as the docstrings of the class and of its bases say."""
    found: dict[str, str] = {}
    for one in reversed([one for one in kind.__mro__ if issubclass(one, Spec)]):
        told = inspect.cleandoc(one.__doc__ or "").partition("Attributes:\n")[2]
        for name, text in re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", told, flags=re.MULTILINE):
            found[name] = _plain(text)
    return found


def _table(part: Spec, path: str, told: set[type[Spec]]) -> Iterator[str]:
    """The lines of a table: its own settings first, then tables of parts too long for a line."""
    kind, below = type(part), []
    is_new, words = kind not in told, meanings(kind)
    told.add(kind)
    for name in kind.model_fields:
        value = getattr(part, name)
        meaning = words.get(name, "") if is_new and name not in ALWAYS else ""
        if is_new and isinstance(value, Spec) and "kind" not in type(value).model_fields:
            below.append((name, value, meaning))  # shown with all its settings, be they defaults
        elif _is_left_out(part, name):
            default = f"{name} = {_inline(value)}"
            if is_new and len(default) <= MOST_CHARACTERS:
                yield from _commented(f"# {default}", meaning)
        elif _is_long(value):
            below.append((name, value, meaning))
        else:
            yield from _commented(f"{name} = {_inline(value)}", meaning)
    for name, value, meaning in below:
        here = f"{path}.{name}"
        if isinstance(value, Spec):
            yield from ["", *_comment(meaning), f"[{here}]", *_table(value, here, told)]
            continue
        for place, one in enumerate(value):
            yield from ["", *_comment(meaning if not place else ""), f"[[{here}]]", *_table(one, here, told)]


def _is_left_out(part: Spec, name: str) -> bool:
    """Whether a setting has its default, and is not what tells one kind of part from others."""
    field = type(part).model_fields[name]
    return name not in ALWAYS and not field.is_required() and getattr(part, name) == field.default


def _is_long(value: Any) -> bool:
    """Whether a value is a part, or a list of parts, that a line cannot hold."""
    parts = value if isinstance(value, tuple) else (value,)
    return bool(parts) and all(isinstance(one, Spec) for one in parts) and len(_inline(value)) > MOST_INLINE


def _inline(value: Any) -> str:
    """The value on one line; of a part only settings that differ from their defaults."""
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
    """The line with its meaning behind it, or above it where the line would be too long."""
    if not meaning:
        return [line]
    one = f"{line}  # {meaning}"
    return [one] if len(one) <= MOST_CHARACTERS else [*_comment(meaning), line]


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, MOST_CHARACTERS, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text.replace("``", "`"))).strip()

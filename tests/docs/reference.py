"""The reference parts of docs/commands.md and docs/api.md, generated from the code; ``render.py`` writes them."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import click

import fieldmark
from fieldmark.cli import options
from fieldmark.cli.main import GROUPS, application

READING = "reading options"
COMPUTING = "computing options"
MODULES = tuple(name for name in fieldmark.__all__ if inspect.ismodule(getattr(fieldmark, name)))


def shared(decorate: Any) -> list[click.Option]:
    """Return the options that a decorator adds to a command."""

    @decorate
    def command() -> None: ...

    return list(reversed(command.__click_params__))


SHARED = {READING: shared(options.reading), COMPUTING: shared(options.computing)}


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table."""
    lines = [list(header), *(list(row) for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def escaped(text: str) -> str:
    """Return a text for a table cell."""
    return text.replace("|", "\\|")


def option_row(option: click.Option) -> tuple[str, str]:
    """Return an option as typed, and its help with choices and default."""
    value = "" if option.is_flag else f" {option.make_metavar(click.Context(application))}"
    notes = ["Required."] if option.required else []
    has_default = option.show_default and isinstance(option.default, str | int | Path)
    notes += [f"Default: `{option.default}`."] if has_default and not option.is_flag else []
    return escaped(f"`{option.opts[-1]}{value}`"), escaped(" ".join([option.help or "", *notes]))


def option_table(found: Iterable[click.Option]) -> str:
    """Return a table of options."""
    return table(("option", "description"), map(option_row, found))


def command_part(name: str) -> str:
    """Return the description, the examples and the options of a command."""
    command = application.commands[name]
    text = inspect.cleandoc(command.help or "")
    usage = " ".join(["fieldmark", name, *command.collect_usage_pieces(click.Context(command, info_name=name))])
    own = [one for one in command.params if isinstance(one, click.Option) and one.opts[-1] != "--debug"]
    used = {}
    for label, group in SHARED.items():
        names = {one.name for one in group}
        if names <= {one.name for one in own}:
            used[label] = names
    left_out = set().union(*used.values()) if used else set()
    rows = [one for one in own if one.name not in left_out]
    also = " and ".join(f"the [{label}](#{label.replace(' ', '-')})" for label in used)
    parts = [text, f"Usage: `{usage}`"]
    parts += ["```\n" + "\n".join(f"$ {example}" for example in getattr(command, "examples", ())) + "\n```"]
    parts += [option_table(rows)] if rows else []
    parts += [f"Also accepts {also}." if rows else f"Accepts {also}."] if also else []
    return "\n\n".join(parts)


def overview() -> str:
    """Return a table of all commands under their headings."""
    rows = [
        (heading if first else "", f"[`{name}`](#fieldmark-{name})", application.commands[name].get_short_help_str())
        for heading, names in GROUPS.items()
        for first, name in zip((True, *[False] * 99), names.split(), strict=False)
    ]
    return table(("", "command", "summary"), rows)


def first_sentence(thing: Any) -> str:
    """Return the first sentence of a docstring, for a table cell."""
    text = " ".join((inspect.getdoc(thing) or "").partition("\n\n")[0].split())
    sentence = re.split(r"(?<=\.)\s", text, maxsplit=1)[0]
    return sentence.replace("``", "`")


def signature(thing: Any) -> str:
    """Return the parameters of a function or class without types; empty for anything else."""
    try:
        parameters = inspect.signature(thing).parameters.values()
    except (TypeError, ValueError):
        return ""
    plain = [one.replace(annotation=inspect.Parameter.empty) for one in parameters]
    return str(inspect.Signature(plain))


def names_part(module: Any) -> str:
    """Return a table of the public names of a module: signature and first sentence."""
    rows = []
    for name in sorted(module.__all__):
        thing = getattr(module, name)
        if name.startswith("__") or inspect.ismodule(thing):
            continue
        rows.append((escaped(f"`{name}{signature(thing)}`"), escaped(first_sentence(thing))))
    return table(("name", "description"), rows)


def part(name: str) -> str:
    """Return the generated part of a name."""
    if name == "overview":
        return overview()
    if name in SHARED:
        return option_table(SHARED[name])
    if name == "fieldmark" or name.startswith("fieldmark."):
        return names_part(importlib.import_module(name))
    return command_part(name)


PARTS = {
    "commands.md": ("overview", *SHARED, *" ".join(GROUPS.values()).split()),
    "api.md": ("fieldmark", *(f"fieldmark.{name}" for name in MODULES)),
}
"""The generated parts of each page."""

SECTIONS: dict[str, Callable[[], str]] = {name: partial(part, name) for names in PARTS.values() for name in names}
"""The functions of all parts by the name in their comments."""

"""What every command has in common: its place on the list of all, ``--debug``, progress, words to be typed."""

from __future__ import annotations

import shlex
from typing import Any

import click

ALL: dict[str, click.Command] = {}
"""Every command by name, once its module was imported."""


def command(function: Any) -> click.Command:
    """A command under the function's name, with ``--debug``, on the list of all."""
    debug = click.option("--debug", is_flag=True, expose_value=False, help="Show a traceback instead of three lines.")
    name = function.__name__.replace("_", "-")
    made = click.command(name, context_settings={"max_content_width": 100})(debug(function))
    ALL[name] = made
    return made


def progress() -> Any:
    """How far it is, told on standard error."""
    from fieldmark.cli.terminal import progress as told

    return told()


def words(*typed: object) -> str:
    """What a user would type, safe for a shell."""
    return " ".join(shlex.quote(str(word)) for word in typed)

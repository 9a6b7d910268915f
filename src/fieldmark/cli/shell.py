"""Parts that all commands share: registration, help with examples, ``--debug``, progress, quoting for a shell."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any

import click

WIDTH = 100
"""Maximum width of a help text in characters."""
ALL: dict[str, click.Command] = {}
"""Every command by name, once its module was imported."""


class Command(click.Command):
    """A command whose help ends with examples.

    Attributes:
        examples: Complete commands as a user types them.
    """

    examples: tuple[str, ...] = ()

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """Write the section ``Examples``, one command a line, without wrapping."""
        with formatter.section("Examples"):
            for example in self.examples:
                formatter.write(f"  {example}\n")


def command(*examples: str) -> Callable[[Any], Command]:
    """Return a decorator that registers a function as a command of the same name, with ``--debug``.

    The first line of the docstring is the summary in the list of commands.

    Args:
        *examples: Complete commands for the help text.
    """

    def decorate(function: Any) -> Command:
        name = function.__name__.replace("_", "-")
        made = click.command(
            name,
            cls=Command,
            short_help=function.__doc__.partition("\n")[0],
            context_settings={"max_content_width": WIDTH},
        )(function)
        debug = click.Option(["--debug"], is_flag=True, expose_value=False, help="Show the full traceback of an error.")
        made.params.append(debug)
        made.examples = examples
        ALL[name] = made
        return made

    return decorate


def progress() -> Any:
    """Return a progress display on standard error."""
    from fieldmark.cli.terminal import progress as display

    return display()


def words(*typed: object) -> str:
    """Return the words of a command line, quoted for a shell."""
    return " ".join(shlex.quote(str(word)) for word in typed)

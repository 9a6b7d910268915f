"""The program ``fieldmark``. It prints errors in three lines; ``--debug`` shows the traceback instead."""

from __future__ import annotations

import gc
import os
import shlex
import sys
from collections.abc import Sequence

import click

from fieldmark import __version__
from fieldmark.api.guards import INSTALL, NEEDED
from fieldmark.cli import auditing, commands, photo_commands, run_commands, shell  # noqa: F401 - they register commands
from fieldmark.core.errors import FieldmarkError, nearest

GROUPS = {
    "Data": "inspect duplicates audit download boxes symmetry",
    "Train": "demo recipes plan train lr-find",
    "Predict": "identify tag attributes predict ensemble match",
    "Review": "evaluate issues thresholds",
    "Reports": "report runs relocate",
}
"""The headings of ``fieldmark --help`` and their commands."""


class CommandGroup(click.Group):
    """The commands of the program, listed under headings, with ``fieldmark help COMMAND``."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names of all commands in the order of ``GROUPS``, then ``help``."""
        return [*self.commands, "help"]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of a name, ``help`` included."""
        return help_command if cmd_name == "help" else super().get_command(ctx, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the name, the command and the remaining words.

        Raises:
            UnknownCommandError: There is no command of that name.
        """
        found = self.get_command(ctx, args[0])
        if found is None and not args[0].startswith("-") and not ctx.resilient_parsing:
            raise UnknownCommandError(args[0])
        return super().resolve_command(ctx, args)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what the program does, its usage, its commands by heading, and its options."""
        formatter.write(f"{self.help}\n\n")
        self.format_usage(ctx, formatter)
        for heading, names in GROUPS.items():
            with formatter.section(heading):
                rows = [(f"{name:<10}", self.commands[name].get_short_help_str()) for name in names.split()]
                formatter.write_dl(rows)
        self.format_options(ctx, formatter)
        with formatter.section("Examples"):
            for line in ("fieldmark demo", "fieldmark help train"):
                formatter.write(f"  {line}\n")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options of the program; ``format_help`` lists the commands."""
        click.Command.format_options(self, ctx, formatter)


class UnknownCommandError(click.UsageError):
    """There is no command of the name that was typed.

    Args:
        name: The word in place of a command.

    Attributes:
        fix: What to type instead, with the nearest name if there is one.
    """

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no command '{name}'.")
        close = nearest(name, application.commands)
        suggestion = f"{close} " if close.startswith("did you mean") else ""
        self.fix = f"{suggestion}`fieldmark help` lists all commands."


@click.group(
    cls=CommandGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": shell.WIDTH},
)
@click.version_option(__version__, "-V", "--version", prog_name="fieldmark", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show the full traceback of an error.")
@click.pass_context
def application(context: click.Context, debug: bool) -> None:  # noqa: ARG001 - main() reads it
    """Identify, tag and describe photographs, with measured error rates."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@click.command("help", short_help="Show the help of a command.")
@click.argument("name", metavar="[COMMAND]", required=False)
@click.pass_context
def help_command(context: click.Context, name: str | None) -> None:
    """Show the help of COMMAND, or the list of all commands."""
    parent = context.parent
    assert parent is not None  # noqa: S101 - for the type checker: `application` is always the parent
    if name is None:
        click.echo(parent.get_help())
        return
    found = application.get_command(parent, name)
    if found is None:
        raise UnknownCommandError(name)
    with click.Context(found, info_name=name, parent=parent, **found.context_settings) as of_command:
        click.echo(found.get_help(of_command))


for _names in GROUPS.values():
    for _name in _names.split():
        application.add_command(shell.ALL[_name])


GC_THRESHOLDS = (20_000, 20, 20)
"""Thresholds of garbage collection in our own process: Python's default of 700 costs a tenth of the start-up time."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit status.

    Args:
        arguments: The words after ``fieldmark``; None: those of the process.

    Returns:
        0 on success, 1 after an error, 2 after a mistyped command, 130 after Ctrl-C.
    """
    if arguments is None:
        gc.set_threshold(*GC_THRESHOLDS)
    typed = list(sys.argv[1:] if arguments is None else arguments)
    try:
        status = application.main(typed, prog_name="fieldmark", standalone_mode=False)
    except click.Abort:
        _print_error("\nStopped. Run the same command again to continue.")
        return 130
    except BrokenPipeError:
        # The reader of our output has closed it (`fieldmark runs | head`); Python must not flush to it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (FieldmarkError, click.ClickException, ModuleNotFoundError) as error:
        message = _as_three_lines(error, typed)
        if message is None or "--debug" in typed:
            raise
        _print_error(str(message))
        return error.exit_code if isinstance(error, click.ClickException) else 1
    return status if isinstance(status, int) else 0


def _as_three_lines(error: Exception, typed: Sequence[str]) -> FieldmarkError | None:
    """Return the error as problem, got and fix; None for a fault of the program, which needs its traceback."""
    if isinstance(error, FieldmarkError):
        return error
    if isinstance(error, click.ClickException):
        context = error.ctx if isinstance(error, click.UsageError) else None
        path = context.command_path if context else "fieldmark"
        fix = error.fix if isinstance(error, UnknownCommandError) else f"{path} --help"
        return FieldmarkError(error.format_message(), got=shlex.join(["fieldmark", *typed]), fix=fix)
    name = (getattr(error, "name", None) or "").partition(".")[0]
    if name in NEEDED:
        return FieldmarkError("Networks need packages that are not installed.", got=name, fix=INSTALL)
    return None


def _print_error(text: str) -> None:
    """Write a message on standard error, with the number of the process if torchrun started several."""
    from fieldmark.cli.terminal import safe_text

    rank = os.environ.get("RANK", "0")
    click.echo(safe_text(text) if rank == "0" else f"[process {rank}] {safe_text(text)}", err=True)

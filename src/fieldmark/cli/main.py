"""``fieldmark``: the command line. Errors are told in three lines; ``--debug`` shows where they arose."""

from __future__ import annotations

import gc
import os
import shlex
import sys
from collections.abc import Sequence

import click

from fieldmark import __version__
from fieldmark.api.guards import INSTALL, NEEDED
from fieldmark.cli import auditing, commands, photo_commands, run_commands, shell  # noqa: F401 - they list commands
from fieldmark.core.errors import FieldmarkError


class _InOrder(click.Group):
    """Commands in the order in which they are of use."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - the base class's signature
        return list(self.commands)


@click.group(
    cls=_InOrder,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="fieldmark", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show a traceback instead of three lines; also after a command.")
@click.pass_context
def application(context: click.Context, debug: bool) -> None:  # noqa: ARG001 - main() looks for it
    """Tell who or what is on the photograph: a decision with a known error.

    \b
    fieldmark demo                                        everything at a glance
    fieldmark inspect whales/                             what lies in your photos
    fieldmark train humpback-classify whales/ --run run   learn who is who
    fieldmark identify run photo.jpg                      who is it?
    fieldmark train imet2019 museum/ --run tags           learn what is on photos
    fieldmark tag tags photo.jpg                          what is on it?
    fieldmark train imaterialist2017 shop/ --run shop     learn to answer questions
    fieldmark attributes shop photo.jpg                   what is it like?
    """  # noqa: D301 - click's own mark for lines to be left alone
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


ORDER = (
    "demo inspect duplicates audit boxes match download train lr-find symmetry plan recipes runs evaluate predict identify "
    "ensemble tag attributes issues thresholds report relocate"
)
"""From the first look at photos to a finished run."""
for _name in ORDER.split():
    application.add_command(shell.ALL[_name])


ROOMY = (20_000, 20, 20)
"""How often a process of ours looks for garbage: Python's own 700 costs a tenth of the start, for nothing."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: What was typed after ``fieldmark``; None for the process's own.

    Returns:
        The exit status: 0, 1 for an error told in three lines, 2 for a command mistyped, 130 after Ctrl-C.
    """
    if arguments is None:
        gc.set_threshold(*ROOMY)
    typed = list(sys.argv[1:] if arguments is None else arguments)
    try:
        status = application.main(typed, prog_name="fieldmark", standalone_mode=False)
    except click.Abort:
        _tell("\nStopped. The same command goes on where it was.")
        return 130
    except BrokenPipeError:
        # Whoever read us has gone (`fieldmark runs | head`); Python must not flush into the void at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (FieldmarkError, click.ClickException, ModuleNotFoundError) as error:
        told = _told(error, typed)
        if told is None or "--debug" in typed:
            raise
        _tell(str(told))
        return error.exit_code if isinstance(error, click.ClickException) else 1
    return status if isinstance(status, int) else 0


def _told(error: Exception, typed: Sequence[str]) -> FieldmarkError | None:
    """The three lines for an error; None if it is a mistake of ours and must be heard whole."""
    if isinstance(error, FieldmarkError):
        return error
    if isinstance(error, click.ClickException):
        context = error.ctx if isinstance(error, click.UsageError) else None
        path = context.command_path if context else "fieldmark"
        return FieldmarkError(error.format_message(), got=shlex.join(["fieldmark", *typed]), fix=f"{path} --help")
    name = (getattr(error, "name", None) or "").partition(".")[0]
    if name in NEEDED:
        return FieldmarkError("Networks need packages that are not installed.", got=name, fix=INSTALL)
    return None


def _tell(text: str) -> None:
    """One message on standard error; under torchrun it says whose."""
    from fieldmark.cli.terminal import safe_text

    rank = os.environ.get("RANK", "0")
    click.echo(safe_text(text) if rank == "0" else f"[process {rank}] {safe_text(text)}", err=True)

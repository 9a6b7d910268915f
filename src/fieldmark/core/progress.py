"""What a long job tells while it runs, and where it is shown."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from typing import Protocol, TypeAlias, TypeVar

from fieldmark.core.errors import FieldmarkError

Item = TypeVar("Item")


class Progress(Protocol):
    """Where a long job reports how far it is. Packages report; they never print."""

    def say(self, text: str) -> None:
        """Report one line that stays."""

    def track(self, items: Iterable[Item], *, total: int, what: str) -> Iterator[Item]:
        """Pass ``items`` through, showing how many of ``total`` are done, the rate and the time left."""


class Quiet:
    """Shows nothing."""

    def say(self, text: str) -> None:
        """Drop the line."""

    def track(self, items: Iterable[Item], *, total: int, what: str) -> Iterator[Item]:  # noqa: ARG002 - protocol
        """Pass ``items`` through."""
        yield from items


QUIET = Quiet()

ShowProgress: TypeAlias = Progress | bool | None
"""What the functions of ``fieldmark`` take as ``progress``: None shows a bar in a terminal or notebook; True always,
False never; a ``Progress`` is used as it is."""


def shown_by(progress: ShowProgress) -> Progress:
    """Where to show progress.

    Args:
        progress: None: a bar on standard error if that is a terminal, or in a notebook; else nothing. True: a bar
            wherever standard error leads. False: nothing. A ``Progress``: itself. Of several processes that train
            together only the first shows a bar.

    Raises:
        FieldmarkError: It is something else.
    """
    if progress is not None and not isinstance(progress, bool):
        if not callable(getattr(progress, "say", None)) or not callable(getattr(progress, "track", None)):
            raise FieldmarkError(
                "progress must be True, False, None, or an object with the methods say and track.",
                got=repr(progress),
                fix="use progress=True for a bar, progress=False for none.",
            )
        return progress
    is_terminal = bool(getattr(sys.stderr, "isatty", lambda: False)())
    if progress is False or not is_first_process() or not (progress or is_terminal or in_notebook()):
        return QUIET
    from fieldmark.core.bars import LiveBars, OneLine

    return LiveBars(sys.stderr) if is_terminal else OneLine(sys.stderr)


def is_first_process() -> bool:
    """Whether this process is the only one or the first of several that train together (``torchrun``)."""
    return os.environ.get("RANK", "0") == "0"


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook (Jupyter, VS Code, Colab)."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return any(kind.__name__ == "ZMQInteractiveShell" for kind in type(shell).__mro__)

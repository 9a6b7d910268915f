"""Progress reports of long tasks, and the choice of their display."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from typing import Protocol, TypeAlias, TypeVar

from fieldmark.core.errors import FieldmarkError

Item = TypeVar("Item")


class Progress(Protocol):
    """The interface to which long tasks report their progress. Packages report progress and never print it."""

    def say(self, text: str) -> None:
        """Write one line that stays."""

    def track(self, items: Iterable[Item], *, total: int, what: str) -> Iterator[Item]:
        """Yield ``items`` and show how many of ``total`` are done, the rate and the time left."""


class Quiet:
    """A progress display that shows nothing."""

    def say(self, text: str) -> None:
        """Ignore the line."""

    def track(self, items: Iterable[Item], *, total: int, what: str) -> Iterator[Item]:  # noqa: ARG002 - protocol
        """Yield ``items``."""
        yield from items


QUIET = Quiet()

ShowProgress: TypeAlias = Progress | bool | None
"""Type of the argument ``progress`` of the functions in ``fieldmark``.

None shows a bar in a terminal or notebook only. True always shows one, False never. A ``Progress`` object is used
directly.
"""


def shown_by(progress: ShowProgress) -> Progress:
    """The progress display for an argument ``progress``.

    If several processes train together, only the first one shows progress.

    Args:
        progress: None: a bar on standard error if that is a terminal, or in a notebook; otherwise nothing. True: a bar
            on standard error in any case. False: nothing. A ``Progress`` object: that object.

    Raises:
        FieldmarkError: ``progress`` is something else.
    """
    if progress is not None and not isinstance(progress, bool):
        if not callable(getattr(progress, "say", None)) or not callable(getattr(progress, "track", None)):
            raise FieldmarkError(
                "progress must be True, False, None, or an object with the methods say and track.",
                got=repr(progress),
                fix="use progress=True to show a bar, or progress=False to hide it.",
            )
        return progress
    is_terminal = bool(getattr(sys.stderr, "isatty", lambda: False)())
    if progress is False or not is_first_process() or not (progress or is_terminal or in_notebook()):
        return QUIET
    from fieldmark.core.bars import LiveBars, OneLine

    return LiveBars(sys.stderr) if is_terminal else OneLine(sys.stderr)


def is_first_process() -> bool:
    """Whether this process is the only one, or the first of several that train together (``torchrun``)."""
    return os.environ.get("RANK", "0") == "0"


def in_notebook() -> bool:
    """Whether this process is a notebook kernel (Jupyter, VS Code, Colab)."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return any(kind.__name__ == "ZMQInteractiveShell" for kind in type(shell).__mro__)

"""Progress displays: bars on a terminal, one rewritten line in a notebook, lines in a log file."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TextIO, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

Item = TypeVar("Item")
EVERY_S = 5.0
A_SECOND = 4
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters except the line end, marks that change the text direction, and lone surrogates."""


class Lines:
    """Progress as lines of text, at most one line every few seconds. A shorter task prints nothing.

    Args:
        stream: The stream to write to.
        every_s: Minimum number of seconds between two lines of one task.
    """

    def __init__(self, stream: TextIO, *, every_s: float = EVERY_S) -> None:
        self._stream = stream
        self._every_s = every_s

    def say(self, text: str) -> None:
        """Write the line."""
        self._stream.write(f"{safe_text(text)}\n")
        self._stream.flush()

    def track(self, items: Iterable[Item], *, total: int, what: str) -> Iterator[Item]:
        """Yield ``items`` and report at times the number done, the rate per second and the time left."""
        began = reported = time.monotonic()
        for done, item in enumerate(items, start=1):
            yield item
            now = time.monotonic()
            if now - reported >= self._every_s and done < total:
                reported = now
                rate = done / (now - began)
                left = lasts((total - done) / rate)
                self.say(f"{what}: {done:,} of {total:,} ({done / total:.0%}), {rate:.1f}/s, {left} left")


class LiveBars:
    """One bar for each running task, with messages above the bars. The bar of a finished task disappears.

    Args:
        stream: The terminal to write to.
    """

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console

        self._console = Console(file=stream, highlight=False, markup=False, emoji=False)
        self._bars: Bars | None = None
        self._n_tasks = 0

    def say(self, text: str) -> None:
        """Write the line above the bars."""
        self._console.print(safe_text(text))

    def track(self, items: Iterable[Item], *, total: int, what: str) -> Iterator[Item]:
        """Yield ``items`` and show a bar with the rate and the time left."""
        bars = self._start_task()
        task = bars.add_task(safe_text(what), total=total, rate="")
        began = time.monotonic()
        try:
            for done, item in enumerate(items, start=1):
                yield item
                bars.update(task, advance=1, rate=f"{done / max(1e-9, time.monotonic() - began):.1f}/s")
        finally:
            bars.remove_task(task)
            self._end_task()

    def _start_task(self) -> Bars:
        """The live display. The first task opens it and the last task closes it."""
        from rich import progress as rich_progress

        if self._bars is None:
            self._bars = rich_progress.Progress(
                rich_progress.TextColumn("{task.description}", markup=False),
                rich_progress.BarColumn(),
                rich_progress.MofNCompleteColumn(),
                rich_progress.TextColumn("{task.fields[rate]}", markup=False),
                rich_progress.TimeRemainingColumn(),
                console=self._console,
                transient=True,
                refresh_per_second=A_SECOND,
            )
            self._bars.start()
        self._n_tasks += 1
        return self._bars

    def _end_task(self) -> None:
        self._n_tasks -= 1
        if self._n_tasks == 0 and self._bars is not None:
            self._bars.stop()
            self._bars = None


class OneLine:
    """The progress of the current task on one line, rewritten a few times a second.

    It serves notebooks, and ``progress=True`` without a terminal.

    Args:
        stream: The stream to write to.
        every_s: Minimum number of seconds between two updates of the line.
    """

    def __init__(self, stream: TextIO, *, every_s: float = 1 / A_SECOND) -> None:
        self._stream = stream
        self._every_s = every_s
        self._width = 0

    def say(self, text: str) -> None:
        """Write a line that stays."""
        self._write("")
        self._stream.write(f"{safe_text(text)}\n")
        self._stream.flush()

    def track(self, items: Iterable[Item], *, total: int, what: str) -> Iterator[Item]:
        """Yield ``items`` and show the number done, the rate per second and the time left."""
        began = reported = time.monotonic()
        self._write(f"{safe_text(what)}: 0 of {total:,}")
        try:
            for done, item in enumerate(items, start=1):
                yield item
                now = time.monotonic()
                if now - reported >= self._every_s or done == total:
                    reported = now
                    rate = done / max(1e-9, now - began)
                    left = lasts(max(0, total - done) / rate)
                    share = done / max(1, total)
                    bar = "#" * round(20 * share)
                    self._write(f"{safe_text(what)}: [{bar:<20}] {done:,} of {total:,}, {rate:.1f}/s, {left} left")
        finally:
            self._write("")

    def _write(self, text: str) -> None:
        """Replace the text of the line by ``text``."""
        self._stream.write(f"\r{text:<{self._width}}" if text else f"\r{'':<{self._width}}\r")
        self._width = len(text)
        self._stream.flush()


def lasts(seconds: float) -> str:
    """Format a time in its two largest units.

    Example:
        >>> lasts(8.4), lasts(95), lasts(7265)
        ('8 s', '1 min 35 s', '2 h 1 min')
    """
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def safe_text(text: object) -> str:
    r"""Escape the control characters of a text, so that a file name cannot control the terminal.

    Example:
        >>> safe_text("fluke\x1b[2J.jpg")
        'fluke\\x1b[2J.jpg'
    """
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape", "backslashreplace").decode(), str(text))

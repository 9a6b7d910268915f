"""How progress is shown: bars on a terminal, one line that is written again in a notebook, lines in a log."""

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
_COMMANDING = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters but the end of a line, marks that turn the direction of text, and halves of characters."""


class Lines:
    """One line of text at most every few seconds; nothing at all of what is done sooner.

    Args:
        stream: Where to.
        every_s: Seconds between two lines of one job.
    """

    def __init__(self, stream: TextIO, *, every_s: float = EVERY_S) -> None:
        self._stream = stream
        self._every_s = every_s

    def say(self, text: str) -> None:
        """Write the line."""
        self._stream.write(f"{safe_text(text)}\n")
        self._stream.flush()

    def track(self, items: Iterable[Item], *, total: int, what: str) -> Iterator[Item]:
        """Pass ``items`` through; say now and then how many are done, how many a second, and how long it will take."""
        began = told = time.monotonic()
        for done, item in enumerate(items, start=1):
            yield item
            now = time.monotonic()
            if now - told >= self._every_s and done < total:
                told = now
                rate = done / (now - began)
                left = lasts((total - done) / rate)
                self.say(f"{what}: {done:,} of {total:,} ({done / total:.0%}), {rate:.1f}/s, {left} left")


class LiveBars:
    """A bar for each job that runs, the finished ones gone, with what was said above them.

    Args:
        stream: A terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console

        self._console = Console(file=stream, highlight=False, markup=False, emoji=False)
        self._bars: Bars | None = None
        self._n_jobs = 0

    def say(self, text: str) -> None:
        """Write the line above the bars."""
        self._console.print(safe_text(text))

    def track(self, items: Iterable[Item], *, total: int, what: str) -> Iterator[Item]:
        """Pass ``items`` through under a bar with the rate and the time left."""
        bars = self._begun()
        job = bars.add_task(safe_text(what), total=total, rate="")
        began = time.monotonic()
        try:
            for done, item in enumerate(items, start=1):
                yield item
                bars.update(job, advance=1, rate=f"{done / max(1e-9, time.monotonic() - began):.1f}/s")
        finally:
            bars.remove_task(job)
            self._end()

    def _begun(self) -> Bars:
        """The live display, which is opened with the first job and closed with the last."""
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
        self._n_jobs += 1
        return self._bars

    def _end(self) -> None:
        self._n_jobs -= 1
        if self._n_jobs == 0 and self._bars is not None:
            self._bars.stop()
            self._bars = None


class OneLine:
    """The job that runs now, on one line that is written again a few times a second; for notebooks and forced progress.

    Args:
        stream: Where to write.
        every_s: Least number of seconds between two states of the line.
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
        """Pass ``items`` through; show how many are done, how many per second, and the time left."""
        began = told = time.monotonic()
        self._write(f"{safe_text(what)}: 0 of {total:,}")
        try:
            for done, item in enumerate(items, start=1):
                yield item
                now = time.monotonic()
                if now - told >= self._every_s or done == total:
                    told = now
                    rate = done / max(1e-9, now - began)
                    left = lasts(max(0, total - done) / rate)
                    share = done / max(1, total)
                    bar = "#" * round(20 * share)
                    self._write(f"{safe_text(what)}: [{bar:<20}] {done:,} of {total:,}, {rate:.1f}/s, {left} left")
        finally:
            self._write("")

    def _write(self, text: str) -> None:
        """Put ``text`` in the place of what the line held."""
        self._stream.write(f"\r{text:<{self._width}}" if text else f"\r{'':<{self._width}}\r")
        self._width = len(text)
        self._stream.flush()


def lasts(seconds: float) -> str:
    """A time in its two largest units.

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
    r"""Text that cannot command a terminal: control characters, which a file's name may hold, are spelled out.

    Example:
        >>> shown("fluke\x1b[2J.jpg")
        'fluke\\x1b[2J.jpg'
    """
    return _COMMANDING.sub(lambda found: found[0].encode("unicode_escape", "backslashreplace").decode(), str(text))

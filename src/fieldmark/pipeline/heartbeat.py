"""The sign of life that the first of several processes gives while it works alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fieldmark.core.errors import RunError
from fieldmark.core.files import disk_errors

BEAT = ".heartbeat"
EVERY_S = 5.0
SILENT_S = 120.0
"""Without a beat for so long the first process is taken for dead."""
FIRST_S = 1800.0
"""How long it may take to its first beat, which comes after it has read all photos' sizes."""


@contextmanager
def beating(folder: Path, *, every_s: float = EVERY_S) -> Iterator[None]:
    """Touch a file in ``folder`` every few seconds while the block runs, however long it takes."""
    path, stop = folder / BEAT, threading.Event()
    with disk_errors(path):
        path.touch()

    def beat() -> None:
        while not stop.wait(every_s):
            try:
                path.touch()
            except OSError:  # the work itself tells of a full disk
                continue

    thread = threading.Thread(target=beat, name="fieldmark-heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def wait_until(
    done: Callable[[], bool], folder: Path, *, what: str, silent_s: float = SILENT_S, look_every_s: float = 0.1
) -> None:
    """Wait until ``done()``, as long as the first process gives signs of life.

    Args:
        done: Asked again and again.
        folder: Of the run, in which the first process beats.
        what: What is waited for, for the message.
        silent_s: How long it may be silent.
        look_every_s: Seconds between two looks.

    Raises:
        RunError: The first process has been silent for longer.
    """
    began = time.time()
    while not done():
        beat = _last_beat(folder)
        silent = time.time() - max(began, beat)
        if silent > (silent_s if beat > began - silent_s else max(silent_s, FIRST_S)):
            raise RunError(
                "The first process has stopped: it no longer gives signs of life.",
                got=f"waiting for {what}; silent for {silent:.0f} s",
                fix="look at the first process's messages, then run the same command again.",
            )
        time.sleep(look_every_s)


def _last_beat(folder: Path) -> float:
    try:
        return (folder / BEAT).stat().st_mtime
    except OSError:
        return 0.0

"""The heartbeat file: it shows the other processes that the first process is still running."""

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
"""Seconds without a heartbeat after which the first process counts as stopped."""
FIRST_S = 1800.0
"""Longest time in seconds until the first heartbeat, which comes after the sizes of all photos are read."""


@contextmanager
def beating(folder: Path, *, every_s: float = EVERY_S) -> Iterator[None]:
    """Touch a file in ``folder`` every ``every_s`` seconds while the block runs."""
    path, stop = folder / BEAT, threading.Event()
    with disk_errors(path):
        path.touch()

    def beat() -> None:
        while not stop.wait(every_s):
            try:
                path.touch()
            except OSError:  # the work itself reports a full disk
                continue

    thread = threading.Thread(target=beat, name="fieldmark-heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def wait_until(
    done: Callable[[], bool], folder: Path, *, what: str, silent_s: float = SILENT_S, check_every_s: float = 0.1
) -> None:
    """Wait until ``done()`` is true, as long as the first process writes heartbeats.

    Args:
        done: Function that is called repeatedly.
        folder: Run folder with the heartbeat file.
        what: Description of the awaited work, for the error message.
        silent_s: Longest time without a heartbeat, in seconds.
        check_every_s: Seconds between two calls of ``done``.

    Raises:
        RunError: The first process has not written a heartbeat for a longer time.
    """
    began = time.time()
    while not done():
        beat = _last_beat(folder)
        silent = time.time() - max(began, beat)
        if silent > (silent_s if beat > began - silent_s else max(silent_s, FIRST_S)):
            raise RunError(
                "The first process of this training has stopped: its heartbeat file is no longer updated.",
                got=f"waiting for {what}; no heartbeat for {silent:.0f} s",
                fix="read the messages of the first process, then run the same command again.",
            )
        time.sleep(check_every_s)


def _last_beat(folder: Path) -> float:
    try:
        return (folder / BEAT).stat().st_mtime
    except OSError:
        return 0.0

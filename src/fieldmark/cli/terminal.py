"""The progress display of a command: bars on a terminal, lines of text in a log."""

from __future__ import annotations

import sys
from typing import TextIO

from fieldmark.core.bars import Lines, LiveBars, lasts, safe_text
from fieldmark.core.progress import QUIET, Progress, is_first_process

__all__ = ["Lines", "LiveBars", "lasts", "progress", "safe_text"]


def progress(*, stream: TextIO | None = None) -> Progress:
    """Return bars if ``stream`` is a terminal, else lines of text; nothing in other processes of a training.

    Args:
        stream: Where to write; None: standard error.
    """
    stream = stream or sys.stderr
    if not is_first_process():
        return QUIET
    return LiveBars(stream) if stream.isatty() else Lines(stream)

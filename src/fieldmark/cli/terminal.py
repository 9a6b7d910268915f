"""Progress on a terminal: bars where somebody watches, a line now and then where the output goes into a file."""

from __future__ import annotations

import sys
from typing import TextIO

from fieldmark.core.bars import Lines, LiveBars, lasts, safe_text
from fieldmark.core.progress import QUIET, Progress, is_first_process

__all__ = ["Lines", "LiveBars", "lasts", "progress", "safe_text"]


def progress(*, stream: TextIO | None = None) -> Progress:
    """Bars if ``stream`` (standard error) is a terminal, else lines; nothing in processes that only train along."""
    stream = stream or sys.stderr
    if not is_first_process():
        return QUIET
    return LiveBars(stream) if stream.isatty() else Lines(stream)

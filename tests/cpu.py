"""CPU time of a piece of work, for tests with a limit."""

from __future__ import annotations

import time
from collections.abc import Callable


def least_cpu_s(work: Callable[[], object], *, runs: int = 3) -> float:
    """Return the CPU seconds of the cheapest of several runs.

    A garbage collection of a large process, or another thread of it, falls into some runs and not into all.
    """
    seconds = []
    for _ in range(runs):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return min(seconds)

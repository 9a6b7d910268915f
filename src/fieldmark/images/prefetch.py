"""Results of a slow function, in order, computed ahead of their turn by threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Job = TypeVar("Job")
Loaded = TypeVar("Loaded")


def stream(jobs: Iterable[Job], load: Callable[[Job], Loaded], *, n_workers: int, ahead: int = 4) -> Iterator[Loaded]:
    """What ``load`` gives for every job, in the order of the jobs, prepared ahead by threads.

    Args:
        jobs: Taken one by one, never more than ``ahead`` before they are needed.
        load: A function of its job alone; it runs in the threads.
        n_workers: Threads; 0 loads in the caller's own.
        ahead: Jobs begun before their turn: this bounds the memory.

    Yields:
        The results. What ``load`` raised is raised at its job's turn, with all results before it delivered. Closing
        the iterator lets running jobs end, drops the others and leaves no thread behind.
    """
    if n_workers == 0:
        yield from map(load, jobs)
        return
    rest = iter(jobs)
    begun: deque[Future[Loaded]] = deque()
    pool = ThreadPoolExecutor(max_workers=n_workers, thread_name_prefix="fieldmark-reader")
    try:
        begun.extend(pool.submit(load, job) for job in islice(rest, max(1, ahead)))
        while begun:
            result = begun.popleft().result()
            begun.extend(pool.submit(load, job) for job in islice(rest, 1))
            yield result
    finally:
        pool.shutdown(wait=True, cancel_futures=True)

"""Prefetching: threads compute the results of a slow function in advance; the results keep their order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Job = TypeVar("Job")
Loaded = TypeVar("Loaded")


def stream(jobs: Iterable[Job], load: Callable[[Job], Loaded], *, n_workers: int, ahead: int = 4) -> Iterator[Loaded]:
    """Yield ``load(job)`` for every job, in order. Threads compute the results in advance.

    Args:
        jobs: Arguments of ``load``; at most ``ahead`` of them are taken before they are needed.
        load: Function that depends on its job only; it runs in the threads.
        n_workers: Number of threads; 0 runs ``load`` in the calling thread.
        ahead: Number of jobs started in advance; it bounds the memory.

    Yields:
        The results. An exception of ``load`` is raised at the position of its job, after all earlier results. Closing
        the iterator waits for running jobs, cancels the others and ends all threads.
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

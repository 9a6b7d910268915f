"""Run a download: send requests within the limits of each host, and record the results in batches."""

from __future__ import annotations

import asyncio
import gc
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import repeat
from queue import SimpleQueue
from threading import Thread
from typing import Any

from aiohttp.abc import AbstractResolver

from fieldmark.core.progress import QUIET, Progress
from fieldmark.core.seeds import hash_seed
from fieldmark.downloads.agenda import Agenda, Host
from fieldmark.downloads.asking import Fetcher, HttpAnswer, Known
from fieldmark.downloads.causes import Failed
from fieldmark.downloads.checking import CheckedPhoto, CheckingThreads, is_small, laid_aside, recognised
from fieldmark.downloads.journal import Journal, Note, Row
from fieldmark.downloads.specs import Fetching

DOWN_AFTER = 8
"""Number of consecutive failures of a host after which its other URLs are skipped in this run."""
PAUSE_AFTER = 5
"""Number of consecutive failures after which all requests to the host are delayed, not only those of one URL."""
BATCH = 256
BATCH_S = 0.5
"""Results are written after ``BATCH`` results or ``BATCH_S`` seconds."""
REPORT_EVERY_S = 15.0
"""Seconds between messages about failures."""


@dataclass
class Job:
    """A photo to download.

    Attributes:
        rows: URLs of the photo, in the order of requests.
        at: Position of the current URL in ``rows``.
        tries: Number of requests to the current URL in this run.
    """

    rows: list[Row]
    at: int = 0
    tries: int = 0

    @property
    def row(self) -> Row:
        """The current URL."""
        return self.rows[self.at]


@dataclass
class Tally:
    """Counts of a run.

    Attributes:
        n_asked: Number of requests, including repeated tries.
        n_new: Number of new photos.
        n_same: Number of unchanged photos.
        n_changed: Number of URLs that returned a different photo than before.
        causes: Number of missing photos, by the cause at their last URL.
    """

    n_asked: int = 0
    n_new: int = 0
    n_same: int = 0
    n_changed: int = 0
    causes: Counter[str] = field(default_factory=Counter)


def fetch(
    photos: Sequence[list[Row]],
    journal: Journal,
    fetching: Fetching,
    *,
    visit: int,
    wanted: Mapping[str, str] | None = None,
    resolver: AbstractResolver | None = None,
    progress: Progress = QUIET,
) -> Tally:
    """Download photos. All received photos are stored and recorded in the journal, also after an interruption.

    Args:
        photos: For each photo its URLs, tried in order until one returns the photo.
        journal: Journal that records the results.
        fetching: Settings of the download.
        visit: Number of this run in the journal.
        wanted: Required SHA-256 of photos, by image id.
        resolver: DNS resolver; None uses the resolver of the system.
        progress: Receives the number of finished photos, and messages about failures.

    Raises:
        RunError: The disk is full or fails.
    """
    run = _Run(journal, fetching, visit=visit, wanted=wanted or {}, progress=progress)
    main = partial(run.whole, photos, resolver)
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(main())
    # A notebook already runs an event loop, so this event loop runs in another thread.
    found: list[Tally | BaseException] = []
    thread = Thread(target=lambda: found.append(_outcome(main)), name="download")
    thread.start()
    thread.join()
    if isinstance(found[0], BaseException):
        raise found[0]
    return found[0]


def _outcome(main: Callable[[], Coroutine[Any, Any, Tally]]) -> Tally | BaseException:
    try:
        return asyncio.run(main())
    except BaseException as error:  # raised again in the calling thread
        return error


class _Run:
    """The state of a run: asynchronous tasks for requests, and one thread that writes the journal."""

    def __init__(
        self, journal: Journal, fetching: Fetching, *, visit: int, wanted: Mapping[str, str], progress: Progress
    ) -> None:
        self._journal = journal
        self._fetching = fetching
        self._visit = visit
        self._wanted = wanted
        self._progress = progress
        self._agenda: Agenda[Job] = Agenda(n_a_host=fetching.n_a_host)
        self._batch: list[Note] = []
        self._batches: SimpleQueue[list[Note]] = SimpleQueue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._broken: BaseException | None = None
        self._tally = Tally()
        self._reported_at = 0.0
        self._is_ending = False

    async def whole(self, photos: Sequence[list[Row]], resolver: AbstractResolver | None) -> Tally:
        """Download all photos."""
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        self._turn: asyncio.TimerHandle | None = None
        self._reported_at = self._loop.time()
        self._ticks = self._progress.track(repeat(None), total=len(photos), what="photos")
        for rows in photos:
            self._put(Job(rows))
        writer = Thread(target=self._write, name="journal")
        writer.start()
        # Existing objects, perhaps a million rows, are excluded from garbage collection to save time.
        gc.freeze()
        try:
            with CheckingThreads(n_workers=self._fetching.n_workers) as threads:
                async with Fetcher(self._fetching, aside=self._journal.aside, resolver=resolver) as fetcher:
                    self._ask = partial(self._one, fetcher, threads)
                    try:
                        self._begin()
                        await self._over.wait()
                    finally:
                        self._is_ending = True
                        for task in self._tasks:
                            task.cancel()
                        await asyncio.gather(*self._tasks, return_exceptions=True)
        finally:
            gc.unfreeze()
            self._hand_over()
            self._batches.put([])
            writer.join()
            if isinstance(self._ticks, Generator):  # removes a progress bar from the terminal
                self._ticks.close()
        if self._broken is not None:
            raise self._broken
        return self._tally

    def _begin(self) -> None:
        """Start all jobs that are due, schedule the next call, and detect the end of the run."""
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        while not self._is_ending and self._broken is None and len(self._tasks) < self._fetching.n_at_once:
            found = self._agenda.take(self._loop.time())
            if not isinstance(found, tuple):
                if found is not None:
                    self._turn = self._loop.call_at(found, self._begin)
                break
            task = self._loop.create_task(self._go_on(*found))
            self._tasks.add(task)
            task.add_done_callback(self._ended)
        if self._broken is not None or not (self._agenda.n_waiting or self._tasks):
            self._over.set()

    async def _go_on(self, job: Job, host: Host[Job]) -> None:
        """Run one job, then further jobs that are due. One task for many jobs saves time."""
        found: tuple[Job, Host[Job]] | float | None = (job, host)
        while isinstance(found, tuple):
            await self._ask(*found)
            found = None
            if not self._is_ending and self._broken is None:
                found = self._agenda.take(self._loop.time())
                if len(self._tasks) < self._fetching.n_at_once:  # other tasks may now send requests to this host
                    self._begin()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._broken = self._broken or task.exception()
        self._begin()

    async def _one(self, fetcher: Fetcher, threads: CheckingThreads, job: Job, host: Host[Job]) -> None:
        """Send one request, and process its result."""
        try:
            if host.closed:
                self._failed(job, host, Failed("not_asked", host.closed))
                return
            job.tries += 1
            self._tally.n_asked += 1
            row = job.row
            try:
                answer = await fetcher.ask(row.url, key=row.key, known=row.known)
                photo = None if answer.status == 304 else await self._checked(threads, row, answer)
            except Failed as failed:
                self._failed(job, host, failed)
            else:
                host.n_failed, host.every_s = 0, min(answer.every_s, self._fetching.longest_wait_s)
                self._received(job, answer, photo)
        finally:
            self._agenda.finished(host)

    async def _checked(self, threads: CheckingThreads, row: Row, answer: HttpAnswer) -> CheckedPhoto:
        """Return the photo of a response. Small photos are checked at once, others in a thread.

        Raises:
            Failed: The response is not a photo.
        """
        read_header = partial(recognised, answer, fetching=self._fetching, wanted=self._wanted.get(row.image))
        keep = partial(
            laid_aside, image=row.image, aside=self._journal.aside, fetching=self._fetching, known=row.digests
        )
        if not is_small(answer):
            return await threads.check(lambda: keep(read_header()))
        sniffed = read_header()
        return keep(sniffed) if sniffed.is_quick else await threads.check(partial(keep, sniffed))

    def _received(self, job: Job, answer: HttpAnswer, photo: CheckedPhoto | None) -> None:
        """Record a new or unchanged photo."""
        row, tally = job.row, self._tally
        if row.known is None:
            tally.n_new += 1
        elif photo is None or photo.sha256 in row.digests:
            tally.n_same += 1
        else:
            tally.n_changed += 1
        kept = row.known or Known()
        known = Known(answer.etag or kept.etag, answer.last_modified or kept.last_modified)
        if photo is not None:
            known = Known(answer.etag, answer.last_modified)
        self._note(Note(row, time.time(), job.tries, answer.status, photo, known))
        self._tick()

    def _failed(self, job: Job, host: Host[Job], failed: Failed) -> None:
        """Schedule another try, continue with the next URL of the photo, or record the failure."""
        cause, now = failed.cause, self._loop.time()
        if cause.name != "not_asked":
            self._slow_down(self._agenda.host(failed.host or host.name), failed, job)
        if cause.fleeting and job.tries < self._fetching.tries and not host.closed:
            self._put(job, at=now + self._wait_s(job))
            return
        row = job.row
        self._note(
            Note(
                row,
                time.time(),
                job.tries,
                failed.status,
                cause=cause.name,
                detail=failed.detail,
                lasting=cause.lasting,
            )
        )
        if job.at + 1 < len(job.rows):
            job.at, job.tries = job.at + 1, 0
            self._put(job)
            return
        self._tally.causes[cause.name] += 1
        self._tick()

    def _slow_down(self, host: Host[Job], failed: Failed, job: Job) -> None:
        """Delay the requests to a host after a failure, or close the host if it is down or the wait is too long."""
        cause, wait_s = failed.cause, failed.wait_s
        if not (cause.of_host or cause.name in {"server_error", "too_busy"}):
            host.n_failed = 0
            return
        host.n_failed += 1
        if wait_s is None and (cause.name == "too_busy" or host.n_failed >= PAUSE_AFTER):
            wait_s = self._wait_s(job)
        if wait_s is not None and wait_s > self._fetching.longest_wait_s:
            self._agenda.close(host, f"{host.name} asks for a wait of {wait_s:,.0f} s")
        elif wait_s is not None:
            self._agenda.pause(host, until=self._loop.time() + wait_s)
        if cause.of_host and host.n_failed >= DOWN_AFTER:
            self._agenda.close(host, f"{cause.name} {host.n_failed} times in a row")

    def _wait_s(self, job: Job) -> float:
        """Return the waiting time: doubled at each try, with a random factor of 0.5 to 1 to spread the requests."""
        longest = min(self._fetching.longest_wait_s, self._fetching.wait_s * 2 ** max(0, job.tries - 1))
        return longest * (0.5 + 0.5 * (hash_seed("wait", job.row.url, job.tries) % 1000) / 1000)

    def _put(self, job: Job, *, at: float = 0.0) -> None:
        self._agenda.add(job, host=job.row.host, at=at)

    def _tick(self) -> None:
        """Count a finished photo, and report failures from time to time."""
        next(self._ticks, None)
        now = self._loop.time()
        if now - self._reported_at >= REPORT_EVERY_S and self._tally.causes:
            self._reported_at = now
            self._progress.say(f"failed so far: {cause_summary(self._tally.causes)}")

    def _note(self, note: Note) -> None:
        """Add a result to the current batch; writing each result alone would be slow."""
        self._batch.append(note)
        if len(self._batch) >= BATCH:
            self._hand_over()
        elif len(self._batch) == 1:
            self._loop.call_later(BATCH_S, self._hand_over)

    def _hand_over(self) -> None:
        if self._batch:
            self._batches.put(self._batch)
            self._batch = []

    def _write(self) -> None:
        """Write batches of results to the journal until an empty batch arrives; runs in its own thread."""
        try:
            while batch := self._batches.get():
                self._journal.note(batch, visit=self._visit, at=time.time())
            self._journal.resolve()
        except BaseException as error:  # raised again in the waiting thread
            self._broken = self._broken or error
            self._loop.call_soon_threadsafe(self._over.set)


def cause_summary(causes: Counter[str], *, most: int = 5) -> str:
    """Return the most frequent causes with their counts.

    Example:
        >>> cause_summary(Counter(not_found=12, silent=3))
        '12 not_found, 3 silent'
    """
    return ", ".join(f"{n:,} {cause}" for cause, n in causes.most_common(most))

"""Everything that is to be asked, asked: politely, at once, and noted batch by batch."""

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
"""Failures in a row that are the host's own, after which its other addresses are not asked in this run."""
PAUSE_AFTER = 5
"""Failures in a row that look like a host in trouble, after which all of it is given time, not one address alone."""
BATCH = 256
BATCH_S = 0.5
"""Notes are written when so many have come, or after so many seconds."""
TELL_EVERY_S = 15.0


@dataclass
class Job:
    """A photo to get: its addresses, and which of them is asked.

    Attributes:
        rows: Its addresses in order.
        at: Which is asked now.
        tries: How often that was asked in this run.
    """

    rows: list[Row]
    at: int = 0
    tries: int = 0

    @property
    def row(self) -> Row:
        """The address that is asked now."""
        return self.rows[self.at]


@dataclass
class Tally:
    """What a run came to.

    Attributes:
        n_asked: Questions sent, further tries included.
        n_new: Photos that came.
        n_same: Photos that are as they were.
        n_changed: Addresses that gave another picture than before.
        causes: How many photos did not come, by the cause at their last address.
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
    """Ask for photos; all that comes is in its place and in the journal when this returns, also when it is interrupted.

    Args:
        photos: For each photo the addresses to ask, tried in order until one gives it.
        journal: Where to note what came of each.
        fetching: Limits and manners.
        visit: The number of this run in the journal.
        wanted: The SHA-256 that photos must have.
        resolver: Who looks host names up; None for the system.
        progress: Told how far it is, and of failures by their causes.

    Raises:
        RunError: The disk is full or fails.
    """
    run = _Run(journal, fetching, visit=visit, wanted=wanted or {}, progress=progress)
    main = partial(run.whole, photos, resolver)
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(main())
    # A notebook has a loop of its own, which must not wait for us: ours runs in another thread.
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
    except BaseException as error:  # raised again by who waits for the thread
        return error


class _Run:
    """The event loop's side: a task an address, a thread that writes."""

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
        self._told_at = 0.0
        self._is_ending = False

    async def whole(self, photos: Sequence[list[Row]], resolver: AbstractResolver | None) -> Tally:
        """Ask for all of them."""
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        self._turn: asyncio.TimerHandle | None = None
        self._told_at = self._loop.time()
        self._ticks = self._progress.track(repeat(None), total=len(photos), what="photos")
        for rows in photos:
            self._put(Job(rows))
        writer = Thread(target=self._write, name="journal")
        writer.start()
        # What was made so far, a million rows perhaps, is no garbage: the collector need not walk through it each time.
        gc.freeze()
        try:
            with CheckingThreads(n_workers=self._fetching.n_workers) as bench:
                async with Fetcher(self._fetching, aside=self._journal.aside, resolver=resolver) as asker:
                    self._ask = partial(self._one, asker, bench)
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
            if isinstance(self._ticks, Generator):  # takes a bar off the terminal
                self._ticks.close()
        if self._broken is not None:
            raise self._broken
        return self._tally

    def _begin(self) -> None:
        """Begin all that is due; be called again when the next is, and see when all is done."""
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
        """Ask for one photo, and then for whatever is due; a task for each would cost more."""
        found: tuple[Job, Host[Job]] | float | None = (job, host)
        while isinstance(found, tuple):
            await self._ask(*found)
            found = None
            if not self._is_ending and self._broken is None:
                found = self._agenda.take(self._loop.time())
                if len(self._tasks) < self._fetching.n_at_once:  # the host that was asked may be asked by others, too
                    self._begin()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._broken = self._broken or task.exception()
        self._begin()

    async def _one(self, asker: Fetcher, bench: CheckingThreads, job: Job, host: Host[Job]) -> None:
        """Ask one address once, and see what follows from it."""
        try:
            if host.closed:
                self._failed(job, host, Failed("not_asked", host.closed))
                return
            job.tries += 1
            self._tally.n_asked += 1
            row = job.row
            try:
                answer = await asker.ask(row.url, key=row.key, known=row.known)
                photo = None if answer.status == 304 else await self._checked(bench, row, answer)
            except Failed as failed:
                self._failed(job, host, failed)
            else:
                host.n_failed, host.every_s = 0, min(answer.every_s, self._fetching.longest_wait_s)
                self._came(job, answer, photo)
        finally:
            self._agenda.finished(host)

    async def _checked(self, bench: CheckingThreads, row: Row, answer: HttpAnswer) -> CheckedPhoto:
        """The photo of an answer; small ones are checked here and now, others in a thread.

        Raises:
            Failed: It is none.
        """
        look = partial(recognised, answer, fetching=self._fetching, wanted=self._wanted.get(row.image))
        keep = partial(
            laid_aside, image=row.image, aside=self._journal.aside, fetching=self._fetching, known=row.digests
        )
        if not is_small(answer):
            return await bench.check(lambda: keep(look()))
        seen = look()
        return keep(seen) if seen.is_quick else await bench.check(partial(keep, seen))

    def _came(self, job: Job, answer: HttpAnswer, photo: CheckedPhoto | None) -> None:
        """Note a photo that came, or that is as it was."""
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
        """Try again later, go on to the photo's next address, or give it up."""
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
        """Give a host the time it asks for or seems to need; leave it alone if that is too long or it is down."""
        cause, wait_s = failed.cause, failed.wait_s
        if not (cause.of_host or cause.name in {"server_error", "too_busy"}):
            host.n_failed = 0
            return
        host.n_failed += 1
        if wait_s is None and (cause.name == "too_busy" or host.n_failed >= PAUSE_AFTER):
            wait_s = self._wait_s(job)
        if wait_s is not None and wait_s > self._fetching.longest_wait_s:
            self._agenda.close(host, f"{host.name} asks for {wait_s:,.0f} s of peace")
        elif wait_s is not None:
            self._agenda.pause(host, until=self._loop.time() + wait_s)
        if cause.of_host and host.n_failed >= DOWN_AFTER:
            self._agenda.close(host, f"{cause.name} {host.n_failed} times in a row")

    def _wait_s(self, job: Job) -> float:
        """Twice as long at each try; up to half of it is left to chance, so that not all come back at once."""
        longest = min(self._fetching.longest_wait_s, self._fetching.wait_s * 2 ** max(0, job.tries - 1))
        return longest * (0.5 + 0.5 * (hash_seed("wait", job.row.url, job.tries) % 1000) / 1000)

    def _put(self, job: Job, *, at: float = 0.0) -> None:
        self._agenda.add(job, host=job.row.host, at=at)

    def _tick(self) -> None:
        """One photo less to go."""
        next(self._ticks, None)
        now = self._loop.time()
        if now - self._told_at >= TELL_EVERY_S and self._tally.causes:
            self._told_at = now
            self._progress.say(f"did not come so far: {cause_summary(self._tally.causes)}")

    def _note(self, note: Note) -> None:
        """Have it written with others, as waking up writer and disk for each would cost more than the rest."""
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
        """The thread of the journal: notes go there batch by batch, until an empty one comes."""
        try:
            while batch := self._batches.get():
                self._journal.note(batch, visit=self._visit, at=time.time())
            self._journal.resolve()
        except BaseException as error:  # raised again in the thread that waits
            self._broken = self._broken or error
            self._loop.call_soon_threadsafe(self._over.set)


def cause_summary(causes: Counter[str], *, most: int = 5) -> str:
    """A few causes with their counts, the commonest first.

    Example:
        >>> told(Counter(not_found=12, silent=3))
        '12 not_found, 3 silent'
    """
    return ", ".join(f"{n:,} {cause}" for cause, n in causes.most_common(most))

"""Which address is asked next: so many at once in all, few at one host, none before its time."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from itertools import count
from typing import Generic, TypeVar

Job = TypeVar("Job")


@dataclass
class Host(Generic[Job]):
    """One host's jobs and manners.

    Attributes:
        name: The host.
        jobs: What waits: when it may begin, a running number, the job.
        n_running: How many are being asked.
        ready_at: Nothing is asked before.
        every_s: Seconds between two questions, if its robots.txt asks for some.
        n_failed: Failures of its own in a row.
        closed: Why nothing more is asked in this run; "" while it is open.
        listed: When its next turn is, or None if it has nothing to do or may not begin more.
    """

    name: str
    jobs: list[tuple[float, int, Job]] = field(default_factory=list)
    n_running: int = 0
    ready_at: float = 0.0
    every_s: float = 0.0
    n_failed: int = 0
    closed: str = ""
    listed: float | None = None


class Agenda(Generic[Job]):
    """The jobs of all hosts; hosts take turns.

    Args:
        n_a_host: Jobs of one host at the same time.
    """

    def __init__(self, *, n_a_host: int) -> None:
        self._n_a_host = n_a_host
        self._hosts: dict[str, Host[Job]] = {}
        self._turns: list[tuple[float, int, Host[Job]]] = []
        self._number = count()
        self.n_waiting = 0

    def host(self, name: str) -> Host[Job]:
        """The host of that name."""
        if name not in self._hosts:
            self._hosts[name] = Host(name)
        return self._hosts[name]

    def add(self, job: Job, *, host: str, at: float = 0.0) -> None:
        """Put a job on the list, to begin no sooner than ``at`` (seconds, as the clock of ``take``)."""
        whose = self.host(host)
        heapq.heappush(whose.jobs, (at, next(self._number), job))
        self.n_waiting += 1
        self._list(whose)

    def take(self, now: float) -> tuple[Job, Host[Job]] | float | None:
        """The next job with its host; or when the next one is due; or None if only a finished job can free one."""
        while self._turns:
            due, _, host = self._turns[0]
            if host.listed != due or self._due(host) != due:  # a turn that was moved
                heapq.heappop(self._turns)
                if host.listed == due:
                    host.listed = None
                    self._list(host)
                continue
            if due > now:
                return due
            heapq.heappop(self._turns)
            host.listed = None
            _, _, job = heapq.heappop(host.jobs)
            self.n_waiting -= 1
            host.n_running += 1
            if host.every_s:
                self.pause(host, until=now + host.every_s)
            self._list(host)
            return job, host
        return None

    def finished(self, host: Host[Job]) -> None:
        """One of the host's jobs no longer runs."""
        host.n_running -= 1
        self._list(host)

    def pause(self, host: Host[Job], *, until: float) -> None:
        """Ask nothing of the host before then."""
        host.ready_at = max(host.ready_at, until)

    def close(self, host: Host[Job], why: str) -> None:
        """Hand its jobs out at once, not to be asked but to be noted."""
        host.closed = why
        self._list(host)

    def _due(self, host: Host[Job]) -> float:
        """When the host's next job may begin."""
        return 0.0 if host.closed else max(host.ready_at, host.jobs[0][0])

    def _list(self, host: Host[Job]) -> None:
        """Give the host its turn, or an earlier one than it has, if it has something to do and may."""
        if not host.jobs or host.n_running >= self._n_a_host:
            return
        due = self._due(host)
        if host.listed is None or due < host.listed:
            host.listed = due
            heapq.heappush(self._turns, (due, next(self._number), host))

"""Schedule of requests: limits for all hosts and for each host, and waiting times."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from itertools import count
from typing import Generic, TypeVar

Job = TypeVar("Job")


@dataclass
class Host(Generic[Job]):
    """Waiting jobs and limits of one host.

    Attributes:
        name: Host name.
        jobs: Waiting jobs: (earliest start, serial number, job).
        n_running: Number of running requests.
        ready_at: Earliest time of the next request.
        every_s: Seconds between two requests, from ``Crawl-delay`` in robots.txt; 0 means no limit.
        n_failed: Number of consecutive failures caused by the host.
        closed: Reason for sending no more requests in this run; "" while the host is open.
        listed: Time of the next turn; None if no job waits or no further job may start.
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
    """The waiting jobs of all hosts. Hosts take turns.

    Args:
        n_a_host: Maximum number of running jobs of one host.
    """

    def __init__(self, *, n_a_host: int) -> None:
        self._n_a_host = n_a_host
        self._hosts: dict[str, Host[Job]] = {}
        self._turns: list[tuple[float, int, Host[Job]]] = []
        self._number = count()
        self.n_waiting = 0

    def host(self, name: str) -> Host[Job]:
        """Return the host with this name; it is created if needed."""
        if name not in self._hosts:
            self._hosts[name] = Host(name)
        return self._hosts[name]

    def add(self, job: Job, *, host: str, at: float = 0.0) -> None:
        """Add a job that may start at time ``at`` or later, in seconds of the clock used for ``take``."""
        owner = self.host(host)
        heapq.heappush(owner.jobs, (at, next(self._number), job))
        self.n_waiting += 1
        self._list(owner)

    def take(self, now: float) -> tuple[Job, Host[Job]] | float | None:
        """Return the next job and its host, or the time of the next job, or None if a running job must finish first."""
        while self._turns:
            due, _, host = self._turns[0]
            if host.listed != due or self._due(host) != due:  # this turn was moved
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
        """Record that a job of the host has finished."""
        host.n_running -= 1
        self._list(host)

    def pause(self, host: Host[Job], *, until: float) -> None:
        """Send no request to the host before time ``until``."""
        host.ready_at = max(host.ready_at, until)

    def close(self, host: Host[Job], why: str) -> None:
        """Close the host: its waiting jobs are returned at once, to be recorded without a request."""
        host.closed = why
        self._list(host)

    def _due(self, host: Host[Job]) -> float:
        """Return the time at which the next job of the host may start."""
        return 0.0 if host.closed else max(host.ready_at, host.jobs[0][0])

    def _list(self, host: Host[Job]) -> None:
        """Schedule the next turn of the host, or move it earlier, if a job may start."""
        if not host.jobs or host.n_running >= self._n_a_host:
            return
        due = self._due(host)
        if host.listed is None or due < host.listed:
            host.listed = due
            heapq.heappush(self._turns, (due, next(self._number), host))

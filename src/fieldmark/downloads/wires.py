"""The connections of a download: opened to numbers that were checked, kept for a while, and used again."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path
from typing import Any

from yarl import URL

from fieldmark.downloads.addresses import CheckedResolver
from fieldmark.downloads.causes import Failed
from fieldmark.downloads.watch import Watch
from fieldmark.downloads.wire import Place, Reply, Stale, Wire

MOST_NUMBERS = 3
"""So many IP numbers of a name are tried."""
NAME_LASTS_S = 60.0
IDLE_S = 10.0
"""A connection that waits longer for a further question is closed."""


class Wires:
    """The connections of a download.

    Args:
        watch: The clock.
        resolver: Who looks names up, and refuses private numbers.
        connect_s: Seconds a connection may take to stand.
        gap_s: Seconds without a byte after which an answer is given up.
        most_idle: So many connections wait for further questions.
    """

    def __init__(
        self, watch: Watch, resolver: CheckedResolver, *, connect_s: float, gap_s: float, most_idle: int
    ) -> None:
        self._watch = watch
        self._resolver = resolver
        self._connect_s = connect_s
        self._gap_s = gap_s
        self._most_idle = most_idle
        self._asking: set[Wire] = set()
        self._idle: dict[Wire, None] = {}  # the longest idle first
        self._idle_at: dict[Place, list[Wire]] = {}
        self._names: dict[str, tuple[float, asyncio.Task[list[str]]]] = {}
        self._tls: ssl.SSLContext | None = None

    async def ask(self, url: URL, request: bytes, *, file: Path | None, most_bytes: int) -> Reply:
        """Send a question over a connection that waits, else over a new one.

        Args:
            url: Says where to.
            request: What is sent.
            file: Where a long body goes; None keeps it in memory.
            most_bytes: Of the body.

        Raises:
            Failed: No connection, or no proper answer.
        """
        place = (url.scheme, url.raw_host or "", url.port or 0)
        while True:
            waiting = self._idle_at.get(place)
            wire = waiting[-1] if waiting else await self._connected(place)
            self._forget(wire)
            self._asking.add(wire)
            try:
                reply = await wire.ask(request, Reply(file, most_bytes))
            except Stale:
                continue
            finally:
                self._asking.discard(wire)
            if wire.may_stay:
                self._keep(wire)
            else:
                wire.close()
            return reply

    def look(self) -> None:
        """At a tick: give up who is silent, close what is idle for long."""
        for wire in list(self._asking):
            wire.look(self._gap_s)
        for wire in list(self._idle):
            if self._watch.now - wire.heard_at < IDLE_S:
                break
            wire.close()
            self._forget(wire)

    async def close(self) -> None:
        """Hang up everywhere."""
        for wire in (*self._idle, *self._asking):
            wire.close()
        for _, task in self._names.values():
            task.cancel()
        await self._resolver.close()
        await asyncio.sleep(0)  # transports close at the next turn of the loop

    def _keep(self, wire: Wire) -> None:
        self._idle[wire] = None
        self._idle_at.setdefault(wire.place, []).append(wire)
        if len(self._idle) > self._most_idle:
            longest = next(iter(self._idle))
            longest.close()
            self._forget(longest)

    def _forget(self, wire: Wire) -> None:
        """It no longer waits for a question."""
        if wire in self._idle:
            del self._idle[wire]
            self._idle_at[wire.place].remove(wire)
            if not self._idle_at[wire.place]:
                del self._idle_at[wire.place]

    async def _connected(self, place: Place) -> Wire:
        """A new connection, to the first of the host's numbers that takes one."""
        scheme, host, port = place
        failed = Failed("no_host", host)
        for number in (await self._numbers(host, port))[:MOST_NUMBERS]:
            try:
                async with self._watch.limit(self._connect_s):
                    return await self._opened(place, number, server=host if scheme == "https" else None)
            except TimeoutError:
                failed = Failed("connect_timeout", host)
            except (ssl.SSLError, ssl.CertificateError) as error:
                failed = Failed("no_trust", f"{host}: {_words(error)}")
            except (OSError, ValueError) as error:
                failed = Failed("no_connection", f"{host}: {_words(error)}")
        raise failed

    async def _opened(self, place: Place, number: str, *, server: str | None) -> Wire:
        if server is not None and self._tls is None:
            self._tls = ssl.create_default_context()
        _, wire = await asyncio.get_running_loop().create_connection(
            lambda: Wire(self._watch, place, self._forget),
            number,
            place[2],
            ssl=self._tls if server is not None else None,
            server_hostname=server,
        )
        return wire

    async def _numbers(self, host: str, port: int) -> list[str]:
        """The numbers of a host, those of IPv4 first, as the others often lead nowhere."""
        if ":" in host or _is_number(host):
            return [host]
        known = self._names.get(host)
        if known is None or known[0] < self._watch.now:
            known = (self._watch.now + NAME_LASTS_S, asyncio.create_task(self._looked_up(host, port)))
            known[1].add_done_callback(seen)
            self._names[host] = known
        try:
            # Many wait for one answer: who gives up must not take it from the others.
            return await asyncio.shield(known[1])
        except (Failed, OSError, UnicodeError) as error:
            self._names.pop(host, None)
            if isinstance(error, Failed):
                raise
            raise Failed("no_host", f"{host}: {_words(error)}") from error

    async def _looked_up(self, host: str, port: int) -> list[str]:
        found = await self._resolver.resolve(host, port, socket.AF_UNSPEC)
        return sorted(dict.fromkeys(str(one["host"]) for one in found), key=lambda number: ":" in number)


def _is_number(host: str) -> bool:
    """Whether a host is an IPv4 number in its usual form; other forms go by the resolver."""
    try:
        socket.inet_pton(socket.AF_INET, host)
    except (OSError, ValueError):
        return False
    return True


def seen(task: asyncio.Task[Any]) -> None:
    """Look at how a task ended, as perhaps nobody waits for it any more and asyncio would complain."""
    if not task.cancelled():
        task.exception()


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__

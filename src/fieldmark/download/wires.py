"""HTTP/1.1 over connections that are kept: one question at a time on each, bytes and silences limited.

No more than a download needs, which is what makes it cheap: GET alone, no cookies, no proxies, redirects told but not
followed. Answers are taken apart by llhttp, the parser of Node.js, as patiently as browsers do it.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BufferedWriter
from pathlib import Path
from typing import Any

import httptools
from yarl import URL

from fieldmark.core.files import told_disk_faults
from fieldmark.download.addresses import CheckedResolver
from fieldmark.download.causes import Failed
from fieldmark.download.watch import TICK_S, Watch

IN_MEMORY = 256 * 2**10
"""A longer body goes to the disk while it comes, so that many at once do not fill the memory."""
MOST_HEAD = 64 * 2**10
MOST_NUMBERS = 3
"""So many IP numbers of a name are tried."""
NAME_LASTS_S = 60.0
IDLE_S = 10.0
"""A connection that waits longer for a further question is closed."""
TRICKLE, MOST_TRICKLES = 512, 8
"""After so many parts of so few bytes an answer is read only once a tick: waking up costs more than a byte is worth."""

Place = tuple[str, str, int]
"""Scheme, host and port."""


@dataclass(slots=True)
class Reply:
    """An answer as it comes.

    Attributes:
        file: Where the body goes if it is long; None keeps it in memory.
        most_bytes: Of the body.
        status: 0 until the head is here.
        reason: The host's words for the status.
        headers: By their names in small letters; of repeated ones the first.
        parts: The body in memory.
        n_bytes: Of the body so far.
        written: The open file of a long body.
        is_whole: Whether the end was seen.
    """

    file: Path | None
    most_bytes: int
    status: int = 0
    reason: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    parts: list[bytes] = field(default_factory=list)
    n_bytes: int = 0
    written: BufferedWriter | None = None
    is_whole: bool = False

    @property
    def body(self) -> bytes | Path:
        """The bytes, or the file that holds them."""
        return b"".join(self.parts) if self.written is None or self.file is None else self.file

    @property
    def is_wanted(self) -> bool:
        """Whether its body is worth waiting for."""
        return 200 <= self.status < 300 or self.status == 304

    @property
    def has_length(self) -> bool:
        """Whether its end can be told from a connection that broke."""
        return "content-length" in self.headers or "chunked" in self.headers.get("transfer-encoding", "").lower()

    def add(self, part: bytes) -> None:
        """Take a part of the body.

        Raises:
            Failed: That makes it too large.
            RunError: The disk is full or fails.
        """
        self.n_bytes += len(part)
        if self.n_bytes > self.most_bytes:
            raise Failed("too_large", f"more than {self.most_bytes:,} bytes", status=self.status)
        if self.written is not None and self.file is not None:
            with told_disk_faults(self.file):
                self.written.write(part)
            return
        self.parts.append(part)
        if self.n_bytes > IN_MEMORY and self.file is not None:
            with told_disk_faults(self.file):
                self.written = self.file.open("wb")
                self.written.writelines(self.parts)
            self.parts.clear()

    def close(self, *, keep: bool) -> None:
        """Close the file of a long body, and take it away unless it is to be kept."""
        if self.written is not None and self.file is not None:
            self.written.close()
            if not keep:
                self.file.unlink(missing_ok=True)


class Stale(Exception):  # noqa: N818 - not an error: the question is sent again over a new connection
    """A kept connection was closed before it could be used again."""


class Wire(asyncio.Protocol):
    """One connection.

    Args:
        watch: The clock.
        place: Where it leads.
        is_over: Called when it is closed.
    """

    def __init__(self, watch: Watch, place: Place, is_over: Callable[[Wire], None]) -> None:
        self.place = place
        self.heard_at = watch.now
        self.is_kept = False
        self.may_stay = False
        self._watch = watch
        self._is_over = is_over
        self._parser = httptools.HttpResponseParser(self)
        self._parser.set_dangerous_leniencies(
            lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )
        self._answer: asyncio.Future[Reply] | None = None
        self._reply: Reply | None = None
        self._fault: Exception | None = None
        self._n_head = 0
        self._n_trickles = 0
        self._is_paused = False

    async def ask(self, request: bytes, reply: Reply) -> Reply:
        """Send a question and fill in the reply: its head, and its body if that is wanted.

        Raises:
            Failed: No proper answer came, or one that is too large.
            Stale: The connection had been closed.
        """
        answer = self._answer = asyncio.get_running_loop().create_future()
        self._reply, self._fault, self._n_head, self._n_trickles, self.may_stay = reply, None, 0, 0, False
        self.heard_at = self._watch.now
        try:
            self._transport.write(request)
            await answer
        except BaseException:
            self.close()
            reply.close(keep=False)
            raise
        finally:
            if answer.done() and not answer.cancelled():
                answer.exception()  # looked at, though perhaps nobody waits any more and asyncio would complain
            self._answer = self._reply = None
        reply.close(keep=True)
        self.is_kept = True
        return reply

    def close(self) -> None:
        """Hang up at once."""
        self.may_stay = False
        self._transport.abort()

    def look(self, gap_s: float) -> None:
        """At a tick: read on, or give up who has been silent for so long."""
        if self._is_paused:
            self._is_paused = False
            self._transport.resume_reading()
        if self._watch.now - self.heard_at > gap_s + TICK_S:
            self._end(Failed("silent", self.place[1], status=self._reply.status or None if self._reply else None))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It stands."""
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Take bytes in, and end the question if that is all, or enough."""
        reply, self.heard_at = self._reply, self._watch.now
        if reply is None or self._answer is None or self._answer.done():
            self.close()
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self.may_stay = False
            if not reply.is_whole:
                self._fault = self._fault or Failed(
                    "bad_answer", f"{self.place[1]}: {error}", status=reply.status or None
                )
        if not reply.status:
            self._n_head += len(data)
            if self._n_head > MOST_HEAD:
                self._fault = self._fault or Failed("bad_answer", f"{self.place[1]}: its head has no end")
        if self._fault is not None or reply.is_whole or (reply.status and not reply.is_wanted):
            self._end(self._fault)
        elif len(data) < TRICKLE:
            self._n_trickles += 1
            if self._n_trickles > MOST_TRICKLES:
                self._is_paused = True
                self._transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed: the end of an answer without a length, else too early."""
        self.may_stay = False
        reply = self._reply
        if reply is not None and self._answer is not None and not self._answer.done():
            if reply.status and reply.is_wanted and not reply.has_length and exc is None:
                self._end(None)
            elif reply.status:
                self._end(Failed("truncated", f"{self.place[1]} hung up", status=reply.status))
            else:
                self._end(Stale() if self.is_kept and not self._n_head else Failed("hung_up", self.place[1]))
        self._is_over(self)

    def _end(self, fault: Exception | None) -> None:
        """The question is answered, or never will be."""
        if self._answer is None or self._answer.done():
            return
        if fault is None:
            self._answer.set_result(self._reply)  # type: ignore[arg-type]
        else:
            self._answer.set_exception(fault)

    # What the parser calls. An exception here would come out of it as another, so faults are noted.

    def on_message_begin(self) -> None:
        """An answer; a second one to one question is not to be trusted."""
        if self._reply is not None and self._reply.is_whole:
            self._fault = Failed("bad_answer", f"{self.place[1]}: more than one answer", status=self._reply.status)

    def on_status(self, reason: bytes) -> None:
        """The words of the status."""
        if self._reply is not None:
            self._reply.reason = reason.decode("utf-8", "replace")

    def on_header(self, name: bytes, value: bytes) -> None:
        """A line of the head."""
        if self._reply is not None:
            self._reply.headers.setdefault(name.decode("latin-1").lower(), value.decode("utf-8", "replace"))

    def on_headers_complete(self) -> None:
        """The head is here; those of interim answers (1xx) do not count."""
        reply, status = self._reply, self._parser.get_status_code()
        if reply is None:
            return
        if 100 <= status < 200:
            reply.headers.clear()
            return
        reply.status = status
        announced = reply.headers.get("content-length", "")
        if status != 304 and reply.is_wanted and announced.isdecimal() and int(announced[:19]) > reply.most_bytes:
            self._fault = Failed("too_large", f"{int(announced[:19]):,} bytes announced", status=status)

    def on_body(self, part: bytes) -> None:
        """A part of the body."""
        if self._reply is None or self._fault is not None or not self._reply.is_wanted:
            return
        try:
            self._reply.add(part)
        except Exception as error:  # told to who waits for the answer
            self._fault = error

    def on_message_complete(self) -> None:
        """The end of an answer."""
        if self._reply is not None and self._reply.status:
            self._reply.is_whole = True
            self.may_stay = self._parser.should_keep_alive()


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

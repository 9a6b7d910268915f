"""aiohttp connections for downloads, with limits that the library does not have: overhead, idle connections, time.

aiohttp limits one header line and the number of headers. It does not limit how many bytes a host spends on interim
answers, chunk sizes, chunk extensions and trailers, and its timeouts start anew with each byte.
"""

from __future__ import annotations

import asyncio
import ssl
from functools import partial
from types import TracebackType
from typing import Any

from aiohttp import StreamReader, TCPConnector
from aiohttp.abc import AbstractResolver
from aiohttp.client_proto import ResponseHandler

from fieldmark.downloads.causes import Failed

MAX_HEAD = 64 * 2**10
"""Bytes before the body, interim answers included."""
MAX_FRAMING = 16 * 2**10
"""Bytes of chunk sizes, chunk extensions and trailers, beside a sixteenth of the body."""
READ_SIZE = 256 * 2**10
"""asyncio reads at most this many bytes at once, so a body buffer of this size never stops the parser midway."""
PIECE = 16 * 2**10
"""A chunked body is parsed in pieces of this size, and its overhead is checked after each."""
SMALL, MAX_SMALL, PAUSE_S = 512, 8, 1.0
"""After this many reads of less than so many bytes, a connection is read once a second: each read costs CPU time."""
DNS_CACHE_S, IDLE_S = 60, 10.0
"""Seconds for which an address is remembered, and for which an unused connection stays open."""
LOOK_S = 0.25
"""So often silent connections are looked for: one timer for all, as a timer for each read costs CPU time."""
LATE_S, GRACE_S = 0.25, 0.5
"""If a deadline is noticed this late, the event loop was blocked: what arrived meanwhile is read for another moment."""


class Connection(ResponseHandler):
    """A connection that counts raw bytes and hangs up on a host that breaks the limits.

    Attributes:
        body: The body of the current answer; None until its head is complete.

    Args:
        loop: The event loop.
        opened: The open connections, the longest unused first; this one adds and removes itself.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, opened: dict[Connection, None]) -> None:
        super().__init__(loop=loop)
        self.body: StreamReader | None = None
        self._opened = opened
        self._is_asked = False
        self._is_chunked = False
        self._n_raw = 0  # of the head; once that is complete, of body and framing
        self._n_small = 0
        self._is_paused = False
        self._heard_at = loop.time()

    @property
    def is_idle(self) -> bool:
        """Whether no answer is expected."""
        return self.body is not None and self.body.is_eof()

    def set_response_params(self, **params: Any) -> None:
        """Expect an answer; aiohttp calls this before it sends a request."""
        self.body, self._is_asked, self._is_chunked, self._n_raw, self._n_small = None, True, False, 0, 0
        self._heard_at = self._loop.time()
        self._opened.pop(self, None)
        self._opened[self] = None
        super().set_response_params(**params)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the connection; a body without a length that ends in an error is not whole."""
        self._opened.pop(self, None)
        if exc is not None and self.body is not None and not self.body.is_eof():
            self.body.set_exception(Failed("truncated", error_line(exc)))
        super().connection_lost(exc)

    def close(self) -> None:
        """Hang up at once, without waiting for the host to agree."""
        if self.transport is not None:
            self.transport.abort()
        super().close()

    def feed_data(self, data: Any, size: int = 0) -> None:
        """Take the head of an answer from the parser."""
        message, body = data
        if message.code >= 200 or message.code == 101:
            if self.body is not None:
                self.fail("more than one answer")
                return
            self.body, self._is_chunked = body, bool(message.chunked)
        super().feed_data(data, size)

    def data_received(self, data: bytes) -> None:
        """Parse what arrived, and check the limits."""
        self._heard_at = self._loop.time()
        if not data or not self._is_asked:  # the parser goes on after a pause, or no parser is set yet
            super().data_received(data)
            return
        if self.is_idle:  # nobody asked for these bytes: they must not become the next answer
            self.close()
            return
        at = self._read_head(data) if self.body is None else 0
        step = PIECE if self._is_chunked else READ_SIZE
        while at < len(data) and self.exception() is None:
            self._read_body(data[at : at + step] if at or step < len(data) else data)
            at += step
        if len(data) < SMALL and not self.is_idle:
            self._n_small += 1
            if self._n_small > MAX_SMALL:
                self._pause()

    def _read_head(self, data: bytes) -> int:
        """Parse up to the body, and give its place in ``data``."""
        at = 0
        while self.body is None and at < len(data) and self.exception() is None:
            end = data.find(b"\r\n\r\n", at) + 4
            end = len(data) if end < 4 else end
            self._n_raw += end - at
            super().data_received(data[at:end])
            at = end
            if self.body is None and self._n_raw > MAX_HEAD:
                self.fail(f"more than {MAX_HEAD:,} bytes before the body")
        if self.body is not None:
            self._n_raw = self.body.total_bytes  # some, where the empty line came in two parts
        return at

    def _read_body(self, data: bytes) -> None:
        """Parse a part of the body."""
        body = self.body
        self._n_raw += len(data)
        super().data_received(data)
        if body is None or body.is_eof():
            return
        error = self.exception()
        if error is not None:  # of the parser; aiohttp tells it to who waits for a head, not to who reads a body
            body.set_exception(Failed("bad_answer", error_line(error)))
        elif self._n_raw - body.total_bytes > MAX_FRAMING + body.total_bytes // 16:
            self.fail("more framing than body")

    def fail(self, detail: str, *, cause: str = "bad_answer") -> None:
        """End the answer with an error, and hang up."""
        failed = Failed(cause, detail)
        self.set_exception(failed)
        if self.body is not None:
            self.body.set_exception(failed)
        if self.transport is not None:
            self.transport.abort()

    def is_silent(self, gap_s: float) -> bool:
        """Whether nothing of the expected answer came for so many seconds in which somebody listened."""
        return self._is_asked and not self._is_paused and self._loop.time() - self._heard_at > gap_s

    def resume_reading(self, *args: Any, **more: Any) -> None:
        """Go on with the parser, but read no more while paused; aiohttp calls this whenever its buffer has room."""
        super().resume_reading(*args, **more)
        if self._is_paused and self.transport is not None:
            self.transport.pause_reading()

    def _pause(self) -> None:
        """Stop reading for a moment."""
        if self.transport is not None and not self._is_paused:
            self._is_paused = True
            self.transport.pause_reading()
            self._loop.call_later(PAUSE_S, self._go_on)

    def _go_on(self) -> None:
        self._is_paused, self._heard_at = False, self._loop.time()
        if self.transport is not None:
            self.transport.resume_reading()


class Connector(TCPConnector):
    """Opens connections that count, gives up those that are silent, and keeps few of those that are not in use.

    Args:
        resolver: Gives the addresses that may be connected to.
        max_idle: Number of unused connections to keep open.
        gap_s: Seconds without a byte after which an answer is given up.
    """

    def __init__(self, resolver: AbstractResolver, *, max_idle: int, gap_s: float) -> None:
        super().__init__(
            resolver=resolver,
            limit=0,
            ttl_dns_cache=DNS_CACHE_S,
            keepalive_timeout=IDLE_S,
            ssl=ssl.create_default_context(),
        )
        self.opened: dict[Connection, None] = {}
        self._max_idle = max_idle
        self._factory = partial(Connection, self._loop, self.opened)
        self._gap_s = gap_s
        self._look()

    def _look(self) -> None:
        """Give up silent connections, close the longest unused of too many, and look again in a moment."""
        if self.closed:
            return
        idle = []
        for connection in list(self.opened):
            if connection.is_idle:
                idle.append(connection)
            elif connection.is_silent(self._gap_s):
                connection.fail(f"no byte for {self._gap_s:g} s", cause="silent")
        for connection in idle[: max(0, len(idle) - self._max_idle)]:
            connection.close()
        self._loop.call_later(LOOK_S, self._look)


class Deadline:
    """Ends the block within (``async with``) after so many seconds of wall time, whatever arrives meanwhile.

    Args:
        seconds: Wall time.

    Raises:
        TimeoutError: The block took longer.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def __aenter__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._timeout = asyncio.timeout(None)
        await self._timeout.__aenter__()
        self._due = self._loop.time() + self._seconds
        self._handle = self._loop.call_at(self._due, self._end)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._handle.cancel()
        await self._timeout.__aexit__(kind, error, trace)

    def _end(self) -> None:
        now = self._loop.time()
        self._timeout.reschedule(now + GRACE_S if now - self._due > LATE_S else now)


def error_line(error: BaseException) -> str:
    """The message of an error on one line."""
    return " ".join(str(error).split())[:120] or type(error).__name__

"""aiohttp connections with additional limits: overhead bytes, idle connections, total time.

aiohttp limits the length of a header line and the number of headers. It does not limit the bytes of interim
responses, chunk sizes, chunk extensions and trailers, and its timeouts restart with every byte.
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
"""Maximum number of bytes before the body, including interim responses."""
MAX_FRAMING = 16 * 2**10
"""Maximum number of bytes of chunk sizes, extensions and trailers, in addition to a sixteenth of the body."""
READ_SIZE = 256 * 2**10
"""Maximum number of bytes per read in asyncio. A body buffer of this size never interrupts the parser."""
PIECE = 16 * 2**10
"""Size of the pieces of a chunked body; the overhead is checked after each piece."""
SMALL, MAX_SMALL, PAUSE_S = 512, 8, 1.0
"""After ``MAX_SMALL`` reads of less than ``SMALL`` bytes, a connection is read once per ``PAUSE_S``: saves CPU time."""
DNS_CACHE_S, IDLE_S = 60, 10.0
"""Seconds for which DNS results are cached, and for which an unused connection stays open."""
CHECK_EVERY_S = 0.25
"""Seconds between searches for silent connections. One timer for all saves CPU time."""
LATE_S, GRACE_S = 0.25, 0.5
"""A deadline more than ``LATE_S`` late means that the event loop was blocked; waiting data is read for ``GRACE_S``."""


class Connection(ResponseHandler):
    """A connection that counts raw bytes and is closed if the host exceeds the limits.

    Attributes:
        body: Body of the current response; None until its headers are complete.

    Args:
        loop: The event loop.
        opened: The open connections, the longest unused first. A connection adds and removes itself.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, opened: dict[Connection, None]) -> None:
        super().__init__(loop=loop)
        self.body: StreamReader | None = None
        self._opened = opened
        self._is_requested = False
        self._is_chunked = False
        self._n_raw = 0  # bytes of the headers; after them, of body and framing
        self._n_small = 0
        self._is_paused = False
        self._received_at = loop.time()

    @property
    def is_idle(self) -> bool:
        """Whether the connection waits for no response."""
        return self.body is not None and self.body.is_eof()

    def set_response_params(self, **params: Any) -> None:
        """Prepare for a response; aiohttp calls this before it sends a request."""
        self.body, self._is_requested, self._is_chunked, self._n_raw, self._n_small = None, True, False, 0, 0
        self._received_at = self._loop.time()
        self._opened.pop(self, None)
        self._opened[self] = None
        super().set_response_params(**params)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Remove the connection. A body without a length that ends in an error is incomplete."""
        self._opened.pop(self, None)
        if exc is not None and self.body is not None and not self.body.is_eof():
            self.body.set_exception(Failed("truncated", error_line(exc)))
        super().connection_lost(exc)

    def close(self) -> None:
        """Close the connection at once, without waiting for the host."""
        if self.transport is not None:
            self.transport.abort()
        super().close()

    def feed_data(self, data: Any, size: int = 0) -> None:
        """Receive the headers of a response from the parser."""
        message, body = data
        if message.code >= 200 or message.code == 101:
            if self.body is not None:
                self.fail("more than one response")
                return
            self.body, self._is_chunked = body, bool(message.chunked)
        super().feed_data(data, size)

    def data_received(self, data: bytes) -> None:
        """Parse what arrived, and check the limits."""
        self._received_at = self._loop.time()
        if not data or not self._is_requested:  # the parser continues after a pause, or no parser is set yet
            super().data_received(data)
            return
        if self.is_idle:  # no request was sent: these bytes must not become the next response
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
        """Parse the headers, and return the position of the body in ``data``."""
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
            self._n_raw = self.body.total_bytes  # not 0 if the empty line arrived in two parts
        return at

    def _read_body(self, data: bytes) -> None:
        """Parse a part of the body."""
        body = self.body
        self._n_raw += len(data)
        super().data_received(data)
        if body is None or body.is_eof():
            return
        error = self.exception()
        if error is not None:  # of the parser; aiohttp raises it only while headers are awaited
            body.set_exception(Failed("bad_answer", error_line(error)))
        elif self._n_raw - body.total_bytes > MAX_FRAMING + body.total_bytes // 16:
            self.fail("too many framing bytes")

    def fail(self, detail: str, *, cause: str = "bad_answer") -> None:
        """End the response with an error, and close the connection."""
        failed = Failed(cause, detail)
        self.set_exception(failed)
        if self.body is not None:
            self.body.set_exception(failed)
        if self.transport is not None:
            self.transport.abort()

    def is_silent(self, gap_s: float) -> bool:
        """Whether an expected response sent no data for ``gap_s`` seconds while the connection was being read."""
        return self._is_requested and not self._is_paused and self._loop.time() - self._received_at > gap_s

    def resume_reading(self, *args: Any, **more: Any) -> None:
        """Continue the parser, but do not read while paused. aiohttp calls this when its buffer has free space."""
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
        self._is_paused, self._received_at = False, self._loop.time()
        if self.transport is not None:
            self.transport.resume_reading()


class Connector(TCPConnector):
    """Opens connections with limits, closes silent connections, and limits the number of idle connections.

    Args:
        resolver: DNS resolver that returns allowed IP addresses.
        max_idle: Maximum number of idle connections.
        gap_s: Seconds without data after which a request fails.
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
        self._check_connections()

    def _check_connections(self) -> None:
        """Close silent connections and surplus idle connections, and schedule the next check."""
        if self.closed:
            return
        idle = []
        for connection in list(self.opened):
            if connection.is_idle:
                idle.append(connection)
            elif connection.is_silent(self._gap_s):
                connection.fail(f"no data for {self._gap_s:g} s", cause="silent")
        for connection in idle[: max(0, len(idle) - self._max_idle)]:
            connection.close()
        self._loop.call_later(CHECK_EVERY_S, self._check_connections)


class Deadline:
    """Ends the block of ``async with`` after a number of seconds, even while data arrives.

    Args:
        seconds: Time limit in seconds of wall time.

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
    """Return the message of an error on one line."""
    return " ".join(str(error).split())[:120] or type(error).__name__

"""One connection of HTTP/1.1: one question at a time, bytes and silences limited, nothing unpacked.

No more than a download needs, which is what makes it cheap: GET alone, no cookies, no proxies, redirects told but not
followed. Answers are taken apart by llhttp, the parser of Node.js, as patiently as browsers do it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BufferedWriter
from pathlib import Path

import httptools

from fieldmark.core.files import told_disk_faults
from fieldmark.downloads.causes import Failed
from fieldmark.downloads.watch import TICK_S, Watch

IN_MEMORY = 256 * 2**10
"""A longer body goes to the disk while it comes, so that many at once do not fill the memory."""
MOST_HEAD = 64 * 2**10
TRICKLE, MOST_TRICKLES = 512, 8
"""After so many parts of so few bytes an answer is read now and then: waking up costs more than a byte is worth."""
PAUSE_TICKS = 4

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
        self._pause = 0

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
        if self._pause:
            self.heard_at = self._watch.now  # it may well speak, it is we who do not listen
            self._pause -= 1
            if not self._pause:
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
                self._pause = PAUSE_TICKS
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

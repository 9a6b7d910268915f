"""One address asked: redirects by hand, every step checked, bytes and time limited, nothing unpacked."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from yarl import URL

from fieldmark import __version__
from fieldmark.downloads.addresses import CheckedResolver, Resolver, SystemResolver, address, check_number
from fieldmark.downloads.causes import Failed, of_status
from fieldmark.downloads.robots import MOST_BYTES, Robots
from fieldmark.downloads.specs import Fetching
from fieldmark.downloads.watch import Watch
from fieldmark.downloads.wire import Reply
from fieldmark.downloads.wires import Wires

OURS = {"User-Agent": f"fieldmark/{__version__}", "Accept": "image/*,*/*;q=0.5"}
BROWSER = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept": "image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5",
    "Accept-Language": "en-US,en;q=0.5",
    "Sec-Fetch-Dest": "image",
    "Sec-Fetch-Mode": "no-cors",
    "Sec-Fetch-Site": "cross-site",
}
_PRIVATE_HEADERS = {"authorization", "cookie", "proxy-authorization"}
_REDIRECTS = {301, 302, 303, 307, 308}


@dataclass(frozen=True)
class Known:
    """What an address said of its photo before: it need not send the same one again."""

    etag: str | None = None
    last_modified: str | None = None


@dataclass(frozen=True)
class Answer:
    """What an address gave.

    Attributes:
        status: 200, or 304 for a photo that is as ``Known``.
        body: The bytes as sent, or the file they were written to; empty with 304.
        packing: Content-Encoding, if the host packed the bytes though we asked it not to.
        content_type: As the host says; not to be trusted.
        etag: For the next question.
        last_modified: Likewise.
        every_s: Seconds that the host wants between two questions.
    """

    status: int
    body: bytes | Path
    packing: str
    content_type: str
    etag: str | None
    last_modified: str | None
    every_s: float = 0.0


class Asker:
    """Asks addresses; to be entered within the event loop.

    Args:
        fetching: Limits and manners.
        aside: A folder for long bodies.
        resolver: Who looks names up; None for the system.
    """

    def __init__(self, fetching: Fetching, *, aside: Path, resolver: Resolver | None = None) -> None:
        self._fetching = fetching
        self._aside = aside
        self._robots = Robots(self._robots_file) if fetching.obey_robots else None
        common = {**(BROWSER if fetching.like_browser else OURS), "Accept-Encoding": "identity"}
        given = {name.lower() for name, _ in fetching.headers}
        headers = {name: value for name, value in common.items() if name.lower() not in given}
        headers |= {name: value for name, value in fetching.headers if name.lower() not in _PRIVATE_HEADERS}
        self._names_host = "host" in given
        self._common = _lines(headers.items())
        self._private = {name.title(): value for name, value in fetching.headers if name.lower() in _PRIVATE_HEADERS}
        self._watch = Watch()
        checked = CheckedResolver(resolver or SystemResolver(), allow_private=fetching.allow_private)
        self._wires = Wires(
            self._watch,
            checked,
            connect_s=fetching.connect_s,
            gap_s=fetching.gap_s,
            most_idle=fetching.n_at_once,
        )
        self._watch.at_tick = self._wires.look

    async def __aenter__(self) -> Self:
        self._watch.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watch.stop()
        await self._wires.close()

    async def ask(self, url: str, *, key: int, known: Known | None = None) -> Answer:
        """What the address gives.

        Args:
            url: As in the table.
            key: A number of its own, for the file of a long body.
            known: What it gave before; then 304 may be the answer.

        Raises:
            Failed: It gave no bytes that might be a photo.
        """
        file = self._aside / f"{key}.part"
        try:
            async with self._watch.limit(self._fetching.total_s):
                return await self._follow(
                    address(url), file=file, known=known, robots=self._robots, most_bytes=self._fetching.max_bytes
                )
        except TimeoutError as error:
            raise Failed("too_slow", f"more than {self._fetching.total_s:g} s") from error

    async def _robots_file(self, url: URL) -> bytes:
        """The bytes of a robots.txt."""
        try:
            async with self._watch.limit(self._fetching.total_s):
                answer = await self._follow(url, file=None, known=None, robots=None, most_bytes=MOST_BYTES)
        except TimeoutError as error:
            raise Failed("too_slow", f"{url.host}/robots.txt") from error
        return answer.body if isinstance(answer.body, bytes) else b""

    async def _follow(
        self, url: URL, *, file: Path | None, known: Known | None, robots: Robots | None, most_bytes: int
    ) -> Answer:
        """The end of the redirects; each step is checked as the first was."""
        first, seen = url, {url}
        every_s = 0.0
        while True:
            if not self._fetching.allow_private:
                check_number(url)
            if robots is not None:
                every_s = max(every_s, await robots.check(url))
            request = self._request(url, known, is_first=len(seen) == 1 or url.origin() == first.origin())
            reply = await self._wires.ask(url, request, file=file, most_bytes=most_bytes)
            if reply.status not in _REDIRECTS:
                return _taken(reply, url, every_s=every_s)
            target = reply.headers.get("location", "")
            if not target:
                raise Failed("bad_answer", "a redirect that leads nowhere", status=reply.status)
            url = address(target, base=url)
            if url in seen:
                raise Failed("redirect_loop", str(url.host), status=reply.status)
            if len(seen) > self._fetching.max_redirects:
                raise Failed("too_many_redirects", f"more than {self._fetching.max_redirects}", status=reply.status)
            seen.add(url)

    def _request(self, url: URL, known: Known | None, *, is_first: bool) -> bytes:
        """What is sent to an address; what is private only if it is at the first host."""
        own = {} if self._names_host else {"Host": url.host_port_subcomponent or ""}
        if known is not None:
            own |= _conditions(known)
        if is_first:
            if url.user or url.password:
                pair = f"{url.user or ''}:{url.password or ''}".encode()
                own["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
            own |= self._private
        return b"GET %b HTTP/1.1\r\n%b%b\r\n" % (url.raw_path_qs.encode("ascii"), _lines(own.items()), self._common)


def _taken(reply: Reply, url: URL, *, every_s: float) -> Answer:
    """The answer at the end of the redirects.

    Raises:
        Failed: Its status is no success.
    """
    status, headers = reply.status, reply.headers
    if not reply.is_wanted:
        wait_s = _wait_s(headers.get("retry-after"))
        raise Failed(of_status(status), reply.reason, status=status, wait_s=wait_s, host=url.host)
    return Answer(
        status=status,
        body=reply.body,
        packing=headers.get("content-encoding", "").strip().lower(),
        content_type=headers.get("content-type", "").partition(";")[0].strip().lower(),
        etag=headers.get("etag"),
        last_modified=headers.get("last-modified"),
        every_s=every_s,
    )


def _lines(headers: Iterable[tuple[str, str]]) -> bytes:
    """Headers as they are sent."""
    return "".join(f"{name}: {value}\r\n" for name, value in headers).encode("utf-8", "replace")


def _conditions(known: Known) -> dict[str, str]:
    """The headers that let a host answer 304; never what would end a line, whatever the host said before."""
    conditions = {"If-None-Match": known.etag, "If-Modified-Since": known.last_modified}
    return {name: value for name, value in conditions.items() if value and not re.search(r"[\x00-\x1f\x7f]", value)}


def _wait_s(text: str | None) -> float | None:
    """The seconds that ``Retry-After`` asks for, given as such or as a date.

    Example:
        >>> _wait_s("120"), _wait_s("soon"), _wait_s("Fri, 31 Dec 1999 23:59:59 GMT")
        (120.0, None, 0.0)
    """
    if not text:
        return None
    if text.strip().isdecimal():
        return float(text.strip()[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None

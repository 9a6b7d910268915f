"""Requests for photos: each redirect is checked like the first address; bytes and time are limited."""

from __future__ import annotations

import asyncio
import base64
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from fieldmark import __version__
from fieldmark.core.files import disk_errors
from fieldmark.downloads.addresses import CheckedResolver, address, check_number
from fieldmark.downloads.causes import Failed, of_status
from fieldmark.downloads.connections import MAX_HEAD, READ_SIZE, Connector, Deadline, error_line
from fieldmark.downloads.robots import MOST_BYTES, Robots
from fieldmark.downloads.specs import Fetching

OURS = {"User-Agent": f"fieldmark/{__version__}", "Accept": "image/*,*/*;q=0.5"}
BROWSER = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept": "image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5",
    "Accept-Language": "en-US,en;q=0.5",
    "Sec-Fetch-Dest": "image",
    "Sec-Fetch-Mode": "no-cors",
    "Sec-Fetch-Site": "cross-site",
}
_HARMLESS = {"accept", "accept-language", "referer", "user-agent"}
"""Of the headers that a user gives, these alone are also sent to another host; others may hold a secret."""
IN_MEMORY = 256 * 2**10
"""A longer body goes to the disk while it arrives, so that many at once do not fill the memory."""
_REDIRECTS = {301, 302, 303, 307, 308}
_CAUSES = (
    (aiohttp.ClientSSLError, "no_trust"),
    (TimeoutError, "connect_timeout"),
    (aiohttp.ClientConnectorError, "no_connection"),
    (aiohttp.ClientPayloadError, "truncated"),
    (aiohttp.ClientConnectionError, "hung_up"),
    (aiohttp.InvalidURL, "bad_address"),
)
"""The causes that errors of aiohttp stand for, the most special first; all others are ``bad_answer``."""


@dataclass(frozen=True)
class Known:
    """What an address said of its photo before: it need not send the same one again."""

    etag: str | None = None
    last_modified: str | None = None


@dataclass(frozen=True)
class HttpAnswer:
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


class Fetcher:
    """Asks addresses; to be entered within the event loop.

    Args:
        fetching: Limits and manners.
        aside: A folder for long bodies.
        resolver: Looks up host names; None uses the system's resolver.
    """

    def __init__(self, fetching: Fetching, *, aside: Path, resolver: AbstractResolver | None = None) -> None:
        self._fetching = fetching
        self._aside = aside
        self._resolver = resolver
        self._robots = Robots(self._robots_file) if fetching.obey_robots else None
        self._given = dict(fetching.headers)
        self._harmless = {name: value for name, value in fetching.headers if name.lower() in _HARMLESS}

    async def __aenter__(self) -> Self:
        fetching = self._fetching
        self._checked = CheckedResolver(
            self._resolver or aiohttp.ThreadedResolver(), allow_private=fetching.allow_private
        )
        self._connector = Connector(self._checked, max_idle=fetching.n_at_once, gap_s=fetching.gap_s)
        self._session = aiohttp.ClientSession(
            connector=self._connector,
            headers={**(BROWSER if fetching.like_browser else OURS), "Accept-Encoding": "identity"},
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(sock_connect=fetching.connect_s),
            read_bufsize=READ_SIZE,
            max_line_size=MAX_HEAD,
            max_field_size=MAX_HEAD,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()
        await self._checked.close()
        await asyncio.sleep(0)  # transports close at the next turn of the loop

    async def ask(self, url: str, *, key: int, known: Known | None = None) -> HttpAnswer:
        """Request an address and return its answer.

        Args:
            url: As in the table.
            key: A number of its own, for the file of a long body.
            known: What it gave before; then 304 may be the answer.

        Raises:
            Failed: It gave no bytes that might be a photo.
            RunError: The disk is full or fails.
        """
        try:
            async with Deadline(self._fetching.total_s):
                first = address(url)
                password = _password(first)
                shared = self._harmless if known is None else _conditions(known) | self._harmless
                return await self._follow(
                    first.with_user(None) if password else first,
                    own={**shared, **password, **self._given},
                    shared=shared,
                    robots=self._robots,
                    file=self._aside / f"{key}.part",
                    max_bytes=self._fetching.max_bytes,
                )
        except TimeoutError as error:
            raise Failed("too_slow", f"more than {self._fetching.total_s:g} s") from error

    async def _robots_file(self, url: URL) -> bytes:
        """The bytes of a robots.txt, requested without any header that the user gave."""
        try:
            async with Deadline(self._fetching.total_s):
                answer = await self._follow(url, own={}, shared={}, robots=None, file=None, max_bytes=MOST_BYTES)
        except TimeoutError as error:
            raise Failed("too_slow", f"{url.host}/robots.txt") from error
        return answer.body if isinstance(answer.body, bytes) else b""

    async def _follow(
        self,
        url: URL,
        *,
        own: Mapping[str, str],
        shared: Mapping[str, str],
        robots: Robots | None,
        file: Path | None,
        max_bytes: int,
    ) -> HttpAnswer:
        """The answer at the end of the redirects, each of which is checked as the first address is.

        Args:
            url: Where to begin, without a password.
            own: Headers for the origin (scheme, host and port) of that address.
            shared: Headers for any other.
            robots: The rules to obey; None obeys none.
            file: Where a long body goes; None keeps it in memory.
            max_bytes: Of the body.
        """
        first, seen, headers = url, {url}, own
        every_s = 0.0
        while True:
            if not self._fetching.allow_private:
                check_number(url)
            if robots is not None:
                every_s = max(every_s, await robots.check(url))
            found = await self._request(url, headers, every_s=every_s, file=file, max_bytes=max_bytes)
            if isinstance(found, HttpAnswer):
                return found
            status, target = found
            if not target:
                raise Failed("bad_answer", "a redirect that leads nowhere", status=status)
            url = address(target, base=url)
            if url in seen:
                raise Failed("redirect_loop", str(url.host), status=status)
            if len(seen) > self._fetching.max_redirects:
                raise Failed("too_many_redirects", f"more than {self._fetching.max_redirects}", status=status)
            seen.add(url)
            headers = own if url.origin() == first.origin() else shared

    async def _request(
        self, url: URL, headers: Mapping[str, str], *, every_s: float, file: Path | None, max_bytes: int
    ) -> HttpAnswer | tuple[int, str]:
        """The answer of one address, or the status and target of a redirect.

        Raises:
            Failed: There is no proper answer, or its status is no success.
        """
        status: int | None = None
        try:
            async with self._session.get(url, headers=headers, allow_redirects=False) as response:
                status = response.status
                if status in _REDIRECTS:
                    return status, _header(response, "Location")
                return await _answer(response, every_s=every_s, file=file, max_bytes=max_bytes)
        except Failed as failed:
            failed.status = failed.status or status
            raise
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            cause = next((cause for kind, cause in _CAUSES if isinstance(error, kind)), "bad_answer")
            raise Failed(cause, f"{url.host}: {error_line(error)}", status=status) from error


async def _answer(response: aiohttp.ClientResponse, *, every_s: float, file: Path | None, max_bytes: int) -> HttpAnswer:
    """The answer with its body.

    Raises:
        Failed: Its status is no success, or it is too large.
    """
    status = response.status
    if not (200 <= status < 300 or status == 304):
        wait_s = _wait_s(_header(response, "Retry-After"))
        raise Failed(of_status(status), _clean(response.reason), wait_s=wait_s, host=response.url.host)
    return HttpAnswer(
        status=status,
        body=await _body(response, file, max_bytes),
        packing=_header(response, "Content-Encoding").strip().lower(),
        content_type=_header(response, "Content-Type").partition(";")[0].strip().lower(),
        etag=_header(response, "ETag") or None,
        last_modified=_header(response, "Last-Modified") or None,
        every_s=every_s,
    )


async def _body(response: aiohttp.ClientResponse, file: Path | None, max_bytes: int) -> bytes | Path:
    """The body of an answer: its bytes, or the file that a long one was written to.

    Raises:
        Failed: It is too large.
        RunError: The disk is full or fails.
    """
    announced = response.content_length
    if announced is not None and announced > max_bytes and response.status != 304:
        raise Failed("too_large", f"{announced:,} bytes announced")
    parts: list[bytes] = []
    n_bytes, written = 0, None
    try:
        while part := await response.content.readany():
            parts.append(part)
            n_bytes += len(part)
            if n_bytes > max_bytes:
                raise Failed("too_large", f"more than {max_bytes:,} bytes")  # noqa: TRY301 - one way out
            if file is not None and n_bytes > IN_MEMORY:
                with disk_errors(file):
                    written = written or file.open("wb")
                    written.writelines(parts)
                parts.clear()
    except BaseException:
        if written is not None and file is not None:
            written.close()
            file.unlink(missing_ok=True)
        raise
    if written is None or file is None:
        return b"".join(parts)
    with disk_errors(file):
        written.close()
    return file


def _header(response: aiohttp.ClientResponse, name: str) -> str:
    """The first header of that name; "" where there is none."""
    return _clean(response.headers.get(name))


def _clean(text: str | None) -> str:
    """The text with bytes that are no UTF-8, which aiohttp keeps as surrogates, replaced: they cannot be stored."""
    return text if text and text.isascii() else (text or "").encode("utf-8", "replace").decode()


def _password(url: URL) -> dict[str, str]:
    """The header that carries the name and password of an address."""
    if not (url.user or url.password):
        return {}
    pair = f"{url.user or ''}:{url.password or ''}".encode()
    return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}


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

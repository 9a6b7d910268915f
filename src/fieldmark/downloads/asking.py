"""HTTP requests for photos: every redirect is checked like the first URL, and bytes and time are limited."""

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
"""User headers that are also sent to other hosts after a redirect; all others may contain a secret."""
IN_MEMORY = 256 * 2**10
"""Largest body kept in memory, in bytes; longer bodies are written to disk while they arrive."""
_REDIRECTS = {301, 302, 303, 307, 308}
_CAUSES = (
    (aiohttp.ClientSSLError, "no_trust"),
    (TimeoutError, "connect_timeout"),
    (aiohttp.ClientConnectorError, "no_connection"),
    (aiohttp.ClientPayloadError, "truncated"),
    (aiohttp.ClientConnectionError, "hung_up"),
    (aiohttp.InvalidURL, "bad_address"),
)
"""Causes of aiohttp errors, the most specific first; all other errors are ``bad_answer``."""


@dataclass(frozen=True)
class Known:
    """Headers of an earlier response, for a conditional request that skips an unchanged photo."""

    etag: str | None = None
    last_modified: str | None = None


@dataclass(frozen=True)
class HttpAnswer:
    """Response of a URL.

    Attributes:
        status: HTTP status: 200, or 304 if the photo has not changed.
        body: Received bytes, or the file that they were written to; empty with 304.
        packing: Content-Encoding, if the host compressed the body although the request forbids it.
        content_type: Content-Type as sent by the host; it may be wrong.
        etag: ETag for the next conditional request.
        last_modified: Last-Modified for the next conditional request.
        every_s: Seconds between two requests that the host requires.
    """

    status: int
    body: bytes | Path
    packing: str
    content_type: str
    etag: str | None
    last_modified: str | None
    every_s: float = 0.0


class Fetcher:
    """HTTP client for photos. Use it as an asynchronous context manager.

    Args:
        fetching: Settings of the download.
        aside: Folder for long bodies.
        resolver: DNS resolver; None uses the resolver of the system.
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
        await asyncio.sleep(0)  # transports close in the next iteration of the event loop

    async def ask(self, url: str, *, key: int, known: Known | None = None) -> HttpAnswer:
        """Request a URL and return its response.

        Args:
            url: URL as in the table.
            key: Unique number, used in the file name of a long body.
            known: Headers of an earlier response; the status may then be 304.

        Raises:
            Failed: The response contains no photo.
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
        """Return the bytes of a robots.txt, requested without any user header."""
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
        """Follow redirects and return the final response. Every redirect is checked like the first URL.

        Args:
            url: First URL, without a password.
            own: Headers for the origin (scheme, host and port) of the first URL.
            shared: Headers for all other origins.
            robots: The robots.txt rules to obey; None obeys none.
            file: File for a long body; None keeps the body in memory.
            max_bytes: Maximum size of the body.
        """
        first, visited, headers = url, {url}, own
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
                raise Failed("bad_answer", "a redirect without a target", status=status)
            url = address(target, base=url)
            if url in visited:
                raise Failed("redirect_loop", str(url.host), status=status)
            if len(visited) > self._fetching.max_redirects:
                raise Failed("too_many_redirects", f"more than {self._fetching.max_redirects}", status=status)
            visited.add(url)
            headers = own if url.origin() == first.origin() else shared

    async def _request(
        self, url: URL, headers: Mapping[str, str], *, every_s: float, file: Path | None, max_bytes: int
    ) -> HttpAnswer | tuple[int, str]:
        """Return the response of one URL, or the status and target of a redirect.

        Raises:
            Failed: The response is invalid, or its status is an error.
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
    """Return the response with its body.

    Raises:
        Failed: The status is an error, or the body is too large.
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
    """Return the body of a response: its bytes, or the file of a long body.

    Raises:
        Failed: The body is too large.
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
    """Return the first header with this name; "" if there is none."""
    return _clean(response.headers.get(name))


def _clean(text: str | None) -> str:
    """Replace invalid UTF-8 bytes, which aiohttp keeps as surrogates, because they cannot be stored."""
    return text if text and text.isascii() else (text or "").encode("utf-8", "replace").decode()


def _password(url: URL) -> dict[str, str]:
    """Return the header with the user name and password of a URL."""
    if not (url.user or url.password):
        return {}
    pair = f"{url.user or ''}:{url.password or ''}".encode()
    return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}


def _conditions(known: Known) -> dict[str, str]:
    """Return the headers of a conditional request; values with control characters are omitted."""
    conditions = {"If-None-Match": known.etag, "If-Modified-Since": known.last_modified}
    return {name: value for name, value in conditions.items() if value and not re.search(r"[\x00-\x1f\x7f]", value)}


def _wait_s(text: str | None) -> float | None:
    """Return the seconds of ``Retry-After``, which may be a number or a date; None if it is invalid.

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

"""One address asked: redirects by hand, every step checked, bytes and time limited, nothing unpacked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp.abc import AbstractResolver
from multidict import CIMultiDict
from yarl import URL

from fieldmark import __version__
from fieldmark.download.addresses import CheckedResolver, address, check_number
from fieldmark.download.causes import Failed, of_status
from fieldmark.download.robots import MOST_BYTES, Robots
from fieldmark.download.specs import Fetching

IN_MEMORY = 256 * 2**10
"""A longer body goes to the disk while it comes, so that many at once do not fill the memory."""
OURS = {"User-Agent": f"fieldmark/{__version__}", "Accept": "image/*,*/*;q=0.5"}
BROWSER = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept": "image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5",
    "Accept-Language": "en-US,en;q=0.5",
    "Sec-Fetch-Dest": "image",
    "Sec-Fetch-Mode": "no-cors",
    "Sec-Fetch-Site": "cross-site",
}
_PRIVATE_HEADERS = ("Authorization", "Cookie", "Proxy-Authorization")
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
    """Asks addresses over one session; to be entered within the event loop.

    Args:
        fetching: Limits and manners.
        aside: A folder for long bodies.
        resolver: Who looks names up; None for the system.
    """

    def __init__(self, fetching: Fetching, *, aside: Path, resolver: AbstractResolver | None = None) -> None:
        self._fetching = fetching
        self._aside = aside
        self._inner = resolver
        self._robots = Robots(self._robots_file) if fetching.obey_robots else None
        self._headers = CIMultiDict(BROWSER if fetching.like_browser else OURS)
        self._headers["Accept-Encoding"] = "identity"
        self._headers.update(fetching.headers)
        self._private = {name: self._headers.popone(name) for name in _PRIVATE_HEADERS if name in self._headers}

    async def __aenter__(self) -> Self:
        resolver = CheckedResolver(
            self._inner or aiohttp.ThreadedResolver(), allow_private=self._fetching.allow_private
        )
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(resolver=resolver, limit=0, ttl_dns_cache=60),
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=self._fetching.connect_s, sock_read=self._fetching.gap_s
            ),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=self._headers,
            requote_redirect_url=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

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
            async with asyncio.timeout(self._fetching.total_s):
                return await self._follow(
                    address(url), file=file, known=known, robots=self._robots, most_bytes=self._fetching.max_bytes
                )
        except TimeoutError as error:
            raise Failed("too_slow", f"more than {self._fetching.total_s:g} s") from error

    async def _robots_file(self, url: URL) -> bytes:
        """The bytes of a robots.txt."""
        try:
            async with asyncio.timeout(self._fetching.total_s):
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
            headers = _conditions(known) if known else {}
            if url.origin() == first.origin():
                headers |= self._private
            with _told(url):
                async with self._session.get(url, allow_redirects=False, headers=headers) as response:
                    if response.status not in _REDIRECTS:
                        return await self._taken(response, file=file, most_bytes=most_bytes, every_s=every_s)
                    target = response.headers.get("Location", "")
            if not target:
                raise Failed("bad_answer", "a redirect that leads nowhere", status=response.status)
            url = address(target, base=url)
            if url in seen:
                raise Failed("redirect_loop", str(url.host), status=response.status)
            if len(seen) > self._fetching.max_redirects:
                raise Failed("too_many_redirects", f"more than {self._fetching.max_redirects}", status=response.status)
            seen.add(url)

    async def _taken(
        self, response: aiohttp.ClientResponse, *, file: Path | None, most_bytes: int, every_s: float
    ) -> Answer:
        """The body of an answer, as long as it may be."""
        status, headers = response.status, response.headers
        if status != 304 and not 200 <= status < 300:
            wait_s = _wait_s(headers.get("Retry-After"))
            raise Failed(of_status(status), response.reason or "", status=status, wait_s=wait_s, host=response.host)
        if (response.content_length or 0) > most_bytes:
            raise Failed("too_large", f"{response.content_length:,} bytes announced", status=status)
        body = b"" if status == 304 else await self._body(response, file=file, most_bytes=most_bytes)
        return Answer(
            status=status,
            body=body,
            packing=headers.get("Content-Encoding", "").strip().lower(),
            content_type=headers.get("Content-Type", "").partition(";")[0].strip().lower(),
            etag=headers.get("ETag"),
            last_modified=headers.get("Last-Modified"),
            every_s=every_s,
        )

    async def _body(self, response: aiohttp.ClientResponse, *, file: Path | None, most_bytes: int) -> bytes | Path:
        """The bytes in memory, or in ``file`` once they are many."""
        parts: list[bytes] = []
        n_bytes, opened = 0, None
        try:
            async for part in response.content.iter_any():
                n_bytes += len(part)
                if n_bytes > most_bytes:
                    raise Failed("too_large", f"more than {most_bytes:,} bytes", status=response.status)  # noqa: TRY301 - the file must go
                if opened is not None:
                    opened.write(part)
                    continue
                parts.append(part)
                if n_bytes > IN_MEMORY and file is not None:
                    opened = file.open("wb")
                    opened.writelines(parts)
                    parts.clear()
        except BaseException:
            if opened is not None and file is not None:
                file.unlink(missing_ok=True)
            raise
        finally:
            if opened is not None:
                opened.close()
        return b"".join(parts) if opened is None or file is None else file


def _conditions(known: Known) -> dict[str, str]:
    """The headers that let a host answer 304."""
    conditions = {"If-None-Match": known.etag, "If-Modified-Since": known.last_modified}
    return {name: value for name, value in conditions.items() if value}


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


@contextmanager
def _told(url: URL) -> Iterator[None]:
    """Whatever goes wrong on the way becomes one cause."""
    try:
        yield
    except aiohttp.ConnectionTimeoutError as error:
        raise Failed("connect_timeout", str(url.host)) from error
    except aiohttp.ServerTimeoutError as error:
        raise Failed("silent", str(url.host)) from error
    except aiohttp.ClientError as error:
        raise Failed(_cause(error), f"{url.host}: {_words(error)}") from error
    except (ValueError, UnicodeError) as error:
        raise Failed("bad_address", f"{url.host}: {_words(error)}") from error
    except OSError as error:
        if isinstance(error, TimeoutError):  # of the time for the whole address; told by who set it
            raise
        raise Failed("no_connection", f"{url.host}: {_words(error)}") from error


_CAUSES: Mapping[type[Exception], str] = {
    aiohttp.ClientConnectorDNSError: "no_host",
    aiohttp.ClientSSLError: "no_trust",
    aiohttp.ClientConnectorError: "no_connection",
    aiohttp.ServerDisconnectedError: "hung_up",
    aiohttp.ClientOSError: "hung_up",
    aiohttp.ClientPayloadError: "truncated",
    aiohttp.InvalidURL: "bad_address",
}


def _cause(error: aiohttp.ClientError) -> str:
    """The first kind in the list that the error is of."""
    return next((cause for kind, cause in _CAUSES.items() if isinstance(error, kind)), "bad_answer")


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__

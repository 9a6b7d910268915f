"""Rules of robots.txt files, read once per host."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from urllib.robotparser import RobotFileParser

from yarl import URL

from fieldmark.downloads.causes import Failed

AGENT = "fieldmark"
MOST_BYTES = 512 * 2**10
"""Maximum size of a robots.txt, in bytes; RFC 9309 requires at least 500 KiB."""
FAILURE_LASTS_S = 30.0


class Robots:
    """The robots.txt rules of hosts, as in RFC 9309. A host without the file allows everything.

    A host whose file cannot be read because of a failure gets no requests.

    Args:
        fetch: Returns the bytes of a URL and follows redirects; raises ``Failed``.
    """

    def __init__(self, fetch: Callable[[URL], Awaitable[bytes]]) -> None:
        self._fetch = fetch
        self._rules: dict[URL, asyncio.Task[RobotFileParser | None]] = {}
        self._failed: dict[URL, float] = {}

    async def check(self, url: URL) -> float:
        """Check that robots.txt allows a URL. Return its crawl delay: the seconds between two requests.

        Raises:
            Failed: The URL is not allowed, or the robots.txt cannot be read.
        """
        origin = url.origin()
        if time.monotonic() > self._failed.get(origin, float("inf")):
            del self._rules[origin], self._failed[origin]
        if origin not in self._rules:
            self._rules[origin] = asyncio.create_task(self._read(origin))
            # Reads the exception, because asyncio logs an error if no task retrieves it.
            self._rules[origin].add_done_callback(lambda task: task.cancelled() or task.exception())
        reading = self._rules[origin]
        # Many tasks wait for one file; shield() keeps the request running if one of them is cancelled.
        rules = reading.result() if reading.done() else await asyncio.shield(reading)
        if rules is None:
            return 0.0
        if not rules.can_fetch(AGENT, str(url)):
            raise Failed("robots", f"{origin.host}/robots.txt")
        return float(rules.crawl_delay(AGENT) or 0)

    async def _read(self, origin: URL) -> RobotFileParser | None:
        try:
            text = await self._fetch(origin.with_path("/robots.txt"))
        except Failed as failed:
            answered = failed.status is not None and failed.status < 500 and failed.status != 429
            if answered or failed.cause.name in {"too_large", "redirect_loop", "too_many_redirects"}:
                return None
            self._failed[origin] = time.monotonic() + FAILURE_LASTS_S
            raise
        rules = RobotFileParser()
        rules.parse(text.decode("utf-8", "replace").splitlines())
        return rules

"""What a host's robots.txt asks of us; read once a host."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from urllib.robotparser import RobotFileParser

from yarl import URL

from fieldmark.downloads.causes import Failed

AGENT = "fieldmark"
MOST_BYTES = 512 * 2**10
"""RFC 9309 asks for at least 500 KiB."""
FAILURE_LASTS_S = 30.0


class Robots:
    """The rules of hosts, as RFC 9309 has them: no file is leave for all; a host that fails to tell is not asked.

    Args:
        fetch: Gives the bytes at an address, redirects followed; raises ``Failed``.
    """

    def __init__(self, fetch: Callable[[URL], Awaitable[bytes]]) -> None:
        self._fetch = fetch
        self._rules: dict[URL, asyncio.Task[RobotFileParser | None]] = {}
        self._failed: dict[URL, float] = {}

    async def check(self, url: URL) -> float:
        """Refuse an address that the host does not want asked; give the seconds it wants between two questions.

        Raises:
            Failed: It is not wanted, or the host cannot be reached for its rules.
        """
        origin = url.origin()
        if time.monotonic() > self._failed.get(origin, float("inf")):
            del self._rules[origin], self._failed[origin]
        if origin not in self._rules:
            self._rules[origin] = asyncio.create_task(self._read(origin))
            # Perhaps nobody waits for the outcome any more, and asyncio would complain about an error not looked at.
            self._rules[origin].add_done_callback(lambda task: task.cancelled() or task.exception())
        reading = self._rules[origin]
        # Many wait for one file: who gives up must not take it from the others.
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

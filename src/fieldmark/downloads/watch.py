"""A clock for the patience with others: it goes on only while this machine lets us listen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType

TICK_S = 0.25
MOST_A_TICK_S = 2 * TICK_S
"""A tick that comes later than that was held up by our own machine, which is not the fault of who was asked."""


class Limit:
    """How long something may take; no generator, which would cost each question as much as all of its parsing.

    Args:
        limits: Where the watch keeps those that count.
        until: Its time when this is over.

    Raises:
        TimeoutError: It took longer.
    """

    def __init__(self, limits: dict[asyncio.Timeout, float], until: float) -> None:
        self._limits = limits
        self._until = until

    async def __aenter__(self) -> None:
        self._timeout = asyncio.timeout(None)
        await self._timeout.__aenter__()
        self._limits[self._timeout] = self._until

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._limits.pop(self._timeout, None)
        await self._timeout.__aexit__(kind, error, trace)


class Watch:
    """Counts the seconds that others had to answer; to be entered within the event loop.

    A wait ends at most two ticks late. Where the machine is too busy to run us at all, the clock stands still, so that
    answers that lie here unread do not count as late.

    Attributes:
        now: Seconds counted.
        at_tick: Called after each tick.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.at_tick: Callable[[], None] = lambda: None
        self._limits: dict[asyncio.Timeout, float] = {}

    def start(self) -> None:
        """Begin to count."""
        self._loop = asyncio.get_running_loop()
        self._seen_at = self._loop.time()
        self._next = self._loop.call_later(TICK_S, self._tick)

    def stop(self) -> None:
        """Count no more."""
        self._next.cancel()

    def limit(self, seconds: float) -> Limit:
        """End what is done within (``async with``) after so many seconds of this clock, with a TimeoutError."""
        # The tick that is under way does not count.
        return Limit(self._limits, self.now + seconds + TICK_S)

    def _tick(self) -> None:
        self._next = self._loop.call_later(TICK_S, self._tick)
        seen_at = self._loop.time()
        self.now += min(seen_at - self._seen_at, MOST_A_TICK_S)
        self._seen_at = seen_at
        for timeout in [timeout for timeout, at in self._limits.items() if at <= self.now]:
            del self._limits[timeout]
            timeout.reschedule(seen_at)
        self.at_tick()

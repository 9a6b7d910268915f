"""A clock for the patience with others: it goes on only while this machine lets us listen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

TICK_S = 0.25
MOST_A_TICK_S = 2 * TICK_S
"""A tick that comes later than that was held up by our own machine, which is not the fault of who was asked."""


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

    @asynccontextmanager
    async def limit(self, seconds: float) -> AsyncIterator[None]:
        """End what is done within after so many seconds of this clock.

        Raises:
            TimeoutError: It took longer.
        """
        async with asyncio.timeout(None) as timeout:
            self._limits[timeout] = self.now + seconds + TICK_S  # the tick that is under way does not count
            try:
                yield
            finally:
                self._limits.pop(timeout, None)

    def _tick(self) -> None:
        self._next = self._loop.call_later(TICK_S, self._tick)
        seen_at = self._loop.time()
        self.now += min(seen_at - self._seen_at, MOST_A_TICK_S)
        self._seen_at = seen_at
        for timeout in [timeout for timeout, at in self._limits.items() if at <= self.now]:
            del self._limits[timeout]
            timeout.reschedule(seen_at)
        self.at_tick()

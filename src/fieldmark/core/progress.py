"""What a long job tells while it runs; the doors choose how it looks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

Item = TypeVar("Item")


class Progress(Protocol):
    """Where a room tells how far it is. Rooms never print."""

    def say(self, text: str) -> None:
        """Tell one line that stays."""

    def track(self, items: Iterable[Item], *, total: int, what: str) -> Iterator[Item]:
        """Pass ``items`` through, showing how many of ``total`` are done, the rate and the time left."""


class Quiet:
    """Tells nothing; the default of every room."""

    def say(self, text: str) -> None:
        """Drop the line."""

    def track(self, items: Iterable[Item], *, total: int, what: str) -> Iterator[Item]:  # noqa: ARG002 - protocol
        """Pass ``items`` through."""
        yield from items


QUIET = Quiet()

"""The page of near-duplicates: photos of the same picture, and pairs of identities that may be one individual."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fieldmark.reporting.contents import Fact, SkippedFile, Tile
from fieldmark.reporting.rendering import SMALL, aspect, rendered
from fieldmark.reporting.thumbnails import thumbnail_if_readable


@dataclass(frozen=True)
class DuplicateSheet:
    """One picture: a verdict about the names of its photos, and some of the ``n_photos`` photos that show it."""

    verdict: str
    is_conflict: bool
    tiles: tuple[Tile, ...]
    n_photos: int


@dataclass(frozen=True)
class PairSheet:
    """Two identities that may be one individual, the reason, and some photos of each."""

    first: str
    second: str
    why: str
    tiles: tuple[Tile, ...] = ()


@dataclass(frozen=True)
class DuplicatesPage:
    """Content of the page of near-duplicates. Empty attributes have no section on the page.

    ``n_pictures`` and ``n_suggested`` are total numbers; ``pictures`` and ``suggested`` may hold only the first ones.
    """

    title: str
    summary: str
    facts: tuple[Fact, ...] = ()
    pictures: tuple[DuplicateSheet, ...] = ()
    n_pictures: int = 0
    suggested: tuple[PairSheet, ...] = ()
    n_suggested: int = 0
    broken: tuple[SkippedFile, ...] = ()


def duplicates_page(page: DuplicatesPage) -> str:
    """Return the page as one HTML text. It loads nothing, runs no script, and escapes every name.

    A picture that cannot be read is shown as an empty frame.
    """
    pictures = [{"row": one, "tiles": _tiles(one.tiles)} for one in page.pictures]
    suggested = [{"row": one, "tiles": _tiles(one.tiles)} for one in page.suggested]
    sections = (
        ("facts", "At a glance", page.facts),
        ("suggested", "Possible same individuals", page.suggested),
        ("pictures", "Same pictures", page.pictures),
        ("broken", "Unreadable files", page.broken),
    )
    return rendered(
        "duplicates.html",
        page=page,
        sections=sections,
        aspect=aspect([pictures, suggested]),
        pictures=pictures,
        suggested=suggested,
    )


def _tiles(tiles: Sequence[Tile]) -> list[dict[str, Any]]:
    return [{"row": tile, "picture": thumbnail_if_readable(tile.picture, **SMALL)} for tile in tiles]

"""The page about near-duplicates: photos of one picture side by side, and identities that may be one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fieldmark.reporting.contents import Fact, SkippedFile, Tile
from fieldmark.reporting.rendering import SMALL, aspect, rendered
from fieldmark.reporting.thumbnails import thumbnail_if_readable


@dataclass(frozen=True)
class DuplicateSheet:
    """One picture: what its photos' names say together, and some of the ``n_photos`` that show it."""

    verdict: str
    is_conflict: bool
    tiles: tuple[Tile, ...]
    n_photos: int


@dataclass(frozen=True)
class PairSheet:
    """Two identities that may be one, why, and some photos of each."""

    first: str
    second: str
    why: str
    tiles: tuple[Tile, ...] = ()


@dataclass(frozen=True)
class DuplicatesPage:
    """Everything the page of near-duplicates shows; what is left empty is left out.

    ``n_pictures`` and ``n_suggested`` count all there are, of which ``pictures`` and ``suggested`` are the first.
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
    """The page as one HTML text: no network, no script, every name inert.

    A picture that cannot be read is shown as an empty frame.
    """
    pictures = [{"row": one, "tiles": _tiles(one.tiles)} for one in page.pictures]
    suggested = [{"row": one, "tiles": _tiles(one.tiles)} for one in page.suggested]
    sections = (
        ("facts", "At a glance", page.facts),
        ("suggested", "Perhaps one", page.suggested),
        ("pictures", "Pictures", page.pictures),
        ("broken", "Broken", page.broken),
    )
    return rendered(
        "duplicates.html",
        page=page,
        sections=[(anchor, words) for anchor, words, content in sections if content],
        aspect=aspect([pictures, suggested]),
        pictures=pictures,
        suggested=suggested,
    )


def _tiles(tiles: Sequence[Tile]) -> list[dict[str, Any]]:
    return [{"row": tile, "picture": thumbnail_if_readable(tile.picture, **SMALL)} for tile in tiles]

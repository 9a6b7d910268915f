"""Content of the near-duplicates page, and the CSV files with the same results."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fieldmark.data.collection import Collection
from fieldmark.quality.duplicates.finding import NearDuplicates, PerhapsOne, Picture
from fieldmark.reporting.contents import Fact, Tile
from fieldmark.reporting.duplicate_pages import DuplicateSheet, DuplicatesPage, PairSheet
from fieldmark.reporting.exports import write_answers_csv
from fieldmark.reporting.pictures import picture
from fieldmark.reporting.wording import counted

DUPLICATES = (
    *("picture", "table", "image", "file", "name", "verdict"),
    *("width_px", "height_px", "largest"),
)
"""Columns of the CSV file of near-duplicates."""
IDENTITIES = ("first", "second", "pictures_shared", "cosine", "score", "decision")
TAKEN_OVER = ("image", "identity")

MOST_PICTURES = 60
MOST_PAIRS = 30
MOST_TILES = 6
N_EACH = 3


def duplicate_facts(found: NearDuplicates) -> tuple[Fact, ...]:
    """Return the counts for the page and the terminal."""
    n_photos = sum(len(one.duplicates) for one in found.pictures)
    verdicts = [one.verdict for one in found.pictures]
    both = f"{found.n_known:,} and {found.n_new:,} new" if found.n_new else ""
    lines = [
        Fact("Photos", f"{found.n_known + found.n_new:,}", both),
        Fact("Groups of near-duplicates", f"{len(found.pictures):,}", f"{n_photos:,} photos in total"),
        Fact("Groups with two names", f"{verdicts.count('two names'):,}", "at least one of the names is wrong"),
        Fact(
            "Groups both named and unknown",
            f"{verdicts.count('unknown and named'):,}",
            "the name or the unknown label is wrong",
        ),
        Fact("Possible duplicate names", f"{len(found.suggested):,}", "pairs of names; check them by eye"),
        Fact(
            "Similar but different pictures",
            f"{found.n_different:,}",
            f"of {found.n_compared:,} pairs with near hashes; their pixels differ",
        ),
    ]
    if found.n_new:
        n_across = sum(one.crosses for one in found.pictures)
        lines.insert(
            2, Fact("Groups in both tables", f"{n_across:,}", "the same picture is in the known and the new photos")
        )
    if found.broken:
        lines.append(Fact("Broken files", f"{len(found.broken):,}", "left out"))
    return tuple(lines)


def duplicate_page(found: NearDuplicates, known: Collection, new: Collection | None = None) -> DuplicatesPage:
    """Return the content of the page: conflicts first, then pairs of names with photos of each.

    Args:
        found: Result of the search in ``known`` and ``new``.
        known: The first table.
        new: The second table, if there was one.
    """
    tables = {"known": known} | ({"new": new} if new is not None else {})
    n_conflicts = len(found.conflicts)
    summary = f"{counted(len(found.pictures), 'group', 'groups')} of near-duplicate photos."
    if n_conflicts:
        summary += f" {counted(n_conflicts, 'group has', 'groups have')} names that contradict each other."
    return DuplicatesPage(
        title=" and ".join(photos.name for photos in tables.values()),
        summary=summary,
        facts=duplicate_facts(found),
        pictures=tuple(_sheet(one, tables) for one in found.pictures[:MOST_PICTURES]),
        n_pictures=len(found.pictures),
        suggested=tuple(_pair(one, known) for one in found.suggested[:MOST_PAIRS]),
        n_suggested=len(found.suggested),
        broken=found.broken,
    )


def why(one: PerhapsOne) -> str:
    """Return the reasons why two names may belong to one individual."""
    reasons = [f"{counted(one.n_shared, 'picture')} in common"] if one.n_shared else []
    reasons += [f"cosine similarity {one.cosine:.3f}"] if math.isfinite(one.cosine) else []
    return ", ".join(reasons)


def write_duplicates(path: Path, found: NearDuplicates) -> None:
    """Write one row per photo; near-duplicates share a picture number. Formulas are escaped for spreadsheets."""
    rows = [
        (
            number,
            duplicate.source,
            duplicate.image,
            duplicate.file,
            duplicate.name,
            one.verdict,
            duplicate.width_px,
            duplicate.height_px,
            keep,
        )
        for number, one in enumerate(found.pictures, start=1)
        for duplicate in one.duplicates
        for keep in ("yes" if duplicate.largest else "no",)
    ]
    write_answers_csv(path, rows, DUPLICATES, for_people=True)


def write_identities(path: Path, found: NearDuplicates) -> None:
    """Write pairs of names that may belong to one individual, with an empty column for the decision of a person."""
    rows = [
        (
            one.first,
            one.second,
            one.n_shared,
            round(one.cosine, 4) if math.isfinite(one.cosine) else None,
            round(one.score, 4),
            "",
        )
        for one in found.suggested
    ]
    write_answers_csv(path, rows, IDENTITIES, for_people=True)


def write_taken_over(path: Path, found: NearDuplicates) -> None:
    """Write the names that new photos can take from their near-duplicates. Names are written unchanged."""
    write_answers_csv(path, found.taken_over, TAKEN_OVER, for_people=False)


def _sheet(one: Picture, tables: Mapping[str, Collection]) -> DuplicateSheet:
    tiles = tuple(
        Tile(
            duplicate.image,
            picture(tables[duplicate.source], duplicate.row),
            ", ".join(part for part in (duplicate.name, "new" if duplicate.source == "new" else "") if part),
        )
        for duplicate in one.duplicates[:MOST_TILES]
    )
    return DuplicateSheet(one.verdict, one.is_conflict, tiles, len(one.duplicates))


def _pair(one: PerhapsOne, known: Collection) -> PairSheet:
    tiles = tuple(
        Tile(known.images[row], picture(known, row), name)
        for name in (one.first, one.second)
        for row in np.flatnonzero((known.table["identity"] == name).fill_null(value=False).to_numpy())[:N_EACH].tolist()
    )
    return PairSheet(one.first, one.second, why(one), tiles)

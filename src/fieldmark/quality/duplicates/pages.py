"""What the page about near-duplicates shows, and the tables of them."""

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
"""The columns of the table of near-duplicates."""
IDENTITIES = ("first", "second", "pictures_shared", "cosine", "score", "decision")
TAKEN_OVER = ("image", "identity")

MOST_PICTURES = 60
MOST_PAIRS = 30
MOST_TILES = 6
N_EACH = 3


def duplicate_facts(found: NearDuplicates) -> tuple[Fact, ...]:
    """The counts, for the page and for the terminal."""
    n_photos = sum(len(one.duplicates) for one in found.pictures)
    verdicts = [one.verdict for one in found.pictures]
    both = f"{found.n_known:,} and {found.n_new:,} new" if found.n_new else ""
    lines = [
        Fact("Photos", f"{found.n_known + found.n_new:,}", both),
        Fact("Pictures in several photos", f"{len(found.pictures):,}", f"{n_photos:,} photos show them"),
        Fact("Under two names", f"{verdicts.count('two names'):,}", "pictures; at least one of the names is wrong"),
        Fact(
            "Named, and of an unknown individual",
            f"{verdicts.count('unknown and named'):,}",
            "pictures; both cannot be right",
        ),
        Fact("Perhaps one individual", f"{len(found.suggested):,}", "pairs of names, for you to judge"),
        Fact(
            "Near and yet others",
            f"{found.n_refused:,}",
            f"of {found.n_looked:,} pairs with near hashes, told apart by their pixels",
        ),
    ]
    if found.n_new:
        n_across = sum(one.crosses for one in found.pictures)
        lines.insert(2, Fact("In both tables", f"{n_across:,}", "pictures: what is learnt from one tells the other"))
    if found.broken:
        lines.append(Fact("Broken files", f"{len(found.broken):,}", "left out"))
    return tuple(lines)


def duplicate_page(found: NearDuplicates, known: Collection, new: Collection | None = None) -> DuplicatesPage:
    """What the page shows: conflicts first, suggested identities with photos of each.

    Args:
        found: In ``known`` and ``new``.
        known: The table.
        new: The other table, if there was one.
    """
    tables = {"known": known} | ({"new": new} if new is not None else {})
    n_conflicts = len(found.conflicts)
    summary = f"{counted(len(found.pictures), 'picture lies', 'pictures lie')} in several photos."
    if n_conflicts:
        summary += f" {counted(n_conflicts, 'of them carries', 'of them carry')} names that contradict each other."
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
    """Why two names may be one, in words."""
    reasons = [f"{counted(one.n_shared, 'picture')} in common"] if one.n_shared else []
    reasons += [f"similar: {one.cosine:.3f}"] if math.isfinite(one.cosine) else []
    return ", ".join(reasons)


def write_duplicates(path: Path, found: NearDuplicates) -> None:
    """Write one row a photo, harmless in a spreadsheet; photos of one picture share its number."""
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
    """Write pairs of names that may be one, with an empty column for what a person decides."""
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
    """Write the names that new photos take over from their near-duplicates, to the letter."""
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

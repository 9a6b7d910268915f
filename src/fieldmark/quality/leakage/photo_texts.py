"""Ids that stand written in the photos of a table: what a model could read there instead of looking."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from fieldmark.core.progress import QUIET, Progress
from fieldmark.data.collection import Collection
from fieldmark.images.texts import ReadText, texts
from fieldmark.quality.duplicates.finding import Source
from fieldmark.quality.inspecting import names_given
from fieldmark.quality.leakage.written_ids import Meaning, written_ids
from fieldmark.reporting.contents import Fact
from fieldmark.reporting.exports import write_answers_csv

COLUMNS = ("table", "image", "file", "name", "written", "is_name", "meaning", "line")


@dataclass(frozen=True, slots=True)
class PhotoText:
    """An id written in a photo; ``written``, ``is_name`` and ``meaning`` are those of ``clean.written_ids.Written``."""

    source: Source
    image: str
    file: str
    name: str
    written: str
    is_name: str
    meaning: Meaning
    line: str


def read_ids(
    known: Collection,
    new: Collection | None,
    reader: ReadText,
    *,
    pattern: str | None = None,
    progress: Progress = QUIET,
) -> tuple[PhotoText, ...]:
    """The ids written in photos of one table or two; names of ``known`` are looked for in both.

    Args:
        known: A table; names may be missing.
        new: Another table, or None.
        reader: Of the text.
        pattern: How ids look; see ``written_ids``.
        progress: Told as photos are done.

    Raises:
        FieldmarkError: ``pattern`` is no regular expression.
    """
    written_ids([], [], [], pattern=pattern)  # a wrong pattern is told before hours of reading
    tables: tuple[tuple[Source, Collection | None], ...] = (("known", known), ("new", new))
    found: list[PhotoText] = []
    for source, photos in tables:
        if photos is None:
            continue
        names, files = names_given(photos), photos.table["file"].to_list()
        lines = texts(photos.paths, reader, progress=progress)
        for one in written_ids(lines, names, known.vocabulary.identities, pattern=pattern):
            told = (photos.images[one.row], files[one.row], names[one.row])
            found.append(PhotoText(source, *told, one.found, one.name, one.meaning, one.text))
    return tuple(found)


def text_fact(found: tuple[PhotoText, ...]) -> Fact:
    """In how many photos an id stands, and what that means."""
    n = Counter(one.meaning for one in found)
    n_photos = len({(one.source, one.image) for one in found})
    note = ", ".join(f"{count:,} {meaning}" for meaning, count in n.most_common())
    return Fact("Photos with an id in them", f"{n_photos:,}", f"{note}: a model may read them" if note else "")


def write_texts(path: Path, found: tuple[PhotoText, ...]) -> None:
    """Write one row an id, harmless in a spreadsheet."""
    rows = [
        (one.source, one.image, one.file, one.name, one.written, one.is_name, one.meaning, one.line) for one in found
    ]
    write_answers_csv(path, rows, COLUMNS, for_people=True)

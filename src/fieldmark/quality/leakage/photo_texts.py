"""Find ids written in the photos of a table. A model could read them instead of using the picture."""

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
    """An id written in a photo; ``written``, ``is_name`` and ``meaning`` are those of ``WrittenId``."""

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
    """Return the ids written in the photos of one or two tables. The names of ``known`` are searched in both.

    Args:
        known: The first table; names may be missing.
        new: The second table, or None.
        reader: Text recogniser.
        pattern: Regular expression for ids; see ``written_ids``.
        progress: Receives the number of finished photos.

    Raises:
        FieldmarkError: ``pattern`` is not a regular expression.
    """
    written_ids([], [], [], pattern=pattern)  # reports a wrong pattern before hours of reading
    tables: tuple[tuple[Source, Collection | None], ...] = (("known", known), ("new", new))
    found: list[PhotoText] = []
    for source, photos in tables:
        if photos is None:
            continue
        names, files = names_given(photos), photos.table["file"].to_list()
        lines = texts(photos.paths, reader, progress=progress)
        for one in written_ids(lines, names, known.vocabulary.identities, pattern=pattern):
            photo = (photos.images[one.row], files[one.row], names[one.row])
            found.append(PhotoText(source, *photo, one.found, one.name, one.meaning, one.text))
    return tuple(found)


def text_fact(found: tuple[PhotoText, ...]) -> Fact:
    """Return the number of photos with a written id, and the number of ids of each meaning."""
    n = Counter(one.meaning for one in found)
    n_photos = len({(one.source, one.image) for one in found})
    note = ", ".join(f"{count:,} {meaning}" for meaning, count in n.most_common())
    return Fact("Photos with an id in them", f"{n_photos:,}", f"{note}; a model may read them" if note else "")


def write_texts(path: Path, found: tuple[PhotoText, ...]) -> None:
    """Write one row per id. Formulas are escaped for spreadsheets."""
    rows = [
        (one.source, one.image, one.file, one.name, one.written, one.is_name, one.meaning, one.line) for one in found
    ]
    write_answers_csv(path, rows, COLUMNS, for_people=True)

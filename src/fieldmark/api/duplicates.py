"""The kinds' half for near-duplicates: photos of one picture, whatever the files are called."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from fieldmark.api.guards import INSTALL, run_of, vacant
from fieldmark.api.photos import Reading, look_up
from fieldmark.core.errors import FieldmarkError
from fieldmark.core.progress import Progress, ShowProgress, shown_by

if TYPE_CHECKING:
    from fieldmark.data.collection import Collection
    from fieldmark.images.texts import Engine, ReadText
    from fieldmark.quality.duplicates.finding import NearDuplicates

MOST_BITS = 16


def duplicates(
    data: Collection | Path | str,
    *,
    new: Collection | Path | str | None = None,
    out: Path | str | None = None,
    html: Path | str | None = None,
    identities: Path | str | None = None,
    transfer: Path | str | None = None,
    texts: Path | str | None = None,
    pattern: str | None = None,
    ocr: Engine = "rapidocr",
    run: Path | str | None = None,
    within: int = 6,
    force: bool = False,
    n_workers: int = 2,
    progress: ShowProgress = None,
    **reading: Unpack[Reading],
) -> NearDuplicates:
    """Photos that show one and the same picture, resized, saved anew or renamed; in one table or across two.

    Near hashes say where to look, the pixels decide. Nothing is changed: what contradicts itself, and which names may
    be one individual, is listed for you to judge.

    Args:
        data: A table, a folder of folders, or a collection; names may be missing.
        new: Other photos, which may repeat those of ``data``.
        out: The CSV to write, one row a photo that has a near-duplicate. None writes none, here and below.
        html: The page to write, with photos side by side.
        identities: The CSV to write of pairs of names that may be one individual.
        transfer: The CSV to write of names that new photos take over from their near-duplicates. In a contest that is a leak.
        texts: The CSV to write of ids that stand written in photos: names of the table, and what fits ``pattern``.
            Every photo is read for text, which takes up to a second each.
        pattern: How ids look in photos, as a regular expression over capitals and digits, such as ``HWC[0-9]{3}``.
        ocr: Who reads them: ``rapidocr`` (the extra ``text``), or ``tesseract`` (a program of the machine).
        run: A run of these individuals, to suggest also names that look like one to its networks.
        within: Bits of 64 in which the hashes may differ of photos that are compared, 0 to 16.
        force: Whether existing files may be written over.
        n_workers: Threads that read photos.
        progress: Show a bar: None in a terminal or notebook only, True always, False never.
        **reading: How to read ``data``; see ``fieldmark.api.photos.Reading``. ``new`` shares the encoding, and whether
            photos may lie outside.

    Returns:
        The pictures, conflicts first, and the suggestions. Files that cannot be read are listed in it.

    Raises:
        DataError: There is no table or folder of photos.
        RunError: A file to write exists, or no run of individuals lies at ``run``.
        FieldmarkError: ``within`` is no such number, ``transfer`` is asked for without ``new`` or ``pattern`` without
            ``texts``, or a package is missing.
    """
    progress = shown_by(progress)
    if not 0 <= within <= MOST_BITS:
        raise FieldmarkError(
            "Photos are compared whose hashes differ in a few of 64 bits.",
            got=f"within={within}",
            fix="use --within 6.",
        )
    if transfer is not None and new is None:
        raise FieldmarkError(
            "Names are taken over by new photos, and there are none.", got=transfer, fix="name them: --new PHOTOS."
        )
    if pattern is not None and texts is None:
        raise FieldmarkError(
            "A pattern is for ids read in photos, and they are not to be read.",
            got=pattern,
            fix="add --texts texts.csv.",
        )
    if find_spec("numba") is None:
        raise FieldmarkError("Comparing hashes needs a package that is not installed.", got="numba", fix=INSTALL)
    paths = (out, html, identities, transfer, texts)
    table, page_file, names, given, written = (vacant(path, force=force) for path in paths)
    opened = None if run is None else run_of(run, "identification", instead="leave out --run.")
    from fieldmark.images.texts import text_reader
    from fieldmark.quality.duplicates import pages
    from fieldmark.quality.duplicates.finding import find_duplicates
    from fieldmark.reporting.duplicate_pages import duplicates_page
    from fieldmark.reporting.pages import write_page
    from fieldmark.tasks.identification.likeness import likeness_of

    reader = None if written is None else text_reader(ocr)  # what it lacks is told before hours of comparing
    known = _photos(data, reading, progress)
    shared: Reading = {name: reading[name] for name in ("encoding", "allow_outside") if name in reading}  # type: ignore[misc, assignment]
    others = None if new is None else _photos(new, shared if isinstance(new, Path | str) else {}, progress)
    likeness = None if opened is None else likeness_of(opened)
    found = find_duplicates(known, others, within=within, likeness=likeness, n_workers=n_workers, progress=progress)
    if table is not None:
        pages.write_duplicates(table, found)
    if names is not None:
        pages.write_identities(names, found)
    if given is not None:
        pages.write_taken_over(given, found)
    if written is not None and reader is not None:
        _write_ids(written, known, others, reader, pattern=pattern, progress=progress)
    if page_file is not None:
        write_page(page_file, duplicates_page(pages.duplicate_page(found, known, others)))
    return found


def _write_ids(
    path: Path,
    known: Collection,
    others: Collection | None,
    reader: ReadText,
    *,
    pattern: str | None,
    progress: Progress,
) -> None:
    """Read the ids in photos, write them, and say how many there are."""
    from fieldmark.quality.leakage.photo_texts import read_ids, text_fact, write_texts

    found = read_ids(known, others, reader, pattern=pattern, progress=progress)
    write_texts(path, found)
    fact = text_fact(found)
    progress.say(f"{fact.name}: {fact.value} ({fact.note})" if fact.note else f"{fact.name}: {fact.value}")


def _photos(data: Collection | Path | str, reading: Reading, progress: Progress) -> Collection:
    """The good rows; how many others there are is told."""
    found = look_up(data, labelled=False, reading=reading)
    if found.mistakes:
        progress.say(f"left out: {len(found.mistakes):,} places in the table; `fieldmark inspect` shows them")
    return found.collection

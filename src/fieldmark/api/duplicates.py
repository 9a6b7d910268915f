"""The function ``duplicates``: photos of the same picture, whatever their file names are."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from fieldmark.api.guards import INSTALL, open_run, writable_path
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
    """Find near-duplicates: photos of the same picture, resized, saved again or renamed, in one table or across two.

    Similar hashes propose pairs, and the pixels decide. Nothing is changed. Conflicting names, and names that may be
    one individual, are listed for you to decide.

    Args:
        data: A table, a folder of folders, or a collection; names may be missing.
        new: Other photos to compare with those of ``data``.
        out: CSV file to write, one row per photo that has a near-duplicate; None: no file, here and below.
        html: HTML page to write, with the photos side by side.
        identities: CSV file to write: pairs of names that may be one individual.
        transfer: CSV file to write: the names of near-duplicates for unnamed new photos. In a contest this is a leak.
        texts: CSV file to write: identifiers that are visible in photos, which are names of the table or match
            ``pattern``. Text recognition takes up to a second per photo.
        pattern: Regular expression of identifiers over capitals and digits, such as ``HWC[0-9]{3}``.
        ocr: Text recognition: ``rapidocr`` (the extra ``text``), or ``tesseract`` (a program of the machine).
        run: Run of these individuals, whose networks also suggest names that may be one individual.
        within: Maximum number of differing bits (of 64) between the hashes of compared photos, 0 to 16.
        force: Whether to overwrite existing files.
        n_workers: Number of image-loading threads.
        progress: Whether to show a progress bar; None: only in a terminal or notebook.
        **reading: Options to read ``data``; see ``fieldmark.api.photos.Reading``. ``encoding`` and ``allow_outside``
            also apply to ``new``.

    Returns:
        The groups of near-duplicates, conflicts first, the suggested names, and the files that cannot be read.

    Raises:
        DataError: ``data`` or ``new`` does not exist.
        RunError: A file to write exists, or ``run`` holds no run that identifies.
        FieldmarkError: ``within`` is out of range, ``transfer`` is given without ``new``, ``pattern`` is given without
            ``texts``, or a package is missing.
    """
    progress = shown_by(progress)
    if not 0 <= within <= MOST_BITS:
        raise FieldmarkError(
            f"--within must be from 0 to {MOST_BITS}.",
            got=f"within={within}",
            fix="use --within 6.",
        )
    if transfer is not None and new is None:
        raise FieldmarkError("--transfer needs new photos.", got=transfer, fix="add --new PHOTOS.")
    if pattern is not None and texts is None:
        raise FieldmarkError(
            "--pattern needs --texts.",
            got=pattern,
            fix="add --texts texts.csv.",
        )
    if find_spec("numba") is None:
        raise FieldmarkError("duplicates needs a package that is not installed.", got="numba", fix=INSTALL)
    paths = (out, html, identities, transfer, texts)
    table, page_file, names, given, written = (writable_path(path, force=force) for path in paths)
    opened = None if run is None else open_run(run, "identification", instead="leave out --run.")
    from fieldmark.images.texts import text_reader
    from fieldmark.quality.duplicates import pages
    from fieldmark.quality.duplicates.finding import find_duplicates
    from fieldmark.reporting.duplicate_pages import duplicates_page
    from fieldmark.reporting.pages import write_page
    from fieldmark.tasks.identification.likeness import likeness_of

    reader = None if written is None else text_reader(ocr)  # reports missing packages before hours of comparing
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
    """Recognise identifiers in photos, write them, and report their number."""
    from fieldmark.quality.leakage.photo_texts import read_ids, text_fact, write_texts

    found = read_ids(known, others, reader, pattern=pattern, progress=progress)
    write_texts(path, found)
    fact = text_fact(found)
    progress.say(f"{fact.name}: {fact.value} ({fact.note})" if fact.note else f"{fact.name}: {fact.value}")


def _photos(data: Collection | Path | str, reading: Reading, progress: Progress) -> Collection:
    """Return the valid rows, and report the number of errors in the table."""
    found = look_up(data, labelled=False, reading=reading)
    if found.mistakes:
        progress.say(f"left out: {len(found.mistakes):,} errors in the table; `fieldmark inspect` lists them")
    return found.collection

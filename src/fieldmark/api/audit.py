"""The kind *audit*: how well can answers be guessed from what is not the picture?"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from fieldmark.api.duplicates import MOST_BITS
from fieldmark.api.guards import INSTALL, vacant
from fieldmark.api.photos import Reading
from fieldmark.core.errors import FieldmarkError
from fieldmark.core.progress import Progress, ShowProgress, shown_by

if TYPE_CHECKING:
    from fieldmark.data.collection import Collection
    from fieldmark.quality.leakage.auditing import Audit, AuditPhotos

LEAST_MOST = 100


def audit(
    data: Collection | Path | str,
    *,
    new: Collection | Path | str | None = None,
    targets: Sequence[str] = (),
    side_features: Sequence[str] = (),
    within: int = 0,
    most_photos: int = 20_000,
    seed: int = 0,
    out: Path | str | None = None,
    html: Path | str | None = None,
    force: bool = False,
    n_workers: int = 2,
    progress: ShowProgress = None,
    **reading: Unpack[Reading],
) -> Audit:
    """How well answers can be guessed from addresses, file names, sizes, cameras, encoders, order, and copies.

    Each side feature is tried on photos that it has not learnt from, and compared with always giving the commonest answer.
    Pictures are looked at only for the hash by which copies are found. Files may be missing.

    Args:
        data: A table, a folder of folders, or a collection: photos with names, labels or answers to questions.
        new: New photos, to see whether they lie in the table already.
        targets: What to guess: ``identity``, ``known or unknown individual``, ``labels``, or a question; empty for all there is.
        side features: Further columns of the table to guess from.
        within: Bits of 64 in which the hashes may differ of photos that look the same, 0 to 16. Above 0 merely similar
            pictures are found too.
        most_photos: Of a larger table so many photos are drawn by lot to try side features on; at least 100.
        seed: Of the lot.
        out: The CSV to write, a row for each target and side feature; None writes none, here and below.
        html: The page to write.
        force: Whether existing files may be written over.
        n_workers: Threads that read files.
        progress: Show a bar: None in a terminal or notebook only, True always, False never.
        **reading: How to read ``data``; see ``fieldmark.api.photos.Reading``. ``new`` shares the encoding, and whether
            photos may lie outside.

    Raises:
        DataError: There is no table at ``data``, or it tells nothing that could be guessed.
        RunError: A file to write exists.
        FieldmarkError: ``within`` or ``most_photos`` is no such number, there is no target of a name, or a package is
            missing.
    """
    progress = shown_by(progress)
    if not 0 <= within <= MOST_BITS:
        raise FieldmarkError(
            "Photos look the same whose hashes differ in a few of 64 bits.",
            got=f"within={within}",
            fix="use --within 0.",
        )
    if most_photos < LEAST_MOST:
        raise FieldmarkError(
            "Side features need photos to be tried on.", got=f"most_photos={most_photos}", fix="use --most 20000."
        )
    missing = [name for name in ("sklearn", *(["numba"] if within else [])) if find_spec(name) is None]
    if missing:
        raise FieldmarkError("An audit needs packages that are not installed.", got=", ".join(missing), fix=INSTALL)
    table, page_file = vacant(out, force=force), vacant(html, force=force)
    from fieldmark.quality.leakage import audit_pages, auditing
    from fieldmark.reporting.leak_pages import leaks_page
    from fieldmark.reporting.pages import write_page

    shared: Reading = {name: reading[name] for name in ("encoding", "allow_outside") if name in reading}  # type: ignore[misc, assignment]
    found = auditing.audit_side_features(
        _photos(data, reading, progress),
        None if new is None else _photos(new, shared if isinstance(new, Path | str) else {}, progress),
        only=targets,
        columns=side_features,
        within=within,
        most_photos=most_photos,
        seed=seed,
        n_workers=n_workers,
        progress=progress,
    )
    if table is not None:
        audit_pages.write_gains(table, found)
    if page_file is not None:
        write_page(page_file, leaks_page(audit_pages.audit_page(found)))
    return found


def _photos(data: Collection | Path | str, reading: Reading, progress: Progress) -> AuditPhotos:
    """All rows that say something, whether or not their files are there, and the files that are.

    Raises:
        FieldmarkError: Reading options were given for what is a collection already.
    """
    from fieldmark.api.photos import look_up
    from fieldmark.data.collection import Collection
    from fieldmark.data.reading import survey
    from fieldmark.quality.leakage.auditing import AuditPhotos

    if isinstance(data, Collection):
        found = look_up(data, labelled=False, reading=reading).collection
        return AuditPhotos(found, _there(found))
    options: dict[str, Any] = {name: each for name, each in reading.items() if name not in {"skip_broken", "boxes"}}
    options = {**_asked(Path(data)), **options}
    rows = survey(data, check_files=False, **options)
    if rows.mistakes:
        progress.say(f"left out: {len(rows.mistakes):,} places in the table; `fieldmark inspect` shows them")
    return AuditPhotos(rows.collection, _there(rows.collection))


def _there(photos: Collection) -> list[Path | None]:
    """The files of photos; None where there is none."""
    return [path if path.is_file() else None for path in photos.paths]


def _asked(path: Path) -> dict[str, Any]:
    """How a path is read: names in a table may be missing, names that are folders may not."""
    from fieldmark.data.layouts import recognise
    from fieldmark.data.questions import FILE

    if not path.exists() or recognise(path)[0] == "folders":
        return {"labelled": True}
    beside = (path if path.is_dir() else path.parent) / FILE
    return {"labelled": False, **({"questions": beside} if beside.is_file() else {})}

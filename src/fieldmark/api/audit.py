"""The function ``audit``: how well do side features predict the labels without the image?"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from fieldmark.api.duplicates import MOST_BITS
from fieldmark.api.guards import INSTALL, writable_path
from fieldmark.api.photos import Reading
from fieldmark.core.errors import FieldmarkError
from fieldmark.core.progress import Progress, ShowProgress, shown_by

if TYPE_CHECKING:
    from fieldmark.data.collection import Collection
    from fieldmark.quality.leakage.auditing import Audit, AuditPhotos

MIN_PHOTOS = 100
"""Smallest value of ``most_photos``."""


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
    """Measure how well the labels of a table are predictable without the image, to find leaks.

    Side features are addresses, file names, sizes, cameras, encoders, the order of rows, and copies. Each is
    cross-validated and compared with a baseline that always predicts the most common answer. Images are read only for
    the hashes that find copies. Files may be missing.

    Args:
        data: A table, a folder of folders, or a collection: photos with names, labels or answers to questions.
        new: New photos, to find those that ``data`` already holds.
        targets: Targets to predict: ``identity``, ``known or unknown individual``, ``labels``, or a question; empty:
            all targets of the table.
        side_features: Additional columns of the table to predict from.
        within: Maximum number of differing bits (of 64) between the hashes of copies, 0 to 16. Values above 0 also
            find pictures that are only similar.
        most_photos: Maximum number of photos for the side features, drawn at random from a larger table; at least 100.
        seed: Random seed.
        out: CSV file to write, one row per target and side feature; None: no file.
        html: HTML page to write; None: no page.
        force: Whether to overwrite existing files.
        n_workers: Number of file-reading threads.
        progress: Whether to show a progress bar; None: only in a terminal or notebook.
        **reading: Options to read ``data``; see ``fieldmark.api.photos.Reading``. ``encoding`` and ``allow_outside``
            also apply to ``new``.

    Raises:
        DataError: ``data`` does not exist, or has no labels to predict.
        RunError: A file to write exists.
        FieldmarkError: ``within`` or ``most_photos`` is out of range, a target does not exist, or a package is missing.
    """
    progress = shown_by(progress)
    if not 0 <= within <= MOST_BITS:
        raise FieldmarkError(
            f"--within must be from 0 to {MOST_BITS}.",
            got=f"within={within}",
            fix="use --within 0.",
        )
    if most_photos < MIN_PHOTOS:
        raise FieldmarkError(
            f"--most must be at least {MIN_PHOTOS} photos.", got=f"most_photos={most_photos}", fix="use --most 20000."
        )
    missing = [name for name in ("sklearn", *(["numba"] if within else [])) if find_spec(name) is None]
    if missing:
        raise FieldmarkError("audit needs packages that are not installed.", got=", ".join(missing), fix=INSTALL)
    table, page_file = writable_path(out, force=force), writable_path(html, force=force)
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
    """Return the valid rows of a table and the path of each existing file.

    Raises:
        FieldmarkError: Reading options are given for a collection.
    """
    from fieldmark.api.photos import look_up
    from fieldmark.data.collection import Collection
    from fieldmark.data.reading import survey
    from fieldmark.quality.leakage.auditing import AuditPhotos

    if isinstance(data, Collection):
        found = look_up(data, labelled=False, reading=reading).collection
        return AuditPhotos(found, _existing(found))
    options: dict[str, Any] = {name: each for name, each in reading.items() if name not in {"skip_broken", "boxes"}}
    options = {**_reader_options(Path(data)), **options}
    rows = survey(data, check_files=False, **options)
    if rows.mistakes:
        progress.say(f"left out: {len(rows.mistakes):,} errors in the table; `fieldmark inspect` lists them")
    return AuditPhotos(rows.collection, _existing(rows.collection))


def _existing(photos: Collection) -> list[Path | None]:
    """Return the path of each photo; None for a missing file."""
    return [path if path.is_file() else None for path in photos.paths]


def _reader_options(path: Path) -> dict[str, Any]:
    """Return the reading options for a path: a table may lack names, and a folder of folders may not."""
    from fieldmark.data.layouts import recognise
    from fieldmark.data.questions import FILE

    if not path.exists() or recognise(path)[0] == "folders":
        return {"labelled": True}
    questions = (path if path.is_dir() else path.parent) / FILE
    return {"labelled": False, **({"questions": questions} if questions.is_file() else {})}

"""The function ``boxes``: boxes around the subject of photos, by a ready method or a finder trained on clicks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from fieldmark.api.guards import need_torch, writable_path
from fieldmark.api.photos import Reading, gather
from fieldmark.core.errors import FieldmarkError
from fieldmark.core.progress import ShowProgress, shown_by

if TYPE_CHECKING:
    from fieldmark.data.collection import Collection
    from fieldmark.images.specs import Finder

METHODS = ("agreed", "grabcut", "features")
"""Methods that need no clicks."""


@dataclass(frozen=True)
class Located:
    """The result of ``boxes``.

    Attributes:
        n_photos: Number of photos.
        n_boxes: Number of photos with a box.
        named: Whether the table of the photos has names of individuals.
        finder: Settings of the finder, for a ``boxes`` stage or ``BoxCrop`` in a plan.
        errors: Cross-validated errors of a finder trained on clicks; empty otherwise.
        out: Path of the table; None if none was written.
        page: Path of the page; None if none was written.
    """

    n_photos: int
    n_boxes: int
    named: bool
    finder: Finder
    errors: Mapping[str, float] = field(default_factory=dict)
    out: Path | None = None
    page: Path | None = None


def boxes(
    data: Collection | Path | str,
    *,
    out: Path | str | None = None,
    by: str = "agreed",
    clicks: Path | str | None = None,
    save: Path | str | None = None,
    html: Path | str | None = None,
    masks: bool = False,
    force: bool = False,
    device: str = "auto",
    n_workers: int = 2,
    progress: ShowProgress = None,
    **reading: Unpack[Reading],
) -> Located:
    """Find the subject in each photo, and write a table of boxes that ``--boxes`` reads.

    Args:
        data: A table, a folder, a single photo or a collection; names and labels are not needed.
        out: CSV file to write; None: no file.
        by: ``agreed`` (GrabCut, checked by a network), ``grabcut``, ``features``, or the folder of a saved finder.
        clicks: Table of boxes or landmarks of some of these photos, to train a finder; ``by`` is then ignored.
        save: Folder for the trained finder; needed with ``clicks``.
        html: HTML page to write, with a sample of photos and their boxes; None: no page.
        masks: Whether to also write masks to the table.
        force: Whether to overwrite existing files.
        device: Device for networks: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        n_workers: Number of image-loading threads.
        progress: Whether to show a progress bar; None: only in a terminal or notebook.
        **reading: Options to read ``data``; see ``fieldmark.api.photos.Reading``.

    Raises:
        DataError: The photos or the clicks have errors; the error lists all.
        RunError: A file exists.
        FieldmarkError: ``by`` is neither a method nor the folder of a finder, or a package is missing.
    """
    progress = shown_by(progress)
    table, page = writable_path(out, force=force), writable_path(html, force=force)
    if clicks is not None and save is None:
        raise FieldmarkError(
            "--clicks needs --save, a folder for the trained finder.", got="no --save", fix="add --save finder."
        )
    need_torch()
    from fieldmark.quality.regions.finding import find_subjects, landmarks_given, marks_of

    photos = gather(data, labelled=False, reading=reading, n_workers=n_workers, progress=progress).collection
    pace = {"device": device, "n_workers": n_workers, "progress": progress}
    errors: Mapping[str, float] = {}
    if clicks is not None and save is not None:
        from fieldmark.data.marks import read_marks
        from fieldmark.quality.regions.clicks import learn_clicks

        finder, validated = learn_clicks(photos, read_marks(clicks), Path(save), **pace)  # type: ignore[arg-type]
        errors = validated.errors
    else:
        finder = finder_of(by)
    found = find_subjects(photos, finder, **pace)  # type: ignore[arg-type]
    if table is not None:
        from fieldmark.quality.regions.finding_pages import write_marks

        write_marks(table, marks_of(photos, found, points=landmarks_given(finder)), found, masks=masks)
    if page is not None:
        from fieldmark.quality.regions.finding_pages import sheet
        from fieldmark.reporting.pages import inspect_page, write_page

        write_page(page, inspect_page(sheet(photos, found, errors=errors, how=finder.kind)))
    n_boxes = sum(one.box is not None for one in found)
    return Located(len(photos), n_boxes, bool(photos.vocabulary.identities), finder, errors, table, page)


def finder_of(by: str) -> Finder:
    """Return the finder of a method, or the saved finder in a folder.

    Raises:
        FieldmarkError: ``by`` is neither.
    """
    from fieldmark.images.specs import Agreed, FeatureNorm, GrabCut, TrainedFinder
    from fieldmark.models.pinpoint import CARD, open_pinpointer

    if by in METHODS:
        return {"agreed": Agreed(), "grabcut": GrabCut(), "features": FeatureNorm()}[by]
    folder = Path(by)
    if not (folder / CARD).is_file():
        raise FieldmarkError(
            "--by is neither a method nor the folder of a finder.",
            got=by,
            fix=f"use {', '.join(METHODS)}, or a folder that `fieldmark boxes --clicks ... --save` wrote.",
        )
    return TrainedFinder(folder=by, sha256=open_pinpointer(folder).card.weights_sha256)

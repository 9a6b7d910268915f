"""The kind *boxes*: where the subject is on photos, found by the tool itself or learnt from clicks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from fieldmark.api.guards import need_torch, vacant
from fieldmark.api.photos import Reading, gather
from fieldmark.core.errors import FieldmarkError
from fieldmark.core.progress import ShowProgress, shown_by

if TYPE_CHECKING:
    from fieldmark.data.collection import Collection
    from fieldmark.images.specs import Finder

WAYS = ("agreed", "grabcut", "features")
"""Finders that need nobody's clicks."""


@dataclass(frozen=True)
class Located:
    """What ``boxes`` found.

    Attributes:
        n_photos: Photos looked at.
        n_boxes: Photos that have a box.
        named: Whether the photos' table says which individuals they show.
        finder: The settings that found them, as a plan's boxes stage and ``BoxCrop`` take them.
        errors: Of cross-validation, where clicks were learnt from.
        out: The table that was written, or None.
        page: The page that was written, or None.
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
    """Find the subject on every photo, and write a table of boxes that ``--boxes`` reads.

    Args:
        data: A table, a folder, a single photo or a collection; names and labels are not needed.
        out: The CSV to write; None writes none.
        by: ``agreed`` (GrabCut, checked by a network), ``grabcut``, ``features``, or the folder of a finder that was
            saved before.
        clicks: A table of boxes or landmarks of some of these photos, to learn a finder from; ``by`` then has no
            meaning.
        save: The folder of the learnt finder; needed with ``clicks``.
        html: A page with a sample of photos, boxes drawn; None writes none.
        masks: Also write masks into the table.
        force: Whether existing files may be written over.
        device: Where networks compute.
        n_workers: Threads.
        progress: Show a bar: None in a terminal or notebook only, True always, False never.
        **reading: See ``fieldmark.api.photos.Reading``.

    Raises:
        DataError: The photos or the clicks have mistakes; all are told.
        RunError: A file exists.
        FieldmarkError: There is no such finder, or a package is missing.
    """
    progress = shown_by(progress)
    table, page = vacant(out, force=force), vacant(html, force=force)
    if clicks is not None and save is None:
        raise FieldmarkError(
            "A finder that learns from clicks needs a folder to lie in.", got="no folder", fix="add --save finder."
        )
    need_torch()
    from fieldmark.quality.regions.finding import find_subjects, landmarks_given, marks_of

    photos = gather(data, labelled=False, reading=reading, n_workers=n_workers, progress=progress).collection
    pace = {"device": device, "n_workers": n_workers, "progress": progress}
    errors: Mapping[str, float] = {}
    if clicks is not None and save is not None:
        from fieldmark.data.marks import read_marks
        from fieldmark.quality.regions.clicks import learn_clicks

        finder, judged = learn_clicks(photos, read_marks(clicks), Path(save), **pace)  # type: ignore[arg-type]
        errors = judged.errors
    else:
        finder = chosen(by)
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


def chosen(by: str) -> Finder:
    """The finder of that name, or the one that was saved in that folder.

    Raises:
        FieldmarkError: There is none.
    """
    from fieldmark.images.specs import Agreed, FeatureNorm, GrabCut, TrainedFinder
    from fieldmark.models.pinpoint import CARD, open_pinpointer

    if by in WAYS:
        return {"agreed": Agreed(), "grabcut": GrabCut(), "features": FeatureNorm()}[by]
    folder = Path(by)
    if not (folder / CARD).is_file():
        raise FieldmarkError(
            "There is no finder of that name.",
            got=by,
            fix=f"use {', '.join(WAYS)}, or the folder of a finder that `fieldmark boxes --clicks ... --save` wrote.",
        )
    return TrainedFinder(folder=by, sha256=open_pinpointer(folder).card.weights_sha256)

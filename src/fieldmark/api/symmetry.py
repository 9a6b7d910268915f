"""The kind *flips*: whether mirrored photos show other individuals."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from fieldmark.api.guards import need_torch
from fieldmark.api.photos import Reading, gather
from fieldmark.core.errors import FieldmarkError
from fieldmark.core.progress import ShowProgress, shown_by

if TYPE_CHECKING:
    from fieldmark.data.collection import Collection
    from fieldmark.gallery.symmetry import SymmetryVerdict


def symmetry(
    data: Collection | Path | str,
    *,
    most_photos: int = 600,
    seed: int = 0,
    device: str = "auto",
    n_workers: int = 2,
    progress: ShowProgress = None,
    **reading: Unpack[Reading],
) -> SymmetryVerdict:
    """Whether mirrored photos show other individuals (flukes) or the same ones, asked before anything is trained.

    A pretrained network looks at photos and their mirror images column by column. The verdict is a hint for the
    settings ``flip_identity`` and ``symmetry``; whoever knows the species knows better.

    Args:
        data: Photos with individuals.
        most_photos: So many are looked at.
        seed: Of the lot by which they are drawn, and of the interval.
        device: ``auto``, ``cpu``, ``cuda`` ...
        n_workers: Threads that read photos ahead.
        progress: Show a bar: None in a terminal or notebook only, True always, False never.
        **reading: See ``fieldmark.api.photos.Reading``.

    Raises:
        DataError: The photos have mistakes, or no individual has two photos.
        FieldmarkError: Too few individuals have two photos, or ``most_photos`` is below 20.
    """
    progress = shown_by(progress)
    if most_photos < 20:
        raise FieldmarkError("So few photos tell nothing.", got=f"most_photos={most_photos}", fix="use --most 600.")
    need_torch()
    from fieldmark.quality.symmetry import photo_symmetry

    known = gather(data, labelled=True, reading=reading, n_workers=n_workers, progress=progress)
    return photo_symmetry(
        known.collection, most_photos=most_photos, seed=seed, device=device, n_workers=n_workers, progress=progress
    )

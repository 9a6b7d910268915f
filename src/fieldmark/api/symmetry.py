"""The function ``symmetry``: whether mirrored photos show other individuals."""

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
    """Test whether mirrored photos show other individuals (flukes) or the same individuals, before training.

    A pretrained network embeds photos and their mirror images column by column. The result helps to choose the
    settings ``horizontal_flip`` and ``flip_identity``; knowledge of the species has priority.

    Args:
        data: Photos with individuals.
        most_photos: Maximum number of photos, drawn at random; at least 20.
        seed: Random seed of the draw and of the interval.
        device: Device for networks: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        n_workers: Number of image-loading threads.
        progress: Whether to show a progress bar; None: only in a terminal or notebook.
        **reading: Options to read ``data``; see ``fieldmark.api.photos.Reading``.

    Raises:
        DataError: The photos have errors, or no individual has two photos.
        FieldmarkError: Too few individuals have two photos, or ``most_photos`` is below 20.
    """
    progress = shown_by(progress)
    if most_photos < 20:
        raise FieldmarkError(
            "--most must be at least 20 photos.", got=f"most_photos={most_photos}", fix="use --most 600."
        )
    need_torch()
    from fieldmark.quality.symmetry import photo_symmetry

    known = gather(data, labelled=True, reading=reading, n_workers=n_workers, progress=progress)
    return photo_symmetry(
        known.collection, most_photos=most_photos, seed=seed, device=device, n_workers=n_workers, progress=progress
    )

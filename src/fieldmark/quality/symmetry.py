"""Whether mirrored photos of a collection show other individuals, asked of a pretrained network before training."""

from __future__ import annotations

import numpy as np

from fieldmark.core.errors import DataError
from fieldmark.core.progress import QUIET, Progress
from fieldmark.core.seeds import generator
from fieldmark.data.collection import Collection
from fieldmark.data.copies import same_bytes
from fieldmark.gallery.symmetry import SymmetryVerdict, measure_symmetry
from fieldmark.images.specs import Preprocess
from fieldmark.models.specs import Backbone, EmbeddingHead, Net


def photo_symmetry(
    known: Collection,
    *,
    most_photos: int = 600,
    seed: int = 0,
    device: str = "auto",
    n_workers: int = 2,
    progress: Progress = QUIET,
) -> SymmetryVerdict:
    """What mirroring takes of what tells these individuals apart; see ``gallery.flips.measure_symmetry``.

    Args:
        known: Photos with individuals; those with two photos count, files of the same bytes once.
        most_photos: So many photos are looked at, whole individuals drawn by lot.
        seed: Of the lot and the interval.
        device: Where to compute.
        n_workers: Threads that read photos ahead.
        progress: Told how far it is.

    Raises:
        DataError: No individual has two photos.
        FieldmarkError: Too few individuals have, or the network cannot tell them apart.
    """
    from fieldmark.models.network import build
    from fieldmark.quality.regions.sources import photo_source
    from fieldmark.training.layouts import layouts
    from fieldmark.training.ranks import ranks

    copies = [row for similar in same_bytes(known.paths) for row in similar[1:]]
    known = known.take(~np.isin(np.arange(len(known)), copies))
    counts = np.bincount(known.classes[known.classes >= 0], minlength=1)
    several = np.flatnonzero(counts >= 2)
    if not len(several):
        raise DataError(
            "No individual has two photos, so mirroring cannot be judged.",
            got=f"{len(known)} photos of {int((counts > 0).sum())} individuals",
            fix="photograph somebody twice; or set horizontal_flip or flip_identity by what you know of the species.",
        )
    order = generator(seed, "flips").permutation(several)
    chosen = order[: max(1, int(np.searchsorted(np.cumsum(counts[order]), most_photos, side="right")))]
    photos = known.take(np.isin(known.classes, chosen))
    net = Net(backbone=Backbone(), neck="none", head=EmbeddingHead())
    plain, mirrored = layouts(
        build(net, n_classes=1, seed=0),
        photo_source(photos, Preprocess(height_px=224, width_px=224)),
        device=ranks(device).device,
        n_workers=n_workers,
        progress=progress,
    )
    groups = photos.groups if "group" in photos.table.columns else None
    return measure_symmetry(plain, mirrored, photos.classes, groups=groups, seed=seed)

"""Measure with a pretrained network whether horizontal flips make individuals look like other individuals."""

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
    """Measure how much a horizontal flip reduces the similarity of photos; see ``gallery.symmetry.measure_symmetry``.

    Args:
        known: Photos of named individuals. Only individuals with two photos are used; files with the same bytes
            count once.
        most_photos: Maximum number of photos. Individuals are drawn at random, with all their photos.
        seed: Random seed of the sample and the confidence interval.
        device: Device of the network, such as "cpu", "cuda" or "auto".
        n_workers: Number of image-loading threads.
        progress: Receives the progress of the computation.

    Raises:
        DataError: No individual has two photos.
        FieldmarkError: Too few individuals have two photos, or the network cannot distinguish them.
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
            "The table has no individual with two photos, so symmetry cannot be measured.",
            got=f"{len(known)} photos of {int((counts > 0).sum())} individuals",
            fix="add a second photo of some individuals; or choose horizontal_flip or flip_identity yourself.",
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

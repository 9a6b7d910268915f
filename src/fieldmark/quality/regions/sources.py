"""Create the network inputs of collections: photos with the boxes of their subjects."""

from __future__ import annotations

from collections.abc import Sequence

from fieldmark.data.collection import Collection
from fieldmark.images.batches import PhotoSource
from fieldmark.images.specs import Augment, NoAugment, Preprocess
from fieldmark.images.subjects import ANYWHERE
from fieldmark.quality.regions.finding import subjects_of


def photo_source(
    photos: Collection,
    preprocess: Preprocess,
    *,
    augment: Augment = NoAugment(),  # noqa: B008 - a frozen value
    versions: int | None = None,
    seed: int = 0,
) -> PhotoSource:
    """Return the photos of a collection, with their boxes, as network input."""
    subjects = subjects_of(photos, preprocess)
    return PhotoSource(photos.paths, preprocess, subjects=subjects, augment=augment, versions=versions, seed=seed)


def label_source(
    parts: Sequence[Collection | None],
    preprocess: Preprocess,
    *,
    augment: Augment = NoAugment(),  # noqa: B008 - a frozen value
    versions: int | None = None,
    seed: int = 0,
) -> PhotoSource:
    """Return the concatenated photos of several collections as network input.

    Training and prediction use the same photos in the same order, so that both can share cached features.
    """
    photos = [part for part in parts if part is not None and len(part)]
    of_parts = [subjects_of(part, preprocess) or [ANYWHERE] * len(part) for part in photos]
    subjects = [subject for part in of_parts for subject in part]
    return PhotoSource(
        [path for part in photos for path in part.paths],
        preprocess,
        subjects=subjects if any(subject != ANYWHERE for subject in subjects) else None,
        augment=augment,
        versions=versions,
        seed=seed,
    )

"""Photos of tables as the input of networks, each with where its subject is."""

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
    """The photos of a collection, with their boxes, as the networks' input."""
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
    """The photos of several collections, one after the other, as the networks' input.

    Training and scoring ask for the same photos in the same order, so that kept features serve both.
    """
    photos = [part for part in parts if part is not None and len(part)]
    told = [subjects_of(part, preprocess) or [ANYWHERE] * len(part) for part in photos]
    subjects = [subject for part in told for subject in part]
    return PhotoSource(
        [path for part in photos for path in part.paths],
        preprocess,
        subjects=subjects if any(subject != ANYWHERE for subject in subjects) else None,
        augment=augment,
        versions=versions,
        seed=seed,
    )

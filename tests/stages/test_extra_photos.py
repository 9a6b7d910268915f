"""Extra photos are training photos only, and never of a validation photo's file or group."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import fieldmark
from fieldmark.core.errors import PlanError
from fieldmark.data.collection import Collection
from fieldmark.gallery.store import GalleryStore
from fieldmark.pipeline.artifacts.folds import Folds
from fieldmark.pipeline.context import Context
from fieldmark.pipeline.engine import execute
from fieldmark.plans.humpback import humpback_classify
from fieldmark.stages.common.lessons import identity_lesson
from fieldmark.stages.common.train import Train

EXTRAS = {"003.jpg": "yes", "006.jpg": "1", "009.jpg": "x", "000.jpg": "no", "001.jpg": ""}


def marked(known: Collection, **columns: list[str | None]) -> Collection:
    cells = [EXTRAS.get(image) for image in known.images]
    table = known.table.with_columns(pl.Series("extra", cells), *(pl.Series(name, c) for name, c in columns.items()))
    return Collection.of(table, root=known.root, unknown="new_whale")


def folds_of(folder: Path, fold: np.ndarray) -> Folds:
    Folds(folder).write(fold)
    return Folds(folder)


def test_marked_photos_are_extra(known: Collection) -> None:
    photos = marked(known)
    assert [image for image, extra in zip(photos.images, photos.extra, strict=True) if extra] == [
        "003.jpg",
        "006.jpg",
        "009.jpg",
    ]
    assert not known.extra.any()


def test_extra_photos_are_in_no_validation_and_no_gallery(known: Collection, new: Collection, tmp_path: Path) -> None:
    photos = marked(known)
    run = execute(humpback_classify(size="toy", effort=0.3), photos, tmp_path / "run", new=new, seed=1, n_workers=0)
    context = Context.open(run.path)
    fold = context.artifact(Folds, "split").fold
    assert (fold[photos.extra] == -1).all()
    stage = next(one for one in humpback_classify(size="toy").stages if isinstance(one, Train))
    taught = identity_lesson(stage, context, k=0).items
    assert np.isin(np.flatnonzero(photos.extra & (photos.classes >= 0)), taught).all()
    gallery = GalleryStore.open(run.stage("features") / "gallery0")
    assert (gallery.classes[photos.extra] == -1).all()
    assert (gallery.classes[~photos.extra] == np.maximum(photos.classes, -1)[~photos.extra]).all()


def test_an_extra_photo_of_a_validation_photos_group_or_file_is_not_trained_on(
    known: Collection, tmp_path: Path
) -> None:
    shutil.copytree(known.root, tmp_path / "photos")
    group = [None] * len(known)
    at = {image: row for row, image in enumerate(known.images)}
    group[at["006.jpg"]] = group[at["000.jpg"]] = "roll 1"
    shutil.copy(known.root / "001.jpg", tmp_path / "photos" / "009.jpg")
    photos = marked(known, group=group)
    photos = Collection(photos.table, tmp_path / "photos", photos.vocabulary)
    fold = np.full(len(photos), -1)
    fold[[at["000.jpg"], at["001.jpg"]]] = [0, 1]
    spoilt = [
        set(np.array(photos.images)[(fold != k) & ~folds_of(tmp_path, fold).teaches(photos, k=k)]) for k in (0, 1)
    ]
    assert spoilt == [{"006.jpg"}, {"009.jpg"}]


def test_extra_photos_are_refused_for_labels(museum: Path, tmp_path: Path) -> None:
    known = fieldmark.read(museum)
    cells = ["yes" if row % 7 == 0 else None for row in range(len(known))]
    photos = Collection(known.table.with_columns(pl.Series("extra", cells)), known.root, known.vocabulary)
    with pytest.raises(PlanError) as caught:
        fieldmark.train("imet2019", photos, run=tmp_path / "run", size="toy", n_workers=0)
    assert "8 photos with yes" in caught.value.got
    assert not (tmp_path / "run").exists()


def test_extra_photos_alone_are_refused(known: Collection, tmp_path: Path) -> None:
    table = known.table.with_columns(pl.lit("yes").alias("extra"))
    photos = Collection.of(table, root=known.root, unknown="new_whale")
    with pytest.raises(PlanError) as caught:
        fieldmark.train("humpback-classify", photos, run=tmp_path / "run", size="toy", n_workers=0)
    assert f"all {len(known)} rows" in caught.value.got
    assert not (tmp_path / "run").exists()


def test_an_extra_photo_of_an_individual_that_validates_as_unknown_is_not_trained_on(
    known: Collection, tmp_path: Path
) -> None:
    """Its only photo validates, so it counts as unknown. Extra photos of it would leak its identity."""
    names = known.table["identity"].to_list()
    identity = "w_3"  # four photos: one is not extra, the others are
    rows = [row for row, name in enumerate(names) if name == identity]
    cells = ["yes" if row in rows[1:] else None for row in range(len(names))]
    table = known.table.with_columns(pl.Series("extra", cells))
    photos = Collection.of(table, root=known.root, unknown="new_whale")
    for held, expected in (([rows[0]], 0), ([], len(rows))):
        fold = np.full(len(names), -1)
        fold[held or [0]] = 0
        assert folds_of(tmp_path, fold).teaches(photos, k=0)[rows].sum() == expected

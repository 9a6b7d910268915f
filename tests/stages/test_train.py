"""What a network is given to learn from."""

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fieldmark.core.run import RunFolder
from fieldmark.data.collection import Collection
from fieldmark.images.specs import Preprocess
from fieldmark.stages.job import Job
from fieldmark.stages.train import Train


@pytest.fixture
def job(known: Collection, whales: Path, tmp_path: Path) -> Job:
    """The toy whales and two more strangers, of which one is a copy of a photo with a name."""
    shutil.copytree(whales / "train", tmp_path / "train")
    shutil.copy(tmp_path / "train/000.jpg", tmp_path / "train/copy.jpg")
    more = [("copy.jpg", "new_whale"), ("stranger.jpg", "new_whale")]
    shutil.copy(whales / "test/t5.jpg", tmp_path / "train/stranger.jpg")
    names = {"image": [*known.images, *(image for image, _ in more)]}
    names["file"] = names["image"]
    names["identity"] = [*known.table["identity"], *(name for _, name in more)]
    photos = Collection.of(pl.DataFrame(names), root=tmp_path / "train", unknown="new_whale")
    return Job(run=RunFolder(tmp_path / "run"), known=photos, new=None, seed=1)


STAGE = Train(name="net", on="split", preprocess=Preprocess(height_px=32, width_px=64))


def taught(stage: Train, job: Job, fold: np.ndarray) -> set[str]:
    return {job.known.images[item] for item in stage.lesson(job, k=0, fold=fold).items}


def test_a_copy_of_a_named_photo_is_no_stranger_to_learn_from(job: Job) -> None:
    images = set(job.known.images)
    assert taught(STAGE, job, np.full(len(images), -1)) == images - {"copy.jpg"}


def test_validation_photos_are_not_learnt_from(job: Job) -> None:
    fold = np.full(len(job.known), -1)
    fold[[1, 3]] = 0
    assert not taught(STAGE, job, fold) & {job.known.images[1], job.known.images[3]}


def test_without_unknowns_only_individuals_teach(job: Job) -> None:
    names = dict(zip(job.known.images, job.known.table["identity"], strict=True))
    named = {image for image, name in names.items() if name != "new_whale"}
    stage = STAGE.model_copy(update={"unknowns": False})
    assert taught(stage, job, np.full(len(names), -1)) == named

"""What a network is given to learn from."""

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fieldmark.core.files import read_json
from fieldmark.core.run import RunFolder
from fieldmark.data.collection import Collection
from fieldmark.data.specs import PkSampler
from fieldmark.images.specs import Preprocess
from fieldmark.models.specs import Backbone, Net, OneVsRestHead, RandomWeights
from fieldmark.stages.job import Job
from fieldmark.stages.train import Train
from fieldmark.train.ranks import ranks
from fieldmark.train.specs import Leg, Training


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


def test_few_photos_make_batches_smaller_down_to_a_quarter() -> None:
    training = Training(batch=96, least_batches=40)
    assert [training.fitting(n, multiple=3).batch for n in (10_000, 3_840, 3_839, 1_900, 936, 5)] == [
        96,
        96,
        48,
        24,
        24,
        24,
    ]
    assert training.fitting(5, multiple=48).batch == 48  # what the sampler needs comes first
    assert training.fitting(5, multiple=96) is training
    assert Training(batch=96).fitting(5) is not None
    assert Training(batch=96).fitting(97).batch == 96


def test_a_stage_learns_by_smaller_batches_of_few_photos(job: Job, tmp_path: Path) -> None:
    job.run.path.mkdir(exist_ok=True)
    net = Net(backbone=Backbone(name="test_efficientnet", weights=RandomWeights()), head=OneVsRestHead())
    updates = {}
    for least in (1, 100):
        training = Training(legs=(Leg(epochs=1),), batch=16, least_batches=least)
        stage = STAGE.model_copy(update={"net": net, "training": training, "sampler": PkSampler(k=2)})
        fold = np.full(len(job.known), -1)
        fold[[0, 1]] = 0
        place = tmp_path / f"least {least}" / "fold0"
        place.parent.mkdir()
        stage._fold(job, place, k=0, fold=fold, group=ranks("cpu"))
        updates[least] = read_json(place / "history.json")[-1]["update"]
    assert updates[100] >= 3 * updates[1] > 0

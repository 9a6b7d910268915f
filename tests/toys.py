"""Small parts that several tests use: a tiny network, the labels of sixteen tiny photos, training lessons."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import torch

from fieldmark.core.progress import Quiet
from fieldmark.core.run import RunFolder
from fieldmark.data.collection import Collection
from fieldmark.data.specs import LogWeightSampler, PkSampler, Sampler
from fieldmark.gallery.specs import KeypointMatching, Sift
from fieldmark.gallery.store import EMBEDDING, ROWS
from fieldmark.images.batches import PhotoSource
from fieldmark.images.specs import Augment, NoAugment, Preprocess
from fieldmark.losses.specs import BatchHardTriplet, Bce, Losses, OhemBce
from fieldmark.models.backbone import backbone_stages
from fieldmark.models.network import Network, build
from fieldmark.models.specs import Backbone, Net, OneVsRestHead, RandomWeights, SigmoidHead
from fieldmark.pipeline.application import Application
from fieldmark.pipeline.artifacts.folds import Folds
from fieldmark.pipeline.context import Context
from fieldmark.pipeline.engine import execute, fit_in
from fieldmark.pipeline.stage import Stage
from fieldmark.stages.identity.rerank_keypoints import RerankKeypoints
from fieldmark.training.loop import Lesson
from fieldmark.training.ranks import Ranks


class Heard(Quiet):
    """A progress display that records its lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


NET = Net(backbone=Backbone(name="test_efficientnet", weights=RandomWeights()), head=OneVsRestHead(dropout=0.2))
LOSSES: Losses = (OhemBce(hardest=4), BatchHardTriplet())
INPUT = Preprocess(height_px=32, width_px=32)
CLASSES = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, -1, -1, -1, -1], dtype=np.int64)

TAG_NET = Net(backbone=NET.backbone, head=SigmoidHead(dropout=0.2))
TAG_LOSSES: Losses = (Bce(),)
TRUTH = np.stack([CLASSES == 0, CLASSES == 1, CLASSES >= 2, CLASSES == 3], axis=1).astype(np.float32)
"""Labels of the sixteen photos, by their colours; grey photos have none."""


def network(seed: int = 0, net: Net = NET, n_classes: int = 4) -> Network:
    return build(net, n_classes=n_classes, seed=seed)


def lesson(
    photos: list[Path],
    *,
    augment: Augment | None = None,
    versions: int | None = None,
    losses: Losses = LOSSES,
) -> Lesson:
    source = PhotoSource(photos, INPUT, augment=augment or NoAugment(), versions=versions, seed=3)
    return Lesson(
        source=source,
        items=np.arange(len(photos)),
        sampler=PkSampler(k=2),
        losses=losses,
        classes=np.concatenate([CLASSES, CLASSES]),
    )


def tag_lesson(
    photos: list[Path],
    *,
    augment: Augment | None = None,
    losses: Losses = TAG_LOSSES,
    sampler: Sampler = LogWeightSampler(),  # noqa: B008 - a frozen value
    truth: np.ndarray = TRUTH,
) -> Lesson:
    return Lesson(
        source=PhotoSource(photos, INPUT, augment=augment or NoAugment(), seed=3),
        items=np.arange(len(photos)),
        sampler=sampler,
        losses=losses,
        truth=truth,
    )


def alone() -> Ranks:
    return Ranks(rank=0, world=1, device=torch.device("cpu"))


def stage_names(net: Network) -> list[str]:
    return list(backbone_stages(net.backbone))


def without_judges(run: RunFolder, folder: Path) -> RunFolder:
    """Repeat a finished run of one network from its ranking on, without validation photos in the gallery."""
    shutil.copytree(run.path, folder)
    context = Context.open(folder)
    fold, names = context.artifact(Folds, "split").fold, [stage.name for stage in context.plan.stages]
    for name in names[names.index("features") + 1 :]:
        shutil.rmtree(folder / name)
    again = RunFolder(folder)
    receipt = again.receipt("features")
    shutil.copytree(folder / "features", again.work_directory("features"), dirs_exist_ok=True)
    shutil.rmtree(folder / "features")
    place = again.work_directory("features", fresh=False) / "gallery0"
    np.save(place / EMBEDDING, np.load(place / EMBEDDING)[fold < 0])
    pl.read_parquet(place / ROWS).filter(pl.Series(fold < 0)).write_parquet(place / ROWS)
    again.finish("features", receipt={name: value for name, value in receipt.items() if name != "files"})
    return execute(context.plan, context.known, folder, new=context.new, seed=context.seed, n_workers=0)


def fitted(context: Context, stage: Stage) -> str:
    """Fit a stage of a run, apply it to the new photos of the run, finish it, and return its message."""
    message = fit_in(context, stage, context.run.work_directory(stage.name))
    context.run.finish(stage.name, receipt={"said": message})
    return message


def split_by(context: Context, fold: np.ndarray) -> Context:
    """The run with other folds of the known photos in place of the result of its stage ``split``."""
    folder = context.run.path / ".folds" / hashlib.sha256(fold.tobytes()).hexdigest()
    folder.mkdir(parents=True, exist_ok=True)
    Folds(folder).write(fold)
    return context.fresh(work={**context.work, "split": folder})


def applied(run: Path, photos: Collection) -> Application:
    """A finished run, applied to photos one by one. The run does not treat them as its own new photos."""
    context = Context.open(run).with_regions().computing(device="cpu", n_workers=0)
    return Application(context, photos)


def ranked(run: Path, photos: Collection) -> np.ndarray:
    """Scores of each individual from a finished run that is applied to photos one by one."""
    application = applied(run, photos)
    return application.value(application.context.plan.answering().name).scores


def quick_rerank(*, shortlist: int, **changes: str) -> RerankKeypoints:
    """A stage that re-ranks the ranking of a toy run with few keypoints of small photos."""
    names = {"name": "matching", "reads_from": "ranking", "embedded": "features", "on": "split", **changes}
    return RerankKeypoints(**names, matching=KeypointMatching(points=Sift(size_px=64, most=40)), shortlist=shortlist)

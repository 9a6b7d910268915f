"""Small parts that several tests build on: a tiny network, sixteen tiny photos' truth, a lesson."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from fieldmark.core.progress import Quiet
from fieldmark.data.specs import LogWeightSampler, PkSampler, Sampler
from fieldmark.images.batches import PhotoSource
from fieldmark.images.specs import Augment, NoAugment, Preprocess
from fieldmark.losses.specs import BatchHardTriplet, Bce, Losses, OhemBce
from fieldmark.models.backbone import stages
from fieldmark.models.network import Network, build
from fieldmark.models.specs import Backbone, Net, OneVsRestHead, RandomWeights, SigmoidHead
from fieldmark.train.loop import Lesson
from fieldmark.train.ranks import Ranks


class Heard(Quiet):
    """Remembers what was said."""

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
"""Labels of the sixteen photos, by their colours; grey ones have none."""


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
    return list(stages(net.backbone))

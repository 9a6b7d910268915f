"""Imprinting: class directions start at the mean embedding of their photos by the untrained network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from fieldmark.core.errors import PlanError
from fieldmark.data.specs import PkSampler
from fieldmark.images.batches import PhotoSource
from fieldmark.images.preprocess import normalise
from fieldmark.losses.specs import ArcFace
from fieldmark.models.specs import CosineHead, Net
from fieldmark.training.imprint import imprint
from fieldmark.training.loop import Lesson, WorkDirectory, fit
from fieldmark.training.specs import Phase, Training
from toys import CLASSES, INPUT, NET, alone, network

HEAD = CosineHead(scale=20.0, imprinted=True)
PHASE = Phase(epochs=2, lr=1e-3)


def taught(photos: list[Path]) -> Lesson:
    return Lesson(
        source=PhotoSource(photos, INPUT, seed=3),
        items=np.arange(len(photos)),
        sampler=PkSampler(k=2),
        losses=(ArcFace(margin=0.2),),
        classes=np.concatenate([CLASSES, CLASSES]),
    )


@pytest.mark.parametrize("neck", ["none", "bn"])
def test_directions_are_the_mean_embeddings_of_slow_loops(photos: list[Path], tmp_path: Path, neck: str) -> None:
    made = network(net=Net(backbone=NET.backbone, neck=neck, head=HEAD), n_classes=5)  # type: ignore[arg-type]
    before = made.head.directions.detach().clone()
    lesson = taught(photos)
    imprint(made, lesson, PHASE, at=WorkDirectory(folder=tmp_path / "c", group=alone(), n_workers=0), seed=1)
    made.eval()
    rows = np.flatnonzero(CLASSES >= 0)
    with torch.no_grad():
        feature = torch.cat([made(normalise(lesson.source.load_rows(np.array([row])), INPUT)).feature for row in rows])
        if neck == "bn":
            feature = (feature - feature.mean(dim=0)) / torch.sqrt(feature.var(dim=0) + made.neck.norm.eps)
            feature = feature * made.neck.norm.weight
        unit = feature / feature.norm(dim=1, keepdim=True)
    for one in range(4):
        mean = unit[torch.from_numpy(CLASSES[rows] == one)].mean(dim=0)
        found = made.head.directions[one].detach()
        np.testing.assert_allclose(found / found.norm(), mean / mean.norm(), atol=2e-4)
    torch.testing.assert_close(made.head.directions[4].detach(), before[4])  # this class has no photo


def test_several_directions_of_a_class_differ_a_little(photos: list[Path], tmp_path: Path) -> None:
    head = CosineHead(scale=20.0, centres=3, imprinted=True)
    made = network(net=Net(backbone=NET.backbone, head=head), n_classes=4)
    imprint(made, taught(photos), PHASE, at=WorkDirectory(folder=tmp_path / "c", group=alone(), n_workers=0), seed=1)
    cosines = torch.nn.functional.cosine_similarity(made.head.directions[:, 0], made.head.directions[:, 1])
    assert torch.all(cosines < 1 - 1e-5)
    assert torch.all(cosines > 0.98)


def test_an_imprinted_network_can_be_trained(photos: list[Path], tmp_path: Path) -> None:
    made = network(net=Net(backbone=NET.backbone, head=HEAD), n_classes=4)
    work = WorkDirectory(folder=tmp_path / "c", group=alone(), n_workers=0)
    imprint(made, taught(photos), PHASE, at=work, seed=1)
    before = made.head.directions.detach().clone()
    quick = Phase(epochs=2, lr=1e-2)
    history = fit(made, taught(photos), Training(batch=8, phases=(quick,)), at=work, seed=1)
    assert len(history) == 2
    after = made.head.directions.detach()
    assert not torch.equal(before, after)
    # Adam turns a short direction so fast that its start would have no effect.
    assert torch.nn.functional.cosine_similarity(before, after).min() > 0.99


def test_other_heads_are_refused(photos: list[Path], tmp_path: Path) -> None:
    with pytest.raises(PlanError) as refusal:
        imprint(
            network(),
            taught(photos),
            PHASE,
            at=WorkDirectory(folder=tmp_path / "c", group=alone(), n_workers=0),
            seed=1,
        )
    assert "imprinted = true" in refusal.value.fix

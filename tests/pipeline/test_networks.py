"""Networks that share a frozen backbone give bit-identical outputs together and alone, with and without a cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fieldmark.data.collection import Collection
from fieldmark.models.network import build
from fieldmark.models.specs import Head, Net, OneVsRestHead, SigmoidHead
from fieldmark.pipeline.networks import SavedNet, label_proba, look, share_backbone
from fieldmark.quality.regions.sources import photo_source
from fieldmark.training.features import FeatureStore
from toys import INPUT, NET

N_CLASSES = 6


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    folder, chance = tmp_path_factory.mktemp("photos"), np.random.default_rng(2)
    for number in range(5):
        Image.fromarray(chance.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    return Collection.of({"image": [f"{number}.png" for number in range(5)]}, root=folder)


def saved(seed: int, head: Head, *, backbone: int = 0) -> SavedNet:
    """A network with a head drawn by ``seed`` on a backbone drawn by ``backbone``."""
    net = Net(backbone=NET.backbone, head=head)
    network = build(net, n_classes=N_CLASSES, seed=seed)
    other = build(net, n_classes=N_CLASSES, seed=backbone)
    network.backbone.load_state_dict(other.backbone.state_dict())
    return SavedNet(network.eval(), INPUT, sha256="", device=torch.device("cpu"))


@pytest.mark.parametrize("flip", [False, True])
def test_individuals(photos: Collection, *, flip: bool) -> None:
    nets = [saved(seed, OneVsRestHead()) for seed in (1, 2, 3)]
    assert share_backbone(nets)
    together = look(nets, photos, flip=flip, n_identities=N_CLASSES // 2, n_workers=0)
    alone = [look([net], photos, flip=flip, n_identities=N_CLASSES // 2, n_workers=0)[0] for net in nets]
    for one, other in zip(together, alone, strict=True):
        assert np.array_equal(one.embedding, other.embedding)
        assert np.array_equal(one.proba, other.proba)
    assert not np.array_equal(together[0].proba, together[1].proba)


def test_labels_are_equal_with_and_without_cached_features(photos: Collection, tmp_path: Path) -> None:
    nets, source, items = [saved(seed, SigmoidHead()) for seed in (1, 2)], photo_source(photos, INPUT), np.arange(5)

    def probabilities(some: list[SavedNet], features: FeatureStore | None) -> list[np.ndarray]:
        return label_proba(some, source, items=items, flip=True, features=features, n_workers=0)

    plain = probabilities(nets, None)
    assert all(np.array_equal(one, probabilities([net], None)[0]) for one, net in zip(plain, nets, strict=True))
    memory, disk = FeatureStore(), FeatureStore(tmp_path / "kept")
    held, kept = probabilities(nets, memory), probabilities(nets, disk)
    assert len(list((tmp_path / "kept").glob("*.done.npy"))) == 1  # both networks read the same file
    for one, other, each in zip(held, kept, plain, strict=True):
        assert np.array_equal(one, other)
        assert np.array_equal(one, probabilities(nets, memory)[0]) or np.array_equal(
            one, probabilities(nets, memory)[1]
        )
        np.testing.assert_allclose(one, each, atol=1e-5)
    again = probabilities(nets, FeatureStore(tmp_path / "kept"))
    assert all(map(np.array_equal, again, kept))


def test_networks_with_different_backbones_do_not_share_one(photos: Collection) -> None:
    nets = [saved(1, OneVsRestHead()), saved(1, OneVsRestHead(), backbone=7)]
    assert not share_backbone(nets)
    assert not share_backbone(nets[:1])
    together = look(nets, photos, flip=False, n_workers=0, features=FeatureStore())
    alone = [look([net], photos, flip=False, n_workers=0)[0] for net in nets]
    for one, other in zip(together, alone, strict=True):
        assert np.array_equal(one.embedding, other.embedding)
        assert one.proba is None
    assert not np.allclose(together[0].embedding, together[1].embedding)

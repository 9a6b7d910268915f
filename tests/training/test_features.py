from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fieldmark.images.batches import PhotoSource
from fieldmark.images.specs import Augment, NoAugment, WhaleAugment
from fieldmark.models.backbone import backbone_stages
from fieldmark.models.network import Network, freeze
from fieldmark.training.embed import NetworkOutputs, embed_photos
from fieldmark.training.features import FeatureStore, KeptFeatures, body
from fieldmark.training.loop import WorkDirectory, fit
from fieldmark.training.specs import Phase, Training
from toys import CLASSES, INPUT, NET, alone, lesson, network

ITEMS = np.arange(2 * len(CLASSES))


def n_files(folder: Path) -> int:
    return len([path for path in folder.glob("*.npy") if not path.name.endswith(".done.npy")])


@pytest.mark.parametrize(("augment", "versions"), [(NoAugment(), None), (WhaleAugment(), 3)])
@pytest.mark.parametrize("n_frozen", [1, 3, 99])
def test_cached_features_change_nothing_but_speed(
    photos: list[Path], tmp_path: Path, n_frozen: int, augment: Augment, versions: int | None
) -> None:
    frozen = tuple(list(backbone_stages(network().backbone))[:n_frozen])
    training = Training(phases=(Phase(epochs=2, lr=1e-2, freeze=frozen),), batch=8)
    kept = network()
    fit(
        kept,
        lesson(photos, augment=augment, versions=versions),
        training,
        at=WorkDirectory(tmp_path / "kept", alone(), features=FeatureStore(tmp_path / "features")),
        seed=5,
    )
    assert n_files(tmp_path / "features") == 1

    plain = network()
    fit(
        plain,
        lesson(photos, augment=augment, versions=versions),
        training,
        at=WorkDirectory(tmp_path / "plain", alone()),
        seed=5,
    )
    for (name, a), b in zip(kept.state_dict().items(), plain.state_dict().values(), strict=True):
        assert torch.allclose(a.float(), b.float(), atol=2e-4), name


def test_cached_features_are_shared_by_heads_but_not_by_other_backbones(photos: list[Path], tmp_path: Path) -> None:
    source = PhotoSource(photos, INPUT)
    frozen = tuple(backbone_stages(network().backbone))[:2]

    def embed_all(seed: int, net=NET, files: PhotoSource = source) -> None:
        one = network(seed, net)
        freeze(one, frozen)
        kept = body(one, files, items=ITEMS, features=FeatureStore(tmp_path)).source
        assert isinstance(kept, KeptFeatures)

    embed_all(0)
    assert n_files(tmp_path) == 1
    embed_all(0, NET.model_copy(update={"neck": "none"}))
    assert n_files(tmp_path) == 1
    embed_all(1)
    assert n_files(tmp_path) == 2
    other_size = INPUT.model_copy(update={"width_px": 48})
    embed_all(0, files=PhotoSource(photos, other_size))
    assert n_files(tmp_path) == 3


def test_a_changed_photo_is_embedded_again(photos: list[Path], tmp_path: Path) -> None:
    copies = [tmp_path / path.name for path in photos]
    for path, copy in zip(photos, copies, strict=True):
        copy.write_bytes(path.read_bytes())
    before = PhotoSource(copies, INPUT).fingerprint()
    copies[3].write_bytes(photos[0].read_bytes() + b"\0")
    assert PhotoSource(copies, INPUT).fingerprint() != before


def test_random_augmentation_or_no_frozen_stage_prevents_caching(photos: list[Path], tmp_path: Path) -> None:
    one = network()
    source, fixed = PhotoSource(photos, INPUT, augment=WhaleAugment()), PhotoSource(photos, INPUT)
    for chosen, frozen in ((source, ("stem",)), (fixed, ()), (fixed, ("blocks.1",))):
        freeze(one, frozen)
        assert body(one, chosen, items=ITEMS, features=FeatureStore(tmp_path)).source is chosen


def test_mirrored_items_have_separate_features(photos: list[Path], tmp_path: Path) -> None:
    one = network()
    frozen = tuple(backbone_stages(one.backbone))[:1]
    freeze(one, frozen)
    source = PhotoSource(photos, INPUT)
    kept, _, forward = body(one, source, items=ITEMS, features=FeatureStore(tmp_path))
    one.eval()
    items = torch.tensor([[0, 0 + len(CLASSES)]]).numpy()
    with torch.no_grad():
        got = forward(next(kept.batches(items, epoch=0, n_workers=0))).embedding
    assert not torch.allclose(got[0], got[1], atol=1e-4)


def test_an_interrupted_cache_is_completed_and_shared_by_folds(photos: list[Path], tmp_path: Path) -> None:
    class KilledError(Exception):
        pass

    class Counting:
        def __init__(self, most: int) -> None:
            self.most, self.n = most, 0

        def say(self, text: str) -> None:
            pass

        def track(self, items, *, total, what):
            for item in items:
                if self.n == self.most:
                    raise KilledError
                self.n += 1
                yield item

    one = network()
    frozen = tuple(backbone_stages(one.backbone))[:1]
    freeze(one, frozen)
    source = PhotoSource(photos * 9, INPUT)
    items = np.arange(2 * len(photos) * 9)

    def kept(folder: Path, progress: Counting, some: np.ndarray = items) -> np.ndarray:
        source_of = body(one, source, items=some, features=FeatureStore(folder), progress=progress).source
        return torch.cat(list(source_of.batches(some.reshape(-1, 8), epoch=0, n_workers=0))).numpy()

    whole = kept(tmp_path / "whole", Counting(99))
    with pytest.raises(KilledError):
        kept(tmp_path / "halves", Counting(2))
    rest = Counting(99)
    assert (kept(tmp_path / "halves", rest) == whole).all()
    assert rest.n == 5 - 2
    again = Counting(0)
    assert (kept(tmp_path / "halves", again, items[:64]) == whole[:64]).all()


def test_embedding_uses_the_cache_of_a_head_training(photos: list[Path], tmp_path: Path) -> None:
    """With any head, photos and mirroring; photos without cached features are computed."""
    cpu, features = torch.device("cpu"), tmp_path / "features"
    net, source = network(), PhotoSource(photos, INPUT)
    taught = lesson(photos)
    training = Training(phases=(Phase(epochs=1, lr=1e-2, freeze=("all",)),), batch=8)
    fit(net, taught, training, at=WorkDirectory(tmp_path / "work", alone(), features=FeatureStore(features)), seed=5)
    assert net.frozen == ()
    some = np.array([9, 3, 3, 14])

    def embedded(one: Network, files: PhotoSource = source, **options: Any) -> NetworkOutputs:
        return embed_photos(one, files, device=cpu, flip=True, logits=True, **options)

    plain, kept = embedded(net, items=some), embedded(net, items=some, features=FeatureStore(features))
    assert kept.logits is not None
    assert plain.logits is not None
    assert kept.logits.shape == (2, 4, 4)
    np.testing.assert_allclose(kept.embedding, plain.embedding, atol=1e-5)
    np.testing.assert_allclose(kept.logits, plain.logits, atol=1e-4)
    np.testing.assert_allclose(embedded(net).embedding[:, some], plain.embedding, atol=1e-5)

    path = next(path for path in features.glob("*.npy") if not path.name.endswith(".done.npy"))
    np.load(path, mmap_mode="r+")[:] = 7.0  # shows whether the cache is read
    assert np.ptp(embedded(net, features=FeatureStore(features)).embedding, axis=1).max() == 0
    with torch.no_grad():
        next(net.backbone.parameters()).mul_(1.1)
    assert np.ptp(embedded(net, features=FeatureStore(features)).embedding, axis=1).max() > 0  # another backbone
    assert n_files(features) == 2  # its features have another name
    freeze(net, ("all",))
    embedded(net, PhotoSource(photos[:5], INPUT), features=FeatureStore(features))
    assert n_files(features) == 3


def test_a_trained_pooling_prevents_caching_for_embedding(photos: list[Path], tmp_path: Path) -> None:
    net = network(net=NET.model_copy(update={"backbone": NET.backbone.model_copy(update={"pool": "gem"})}))
    freeze(net, ("all",))
    embed_photos(net, PhotoSource(photos, INPUT), device=torch.device("cpu"), features=FeatureStore(tmp_path))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("n_frozen", [1, 99])
def test_features_in_memory_are_those_on_disk_to_the_bit(photos: list[Path], tmp_path: Path, n_frozen: int) -> None:
    one, source = network(), PhotoSource(photos * 5, INPUT)  # more than one block
    freeze(one, tuple(list(backbone_stages(one.backbone))[:n_frozen]))
    items = np.arange(2 * len(source))
    disk, memory = FeatureStore(tmp_path / "features"), FeatureStore()

    def rows(store: FeatureStore, some: np.ndarray = items) -> np.ndarray:
        kept = body(one, source, items=some, features=store).source
        assert isinstance(kept, KeptFeatures)
        return torch.cat(list(kept.batches(some[None], epoch=0, n_workers=0))).numpy()

    assert rows(memory).tobytes() == rows(disk).tobytes()
    assert np.ptp(rows(memory)) > 0
    assert n_files(tmp_path / "features") == 1
    half = FeatureStore()  # later items are added
    assert rows(half, items[:3]).tobytes() == rows(memory)[:3].tobytes()
    assert rows(half, items[-3:]).tobytes() == rows(memory)[-3:].tobytes()


def test_features_in_memory_are_computed_once_per_store(photos: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[int] = []
    through = KeptFeatures._through

    def counted(kept: KeptFeatures, pictures: torch.Tensor) -> np.ndarray:
        passes.append(len(pictures))
        return through(kept, pictures)

    monkeypatch.setattr(KeptFeatures, "_through", counted)
    net, source, store = network(), PhotoSource(photos, INPUT), FeatureStore()
    first = embed_photos(net, source, device=torch.device("cpu"), features=store)
    assert sum(passes) >= len(photos)
    passes.clear()
    again = embed_photos(net, source, device=torch.device("cpu"), features=store)
    assert again.embedding.tobytes() == first.embedding.tobytes()
    assert sum(passes) <= 1  # for the shape
    embed_photos(net, source, device=torch.device("cpu"), features=FeatureStore())
    assert sum(passes) >= len(photos)


def test_a_store_checks_for_free_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fieldmark.training.features.IN_MEMORY", 4 * 100)
    memory, disk = FeatureStore(), FeatureStore(tmp_path / "features")
    assert memory.has_space("a", (10, 10))
    assert not memory.has_space("a", (10, 11))
    assert disk.has_space("a", (10, 11))
    assert not disk.has_space("a", (10, 11), share=0.0)
    rows, done = disk.opened("a", (10, 11), n_blocks=1)
    rows[3], done[0] = 7, True
    assert disk.closed("a", rows, done)[3].tolist() == [7] * 11
    assert disk.has_space("a", (10, 11), share=0.0)  # it already exists
    assert FeatureStore(tmp_path / "features").has("a")
    assert not FeatureStore().has("a")

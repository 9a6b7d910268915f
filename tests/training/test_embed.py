from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fieldmark.images.batches import PhotoSource
from fieldmark.images.preprocess import normalise
from fieldmark.models.network import Network, Outputs
from fieldmark.training.embed import PER_THREAD, TOGETHER, embed_each, embed_photos
from fieldmark.training.features import FeatureStore
from toys import INPUT, network

CPU = torch.device("cpu")


def loaded(paths: list[Path], *, flip: bool = False) -> torch.Tensor:
    items = np.arange(len(paths)) + (len(paths) if flip else 0)
    return PhotoSource(paths, INPUT).load(items, epoch=0, start=0)


def test_embeddings_are_in_photo_order_for_any_batch(photos: list[Path]) -> None:
    net = network().eval()
    with torch.no_grad():
        slow = [net(normalise(loaded([path]), INPUT)) for path in photos]
    for batch in (5, 16, 64):
        quick = embed_photos(net, PhotoSource(photos, INPUT), device=CPU, logits=True, batch=batch)
        assert quick.embedding.shape == (1, len(photos), net.width)
        assert quick.logits is not None
        np.testing.assert_allclose(quick.embedding[0], torch.cat([one.embedding for one in slow]).numpy(), atol=1e-5)
        np.testing.assert_allclose(quick.logits[0], torch.cat([one.logits for one in slow]).numpy(), atol=1e-4)


def test_the_second_view_is_the_mirrored_photo(photos: list[Path]) -> None:
    net = network()
    both = embed_photos(net, PhotoSource(photos, INPUT), device=CPU, flip=True)
    flipped = net.eval()(normalise(loaded(photos, flip=True), INPUT)).embedding.detach()
    np.testing.assert_allclose(both.embedding[1], flipped.numpy(), atol=1e-5)
    assert both.logits is None


def test_dropout_is_off_and_the_network_is_unchanged(photos: list[Path]) -> None:
    net = network().train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    found = embed_photos(net, PhotoSource(photos, INPUT), device=CPU)
    assert all(module.training for module in net.modules())
    assert all(parameter.requires_grad for parameter in net.parameters())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    np.testing.assert_allclose(np.linalg.norm(found.embedding[0], axis=1), 1, atol=1e-5)


def test_the_same_call_gives_the_same_bits_with_any_number_of_readers(photos: list[Path]) -> None:
    net = network()
    first = embed_photos(net, PhotoSource(photos, INPUT), device=CPU, logits=True, n_workers=0)
    for n_workers in (0, 1, 3):
        again = embed_photos(net, PhotoSource(photos, INPUT), device=CPU, logits=True, n_workers=n_workers)
        assert again.embedding.tobytes() == first.embedding.tobytes()
        assert again.logits is not None
        assert first.logits is not None
        assert again.logits.tobytes() == first.logits.tobytes()


def test_a_photo_has_the_same_embedding_alone_and_in_a_batch(photos: list[Path]) -> None:
    net = network()
    together = embed_photos(net, PhotoSource(photos, INPUT), device=CPU).embedding[0]
    alone = [embed_photos(net, PhotoSource([path], INPUT), device=CPU).embedding[0, 0] for path in photos]
    np.testing.assert_allclose(together, np.stack(alone), atol=1e-5)


def test_training_between_two_calls_changes_the_embeddings(photos: list[Path]) -> None:
    net = network()
    source = PhotoSource(photos, INPUT)
    before = embed_photos(net, source, device=CPU).embedding[0]
    pictures = normalise(loaded(photos), INPUT)
    step = torch.optim.SGD(net.parameters(), lr=1.0)
    net.train()(pictures).logits.sum().backward()  # moves the weights, and the batch norms' statistics
    step.step()
    after = embed_photos(net, source, device=CPU).embedding[0]
    with torch.no_grad():
        slow = net.eval()(pictures).embedding.numpy()
    assert np.abs(after - before).max() > 1e-3
    np.testing.assert_allclose(after, slow, atol=1e-5)


def test_forward_passes_are_small_and_of_one_size(photos: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    pooled = Network.pooled

    def counted(self: Network, pictures: torch.Tensor) -> torch.Tensor:
        seen.append(len(pictures))
        return pooled(self, pictures)

    monkeypatch.setattr(Network, "pooled", counted)
    net = network()
    for n_photos, batch, sizes in ((1, 64, [1]), (15, 64, [PER_THREAD] * 8), (3, 1, [1] * 3)):
        seen.clear()
        embed_photos(net, PhotoSource(photos[:n_photos], INPUT), device=CPU, batch=batch)
        assert seen == sizes


def test_a_head_reads_its_directions_once_for_many_photos(photos: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    above = Network.above

    def counted(self: Network, feature: torch.Tensor, stripes: torch.Tensor | None = None) -> Outputs:
        seen.append(len(feature))
        return above(self, feature, stripes)

    monkeypatch.setattr(Network, "above", counted)
    many = (photos * TOGETHER)[: 2 * TOGETHER + 1]
    found = embed_photos(network(), PhotoSource(many, INPUT), device=CPU, logits=True)
    assert seen[-3:] == [TOGETHER, TOGETHER, PER_THREAD]
    assert set(seen[:-3]) <= {1}  # the example of for_inference()
    assert found.logits is not None
    np.testing.assert_allclose(found.logits[0, len(photos)], found.logits[0, 0], atol=1e-5)


def test_bfloat16_embeddings_have_nearly_the_same_direction(photos: list[Path]) -> None:
    net = network()
    full = embed_photos(net, PhotoSource(photos, INPUT), device=CPU).embedding[0]
    half = embed_photos(net, PhotoSource(photos, INPUT), device=CPU, half=True).embedding[0]
    assert half.dtype == np.float32
    assert ((full * half).sum(axis=1) > 0.999).all()


def test_requested_photos_are_embedded_in_the_requested_order(photos: list[Path]) -> None:
    net, source = network(), PhotoSource(photos, INPUT)
    whole = embed_photos(net, source, device=CPU, flip=True).embedding
    some = np.array([11, 2, 2, 7])
    np.testing.assert_allclose(
        embed_photos(net, source, device=CPU, items=some, flip=True).embedding, whole[:, some], atol=1e-5
    )
    assert embed_photos(net, source, device=CPU, items=some[:0]).embedding.shape == (1, 0, net.width)


class Counted(PhotoSource):
    """A source that counts how often it is read."""

    n_read = 0

    def batches(self, *args: Any, **settings: Any) -> Iterator[torch.Tensor]:
        self.n_read += 1
        return super().batches(*args, **settings)


def several(*, similar: bool) -> list[Network]:
    """Networks of three folds: separate heads on one backbone or on three."""
    nets = [network() for _ in range(3)]
    with torch.no_grad():
        for number, net in enumerate(nets):
            for name, parameter in net.named_parameters():
                if not (similar and name.startswith("backbone.")):
                    parameter.mul_(1 + 0.1 * number)
    return nets


@pytest.mark.parametrize("similar", [True, False], ids=["one backbone", "three"])
@pytest.mark.parametrize("keeps", [True, False], ids=["kept", "looked at"])
def test_several_networks_at_once_are_bit_identical_and_read_photos_once(
    photos: list[Path], *, similar: bool, keeps: bool
) -> None:
    nets, source = several(similar=similar), Counted(photos, INPUT)
    some: dict[str, Any] = {"items": np.array([9, 3, 3, 14, 0]), "device": CPU, "flip": True, "logits": True}
    together = embed_each(nets, source, **some, features=FeatureStore() if keeps else None)
    assert source.n_read == (0 if keeps else 1)  # cached blocks are loaded row by row
    for net, one in zip(nets, together, strict=True):
        alone = embed_photos(net, source, **some, features=FeatureStore() if keeps else None)
        assert one.logits is not None
        assert alone.logits is not None
        assert one.embedding.tobytes() == alone.embedding.tobytes()
        assert one.logits.tobytes() == alone.logits.tobytes()
    assert not np.array_equal(together[0].logits, together[1].logits)
    assert np.allclose(together[0].embedding, together[1].embedding, atol=1e-3) == similar


def test_a_network_without_logits_or_photos_has_no_logits(photos: list[Path]) -> None:
    nets, source = several(similar=True), PhotoSource(photos, INPUT)
    assert [one.logits for one in embed_each(nets, source, device=CPU)] == [None] * 3
    empty = embed_each(nets, source, device=CPU, items=np.zeros(0, np.int64), logits=True)
    assert [one.embedding.shape for one in empty] == [(1, 0, nets[0].width)] * 3

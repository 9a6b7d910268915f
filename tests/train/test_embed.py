from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from fieldmark.images.batches import PhotoSource, load_batch
from fieldmark.images.preprocess import normalise
from fieldmark.train.embed import embed
from toys import INPUT, network

CPU = torch.device("cpu")


def test_photos_come_back_in_their_order_whatever_the_batch(photos: list[Path]) -> None:
    net = network().eval()
    with torch.no_grad():
        slow = [net(normalise(load_batch([path], INPUT), INPUT)) for path in photos]
    for batch in (5, 16, 64):
        quick = embed(net, PhotoSource(photos, INPUT), device=CPU, logits=True, batch=batch)
        assert quick.embedding.shape == (1, len(photos), net.width)
        assert quick.logits is not None
        np.testing.assert_allclose(quick.embedding[0], torch.cat([one.embedding for one in slow]).numpy(), atol=1e-5)
        np.testing.assert_allclose(quick.logits[0], torch.cat([one.logits for one in slow]).numpy(), atol=1e-4)


def test_the_second_view_is_the_mirrored_photo(photos: list[Path]) -> None:
    net = network()
    both = embed(net, PhotoSource(photos, INPUT), device=CPU, flip=True)
    flipped = net.eval()(normalise(load_batch(photos, INPUT, flip=True), INPUT)).embedding.detach()
    np.testing.assert_allclose(both.embedding[1], flipped.numpy(), atol=1e-5)
    assert both.logits is None


def test_dropout_is_off_and_the_network_is_given_back_as_it_was(photos: list[Path]) -> None:
    net = network().train()
    one = embed(net, PhotoSource(photos, INPUT), device=CPU)
    two = embed(net, PhotoSource(photos, INPUT), device=CPU)
    assert net.training
    assert (one.embedding == two.embedding).all()
    np.testing.assert_allclose(np.linalg.norm(one.embedding[0], axis=1), 1, atol=1e-5)


def test_bfloat16_points_the_same_way(photos: list[Path]) -> None:
    net = network()
    full = embed(net, PhotoSource(photos, INPUT), device=CPU).embedding[0]
    half = embed(net, PhotoSource(photos, INPUT), device=CPU, half=True).embedding[0]
    assert half.dtype == np.float32
    assert ((full * half).sum(axis=1) > 0.999).all()

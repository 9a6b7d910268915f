"""Layouts: one column is the pooled embedding; several columns distinguish left and right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fieldmark.core.errors import ShapeError
from fieldmark.gallery.symmetry import measure_symmetry
from fieldmark.images.batches import PhotoSource
from fieldmark.images.specs import Preprocess
from fieldmark.models.specs import Backbone, EmbeddingHead, Net, RandomWeights
from fieldmark.training.embed import embed_photos
from fieldmark.training.layouts import layouts
from toys import network

NET = Net(backbone=Backbone(name="test_efficientnet", weights=RandomWeights()), neck="none", head=EmbeddingHead())
WIDE = Preprocess(height_px=32, width_px=128)


def animals(folder: Path, *, symmetric: bool, n: int = 8, each: int = 3) -> tuple[list[Path], np.ndarray]:
    """Individuals with a pattern of coloured tiles: symmetric like a fluke, or shown from a random side."""
    paths, classes = [], []
    chance = np.random.default_rng(0)
    for individual in range(n):
        tiles = np.random.default_rng(individual).integers(0, 255, (1, 4, 3)).astype(np.uint8)
        for photo in range(each):
            pixels = np.asarray(Image.fromarray(tiles).resize((128, 32), Image.Resampling.NEAREST)).astype(float)
            if symmetric and photo % 2:
                pixels = pixels[:, ::-1]
            pixels = (pixels + chance.normal(0, 12, pixels.shape)).clip(0, 255).astype(np.uint8)
            paths.append(folder / f"{symmetric}-{individual}-{photo}.png")
            Image.fromarray(pixels).save(paths[-1])
            classes.append(individual)
    return paths, np.array(classes)


def test_one_column_is_the_pooled_embedding_of_both_views(tmp_path: Path) -> None:
    source = PhotoSource(animals(tmp_path, symmetric=False)[0], WIDE)
    net = network(net=NET)
    found = layouts(net, source, columns=1, n_workers=0)
    expected = embed_photos(net, source, device=torch.device("cpu"), flip=True, n_workers=0).embedding
    assert np.allclose(found, expected, atol=1e-5)


def test_columns_are_from_left_to_right_and_items_in_order(tmp_path: Path) -> None:
    source = PhotoSource(animals(tmp_path, symmetric=False)[0], WIDE)
    net = network(net=NET)
    found = layouts(net, source, columns=4, n_workers=0)
    assert np.allclose(np.linalg.norm(found, axis=2), 1, atol=1e-5)
    some = layouts(net, source, items=np.array([9, 2]), columns=4, n_workers=0)
    assert np.allclose(some, found[:, [9, 2]], atol=1e-5)
    pooled = layouts(net, source, columns=1, n_workers=0)
    total = found.reshape(2, len(source), 4, -1).mean(axis=2)
    assert np.allclose(total / np.linalg.norm(total, axis=2, keepdims=True), pooled, atol=1e-5)


@pytest.mark.parametrize(("symmetric", "verdict"), [(False, "other"), (True, "same")])
def test_flukes_and_side_views_are_distinguished(tmp_path: Path, symmetric: bool, verdict: str) -> None:
    paths, classes = animals(tmp_path, symmetric=symmetric)
    both = layouts(network(net=NET), PhotoSource(paths, WIDE), n_workers=0)
    assert measure_symmetry(*both, classes).verdict == verdict


def test_a_network_without_a_map_or_no_photos_is_refused(tmp_path: Path) -> None:
    source = PhotoSource(animals(tmp_path, symmetric=False, n=1)[0], Preprocess(height_px=160, width_px=160))
    vit = NET.model_copy(update={"backbone": Backbone(name="test_vit", weights=RandomWeights())})
    with pytest.raises(ShapeError) as refused:
        layouts(network(net=vit), source, n_workers=0)
    assert "convolutional backbone" in refused.value.fix
    for wrong in ({"columns": 0}, {"items": np.arange(0)}):
        with pytest.raises(ShapeError) as refused:
            layouts(network(net=NET), source, n_workers=0, **wrong)  # type: ignore[arg-type]
        assert "columns = 4" in refused.value.fix

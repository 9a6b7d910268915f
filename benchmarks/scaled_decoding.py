"""Effect of scaled decoding on embeddings: smallest cosine between embeddings of full and of scaled decoding.

    python benchmarks/scaled_decoding.py [--photos 64]

The network is EfficientNet-Lite0 at 224 px. Photos of 1024 x 768 are cropped as in benchmarks/reading.py; larger ones
are resized whale photos in full resolution.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from PIL import Image

from fieldmark.images import preprocess
from fieldmark.images.batches import PhotoSource
from fieldmark.models.network import build
from fieldmark.models.specs import Backbone, EmbeddingHead, Net
from fieldmark.training.embed import embed_photos
from reading import DATA, PREPROCESS, draw


def embeddings(paths: list[Path], spare: float) -> np.ndarray:
    network = build(
        Net(backbone=Backbone(name="tf_efficientnet_lite0"), neck="none", head=EmbeddingHead()), n_classes=0, seed=0
    )
    with mock.patch.object(preprocess, "SPARE", spare):
        return embed_photos(network, PhotoSource(paths, PREPROCESS), device=torch.device("cpu")).embedding[0]


def large(folder: Path, width_px: int) -> list[Path]:
    paths = []
    for source in sorted((DATA / "meta_humpback2019" / "images_fullres").glob("*.jpg")):
        with Image.open(source) as stored:
            picture = stored.convert("RGB")
        for turn in range(4):
            paths.append(folder / f"{width_px}-{source.stem}-{turn}.jpg")
            turned = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if turn % 2 else picture
            cut = turned.crop((0, 0, turned.width * (4 - turn // 2) // 4, turned.height))
            cut.resize((width_px, width_px * 3 // 4), Image.Resampling.BICUBIC).save(paths[-1], quality=90)
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=64)
    options = parser.parse_args()
    print("| photos | at least 1.25 times | at least 2 times | n |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sets = {"1024 x 768": draw(folder, options.photos)}
        sets |= {f"{width} x {width * 3 // 4}": large(folder, width) for width in (1600, 4000)}
        for size, paths in sets.items():
            whole = embeddings(paths, 1e6)
            least = [float((whole * embeddings(paths, spare)).sum(axis=1).min()) for spare in (1.25, 2.0)]
            print(f"| {size} | {least[0]:.5f} | {least[1]:.5f} | {len(paths)} |", flush=True)


if __name__ == "__main__":
    main()

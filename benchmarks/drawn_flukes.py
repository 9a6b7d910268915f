"""Difficulty of drawn flukes: leave-one-out top-1 accuracy of raw pixels and of the frozen backbone; drawing speed.

    OMP_NUM_THREADS=1 python benchmarks/drawn_flukes.py [--seeds 3]

60 individuals with five photos each; nearest other photo by cosine similarity. Random guessing reaches 1.3 %.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from fieldmark.data.collection import Collection
from fieldmark.data.reading import read
from fieldmark.images.batches import PhotoSource
from fieldmark.images.specs import Preprocess
from fieldmark.models.network import build
from fieldmark.models.specs import Backbone, EmbeddingHead, Net
from fieldmark.specimens.collections import draw_flukes
from fieldmark.training.embed import embed_photos


def top1(vectors: np.ndarray, classes: np.ndarray) -> float:
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    similar = vectors @ vectors.T
    np.fill_diagonal(similar, -2)
    return float((classes[similar.argmax(axis=1)] == classes).mean())


def grey(photos: Collection) -> np.ndarray:
    rows = [np.asarray(Image.open(path).convert("L").resize((64, 32)), np.float32).ravel() for path in photos.paths]
    found = np.stack(rows)
    return found - found.mean(axis=1, keepdims=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    net = Net(backbone=Backbone(name="tf_efficientnet_lite0"), neck="none", head=EmbeddingHead())
    network = build(net, n_classes=0, seed=0)
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory() as name:
            began = time.process_time()
            folder = Path(name) / "flukes"
            draw_flukes(
                folder,
                n_identities=60,
                photos_per_identity=5,
                n_unknown=0,
                n_test=0,
                n_near_duplicates=0,
                n_broken=0,
                seed=seed,
            )
            took_s = time.process_time() - began
            photos = read(folder / "train.csv")
            source = PhotoSource(photos.paths, Preprocess(height_px=96, width_px=192))
            vectors = embed_photos(network, source, device=torch.device("cpu")).embedding[0]
            print(
                f"seed {seed}: {len(photos)} photos, {len(photos) / took_s:.0f} per CPU-second; top-1 raw pixels "
                f"{top1(grey(photos), photos.classes):.3f}, frozen backbone {top1(vectors, photos.classes):.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()

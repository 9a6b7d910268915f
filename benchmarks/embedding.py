"""Speed from photo files to embeddings on two cores: ``embed()`` against a plain pipeline with the same weights.

    python benchmarks/embedding.py [--n 1000] [--rounds 5] [--batch 64]

The plain pipeline is that of a usual notebook. Pillow decodes, torchvision resizes (224 x 224, bicubic), scales and
normalises, and the unchanged network runs on batches (float32, contiguous). Both use the same batch size, two torch
threads and no worker processes. The photos are those of ``reading.py``, 1024 x 768, from a warm disk cache. Rounds are
interleaved, and medians are printed. CPU-seconds are more reliable than wall time if other programs are running.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision import transforms

from fieldmark.images.batches import PhotoSource
from fieldmark.images.specs import Preprocess
from fieldmark.models.backbone import data_config
from fieldmark.models.network import Network, build
from fieldmark.models.specs import Backbone, EmbeddingHead, Net
from fieldmark.training.embed import embed_photos
from reading import draw

N_CORES = 2
SIZE_PX = 224
BACKBONE = Backbone()
CONFIG = data_config(BACKBONE.name)


def ours(network: Network, paths: list[Path], batch: int) -> np.ndarray:
    preprocess = Preprocess(height_px=SIZE_PX, width_px=SIZE_PX, mean=CONFIG.mean, std=CONFIG.std)
    return embed_photos(network, PhotoSource(paths, preprocess), device=torch.device("cpu"), batch=batch).embedding[0]


def plain(network: Network, paths: list[Path], batch: int) -> np.ndarray:
    transform = transforms.Compose(
        [
            transforms.Resize((SIZE_PX, SIZE_PX), transforms.InterpolationMode.BICUBIC, antialias=True),
            transforms.ToTensor(),
            transforms.Normalize(CONFIG.mean, CONFIG.std),
        ]
    )
    vectors = []
    with torch.inference_mode():
        for start in range(0, len(paths), batch):
            pictures = []
            for path in paths[start : start + batch]:
                with Image.open(path) as picture:
                    pictures.append(transform(picture.convert("RGB")))
            vectors.append(network(torch.stack(pictures)).embedding)
    return torch.cat(vectors).numpy()


def measured(way: Callable[[], np.ndarray]) -> tuple[float, float]:
    """Return wall seconds and CPU seconds."""
    clock, cpu = time.perf_counter(), time.process_time()
    way()
    return time.perf_counter() - clock, time.process_time() - cpu


def row(name: str, clock: list[float], cpu: list[float], n: int) -> str:
    middle = statistics.median(clock)
    return f"{name:<8} {middle:>8.2f} {n / middle:>10.1f} {statistics.median(cpu):>10.2f}"


def spread(name: str, plain_s: list[float], ours_s: list[float]) -> str:
    ratios = [slow / quick for slow, quick in zip(plain_s, ours_s, strict=True)]
    return f"{name}: {statistics.median(ratios):.2f} times less (rounds {min(ratios):.2f}-{max(ratios):.2f})"


def main() -> None:
    """Draw the photos, measure the times, compare the embeddings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=1000, help="photos")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=64, help="largest number of photos in one forward pass")
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:N_CORES])
    torch.set_num_threads(N_CORES)
    network = build(Net(backbone=BACKBONE, neck="none", head=EmbeddingHead()), n_classes=1, seed=0).eval()
    with tempfile.TemporaryDirectory() as folder:
        paths = draw(Path(folder), options.n)
        # The first passes are an untimed warm-up of both.
        cosine = (ours(network, paths, options.batch) * plain(network, paths, options.batch)).sum(axis=1)
        clock: dict[str, list[float]] = {"ours": [], "plain": []}
        cpu: dict[str, list[float]] = {"ours": [], "plain": []}
        for _ in range(options.rounds):
            for name, way in (("ours", ours), ("plain", plain)):
                taken = measured(lambda way=way: way(network, paths, options.batch))
                clock[name].append(taken[0])
                cpu[name].append(taken[1])
    print(f"{options.n} JPEGs of 1024 x 768, {BACKBONE.name}, batch {options.batch}, {N_CORES} cores")
    print(f"{'':<8} {'seconds':>8} {'photos/s':>10} {'CPU-s':>10}   (medians of {options.rounds} rounds)")
    for name, seconds in clock.items():
        print(row(name, seconds, cpu[name], options.n))
    print(spread("clock", clock["plain"], clock["ours"]))
    print(spread("CPU", cpu["plain"], cpu["ours"]))
    print(f"cosine between the two: mean {cosine.mean():.5f}, least {cosine.min():.5f}")


if __name__ == "__main__":
    main()

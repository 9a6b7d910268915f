"""From photo files to embeddings on two cores: ``embed()`` against the plain way, same weights.

    python benchmarks/embedding.py [--n 1000] [--rounds 5] [--batch 64]

The plain way is what a notebook does: Pillow opens and decodes, torchvision resizes (224 x 224, bicubic), scales and
normalises, the network runs as built (float32, contiguous) on batches. Both use the same batch size, two threads of
torch and no worker processes; the photos are those of ``reading.py``, 1024 x 768, from a warm disk cache. Rounds are
interleaved; medians count. CPU-seconds tell more than the clock where other programs run beside.
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
SEEN = data_config(BACKBONE.name)


def ours(network: Network, paths: list[Path], batch: int) -> np.ndarray:
    preprocess = Preprocess(height_px=SIZE_PX, width_px=SIZE_PX, mean=SEEN.mean, std=SEEN.std)
    return embed_photos(network, PhotoSource(paths, preprocess), device=torch.device("cpu"), batch=batch).embedding[0]


def plain(network: Network, paths: list[Path], batch: int) -> np.ndarray:
    transform = transforms.Compose(
        [
            transforms.Resize((SIZE_PX, SIZE_PX), transforms.InterpolationMode.BICUBIC, antialias=True),
            transforms.ToTensor(),
            transforms.Normalize(SEEN.mean, SEEN.std),
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
    """Seconds by the clock, and of CPU."""
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
    """Draw the photos, take the times, compare the vectors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=1000, help="photos")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=64, help="photos in one forward pass, at most")
    asked = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:N_CORES])
    torch.set_num_threads(N_CORES)
    network = build(Net(backbone=BACKBONE, neck="none", head=EmbeddingHead()), n_classes=1, seed=0).eval()
    with tempfile.TemporaryDirectory() as folder:
        paths = draw(Path(folder), asked.n)
        # The first passes also wake both ways up, untimed.
        cosine = (ours(network, paths, asked.batch) * plain(network, paths, asked.batch)).sum(axis=1)
        clock: dict[str, list[float]] = {"ours": [], "plain": []}
        cpu: dict[str, list[float]] = {"ours": [], "plain": []}
        for _ in range(asked.rounds):
            for name, way in (("ours", ours), ("plain", plain)):
                taken = measured(lambda way=way: way(network, paths, asked.batch))
                clock[name].append(taken[0])
                cpu[name].append(taken[1])
    print(f"{asked.n} JPEGs of 1024 x 768, {BACKBONE.name}, batch {asked.batch}, {N_CORES} cores")
    print(f"{'':<8} {'seconds':>8} {'photos/s':>10} {'CPU-s':>10}   (medians of {asked.rounds} rounds)")
    for name, seconds in clock.items():
        print(row(name, seconds, cpu[name], asked.n))
    print(spread("clock", clock["plain"], clock["ours"]))
    print(spread("CPU", cpu["plain"], cpu["ours"]))
    print(f"cosine between the two: mean {cosine.mean():.5f}, least {cosine.min():.5f}")


if __name__ == "__main__":
    main()

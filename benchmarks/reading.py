"""Speed of reading a JPEG of 1024 x 768 as 224 x 224 pixels: our reader against Pillow's full decode and resize.

    OMP_NUM_THREADS=1 python benchmarks/reading.py [--photos 200] [--rounds 7]

Both read the same files from a warm disk cache, in one process with the same number of threads. Rounds are interleaved,
and the median round is printed. The photos are crops of photos in $FIELDMARK_DATA (three whale photos in full
resolution, at different positions and scales, and upscaled photos of other folders), saved at JPEG quality 90. The
difference is the mean absolute difference of all pixels and channels, 0-255.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from fieldmark.core.seeds import generator
from fieldmark.images.preprocess import prepare
from fieldmark.images.specs import Preprocess

DATA = Path(os.environ.get("FIELDMARK_DATA", Path(__file__).parents[2] / "shared" / "data"))
PREPROCESS = Preprocess(height_px=224, width_px=224)


def draw(folder: Path, n_photos: int) -> list[Path]:
    """Write JPEGs of 1024 x 768 with real content: random crops of full-resolution photos, half of them flipped."""
    rng = generator(0, "reading benchmark")
    whales = sorted((DATA / "meta_humpback2019" / "images_fullres").glob("*.jpg"))
    others = sorted((DATA / "fashion_products_hires" / "images").glob("*.jpg"))[: n_photos // 4]
    if not whales:
        raise SystemExit(f"There are no photos under {DATA}; set FIELDMARK_DATA.")
    paths = []
    for number in range(n_photos):
        source = others[number % len(others)] if others and number % 4 == 3 else whales[number % len(whales)]
        with Image.open(source) as stored:
            picture = stored.convert("RGB")
        width = int(min(picture.width, picture.height * 4 / 3) * rng.uniform(0.6, 1.0))
        height = width * 3 // 4
        left = int(rng.integers(picture.width - width + 1))
        top = int(rng.integers(picture.height - height + 1))
        cut = picture.resize((1024, 768), Image.Resampling.BICUBIC, box=(left, top, left + width, top + height))
        if rng.random() < 0.5:
            cut = cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        paths.append(folder / f"{number:04}.jpg")
        cut.save(paths[-1], quality=90)
    return paths


def ours(path: Path) -> np.ndarray:
    return prepare(path, PREPROCESS).permute(1, 2, 0).numpy()


def pillow(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB").resize((224, 224), Image.Resampling.BICUBIC))


def seconds(read: Callable[[Path], np.ndarray], paths: list[Path], n_threads: int) -> float:
    """Return the seconds of one round over all photos."""
    started = time.perf_counter()
    if n_threads == 1:
        for path in paths:
            read(path)
    else:
        with ThreadPoolExecutor(n_threads) as pool:
            list(pool.map(read, paths))
    return time.perf_counter() - started


def main() -> None:
    """Write the photos, measure the times, compare the pixels."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        paths = draw(Path(folder), options.photos)
        kib = statistics.mean(path.stat().st_size for path in paths) / 1024
        print(f"{len(paths)} JPEGs of 1024 x 768, {kib:.0f} KiB each; median of {options.rounds} rounds")
        for n_threads in (1, 2):
            times: dict[Callable[[Path], np.ndarray], list[float]] = {ours: [], pillow: []}
            for _ in range(options.rounds):
                for read, taken in times.items():
                    taken.append(seconds(read, paths, n_threads))
            rate = {read: len(paths) / statistics.median(taken) for read, taken in times.items()}
            pairs = [mine / theirs for mine, theirs in zip(times[pillow], times[ours], strict=True)]
            print(
                f"{n_threads} thread(s): ours {rate[ours]:.0f} images/s, Pillow {rate[pillow]:.0f}; "
                f"{rate[ours] / rate[pillow]:.2f} times (rounds {min(pairs):.2f}-{max(pairs):.2f})"
            )
        difference = [np.abs(ours(path).astype(int) - pillow(path)).mean() for path in paths]
        print(f"mean absolute difference {np.mean(difference):.2f} of 255; largest of one image {max(difference):.2f}")


if __name__ == "__main__":
    main()

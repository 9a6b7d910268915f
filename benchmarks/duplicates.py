"""Claim: hashing photos and finding all pairs of similar hashes takes seconds, and misses no pair.

Run ``OMP_NUM_THREADS=1 python benchmarks/duplicates.py`` (``$FIELDMARK_DATA`` must hold ``meta_humpback2019`` and
``humpback2018_100px``; the comparisons need the extra ``bench``). The script prints

* the number of bits in which our hash differs from that of the full image and from ``imagehash.phash``, and photos
  hashed per CPU-second, on real flukes: the contest's originals, and photos of 100 x 100 px resized to their true size;
* CPU seconds for all pairs within 6 bits: of the 33,321 hashes of the whale contest, and of a million simulated hashes
  with planted copies, compared with all pairs by numpy; and for ``imagededup`` on a part that it can finish;
* the number of the 89 lists of duplicate whale ids that share a similar hash.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from collections import Counter
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import imagehash
import numpy as np
from PIL import Image

from fieldmark.data.reading import read as read_table
from fieldmark.images.hashes import hashes, phash
from fieldmark.images.reading import read_pixels
from fieldmark.quality.duplicates.near_hashes import near

DATA = Path(os.environ.get("FIELDMARK_DATA", Path(__file__).parents[2] / "shared" / "data"))
WHALES = DATA / "meta_humpback2019"
WITHIN = 6
Made = TypeVar("Made")


def timed(make: Callable[[], Made]) -> tuple[Made, float]:
    start = time.process_time()
    made = make()
    return made, time.process_time() - start


def spread(ours: list[int], theirs: list[int]) -> str:
    bits = Counter((one ^ other).bit_count() for one, other in zip(ours, theirs, strict=True))
    return ", ".join(f"{n} of {count}" for n, count in sorted(bits.items()))


def resized(folder: Path, n_photos: int) -> list[Path]:
    """Return real flukes of 100 x 100 px, saved at their true size."""
    photos = read_table(DATA / "humpback2018_100px" / "labels.csv")
    some = photos.take(np.random.default_rng(0).choice(len(photos), n_photos, replace=False))
    paths = []
    for path, width, height in zip(some.paths, some.table["width"], some.table["height"], strict=True):
        with Image.open(path) as photo:
            file = BytesIO()
            photo.convert("RGB").resize((width, height), Image.Resampling.BICUBIC).save(file, "JPEG", quality=92)
        paths.append(folder / path.name)
        paths[-1].write_bytes(file.getvalue())
    return paths


def hashing(paths: list[Path], what: str) -> None:
    for path in paths:  # both then read from memory
        path.read_bytes()
    hashed, our_s = timed(lambda: hashes(paths, n_threads=1))
    ours = hashed.phash.tolist()
    theirs, their_s = timed(lambda: [int(str(imagehash.phash(Image.open(path))), 16) for path in paths])
    whole = [phash(read_pixels(path, colour="grey")) for path in paths]
    print(f"\n{what}: {len(paths)} photos")
    print(f"  photos per CPU-second: ours {len(paths) / our_s:.0f}, imagehash {len(paths) / their_s:.0f}", end="")
    print(f" ({their_s / our_s:.1f} times)")
    print(f"  differing bits, ours and ours of the full image: {spread(ours, whole)}")
    print(f"  differing bits, ours of the full image and imagehash: {spread(whole, theirs)}", flush=True)


def numpy_pairs(words: np.ndarray) -> int:
    return sum(int((np.bitwise_count(words[at + 1 :] ^ words[at]) <= WITHIN).sum()) for at in range(len(words)))


def simulated(n: int, n_copies: int) -> np.ndarray:
    """Return random hashes, of which some are copies of others with 0 to 6 bits flipped."""
    rng = np.random.default_rng(0)
    words = rng.integers(0, 2**64, n, dtype=np.uint64)
    for place in range(n_copies):
        word = words[n - 1 - place]
        for bit in rng.permutation(64)[: place % (WITHIN + 1)]:
            word ^= np.uint64(1) << np.uint64(bit)
        words[place] = word
    return words


def dedup_pairs(words: np.ndarray) -> int:
    from imagededup.methods import PHash

    codes = {str(at): f"{int(word):016x}" for at, word in enumerate(words)}
    found = PHash(verbose=False).find_duplicates(
        encoding_map=codes, max_distance_threshold=WITHIN, num_enc_workers=0, num_dist_workers=0
    )
    return len({frozenset((one, other)) for one, others in found.items() for other in others})


def index(n_dedup: int) -> None:
    with (WHALES / "phash_size.csv").open(newline="") as file:
        real = np.array([int(row["phash"], 16) for row in csv.DictReader(file)], np.uint64)
    warm = np.random.default_rng(1).integers(0, 2**64, 50_000, dtype=np.uint64)
    _, first_s = timed(lambda: (near(warm), near(warm[:9])))
    _, again_s = timed(lambda: (near(warm), near(warm[:9])))
    print(f"\ncompiling, or loading compiled code: {first_s - again_s:.2f} CPU-s")
    found, seconds = timed(lambda: near(real))
    print(f"{len(real):,} hashes of whales: {found.n_image_pairs:,} pairs in {seconds:.3f} CPU-s", flush=True)
    n_pairs, seconds = timed(lambda: numpy_pairs(real))
    print(f"  numpy, all pairs: {n_pairs:,} pairs in {seconds:.1f} CPU-s", flush=True)
    many = simulated(1_000_000, 10_000)
    found, seconds = timed(lambda: near(many))
    print(f"1,000,000 simulated: {found.n_image_pairs:,} pairs in {seconds:.2f} CPU-s, 10,000 planted", flush=True)
    blank = np.concatenate([real, np.full(500_000, real[0])])
    found, seconds = timed(lambda: near(blank))
    print(
        f"the real hashes and 500,000 copies of one: {found.n_image_pairs:,} pairs counted in {seconds:.2f} CPU-s",
        flush=True,
    )
    if n_dedup:
        part = real[:n_dedup]
        found, seconds = timed(lambda: near(part))
        print(f"{n_dedup:,} of the whales: ours {found.n_image_pairs} pairs in {seconds:.4f} CPU-s", flush=True)
        n_pairs, seconds = timed(lambda: dedup_pairs(part))
        print(f"  imagededup: {n_pairs} pairs in {seconds:.1f} CPU-s", flush=True)


def doubled_ids() -> None:
    with (WHALES / "phash_size.csv").open(newline="") as file:
        photos = {row["Image"]: row for row in csv.DictReader(file)}
    with (WHALES / "train.csv").open(newline="") as file:
        names = {row["Image"]: row["Id"] for row in csv.DictReader(file)}
    with (WHALES / "duplicate_ids_pudae.csv").open(newline="") as file:
        lists = [set(row["SubId"].split()) for row in csv.DictReader(file)]
    known = [image for image in photos if names.get(image, "new_whale") != "new_whale"]
    words = np.array([int(photos[image]["phash"], 16) for image in known], np.uint64)
    shape = np.array([int(photos[image]["width"]) / int(photos[image]["height"]) for image in known])
    print(f"\nduplicate ids: {len(lists)} lists, {len(known):,} named photos (no pixels, so pairs are not verified)")
    for within in (0, 3, 6, 10):
        pairs = near(words, within=within).image_pairs()
        same_shape = np.abs(np.log(shape[pairs[:, 0]] / shape[pairs[:, 1]])) <= np.log(1.02)
        doubles = {
            frozenset((names[known[one]], names[known[other]]))
            for one, other in pairs[same_shape].tolist()
            if names[known[one]] != names[known[other]]
        }
        n_lists = sum(any(double <= ids for double in doubles) for ids in lists)
        print(
            f"  within {within:2} bits and of one aspect ratio: {len(doubles):5,} pairs of ids, {n_lists} of the lists"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=150, help="number of photos to hash")
    parser.add_argument("--dedup", type=int, default=4000, help="number of hashes for imagededup; 0 skips it")
    chosen = parser.parse_args()

    hashing(sorted((WHALES / "images_fullres").glob("*.jpg")) * 10, "originals, 1050 px wide, each ten times")
    with TemporaryDirectory() as folder:
        hashing(resized(Path(folder), chosen.photos), "flukes resized to their true size")
    index(chosen.dedup)
    doubled_ids()


if __name__ == "__main__":
    main()

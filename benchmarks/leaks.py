"""Claim: the audit finds the leaks of real tables, and raises no alarm where answers are shuffled.

Run ``OMP_NUM_THREADS=1 python benchmarks/leaks.py`` (``$FIELDMARK_DATA`` must hold ``fashion_products``,
``humpback2018_100px`` and ``meta_humpback2019``). Prints, with seconds of CPU,

* the audit of fashion_products: seven questions, 12,490 rows, its addresses, product names and files;
* of humpback2018_100px: who it is, and whether anybody known, from sizes, file names, the order of rows, copies;
* of the 2019 contest's table (no pictures): sizes, names, and hashes within and across its training and test photos;
* how many of the side features are called leaks where the answers of fashion_products are shuffled, by seed.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import polars as pl

import fieldmark
from fieldmark.cli import tables
from fieldmark.data.collection import Collection

DATA = Path(os.environ.get("FIELDMARK_DATA", Path(__file__).parents[2] / "shared" / "data"))
QUESTIONS = ("gender", "masterCategory", "subCategory", "articleType", "baseColour", "season", "usage")
N_SEEDS = 5
N_SHUFFLED = 3_000


def audited(what: str, data: Path | Collection, **options: object) -> None:
    start = time.process_time()
    found = fieldmark.audit(data, n_workers=1, **options)
    print(f"\n{what} ({time.process_time() - start:.0f} s of CPU)", flush=True)
    tables.write_lines(*tables.leaks(found))


def whales_2019() -> Collection:
    """The contest's training and test photos, with sizes and hashes that others published."""
    known = pl.read_csv(DATA / "meta_humpback2019" / "train.csv").rename({"Image": "image", "Id": "identity"})
    sizes = pl.read_csv(DATA / "meta_humpback2019" / "phash_size.csv").rename({"Image": "image", "set": "split"})
    return Collection.of(sizes.join(known, on="image", how="left", maintain_order="left"), root=Path("nowhere"))


def shuffled(seed: int) -> tuple[int, int]:
    """Side features called leaks where each question's answers were dealt out anew, and how many were tried."""
    photos = fieldmark.read(DATA / "fashion_products" / "labels.csv", questions=QUESTIONS)
    chance = np.random.default_rng(seed)
    photos = photos.take(chance.permutation(len(photos))[:N_SHUFFLED])
    dealt = [photos.table[name].gather(chance.permutation(len(photos))).alias(name) for name in QUESTIONS]
    found = fieldmark.audit(
        Collection(photos.table.with_columns(dealt), photos.root, photos.vocabulary), seed=seed, n_workers=1
    )
    return len(found.leaks), len(found.gains)


if __name__ == "__main__":
    audited("fashion_products", DATA / "fashion_products" / "labels.csv", questions=QUESTIONS)
    audited(
        "humpback2018_100px", DATA / "humpback2018_100px" / "labels.csv", side_features=("source_path", "orig_channels")
    )
    alone = fieldmark.read(DATA / "humpback2018_100px" / "labels.csv")
    alone = Collection(alone.table.drop("group"), alone.root, alone.vocabulary)
    audited("humpback2018_100px, as if nobody had told which files are copies", alone)
    audited("humpback 2019, the table alone", whales_2019())
    found = [shuffled(seed) for seed in range(N_SEEDS)]
    print(f"\nshuffled answers: {[n for n, _ in found]} leaks of {[n for _, n in found]} tried, by seed")

"""Claim: the audit finds the leaks of real tables, and reports none for shuffled labels.

Run ``OMP_NUM_THREADS=1 python benchmarks/leaks.py`` (``$FIELDMARK_DATA`` must hold ``fashion_products``,
``humpback2018_100px`` and ``meta_humpback2019``). The script prints, with CPU seconds,

* the audit of fashion_products: seven questions, 12,490 rows, URLs, product names and files;
* the audit of humpback2018_100px: the identity, and known or unknown, from sizes, file names, row order and copies;
* the audit of the 2019 contest's table (no images): sizes, names, and hashes within and across training and test;
* the number of side features reported as leaks for shuffled labels of fashion_products, by seed.
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
    """Return the contest's training and test photos, with published sizes and hashes."""
    known = pl.read_csv(DATA / "meta_humpback2019" / "train.csv").rename({"Image": "image", "Id": "identity"})
    sizes = pl.read_csv(DATA / "meta_humpback2019" / "phash_size.csv").rename({"Image": "image", "set": "split"})
    return Collection.of(sizes.join(known, on="image", how="left", maintain_order="left"), root=Path("nowhere"))


def shuffled(seed: int) -> tuple[int, int]:
    """Return the number of side features reported as leaks for shuffled labels, and the number tested."""
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
    audited("humpback2018_100px, without the groups of copies", alone)
    audited("humpback 2019, the table alone", whales_2019())
    found = [shuffled(seed) for seed in range(N_SEEDS)]
    print(f"\nshuffled answers: {[n for n, _ in found]} leaks of {[n for _, n in found]} tried, by seed")

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fieldmark.core.run import RunFolder
from fieldmark.data.collection import Collection
from fieldmark.data.reading import read
from fieldmark.pipeline.engine import execute
from fieldmark.plans.humpback import humpback_classify

N_IDENTITIES, N_STRANGERS = 8, 6


def picture(number: int, rng: np.random.Generator) -> Image.Image:
    """A pattern of coloured tiles that is the individual, under some noise that is the photo."""
    tiles = np.random.default_rng(number).integers(0, 255, (4, 8, 3)).astype(np.uint8)
    pixels = np.asarray(Image.fromarray(tiles).resize((64, 32), Image.Resampling.BICUBIC)).astype(float)
    return Image.fromarray((pixels + rng.normal(0, 15, pixels.shape)).clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="session")
def whales(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight individuals with one to four photos, six strangers, six new photos; the contest's layout."""
    folder = tmp_path_factory.mktemp("whales")
    rng = np.random.default_rng(0)
    rows = []
    for kind in ("train", "test"):
        (folder / kind).mkdir()
    shown = [(f"w_{i}", i) for i in range(N_IDENTITIES) for _ in range(1 + i % 4)]
    shown += [("new_whale", 100 + i) for i in range(N_STRANGERS)]
    for number, (name, individual) in enumerate(shown):
        picture(individual, rng).save(folder / "train" / f"{number:03d}.jpg")
        rows.append((f"{number:03d}.jpg", name))
    for number in range(6):
        picture(number if number < 4 else 200 + number, rng).save(folder / "test" / f"t{number}.jpg")
    with (folder / "train.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("Image", "Id"), *rows])
    return folder


@pytest.fixture(scope="session")
def known(whales: Path) -> Collection:
    return read(whales / "train.csv")


@pytest.fixture(scope="session")
def new(whales: Path, known: Collection) -> Collection:
    table = {"image": [f"t{n}.jpg" for n in range(6)], "file": [f"t{n}.jpg" for n in range(6)]}
    import polars as pl

    return Collection.of(pl.DataFrame(table), root=whales / "test", name="new")


@pytest.fixture(scope="session")
def finished(known: Collection, new: Collection, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A whole toy run."""
    return execute(
        humpback_classify(size="toy"), known, tmp_path_factory.mktemp("runs") / "toy", new=new, seed=1, n_workers=0
    )

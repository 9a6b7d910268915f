"""Drawn collections and finished runs that several tests share. Tests must not change them.

Each is created once for all processes of a test run. The first process that needs it creates it; the others wait.
"""

import csv
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from fieldmark.core.run import RunFolder
from fieldmark.data.collection import Collection
from fieldmark.data.reading import read
from fieldmark.specimens.shop import write_garments
from once import Once

CULTURES = ("culture::egyptian", "culture::greek", "culture::japanese")
TAGS = ("tag::blue", "tag::gold", "tag::people", "tag::red")
PAINT = {
    "tag::blue": (30, 60, 200),
    "tag::gold": (210, 170, 40),
    "tag::people": (120, 80, 60),
    "tag::red": (200, 30, 40),
}


def paint(path: Path, labels: list[str], *, shot: int) -> None:
    """Draw an object with visible labels: stripes in the colours of its tags, and a frame for its culture."""
    colours = [PAINT[label] for label in labels if label in PAINT] or [(128, 128, 128)]
    pixels = np.zeros((48, 56, 3), dtype=float)
    for stripe, rows in enumerate(np.array_split(np.arange(48), 6)):
        pixels[rows] = colours[stripe % len(colours)]
    for place, culture in enumerate(CULTURES):
        if culture in labels:
            pixels[: 4 + 4 * place] = 255 * (place % 2)
            pixels[:, : 4 + 4 * place] = 255 * (place % 2)
    pixels += np.random.default_rng(shot).normal(0, 12, pixels.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)


def write_museum(folder: Path, *, n_known: int = 50, n_new: int = 6) -> Path:
    """Write a folder in the layout of iMet: train.csv, labels.csv, train/, test/, sample_submission.csv."""
    names, chance = (*CULTURES, *TAGS), np.random.default_rng(7)
    rows = []
    for number in range(n_known + n_new):
        tags = sorted(chance.choice(TAGS, size=1 + number % 3, replace=False).tolist())
        labels = ([CULTURES[number % 3]] if number % 4 else []) + tags
        rows.append((f"{number:016x}", " ".join(str(names.index(label)) for label in labels)))
        paint(folder / ("train" if number < n_known else "test") / f"{number:016x}.png", labels, shot=number)
    tables = {
        "train.csv": [("id", "attribute_ids"), *rows[:n_known]],
        "labels.csv": [("attribute_id", "attribute_name"), *((str(at), name) for at, name in enumerate(names))],
        "sample_submission.csv": [
            ("id", "attribute_ids"),
            *((image, "0 1 2") for image, _ in reversed(rows[n_known:])),
        ],
    }
    for name, lines in tables.items():
        with (folder / name).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(lines)
    return folder


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Once:
    """Factory of folders that all processes of this test run share."""
    base = tmp_path_factory.getbasetemp()
    return Once((base.parent if hasattr(request.config, "workerinput") else base) / "once")


@pytest.fixture(scope="session")
def museum(once: Once) -> Path:
    """Folder with drawn objects in the layout of iMet."""
    return once("museum", write_museum)


@pytest.fixture(scope="session")
def museum_run(museum: Path, once: Once) -> Path:
    """Folder of a finished toy run of ``imet2019`` on the museum."""
    import fieldmark

    return once("tags", lambda run: fieldmark.train("imet2019", museum, run=run, size="toy", n_workers=0))


def write_shop(folder: Path) -> None:
    """Write drawn garments with questions. Two of the new photos have a row but no file."""
    write_garments(folder, n_train=48, n_test=8, size_px=48, seed=1)
    for photo in sorted(pl.read_csv(folder / "new.csv")["file"].to_list())[:2]:
        (folder / photo).unlink()


@pytest.fixture(scope="session")
def shop(once: Once) -> Path:
    """Folder written by ``write_shop``."""
    return once("shop", write_shop)


@pytest.fixture(scope="session")
def shop_run(shop: Path, once: Once) -> Path:
    """Folder of a finished toy run of ``imaterialist2017`` on the shop, with trees among its models."""
    import fieldmark

    def train(run: Path) -> None:
        new, trees = shop / "new.csv", {"trees": True}
        fieldmark.train("imaterialist2017", shop, new=new, run=run, size="toy", settings=trees, n_workers=0)

    return once("answers", train)


N_IDENTITIES, N_UNKNOWNS = 8, 6


def picture(number: int, rng: np.random.Generator) -> Image.Image:
    """A photo of an individual: its pattern of coloured tiles, with noise that differs in each photo."""
    tiles = np.random.default_rng(number).integers(0, 255, (4, 8, 3)).astype(np.uint8)
    pixels = np.asarray(Image.fromarray(tiles).resize((64, 32), Image.Resampling.BICUBIC)).astype(float)
    return Image.fromarray((pixels + rng.normal(0, 15, pixels.shape)).clip(0, 255).astype(np.uint8))


def write_whales(folder: Path) -> None:
    """Write eight individuals with one to four photos, six unknown ones and six new photos, in the contest layout."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    rows = []
    for kind in ("train", "test"):
        (folder / kind).mkdir()
    shown = [(f"w_{i}", i) for i in range(N_IDENTITIES) for _ in range(1 + i % 4)]
    shown += [("new_whale", 100 + i) for i in range(N_UNKNOWNS)]
    for number, (name, individual) in enumerate(shown):
        picture(individual, rng).save(folder / "train" / f"{number:03d}.jpg")
        rows.append((f"{number:03d}.jpg", name))
    for number in range(6):
        picture(number if number < 4 else 200 + number, rng).save(folder / "test" / f"t{number}.jpg")
    with (folder / "train.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("Image", "Id"), *rows])


@pytest.fixture(scope="session")
def whales(once: Once) -> Path:
    """Folder written by ``write_whales``."""
    return once("whales", write_whales)


@pytest.fixture(scope="session")
def known(whales: Path) -> Collection:
    """Collection of the named whales and the unknown individuals."""
    return read(whales / "train.csv")


@pytest.fixture(scope="session")
def new(whales: Path, known: Collection) -> Collection:
    """Collection of the six new photos."""
    table = {"image": [f"t{n}.jpg" for n in range(6)], "file": [f"t{n}.jpg" for n in range(6)]}
    return Collection.of(pl.DataFrame(table), root=whales / "test", name="new")


@pytest.fixture(scope="session")
def finished(known: Collection, new: Collection, once: Once) -> RunFolder:
    """A finished toy run on the whales."""
    from fieldmark.pipeline.engine import execute
    from fieldmark.plans.humpback import humpback_classify

    plan = humpback_classify(size="toy")
    return RunFolder(once("finished", lambda run: execute(plan, known, run, new=new, seed=1, n_workers=0)))

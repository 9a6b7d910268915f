"""Create synthetic collections of whale flukes, in the folder layout of the Humpback Whale Identification contest.

```
train/xxxxxxxx.jpg   test/xxxxxxxx.jpg
train.csv              Image,Id; unknown individuals are `new_whale`; broken files are included
sample_submission.csv  Image,Id; five names, the same for every test photo
test_truth.csv         Image,Id; the true identities
flaws.csv              Image,Flaw,Of; copies with their originals, and broken files
README.txt             settings of the collection
```

A photo depends only on the seed and its number, and its file name is a one-to-one scramble of the number. Drawing keeps
no state, so a million photos need only the memory of the table of their identities.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Int64
from PIL import Image

from fieldmark.core import seeds
from fieldmark.core.progress import QUIET, Progress
from fieldmark.specimens.files import NAME_BITS, Drawn, DrawnPhotos, check_arguments, jpeg, scramble, write_csv
from fieldmark.specimens.flukes import Fluke, View, draw_fluke

UNKNOWN_INDIVIDUAL = "new_whale"
CONTEST_COUNTS = (
    (1, 2073), (2, 1285), (3, 568), (4, 273), (5, 172), (6, 136), (7, 86), (8, 76), (9, 62), (10, 46), (11, 39),
    (12, 26), (13, 14), (14, 16), (15, 19), (16, 16), (17, 17), (18, 6), (19, 8), (20, 7), (21, 7), (22, 5), (23, 4),
    (24, 7), (25, 2), (27, 1), (29, 2), (30, 3), (31, 3), (32, 1), (33, 1), (34, 2), (35, 1), (36, 1), (37, 3), (40, 3),
    (45, 2), (47, 1), (48, 1), (49, 1), (50, 1), (51, 1), (54, 1), (57, 1), (61, 1), (62, 1), (65, 1), (73, 1),
)  # fmt: skip
"""Training photos per whale in the 2018/19 contest: (photos, number of whales with that count), 5,004 whales in all."""
IDENTITY_BITS = 28


def draw_flukes(  # noqa: PLR0913 - each is a property of the collection, and all have a default
    folder: Path,
    *,
    n_identities: int = 100,
    photos_per_identity: int | None = None,
    n_unknown: int = 40,
    n_test: int = 60,
    share_unknown_test: float = 0.25,
    n_near_duplicates: int = 6,
    n_broken: int = 1,
    size_px: tuple[int, int] = (320, 160),
    seed: int = 0,
    n_workers: int = 1,
    progress: Progress = QUIET,
) -> Drawn:
    """Create a synthetic collection of whale flukes in an empty folder.

    The same arguments give the same bytes, for any number of workers.

    Args:
        folder: Folder to write to; created if it does not exist, rejected if it is not empty.
        n_identities: Number of known whales.
        photos_per_identity: Training photos per whale; None follows the contest, where 41 % of the whales have one
            photo, 26 % two, and one has 73.
        n_unknown: Number of training photos of unknown whales, one each, labelled ``new_whale``.
        n_test: Number of test photos.
        share_unknown_test: Share of the test photos with further unknown whales, 0 to 1. The others show known whales,
            each whale equally often on average.
        n_near_duplicates: Number of smaller, recompressed copies of training photos, with the same identity.
        n_broken: Number of truncated files, listed in ``train.csv`` with the name of a known whale.
        size_px: Width and height of a photo; use twice the height as width.
        seed: Random seed.
        n_workers: Number of drawing threads.
        progress: Receives the number of finished photos.

    Returns:
        The folder, the number of image files, and the table with the true identities of the test photos.

    Raises:
        PlanError: Numbers are out of range; all are listed.
        DataError: The folder is not empty.

    Source:
        Ours; layout and counts follow Kaggle's humpback-whale-identification (2018/19).
    """
    folder = Path(folder)
    least, most = (1, 73) if photos_per_identity is None else (photos_per_identity, photos_per_identity)
    check_arguments(
        {
            "n_identities": (n_identities, 1, 1 << IDENTITY_BITS),
            "photos_per_identity": (least, 1, 1 << 20),
            "n_unknown": (n_unknown, 0, 1 << 30),
            "n_test": (n_test, 0, 1 << 30),
            "share_unknown_test": (share_unknown_test, 0, 1),
            "n_near_duplicates": (n_near_duplicates, 0, max(0, n_identities * least + n_unknown)),
            "n_broken": (n_broken, 0, 1 << 20),
            "photos of known whales": (n_identities * most, 1, 1 << (NAME_BITS - 1)),
            "width": (size_px[0], 64, 4096),
            "height": (size_px[1], 32, 4096),
            "n_workers": (n_workers, 1, 256),
        },
        folder,
    )
    counts = _photo_counts(n_identities, photos_per_identity, seed=seed)
    n_new = round(n_test * share_unknown_test)
    photos, individual = _assign_individuals(
        counts, n_unknown, n_known=n_test - n_new, n_new=n_new, flaws=(n_near_duplicates, n_broken), seed=seed
    )

    arguments = f"{n_identities=} {photos_per_identity=} {n_unknown=} {n_test=} {share_unknown_test=} "
    arguments += f"{n_near_duplicates=} {n_broken=} {size_px=} {seed=}"
    readme = README.format(n=photos.test.stop, arguments=arguments)

    def draw(number: int) -> bytes:
        view = View.of(seed, number)
        picture = draw_fluke(Fluke.of(seed, int(individual[number])), view, size_px=size_px)
        return jpeg(Image.fromarray(picture), view.jpeg_quality)

    drawn = photos.write(folder, draw, readme=readme, n_workers=n_workers, progress=progress)
    _write_tables(folder, photos, individual, counts)
    return drawn


README = """{n} synthetic pictures of whale flukes, drawn by fieldmark.specimens. They show no real whales.
{arguments}

train.csv              Image,Id of the pictures in train/; `new_whale` marks unknown individuals
sample_submission.csv  Image,Id with five names for each picture in test/
test_truth.csv         Image,Id: the true identities
flaws.csv              Image,Flaw,Of: smaller copies of training pictures, and truncated files
"""


def _photo_counts(n_identities: int, each: int | None, *, seed: int) -> Int64[np.ndarray, " identity"]:
    """Return the training photos per identity: ``each``, or quantiles of the contest's distribution in random order."""
    if each is not None:
        return np.full(n_identities, each, dtype=np.int64)
    photos, whales = np.array(CONTEST_COUNTS).T
    share = (np.arange(n_identities) + 0.5) / n_identities
    rank = np.searchsorted(np.cumsum(whales) / whales.sum(), share, side="right")
    return seeds.generator(seed, "counts").permutation(photos[rank].astype(np.int64))


def _assign_individuals(
    counts: Int64[np.ndarray, " identity"],
    n_unknown: int,
    *,
    n_known: int,
    n_new: int,
    flaws: tuple[int, int],
    seed: int,
) -> tuple[DrawnPhotos, Int64[np.ndarray, " photo"]]:
    """Assign an individual to each photo; individuals from number ``len(counts)`` on are unknown.

    ``flaws`` holds the number of copies and the number of broken files.
    """
    chance = seeds.generator(seed, "who")
    n_identities = len(counts)
    plain = np.concatenate([np.repeat(np.arange(n_identities), counts), n_identities + np.arange(n_unknown)])
    original = chance.choice(len(plain), flaws[0], replace=False)
    broken = chance.integers(n_identities, size=flaws[1])
    test = np.concatenate([chance.integers(n_identities, size=n_known), n_identities + n_unknown + np.arange(n_new)])
    photos = DrawnPhotos(len(plain), original, flaws[1], len(test), seed)
    return photos, np.concatenate([plain, plain[original], broken, test])


def _write_tables(
    folder: Path, photos: DrawnPhotos, individual: Int64[np.ndarray, " photo"], counts: Int64[np.ndarray, " identity"]
) -> None:
    """Write the four tables, each sorted by photo name."""
    names = scramble(np.arange(len(counts)), key=seeds.hash_seed(photos.seed, "identities"), n_bits=IDENTITY_BITS)
    ids = [f"w_{name:07x}" for name in names]

    def rows(numbers: range) -> Iterator[list[str]]:
        for number in photos.by_name(numbers):
            identity = individual[number]
            name = ids[identity] if identity < len(ids) else UNKNOWN_INDIVIDUAL
            yield [f"{photos.names[number]}.jpg", name]

    guess = " ".join([UNKNOWN_INDIVIDUAL, *(ids[one] for one in np.argsort(-counts, kind="stable")[:4])])
    write_csv(folder / "flaws.csv", ["Image", "Flaw", "Of"], photos.flaws(".jpg"))
    write_csv(folder / "test_truth.csv", ["Image", "Id"], rows(photos.test))
    write_csv(folder / "sample_submission.csv", ["Image", "Id"], ([image, guess] for image, _ in rows(photos.test)))
    write_csv(folder / "train.csv", ["Image", "Id"], rows(photos.train))

"""Whole collections of drawn museum objects, laid out as the iMet Collection contest of 2019 laid out its own.

```
train/xxxxxxxx.jpg   test/xxxxxxxx.jpg
train.csv              id,attribute_ids; the given labels: some are missing, some wrong; broken files are listed, too
labels.csv             attribute_id,attribute_name
sample_submission.csv  id,attribute_ids; the same three for every test photo
truth.csv              id,attribute_ids; the true labels of all photos
test_truth.csv         those of the test photos
flaws.csv              id,flaw,of; which photos are copies (and of which), which are broken
README.txt             how it was drawn
```
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Bool
from numpy.random import Generator
from PIL import Image

from fieldmark.core import seeds
from fieldmark.core.progress import QUIET, Progress
from fieldmark.specimens.files import NAME_BITS, Drawn, DrawnPhotos, jpeg, refuse, weighted, write_csv
from fieldmark.specimens.objects import CULTURES, KINDS, LABELS, MOTIFS, MuseumObject, draw_object


def draw_museum(  # noqa: PLR0913 - each is a property of the collection, and all have a default
    folder: Path,
    *,
    n_train: int = 300,
    n_test: int = 100,
    n_near_duplicates: int = 6,
    n_broken: int = 1,
    share_missing: float = 0.1,
    share_wrong: float = 0.03,
    shorter_px: int = 300,
    seed: int = 0,
    n_workers: int = 1,
    progress: Progress = QUIET,
) -> Drawn:
    """Draw a collection of museum objects with many labels each into an empty folder.

    The same arguments give the same bytes, whatever the number of workers.

    Args:
        folder: Where to; made if absent, refused if not empty.
        n_train: Training photos, without the following two.
        n_test: Test photos.
        n_near_duplicates: Smaller and newly compressed copies of training photos.
        n_broken: Files that are cut off half way, listed in ``train.csv`` like any other.
        share_missing: Share of the true labels that are not given; every photo keeps at least one.
        share_wrong: Number of wrong labels that are given, as a share of the number of true ones.
        shorter_px: Shorter side of a photo; the other follows from what it shows.
        seed: Another seed, another museum.
        n_workers: Threads that draw.
        progress: Where to tell how far it is.

    Returns:
        The folder, the number of image files, and the table of the true test labels.

    Raises:
        PlanError: Numbers that cannot be drawn; all are told at once.
        DataError: The folder holds something already.

    Source:
        Ours; layout after Kaggle's imet-2019-fgvc6.
    """
    folder = Path(folder)
    limits: dict[str, tuple[float, float, float]] = {
        "n_train": (n_train, 1, 1 << (NAME_BITS - 2)),
        "n_test": (n_test, 0, 1 << (NAME_BITS - 2)),
        "n_near_duplicates": (n_near_duplicates, 0, n_train),
        "n_broken": (n_broken, 0, 1 << 20),
        "share_missing": (share_missing, 0, 0.5),
        "share_wrong": (share_wrong, 0, 0.5),
        "shorter_px": (shorter_px, 32, 2048),
        "n_workers": (n_workers, 1, 256),
    }
    refuse(limits, folder)
    chance = seeds.generator(seed, "flaws")
    photos = DrawnPhotos(n_train, chance.choice(n_train, n_near_duplicates, replace=False), n_broken, n_test, seed)
    objects = [_object(seed, photos.shown(number)) for number in range(photos.test.stop)]
    truth = np.array([[label in one.labels for label in LABELS] for one in objects])

    def draw(number: int) -> bytes:
        picture = draw_object(objects[number], seeds.hash_seed(seed, "shot", number), shorter_px=shorter_px)
        return jpeg(Image.fromarray(picture), 85)

    readme = f"""{photos.test.stop} pictures of museum objects, drawn by fieldmark.specimens: none is in any museum.
{n_train=} {n_test=} {n_near_duplicates=} {n_broken=} {share_missing=} {share_wrong=} {shorter_px=} {seed=}
"""
    drawn = photos.write(folder, draw, readme=readme, n_workers=n_workers, progress=progress)
    given = given_labels(truth[photos.train], missing=share_missing, wrong=share_wrong, chance=chance)
    _write_tables(folder, photos, truth, given)
    return drawn


def _object(seed: int, number: int) -> MuseumObject:
    """Object ``number`` of a museum: names early in their lists are more frequent."""
    chance = seeds.generator(seed, "object", number)
    cultures = weighted(tuple(CULTURES), chance, n=int(chance.choice(3, p=(0.15, 0.7, 0.15))))
    motifs = weighted(tuple(MOTIFS), chance, n=int(chance.choice(4, p=(0.1, 0.5, 0.3, 0.1))))
    (kind,) = weighted(tuple(KINDS), chance)
    return MuseumObject(kind, cultures, motifs, seeds.hash_seed(seed, "build", number))


def given_labels(
    truth: Bool[np.ndarray, "photo label"], *, missing: float, wrong: float, chance: Generator
) -> Bool[np.ndarray, "photo label"]:
    """The labels of a table that somebody filled in.

    A share of the true ones is ``missing``, but no photo loses its last one. The number of ``wrong`` ones that are
    added is a share of the number of true ones.
    """
    given, n_true = truth.copy(), int(truth.sum())
    left_out = round(missing * n_true)
    for photo, label in chance.permutation(np.argwhere(truth)):
        if left_out and given[photo].sum() > 1:
            given[photo, label] = False
            left_out -= 1
    added = chance.permutation(np.argwhere(~truth))[: round(wrong * n_true)]
    given[added[:, 0], added[:, 1]] = True
    return given


def _write_tables(
    folder: Path, photos: DrawnPhotos, truth: Bool[np.ndarray, "photo label"], given: Bool[np.ndarray, "photo label"]
) -> None:
    """Write the tables, each in the order of the photos' names."""

    def rows(cells: Bool[np.ndarray, "photo label"], numbers: range) -> list[list[str]]:
        return [[photos.names[n], " ".join(map(str, np.flatnonzero(cells[n])))] for n in photos.by_name(numbers)]

    header, test = ["id", "attribute_ids"], rows(truth, photos.test)
    names = ([str(number), label] for number, label in enumerate(LABELS))
    write_csv(folder / "labels.csv", ["attribute_id", "attribute_name"], names)
    write_csv(folder / "train.csv", header, rows(given, photos.train))
    write_csv(folder / "sample_submission.csv", header, ([image, "0 1 2"] for image, _ in test))
    write_csv(folder / "truth.csv", header, rows(truth, range(photos.test.stop)))
    write_csv(folder / "test_truth.csv", header, test)
    write_csv(folder / "flaws.csv", ["id", "flaw", "of"], photos.flaws())

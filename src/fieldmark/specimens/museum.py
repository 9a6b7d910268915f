"""Create synthetic collections of museum objects, in the folder layout of the iMet Collection contest of 2019.

```
train/xxxxxxxx.jpg   test/xxxxxxxx.jpg
train.csv              id,attribute_ids; the given labels: some are missing, some wrong; broken files are included
labels.csv             attribute_id,attribute_name
sample_submission.csv  id,attribute_ids; the same three labels for every test photo
truth.csv              id,attribute_ids; the true labels of all photos
test_truth.csv         id,attribute_ids; the true labels of the test photos
flaws.csv              id,flaw,of; copies with their originals, and broken files
README.txt             settings of the collection
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
from fieldmark.specimens.files import NAME_BITS, Drawn, DrawnPhotos, check_arguments, jpeg, weighted, write_csv
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
    """Create a synthetic collection of museum objects with several labels each, in an empty folder.

    The same arguments give the same bytes, for any number of workers.

    Args:
        folder: Folder to write to; created if it does not exist, rejected if it is not empty.
        n_train: Number of training photos, without copies and broken files.
        n_test: Number of test photos.
        n_near_duplicates: Number of smaller, recompressed copies of training photos.
        n_broken: Number of truncated files, listed in ``train.csv`` like the others.
        share_missing: Share of the true labels that are not given; every photo keeps at least one label.
        share_wrong: Number of wrong given labels, divided by the number of true labels.
        shorter_px: Shorter side of a photo in pixels; the longer side depends on the object.
        seed: Random seed.
        n_workers: Number of drawing threads.
        progress: Receives the number of finished photos.

    Returns:
        The folder, the number of image files, and the table with the true test labels.

    Raises:
        PlanError: Numbers are out of range; all are listed.
        DataError: The folder is not empty.

    Source:
        Ours; the layout follows Kaggle's imet-2019-fgvc6.
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
    check_arguments(limits, folder)
    chance = seeds.generator(seed, "flaws")
    photos = DrawnPhotos(n_train, chance.choice(n_train, n_near_duplicates, replace=False), n_broken, n_test, seed)
    objects = [_object(seed, photos.shown(number)) for number in range(photos.test.stop)]
    truth = np.array([[label in one.labels for label in LABELS] for one in objects])

    def draw(number: int) -> bytes:
        picture = draw_object(objects[number], seeds.hash_seed(seed, "shot", number), shorter_px=shorter_px)
        return jpeg(Image.fromarray(picture), 85)

    n = photos.test.stop
    readme = f"""{n} synthetic pictures of museum objects, drawn by fieldmark.specimens. They show no real objects.
{n_train=} {n_test=} {n_near_duplicates=} {n_broken=} {share_missing=} {share_wrong=} {shorter_px=} {seed=}
"""
    drawn = photos.write(folder, draw, readme=readme, n_workers=n_workers, progress=progress)
    given = given_labels(truth[photos.train], missing=share_missing, wrong=share_wrong, chance=chance)
    _write_tables(folder, photos, truth, given)
    return drawn


def _object(seed: int, number: int) -> MuseumObject:
    """Return object ``number`` of a museum; names early in their lists are more frequent."""
    chance = seeds.generator(seed, "object", number)
    cultures = weighted(tuple(CULTURES), chance, n=int(chance.choice(3, p=(0.15, 0.7, 0.15))))
    motifs = weighted(tuple(MOTIFS), chance, n=int(chance.choice(4, p=(0.1, 0.5, 0.3, 0.1))))
    (kind,) = weighted(tuple(KINDS), chance)
    return MuseumObject(kind, cultures, motifs, seeds.hash_seed(seed, "build", number))


def given_labels(
    truth: Bool[np.ndarray, "photo label"], *, missing: float, wrong: float, chance: Generator
) -> Bool[np.ndarray, "photo label"]:
    """Return labels with simulated mistakes of annotators.

    A share ``missing`` of the true labels is removed, but every photo keeps at least one label. Wrong labels are added;
    their number is ``wrong`` times the number of true labels.
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
    """Write the tables, each sorted by photo name."""

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

"""Whole collections of drawn museum objects, laid out as the iMet Collection contest of 2019 laid out its own.

```
train/xxxxxxxx.jpg   test/xxxxxxxx.jpg
train.csv              id,attribute_ids; the labels as given, with their mistakes; broken files are listed, too
labels.csv             attribute_id,attribute_name
sample_submission.csv  id,attribute_ids; the same three for every test photo
truth.csv              id,attribute_ids; the true labels of all photos
test_truth.csv         those of the test photos
photos.csv             image,file,labels,group; train.csv with names for numbers, photos of one object in one group
flaws.csv              id,flaw,of; copies (and of what), photos that carry the labels of another, broken files
objects.csv            id,part,object; which object is on which photo
README.txt             how it was drawn
```
"""

from __future__ import annotations

import io
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Int64
from PIL import Image

from fieldmark.core import seeds
from fieldmark.core.errors import PlanError
from fieldmark.core.progress import QUIET, Progress
from fieldmark.specimens.artefacts import Artefact, Shot, draw_artefact
from fieldmark.specimens.files import NAME_BITS, Drawn, draw_all, jpeg, photo_names, refuse, shrunken, write_csv
from fieldmark.specimens.labelling import LABELS, Noise, catalogue, given_labels, truth_of

PHOTOS_OF_ONE = ((1, 0.8), (2, 0.13), (3, 0.07))
"""How many photos an object has, with the share of the objects that have so many."""
FORMS = ("jpg", "png")


@dataclass(frozen=True)
class _Hang:
    """What is on which photo; they are numbered through: training photos, copies of some, broken ones, test photos.

    Attributes:
        artefacts: The objects, those of the test part last.
        shown: For each photo its object.
        n_plain: How many photos are ordinary training photos.
        original: The photo that each copy shows again.
        n_broken: How many photos are cut off.
    """

    artefacts: list[Artefact]
    shown: Int64[np.ndarray, " photo"]
    n_plain: int
    original: Int64[np.ndarray, " copy"]
    n_broken: int

    @property
    def n_train(self) -> int:
        return self.n_plain + len(self.original) + self.n_broken

    def is_copy(self, number: int) -> bool:
        return self.n_plain <= number < self.n_plain + len(self.original)

    def is_broken(self, number: int) -> bool:
        return self.n_plain + len(self.original) <= number < self.n_train


def draw_museum(  # noqa: PLR0913 - each is a property of the collection, and all have a default
    folder: Path,
    *,
    n_train: int = 300,
    n_test: int = 100,
    n_near_duplicates: int = 6,
    n_broken: int = 1,
    noise: Noise | None = None,
    shorter_px: int = 300,
    form: Literal["jpg", "png"] = "jpg",
    seed: int = 0,
    n_workers: int = 1,
    progress: Progress = QUIET,
) -> Drawn:
    """Draw a collection of museum objects with many labels each into an empty folder.

    The same arguments give the same bytes, whatever the number of workers. Some objects have two or three photos, all
    in the same part.

    Args:
        folder: Where to; made if absent, refused if not empty.
        n_train: Training photos, without the following two.
        n_test: Test photos, of other objects.
        n_near_duplicates: Smaller and newly compressed copies of training photos.
        n_broken: Files that are cut off half way, listed in ``train.csv`` like any other.
        noise: How often the given labels are wrong; ``NO_NOISE`` gives the truth.
        shorter_px: Shorter side of a photo; the other follows from what it shows.
        form: "jpg", or "png" as in the contest, which takes several times the space.
        seed: Another seed, another museum.
        n_workers: Threads that draw.
        progress: Where to tell how far it is.

    Returns:
        The folder, the number of image files, and the table of the test answers.

    Raises:
        PlanError: Numbers that cannot be drawn; all are told at once.
        DataError: The folder holds something already.

    Source:
        Ours; layout after Kaggle's imet-2019-fgvc6.
    """
    folder, noise = Path(folder), Noise() if noise is None else noise
    limits: dict[str, tuple[float, float, float]] = {
        "n_train": (n_train, 1, 1 << (NAME_BITS - 2)),
        "n_test": (n_test, 0, 1 << (NAME_BITS - 2)),
        "n_near_duplicates": (n_near_duplicates, 0, n_train),
        "n_broken": (n_broken, 0, 1 << 20),
        "shorter_px": (shorter_px, 32, 2048),
        "n_workers": (n_workers, 1, 256),
    }
    limits |= {f"share noise.{rate.name}": (getattr(noise, rate.name), 0.0, 0.5) for rate in fields(noise)}
    refuse(limits, folder)
    if form not in FORMS:
        raise PlanError("Photos cannot be written in this form.", got=form, fix="use 'jpg' or 'png'.")
    hang = _hang(n_train, n_test, flaws=(n_near_duplicates, n_broken), seed=seed)
    names = photo_names(len(hang.shown), seed)
    truth = truth_of(hang.artefacts)[hang.shown]
    given, source = given_labels(truth[: hang.n_train], noise, seed=seed)

    for part in ("train", "test"):
        (folder / part).mkdir(parents=True, exist_ok=True)

    def write(number: int) -> None:
        part = "train" if number < hang.n_train else "test"
        photo = _photo(hang, number, shorter_px=shorter_px, form=form, seed=seed)
        (folder / part / f"{names[number]:08x}.{form}").write_bytes(photo)

    draw_all(write, len(names), n_workers=n_workers, progress=progress)
    _write_labels(folder, hang, names, truth=truth, given=given)
    _write_facts(folder, hang, names, given=given, source=source, form=form)
    arguments = f"{n_train=} {n_test=} {n_near_duplicates=} {n_broken=} {noise=} {shorter_px=} {form=} {seed=}"
    (folder / "README.txt").write_text(README.format(n=len(names), arguments=arguments), encoding="utf-8")
    return Drawn(folder=folder, n_photos=len(names), truth_file=folder / "test_truth.csv")


README = """{n} pictures of museum objects, drawn by fieldmark.specimens: none of them is in any museum.
{arguments}

train.csv              id,attribute_ids of the pictures in train/: labels as given, some missing, some wrong
labels.csv             attribute_id,attribute_name
sample_submission.csv  id,attribute_ids with three labels for each picture in test/
truth.csv              id,attribute_ids: the true labels of all pictures
test_truth.csv         id,attribute_ids: those of the pictures in test/
photos.csv             image,file,labels,group: train.csv with names; pictures of one object are one group
flaws.csv              id,flaw,of: smaller copies, labels taken from another picture, files that are cut off
objects.csv            id,part,object: which object is on which picture
"""


def _hang(n_train: int, n_test: int, *, flaws: tuple[int, int], seed: int) -> _Hang:
    """Decide what is on which photo; ``flaws`` are the numbers of copies and of broken files."""
    shown, artefacts = [], []
    for part, n in (("train", n_train), ("test", n_test)):
        chance = seeds.generator(seed, "photos", part)
        photos, shares = np.array(PHOTOS_OF_ONE).T
        each = chance.choice(photos.astype(np.int64), n, p=shares)
        objects = np.repeat(np.arange(n), each)[:n]
        shown.append(objects + len(artefacts))
        artefacts += catalogue(int(objects[-1]) + 1 if n else 0, seed=seed, part=part)
    chance = seeds.generator(seed, "flaws")
    original = chance.choice(n_train, flaws[0], replace=False)
    broken = shown[0][chance.integers(n_train, size=flaws[1])]
    return _Hang(
        artefacts, np.concatenate([shown[0], shown[0][original], broken, shown[1]]), n_train, original, flaws[1]
    )


def _photo(hang: _Hang, number: int, *, shorter_px: int, form: str, seed: int) -> bytes:
    """The file of one photo; a copy is its original once more, made smaller and compressed again."""
    taken = int(hang.original[number - hang.n_plain]) if hang.is_copy(number) else number
    shot = Shot.of(seed, taken)
    picture = Image.fromarray(draw_artefact(hang.artefacts[hang.shown[taken]], shot, shorter_px=shorter_px))
    chance = seeds.generator(seed, "flaw", number)
    if hang.is_copy(number):
        quality = int(chance.integers(60, 85))
        picture = shrunken(jpeg(picture, quality), chance.uniform(0.6, 0.9))
    file = jpeg(picture, shot.jpeg_quality) if form == "jpg" else _png(picture)
    return file[: int(len(file) * chance.uniform(0.4, 0.6))] if hang.is_broken(number) else file


def _png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=1)
    return file.getvalue()


def _write_labels(
    folder: Path,
    hang: _Hang,
    names: Int64[np.ndarray, " photo"],
    *,
    truth: Bool[np.ndarray, "photo label"],
    given: Bool[np.ndarray, "photo label"],
) -> None:
    """Write the contest's tables and the true ones, each in the order of the photos' names."""

    def rows(cells: Bool[np.ndarray, "photo label"], first: int) -> list[list[str]]:
        numbers = np.argsort(names[first : first + len(cells)])
        return [[f"{names[first + n]:08x}", " ".join(map(str, np.flatnonzero(cells[n])))] for n in numbers]

    header = ["id", "attribute_ids"]
    write_csv(
        folder / "labels.csv", ["attribute_id", "attribute_name"], ([str(k), name] for k, name in enumerate(LABELS))
    )
    test = rows(truth[hang.n_train :], hang.n_train)
    write_csv(folder / "truth.csv", header, rows(truth, 0))
    write_csv(folder / "test_truth.csv", header, test)
    write_csv(folder / "sample_submission.csv", header, ([image, "0 1 2"] for image, _ in test))
    write_csv(folder / "train.csv", header, rows(given, 0))


def _write_facts(
    folder: Path,
    hang: _Hang,
    names: Int64[np.ndarray, " photo"],
    *,
    given: Bool[np.ndarray, "photo label"],
    source: Int64[np.ndarray, " photo"],
    form: str,
) -> None:
    """Write what a contest would not tell: which photos belong together, and what is wrong with which."""

    def image(number: int) -> str:
        return f"{names[number]:08x}"

    train = [int(number) for number in np.argsort(names[: hang.n_train])]
    labels = {number: "|".join(LABELS[k] for k in np.flatnonzero(given[number])) for number in train}
    photos = ([image(n), f"train/{image(n)}.{form}", labels[n], f"o{hang.shown[n]}"] for n in train)
    write_csv(folder / "photos.csv", ["image", "file", "labels", "group"], photos)
    flaws = [[image(n), "copy", image(int(hang.original[n - hang.n_plain]))] for n in train if hang.is_copy(n)]
    flaws += [[image(n), "labels", image(int(source[n]))] for n in train if source[n] != n]
    flaws += [[image(n), "broken", ""] for n in train if hang.is_broken(n)]
    write_csv(folder / "flaws.csv", ["id", "flaw", "of"], flaws)
    objects = ([image(n), "train" if n < hang.n_train else "test", f"o{hang.shown[n]}"] for n in np.argsort(names))
    write_csv(folder / "objects.csv", ["id", "part", "object"], objects)

"""Functions for all synthetic collections: argument checks, unique names, image files, tables, threads."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
from jaxtyping import Int64
from numpy.random import Generator
from PIL import Image

from fieldmark.core import seeds
from fieldmark.core.errors import DataError, PlanError, several
from fieldmark.core.progress import Progress

BATCH = 256
"""Number of photos given to the workers at a time, which limits memory use."""
NAME_BITS = 32
TAIL = 5.0
"""Frequency ratio between the first and the last name of a list."""


@dataclass(frozen=True)
class Drawn:
    """A synthetic collection: its folder, the number of image files, and the table with the true test labels."""

    folder: Path
    n_photos: int
    truth_file: Path


def check_arguments(limits: dict[str, tuple[float, float, float]], folder: Path) -> None:
    """Check numbers against their limits (value, minimum, maximum), and check that the folder is empty.

    Numbers whose names start with "share" may be fractions; the others must be whole.

    Raises:
        PlanError: Numbers are out of range; all are listed.
        DataError: The folder is not empty.
    """
    wrong = {
        name: (value, least, most)
        for name, (value, least, most) in limits.items()
        if not least <= value <= most or (not isinstance(value, int) and not name.startswith("share"))
    }
    if wrong:
        raise PlanError(
            f"Arguments out of range: {', '.join(wrong)}.",
            got=several([f"{name} = {value}" for name, (value, _, _) in wrong.items()], most=10),
            fix="use " + "; ".join(f"{name} from {least} to {most}" for name, (_, least, most) in wrong.items()) + ".",
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(
            f"Folder {folder} is not empty; a synthetic collection needs a new or empty folder.",
            got=folder,
            fix=f"use another folder, such as {folder.with_name(folder.name + '-2')}, or empty this one.",
        )


def scramble(numbers: Int64[np.ndarray, " number"], *, key: int, n_bits: int) -> Int64[np.ndarray, " number"]:
    """Map each number to a unique number of ``n_bits`` bits.

    Addition, multiplication by an odd number and an exclusive or with the upper bits are all invertible.

    Source:
        The mixing steps are those of the finaliser of MurmurHash3, limited to ``n_bits``.
    """
    mask = np.uint64((1 << n_bits) - 1)
    x = numbers.astype(np.uint64)
    for step in range(3):
        odd = np.uint64(seeds.hash_seed(key, "odd", step) | 1)
        x = (x * odd + np.uint64(seeds.hash_seed(key, "plus", step))) & mask
        x ^= x >> np.uint64(n_bits // 2 + 1)
    return x.astype(np.int64)


def jpeg(picture: Image.Image, quality: int) -> bytes:
    """Return the picture as a JPEG file of this quality."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return file.getvalue()


def _shrunken(file: bytes, share: float) -> Image.Image:
    """Return the picture of a file, resized by the factor ``share``."""
    with Image.open(io.BytesIO(file)) as picture:
        size = (max(1, round(picture.width * share)), max(1, round(picture.height * share)))
        return picture.resize(size, Image.Resampling.BICUBIC)


def weighted(names: Sequence[str], chance: Generator, *, n: int = 1) -> tuple[str, ...]:
    """Draw ``n`` different names at random; names early in the list are more frequent."""
    shares = TAIL ** -(np.arange(len(names)) / (len(names) - 1))
    return tuple(names[at] for at in chance.choice(len(names), n, replace=False, p=shares / shares.sum()))


@dataclass(frozen=True)
class DrawnPhotos:
    """The numbered photos of a collection: plain training photos, then copies, broken files, and test photos."""

    n_plain: int
    original: Int64[np.ndarray, " copy"]  # number of the training photo that each copy repeats
    n_broken: int  # number of training photos with truncated files
    n_test: int
    seed: int  # random seed of names and flaws

    @property
    def train(self) -> range:
        """Numbers of the training photos, including copies and broken files."""
        return range(self.n_plain + len(self.original) + self.n_broken)

    @property
    def test(self) -> range:
        """Numbers of the test photos."""
        return range(self.train.stop, self.train.stop + self.n_test)

    @cached_property
    def names(self) -> list[str]:
        """Name of each photo: eight hexadecimal digits."""
        numbers = scramble(np.arange(self.test.stop), key=seeds.hash_seed(self.seed, "names"), n_bits=NAME_BITS)
        return [f"{number:08x}" for number in numbers]

    def by_name(self, numbers: range) -> list[int]:
        """Return photo numbers sorted by photo name."""
        return sorted(numbers, key=self.names.__getitem__)

    def flaws(self, suffix: str = "") -> list[list[str]]:
        """Return the rows of ``flaws.csv``: name, "copy" or "broken", and the original of a copy."""
        first_broken = self.train.stop - self.n_broken
        copies, broken = self.by_name(range(self.n_plain, first_broken)), self.by_name(self.train[first_broken:])
        rows = [[self.names[n] + suffix, "copy", self.names[self.shown(n)] + suffix] for n in copies]
        return rows + [[self.names[n] + suffix, "broken", ""] for n in broken]

    def shown(self, number: int) -> int:
        """Return the number of the photo that is drawn: for a copy its original, else the number itself."""
        copy = number - self.n_plain
        return int(self.original[copy]) if 0 <= copy < len(self.original) else number

    def write(
        self, folder: Path, draw: Callable[[int], bytes], *, parts: tuple[str, str] = ("train", "test"), readme: str,
        n_workers: int, progress: Progress,
    ) -> Drawn:  # fmt: skip
        """Write all photos to the folders ``parts``. ``draw`` returns the JPEG file of a photo number."""
        for part in parts:
            (folder / part).mkdir(parents=True, exist_ok=True)
        (folder / "README.txt").write_text(readme, encoding="utf-8")

        def write(number: int) -> None:
            shown, part = self.shown(number), parts[number not in self.train]
            file, chance = draw(shown), seeds.generator(self.seed, "flaw", number)
            if shown != number:
                file = jpeg(_shrunken(file, chance.uniform(0.6, 0.9)), int(chance.integers(60, 85)))
            elif number in self.train[self.train.stop - self.n_broken :]:
                file = file[: int(len(file) * chance.uniform(0.4, 0.6))]
            (folder / part / f"{self.names[number]}.jpg").write_bytes(file)

        with ThreadPoolExecutor(n_workers) as pool:
            numbers = iter(progress.track(range(self.test.stop), total=self.test.stop, what="photos"))
            while batch := list(islice(numbers, BATCH)):
                list(pool.map(write, batch))
        return Drawn(folder=folder, n_photos=self.test.stop, truth_file=folder / "test_truth.csv")


def write_csv(file: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a CSV file in UTF-8 with Unix line ends."""
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)

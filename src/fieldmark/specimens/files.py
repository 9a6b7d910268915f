"""What every drawn collection needs: numbers checked, names without repeats, picture files, tables, many hands."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from jaxtyping import Int64
from PIL import Image

from fieldmark.core import seeds
from fieldmark.core.errors import DataError, PlanError, several
from fieldmark.core.progress import Progress

BATCH = 256
"""Photos handed to the workers at a time; bounds what waits in memory."""
NAME_BITS = 32


@dataclass(frozen=True)
class Drawn:
    """What was drawn: where, how many image files, and the table of the test answers."""

    folder: Path
    n_photos: int
    truth_file: Path


def refuse(limits: dict[str, tuple[float, float, float]], folder: Path) -> None:
    """Raise if a number lies outside its limits or the folder is in use.

    Args:
        limits: Value, least and most of each number; names that begin with "share" may be fractions.
        folder: Where the collection shall go.

    Raises:
        PlanError: Numbers that cannot be drawn; all are told at once.
        DataError: The folder holds something already.
    """
    wrong = {
        name: (value, least, most)
        for name, (value, least, most) in limits.items()
        if not least <= value <= most or (not isinstance(value, int) and not name.startswith("share"))
    }
    if wrong:
        raise PlanError(
            f"This collection cannot be drawn: {len(wrong)} number(s) out of range.",
            got=several([f"{name} = {value}" for name, (value, _, _) in wrong.items()], most=10),
            fix="give " + "; ".join(f"{name} from {least} to {most}" for name, (_, least, most) in wrong.items()) + ".",
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(
            "A collection is only drawn into a new or empty folder.",
            got=folder,
            fix=f"give another folder, such as {folder.with_name(folder.name + '-2')}, or empty this one.",
        )


def scramble(numbers: Int64[np.ndarray, " number"], *, key: int, n_bits: int) -> Int64[np.ndarray, " number"]:
    """Another number of ``n_bits`` for each number, never the same for two.

    Adding, multiplying by an odd number and folding the upper bits into the lower ones can each be undone.

    Source:
        The mixing steps are those of MurmurHash3's finaliser, cut to ``n_bits``.
    """
    mask = np.uint64((1 << n_bits) - 1)
    x = numbers.astype(np.uint64)
    for step in range(3):
        odd = np.uint64(seeds.hash_seed(key, "odd", step) | 1)
        x = (x * odd + np.uint64(seeds.hash_seed(key, "plus", step))) & mask
        x ^= x >> np.uint64(n_bits // 2 + 1)
    return x.astype(np.int64)


def photo_names(n_photos: int, seed: int) -> Int64[np.ndarray, " photo"]:
    """The name of each photo as a number of eight hexadecimal digits."""
    return scramble(np.arange(n_photos), key=seeds.hash_seed(seed, "names"), n_bits=NAME_BITS)


def jpeg(picture: Image.Image, quality: int) -> bytes:
    """The picture as a JPEG file of that quality."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return file.getvalue()


def shrunken(file: bytes, share: float) -> Image.Image:
    """The picture in a file, ``share`` as wide and high."""
    with Image.open(io.BytesIO(file)) as picture:
        size = (max(1, round(picture.width * share)), max(1, round(picture.height * share)))
        return picture.resize(size, Image.Resampling.BICUBIC)


def draw_all(write: Callable[[int], None], n_photos: int, *, n_workers: int, progress: Progress) -> None:
    """Call ``write`` with every photo's number, in ``n_workers`` threads."""
    with ThreadPoolExecutor(n_workers) as pool:
        numbers = iter(progress.track(range(n_photos), total=n_photos, what="photos"))
        while batch := list(islice(numbers, BATCH)):
            list(pool.map(write, batch))


def write_csv(file: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table in UTF-8 with plain line ends."""
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)

"""64 bits of what a picture looks like from afar: copies keep nearly all of them, however they were resized or saved.

Both steps of the hash, shrinking to 32 x 32 by area and the low frequencies of that, are sums of pixels. They are done
in one: a matrix for the height, a matrix for the width.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64, Int64, UInt8, UInt64

from fieldmark.core.errors import FieldmarkError, ImageError, ShapeError
from fieldmark.core.progress import QUIET, Progress
from fieldmark.images.reading import DEFAULT, Limits, decode, opened

GRID_PX = 32
KEPT = 8
"""Frequencies kept each way: 8 x 8 of 32 x 32."""

ENOUGH_PX = 64
"""Pixels on each side that a JPEG is decoded to at least: an eighth of its size where photos are of usual size.

With 32, one bit or two of most hashes differ from those of the whole picture; with 64, of few.
"""
AT_ONCE = 1024

FLAT = 1e-6
"""Frequencies weaker than this, in grey levels of 255, are rounding: a blank picture has none but its shade."""

SEEN_PX = 64
SHADES = 2.0
"""A picture whose greys stray less from their mean, in levels of 255, shows nothing that could be compared."""


@dataclass(frozen=True, eq=False)
class Hashed:
    """Hashes of many files.

    Attributes:
        phash: Of each file; 0 where it cannot be read.
        height_px: Of the upright picture; 0 where it cannot be read.
        width_px: Likewise.
        fault: Why a file cannot be read, else None.
    """

    phash: UInt64[np.ndarray, " image"]
    height_px: Int64[np.ndarray, " image"]
    width_px: Int64[np.ndarray, " image"]
    fault: tuple[ImageError | None, ...]


def phash(grey: UInt8[np.ndarray, "height width"]) -> int:
    """The perceptual hash of a picture, 0 to 2**64 - 1.

    The picture is shrunk to 32 x 32 and taken apart into waves. Of the 8 x 8 longest ones, each bit tells whether the
    wave is stronger than their median: coarse light and dark, which resizing and saving anew leave as they are.

    Args:
        grey: 0-255; a third axis of one channel is fine. Smaller than 32 x 32 is enlarged.

    Returns:
        The first row of waves in the highest eight bits, so that ``f"{phash(grey):016x}"`` is what
        ``imagehash.phash`` prints, but for bits near the median.

    Raises:
        ShapeError: ``grey`` is no 8-bit grey picture, or is empty.

    Source:
        Zauner 2010, "Implementation and benchmarking of perceptual image hash functions", the DCT hash, with the
        median and the order of bits of the package imagehash; area instead of Lanczos shrinking is ours.
    """
    grey = np.asarray(grey)
    if grey.ndim == 3 and grey.shape[2] == 1:
        grey = grey[:, :, 0]
    if grey.ndim != 2 or grey.dtype != np.uint8 or not grey.size:
        raise ShapeError(
            "phash() needs the 8-bit greys of one picture.",
            got=f"{grey.dtype} {grey.shape}",
            fix="pass (height, width) uint8, as images.reading.read(source, colour='grey') gives.",
        )
    waves = _waves(grey.shape[0]) @ grey @ _waves(grey.shape[1]).T
    waves[np.abs(waves) < FLAT] = 0
    bits = waves > np.median(waves)
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def hashes(
    paths: Sequence[Path], *, n_threads: int = 2, limits: Limits = DEFAULT, progress: Progress = QUIET
) -> Hashed:
    """The perceptual hashes of many files; a file that cannot be read is told, not raised.

    Args:
        paths: Picture files.
        n_threads: Files read side by side, at least 1; changes nothing but the time.
        limits: What to refuse.
        progress: Told as files are done.

    Raises:
        FieldmarkError: ``n_threads`` is below 1.
    """
    if n_threads < 1:
        raise FieldmarkError("Reading needs a thread.", got=f"n_threads={n_threads}", fix="use n_threads=1 or more.")

    def one(path: Path) -> tuple[int, int, int, ImageError | None]:
        try:
            photo = opened(path, limits=limits)
            enough = (min(ENOUGH_PX, photo.height), min(ENOUGH_PX, photo.width))
            return phash(decode(photo, at_least=enough, colour="grey")), photo.height, photo.width, None
        except ImageError as error:
            return 0, 0, 0, error

    with ThreadPoolExecutor(n_threads, thread_name_prefix="fieldmark-hashes") as pool:
        # A pool begins all jobs that it is given; few at once bound the memory.
        starts = range(0, len(paths), AT_ONCE)
        each_in_turn = (one_found for start in starts for one_found in pool.map(one, paths[start : start + AT_ONCE]))
        found = list(progress.track(each_in_turn, total=len(paths), what="hashing photos"))
    return Hashed(
        phash=np.array([each[0] for each in found], np.uint64),
        height_px=np.array([each[1] for each in found], np.int64),
        width_px=np.array([each[2] for each in found], np.int64),
        fault=tuple(each[3] for each in found),
    )


def seen(path: Path, *, limits: Limits = DEFAULT) -> Float32[np.ndarray, " pixel"]:
    """A picture as a row of 64 x 64 greys of mean 0 and length 1: the product of two rows is their correlation.

    Brightness and contrast are thereby left out, as copies often differ in them. A picture that shows nothing (all
    white, all black) is a row of zeros, which is like no other, itself included.

    Raises:
        ImageError: The file cannot be read.
    """
    photo = opened(path, limits=limits)
    enough = (min(2 * SEEN_PX, photo.height), min(2 * SEEN_PX, photo.width))
    grey = decode(photo, at_least=enough, colour="grey")[:, :, 0]
    small = _areas(grey.shape[0], SEEN_PX) @ grey @ _areas(grey.shape[1], SEEN_PX).T
    small -= small.mean()
    length = np.linalg.norm(small)
    if length < SHADES * SEEN_PX:  # the length is the deviation times the root of the number of pixels
        return np.zeros(SEEN_PX * SEEN_PX, np.float32)
    return (small / length).astype(np.float32).ravel()


@lru_cache(maxsize=512)
def _waves(n_px: int) -> Float64[np.ndarray, "kept px"]:
    """From a side of pixels to its lowest frequencies: shrunk by area to 32, then the cosine transform (DCT-II)."""
    at = np.arange(GRID_PX) + 0.5
    cosines = np.cos(np.pi / GRID_PX * np.arange(KEPT)[:, None] * at) * 2
    return cosines @ _areas(n_px, GRID_PX)


@lru_cache(maxsize=512)
def _areas(n_px: int, n_cells: int) -> Float64[np.ndarray, "cell px"]:
    """What part of each cell every pixel covers; rows sum to 1. Cells smaller than pixels lie within one or two."""
    edges = np.linspace(0, n_px, n_cells + 1)
    start, end = edges[:-1, None], edges[1:, None]
    pixel = np.arange(n_px)
    return np.clip(np.minimum(end, pixel + 1) - np.maximum(start, pixel), 0, None) * (n_cells / n_px)

"""Perceptual hashes of 64 bits. Resized or re-saved copies of a photo have nearly the same hash.

The hash shrinks the image to 32 x 32 by area and takes the low frequencies. Both steps are linear, so they are done in
one: one matrix for the height and one for the width.
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
"""Number of frequencies kept in each direction: 8 x 8 of 32 x 32."""

ENOUGH_PX = 64
"""Smallest size in pixels to which a JPEG is decoded, per side: an eighth of the full size for usual photos.

With 32, most hashes differ in one or two bits from the hash of the full image; with 64, few hashes differ.
"""
AT_ONCE = 1024

FLAT = 1e-6
"""Frequencies weaker than this (in grey levels of 255) are rounding errors. A blank image has only its mean grey."""

SEEN_PX = 64
SHADES = 2.0
"""Smallest standard deviation of the greys (in levels of 255) at which two images can be compared."""


@dataclass(frozen=True, eq=False)
class Hashed:
    """Hashes of many files.

    Attributes:
        phash: Hash of each file; 0 if the file cannot be read.
        height_px: Height of the upright image; 0 if the file cannot be read.
        width_px: Width of the upright image; 0 if the file cannot be read.
        fault: Error of each file that cannot be read, else None.
    """

    phash: UInt64[np.ndarray, " image"]
    height_px: Int64[np.ndarray, " image"]
    width_px: Int64[np.ndarray, " image"]
    fault: tuple[ImageError | None, ...]


def phash(grey: UInt8[np.ndarray, "height width"]) -> int:
    """Return the perceptual hash of an image, 0 to 2**64 - 1.

    The image is shrunk to 32 x 32 and transformed to frequencies (DCT). Each bit of the hash says whether one of the
    8 x 8 lowest frequencies is above their median. Resizing and re-saving hardly change these coarse patterns.

    Args:
        grey: Grey image, 0-255; a third axis of one channel is accepted. Images below 32 x 32 are upsampled.

    Returns:
        The hash, with the first row of frequencies in the highest eight bits. ``f"{phash(grey):016x}"`` equals the
        output of ``imagehash.phash``, except for bits near the median.

    Raises:
        ShapeError: ``grey`` is not an 8-bit grey image, or is empty.

    Source:
        Zauner 2010, "Implementation and benchmarking of perceptual image hash functions", the DCT hash, with the
        median and the order of bits of the package imagehash. Shrinking by area instead of Lanczos is ours.
    """
    grey = np.asarray(grey)
    if grey.ndim == 3 and grey.shape[2] == 1:
        grey = grey[:, :, 0]
    if grey.ndim != 2 or grey.dtype != np.uint8 or not grey.size:
        raise ShapeError(
            "phash() needs one 8-bit grey image.",
            got=f"{grey.dtype} {grey.shape}",
            fix="pass (height, width) uint8, as images.reading.read_pixels(source, colour='grey') gives.",
        )
    waves = _waves(grey.shape[0]) @ grey @ _waves(grey.shape[1]).T
    waves[np.abs(waves) < FLAT] = 0
    bits = waves > np.median(waves)
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def hashes(
    paths: Sequence[Path], *, n_threads: int = 2, limits: Limits = DEFAULT, progress: Progress = QUIET
) -> Hashed:
    """Return the perceptual hashes of many files. Files that cannot be read are listed in ``fault``, not raised.

    Args:
        paths: Image files.
        n_threads: Number of threads, at least 1; it affects only the time.
        limits: Largest files and images that are accepted.
        progress: Progress display, updated after each file.

    Raises:
        FieldmarkError: ``n_threads`` is below 1.
    """
    if n_threads < 1:
        raise FieldmarkError(
            "n_threads must be at least 1.", got=f"n_threads={n_threads}", fix="use n_threads=1 or more."
        )

    def one(path: Path) -> tuple[int, int, int, ImageError | None]:
        try:
            photo = opened(path, limits=limits)
            enough = (min(ENOUGH_PX, photo.height), min(ENOUGH_PX, photo.width))
            return phash(decode(photo, at_least=enough, colour="grey")), photo.height, photo.width, None
        except ImageError as error:
            return 0, 0, 0, error

    with ThreadPoolExecutor(n_threads, thread_name_prefix="fieldmark-hashes") as pool:
        # A pool starts all tasks that it is given; small chunks bound the memory.
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
    """Return an image as a vector of 64 x 64 greys with mean 0 and norm 1. The dot product of two is their correlation.

    Brightness and contrast have no effect on the vector, because copies often differ in them. A blank image (all white,
    all black) gives a vector of zeros, whose correlation with every image is 0.

    Raises:
        ImageError: The file cannot be read.
    """
    photo = opened(path, limits=limits)
    enough = (min(2 * SEEN_PX, photo.height), min(2 * SEEN_PX, photo.width))
    grey = decode(photo, at_least=enough, colour="grey")[:, :, 0]
    small = _areas(grey.shape[0], SEEN_PX) @ grey @ _areas(grey.shape[1], SEEN_PX).T
    small -= small.mean()
    length = np.linalg.norm(small)
    if length < SHADES * SEEN_PX:  # the norm is the standard deviation times the root of the number of pixels
        return np.zeros(SEEN_PX * SEEN_PX, np.float32)
    return (small / length).astype(np.float32).ravel()


@lru_cache(maxsize=512)
def _waves(n_px: int) -> Float64[np.ndarray, "kept px"]:
    """Return the matrix from ``n_px`` pixels to the lowest frequencies: shrinking by area to 32, then a DCT-II."""
    at = np.arange(GRID_PX) + 0.5
    cosines = np.cos(np.pi / GRID_PX * np.arange(KEPT)[:, None] * at) * 2
    return cosines @ _areas(n_px, GRID_PX)


@lru_cache(maxsize=512)
def _areas(n_px: int, n_cells: int) -> Float64[np.ndarray, "cell px"]:
    """Return the share of each cell that every pixel covers. Rows sum to 1. Small cells lie in one or two pixels."""
    edges = np.linspace(0, n_px, n_cells + 1)
    start, end = edges[:-1, None], edges[1:, None]
    pixel = np.arange(n_px)
    return np.clip(np.minimum(end, pixel + 1) - np.maximum(start, pixel), 0, None) * (n_cells / n_px)

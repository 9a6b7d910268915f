"""Facts of a picture that networks lose by cropping and resizing: how bright, how colourful, how large, how tall."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from fieldmark.core.errors import FieldmarkError, ImageError, ShapeError, several
from fieldmark.images.reading import DEFAULT, Limits, decode, opened

STATISTICS = ("brightness", "colourfulness", "longer side px", "taller than wide")
"""The columns of ``looks``."""

SAMPLED_PX = 128
"""Pixels that are enough on each side: a JPEG may be decoded at 1/8 to 1/2 of its size as long as it keeps these."""
STRIP_PIXELS = 2**20
AT_ONCE = 1024
LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True, slots=True)
class ImageStatistics:
    """One picture.

    Attributes:
        brightness: Mean luma (ITU-R 601), 0 black to 1 white.
        colourfulness: 0 for greys; about 15 is slightly, 45 averagely, 109 extremely colourful.
        longer_px: The longer side in pixels, as stored.
        is_tall: Whether it is higher than wide.
    """

    brightness: float
    colourfulness: float
    longer_px: int
    is_tall: bool


def statistics_of(
    pixels: UInt8[np.ndarray, "height width channel"], *, size_px: tuple[int, int] | None = None
) -> ImageStatistics:
    """How bright, colourful, large and tall a picture is.

    Colourfulness asks how far the opponent colours, red against green and yellow against blue, stray from grey and
    from each other. Sums are of whole numbers, so they do not depend on the order of adding.

    Args:
        pixels: 0-255, three channels or one.
        size_px: (height, width) of the picture where ``pixels`` are a smaller copy of it.

    Raises:
        ShapeError: ``pixels`` is no 8-bit picture, or is empty.

    Source:
        Hasler & Suesstrunk 2003, "Measuring colourfulness in natural images", the M3 of section 7: sigma + 0.3 mu.
    """
    pixels = np.asarray(pixels)
    if pixels.ndim != 3 or pixels.shape[2] not in {1, 3} or pixels.dtype != np.uint8 or not pixels.size:
        raise ShapeError(
            "look() needs the 8-bit pixels of one picture.",
            got=f"{pixels.dtype} {pixels.shape}",
            fix="pass (height, width, 3) or (height, width, 1) uint8, as images.reading.read() gives.",
        )
    height, width = pixels.shape[:2] if size_px is None else size_px
    n_pixels = pixels.shape[0] * pixels.shape[1]
    # Sums of: each channel, red - green and its square, red + green - 2 blue and its square.
    channels, rg_sum, rg_square, yb_sum, yb_square = np.zeros(3, np.int64), 0, 0, 0, 0
    n_rows = max(1, STRIP_PIXELS // pixels.shape[1])
    for start in range(0, len(pixels), n_rows):
        strip = pixels[start : start + n_rows].astype(np.int32)
        channels += strip.sum(axis=(0, 1), dtype=np.int64)
        if strip.shape[2] == 3:
            red, green, blue = (strip[:, :, channel] for channel in range(3))
            rg, yb = red - green, red + green - 2 * blue
            rg_sum, rg_square = rg_sum + int(rg.sum(dtype=np.int64)), rg_square + int((rg * rg).sum(dtype=np.int64))
            yb_sum, yb_square = yb_sum + int(yb.sum(dtype=np.int64)), yb_square + int((yb * yb).sum(dtype=np.int64))
    rg_mean, yb_mean = rg_sum / n_pixels, yb_sum / (2 * n_pixels)
    rg_spread = max(0.0, rg_square / n_pixels - rg_mean**2)
    yb_spread = max(0.0, yb_square / (4 * n_pixels) - yb_mean**2)
    colourfulness = (rg_spread + yb_spread) ** 0.5 + 0.3 * (rg_mean**2 + yb_mean**2) ** 0.5
    return ImageStatistics(
        brightness=float(np.dot(channels, LUMA)) / (255 * n_pixels),
        colourfulness=colourfulness,
        longer_px=int(max(height, width)),
        is_tall=bool(height > width),
    )


def image_statistics(
    paths: Sequence[Path], *, n_threads: int = 2, limits: Limits = DEFAULT
) -> Float32[np.ndarray, "image look"]:
    """The ``STATISTICS`` of many files, one row a file; the number of threads changes nothing but the time.

    Args:
        paths: Picture files.
        n_threads: Files read side by side, at least 1.
        limits: What to refuse.

    Raises:
        ImageError: Some cannot be read; all of them are named.
        FieldmarkError: ``n_threads`` is below 1.
    """
    if n_threads < 1:
        raise FieldmarkError("Reading needs a thread.", got=f"n_threads={n_threads}", fix="use n_threads=1 or more.")
    rows = np.empty((len(paths), len(STATISTICS)), np.float32)
    broken: list[ImageError] = []

    def one(path: Path) -> ImageStatistics | ImageError:
        try:
            photo = opened(path, limits=limits)
            size_px = (photo.height, photo.width)
            enough = (min(SAMPLED_PX, photo.height), min(SAMPLED_PX, photo.width))
            return statistics_of(decode(photo, at_least=enough), size_px=size_px)
        except ImageError as error:
            return error

    with ThreadPoolExecutor(n_threads, thread_name_prefix="fieldmark-looks") as pool:
        for start in range(0, len(paths), AT_ONCE):  # a pool begins all jobs it is given; few at once bound the memory
            for row, seen in enumerate(pool.map(one, paths[start : start + AT_ONCE]), start=start):
                if isinstance(seen, ImageError):
                    broken.append(seen)
                else:
                    rows[row] = (seen.brightness, seen.colourfulness, seen.longer_px, seen.is_tall)
    if len(broken) == 1:
        raise broken[0]
    if broken:
        raise ImageError(
            f"{len(broken)} pictures cannot be read.",
            got=several([f"{error.got} - {error.problem}" for error in broken]),
            fix=broken[0].fix,
        )
    return rows

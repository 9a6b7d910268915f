"""Image statistics that cropping and resizing remove: brightness, colourfulness, size, aspect."""

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
"""Columns of ``image_statistics``."""

SAMPLED_PX = 128
"""Smallest side in pixels from which the statistics are computed; a JPEG may be decoded at 1/8 to 1/2 of its size."""
STRIP_PIXELS = 2**20
AT_ONCE = 1024
LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True, slots=True)
class ImageStatistics:
    """Statistics of one image.

    Attributes:
        brightness: Mean luma (ITU-R 601), from 0 (black) to 1 (white).
        colourfulness: Colourfulness: 0 for grey, about 15 for slightly, 45 for averagely, 109 for extremely colourful.
        longer_px: Length of the longer side, in pixels as stored.
        is_tall: Whether the height exceeds the width.
    """

    brightness: float
    colourfulness: float
    longer_px: int
    is_tall: bool


def statistics_of(
    pixels: UInt8[np.ndarray, "height width channel"], *, size_px: tuple[int, int] | None = None
) -> ImageStatistics:
    """Return brightness, colourfulness, size and aspect of an image.

    Colourfulness combines the spread and the mean of two colour differences: red against green, and yellow against
    blue. The sums are sums of integers, so they do not depend on the order of addition.

    Args:
        pixels: Image, 0-255, with three channels or one.
        size_px: (height, width) of the full image if ``pixels`` is a smaller copy.

    Raises:
        ShapeError: ``pixels`` is not an 8-bit image, or is empty.

    Source:
        Hasler & Suesstrunk 2003, "Measuring colourfulness in natural images", the M3 of section 7: sigma + 0.3 mu.
    """
    pixels = np.asarray(pixels)
    if pixels.ndim != 3 or pixels.shape[2] not in {1, 3} or pixels.dtype != np.uint8 or not pixels.size:
        raise ShapeError(
            "statistics_of() needs the 8-bit pixels of one image.",
            got=f"{pixels.dtype} {pixels.shape}",
            fix="pass (height, width, 3) or (height, width, 1) uint8, as images.reading.read_pixels() returns.",
        )
    height, width = pixels.shape[:2] if size_px is None else size_px
    n_pixels = pixels.shape[0] * pixels.shape[1]
    # Sums of each channel, of red - green and its square, and of red + green - 2 blue and its square.
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
) -> Float32[np.ndarray, "image statistic"]:
    """Return the ``STATISTICS`` of many files, one row per file.

    Args:
        paths: Image files.
        n_threads: Number of threads, at least 1; it affects only the time.
        limits: Largest files and images that are accepted.

    Raises:
        ImageError: Some files cannot be read; the error names the first of them.
        FieldmarkError: ``n_threads`` is below 1.
    """
    if n_threads < 1:
        raise FieldmarkError(
            "n_threads must be at least 1.", got=f"n_threads={n_threads}", fix="use n_threads=1 or more."
        )
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

    with ThreadPoolExecutor(n_threads, thread_name_prefix="fieldmark-statistics") as pool:
        for start in range(0, len(paths), AT_ONCE):  # a pool starts all tasks it is given; chunks bound the memory
            for row, found in enumerate(pool.map(one, paths[start : start + AT_ONCE]), start=start):
                if isinstance(found, ImageError):
                    broken.append(found)
                else:
                    rows[row] = (found.brightness, found.colourfulness, found.longer_px, found.is_tall)
    if len(broken) == 1:
        raise broken[0]
    if broken:
        raise ImageError(
            f"{len(broken)} images cannot be read.",
            got=several([f"{error.got} - {error.problem}" for error in broken]),
            fix=broken[0].fix,
        )
    return rows

"""Photos that show the same picture, resized, saved anew or renamed: perceptual hashes and groups.

Photos are paths, bytes of image files, PIL images, or arrays (height, width, 3) of uint8.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int64, UInt64

from fieldmark.api.guards import INSTALL
from fieldmark.api.inputs import Photo, as_list, files_of, pixels_of
from fieldmark.core.arrays import as_numpy
from fieldmark.core.errors import FieldmarkError
from fieldmark.core.progress import ShowProgress, shown_by

if TYPE_CHECKING:
    from pathlib import Path

    from fieldmark.images.hashes import Hashed

__all__ = ["groups", "near_pairs", "phash", "phashes"]


def phash(photo: Photo) -> int:
    """The 64-bit perceptual hash of a photo; copies of one picture differ in few bits.

    Args:
        photo: A path, bytes, a PIL image, or an array (height, width, 3) of uint8.

    Returns:
        0 to 2**64 - 1; ``f"{phash(photo):016x}"`` is what ``imagehash.phash`` prints, but for a few bits.

    Raises:
        ImageError: The file cannot be read.
        FieldmarkError: It is of a type that is no photo.

    Source:
        Zauner 2010, the DCT hash, as in the package imagehash; shrinking by area is ours.
    """
    from PIL import Image

    from fieldmark.images.hashes import phash as of_grey

    return of_grey(np.asarray(Image.fromarray(pixels_of(photo)).convert("L")))


def phashes(
    photos: Photo | Sequence[Photo], *, n_workers: int = 2, progress: ShowProgress = None
) -> UInt64[np.ndarray, " photo"]:
    """The perceptual hashes of many photos. Image files are decoded at low resolution, which may change a bit or two.

    Args:
        photos: A list, a column of paths, or an array (photo, height, width, 3) of uint8.
        n_workers: Number of image-loading threads.
        progress: Whether to show a progress bar; None: only in a terminal or notebook.

    Returns:
        One hash per photo, in their order.

    Raises:
        DataError: A path is no file.
        ImageError: A file cannot be read; it names the first.
        FieldmarkError: A photo is of a type that cannot be read.
    """
    with files_of(as_list(photos)) as paths:
        return _hashed(paths, n_workers=n_workers, progress=progress).phash


def near_pairs(hashes: Any, *, within: int = 6) -> Int64[np.ndarray, "pair 2"]:
    """All pairs of photos whose hashes differ in at most ``within`` bits; none is missed.

    Args:
        hashes: One per photo: whole numbers 0 to 2**64 - 1, as ``phash`` and ``phashes`` give them.
        within: Bits, 0 to 64. Pairs grow steeply above about 12.

    Returns:
        Two row numbers per pair, the smaller first, in order.

    Raises:
        FieldmarkError: ``hashes`` is no list of whole numbers from 0, or ``within`` is not between 0 and 64.

    Source:
        Norouzi, Punjani and Fleet 2012 (multi-index hashing).
    """
    _need_numba()
    from fieldmark.quality.duplicates.near_hashes import near

    return near(_unsigned(hashes), within=within).image_pairs()


def groups(
    photos: Photo | Sequence[Photo], *, within: int = 6, n_workers: int = 2, progress: ShowProgress = None
) -> Int64[np.ndarray, " photo"]:
    """A number per photo that photos of the same picture share; usable as ``groups`` of ``fieldmark.folds.assign``.

    Near hashes propose pairs, and the pixels decide.

    Args:
        photos: A list, a column of paths, or an array (photo, height, width, 3) of uint8.
        within: Bits of 64 in which the hashes of compared photos may differ.
        n_workers: Number of image-loading threads.
        progress: Whether to show a progress bar; None: only in a terminal or notebook.

    Returns:
        Whole numbers from 0, in the order of each group's first photo.

    Raises:
        DataError: A path is no file.
        ImageError: A file cannot be read; it names the first.
        FieldmarkError: A photo is of a type that cannot be read, or ``within`` is not between 0 and 64.

    Source:
        A public kernel of Humpback Whale Identification 2018/19; see ``fieldmark.duplicates`` for whole tables.
    """
    _need_numba()
    from fieldmark.data.copies import same_bytes
    from fieldmark.images.hashes import seen
    from fieldmark.quality.duplicates.near_hashes import near
    from fieldmark.quality.duplicates.same_pictures import same_pictures

    with files_of(as_list(photos)) as paths:
        hashed = _hashed(paths, n_workers=n_workers, progress=progress)

        def look(rows: np.ndarray) -> np.ndarray:
            with ThreadPoolExecutor(max(1, n_workers)) as pool:
                return np.stack(list(pool.map(seen, [paths[row] for row in rows.tolist()])))

        shape = np.divide(hashed.width_px, hashed.height_px)
        return same_pictures(near(hashed.phash, within=within), look, shape, copies=same_bytes(paths)).group


def _hashed(paths: Sequence[Path], *, n_workers: int, progress: ShowProgress) -> Hashed:
    from fieldmark.images.hashes import hashes

    hashed = hashes(paths, n_threads=max(1, n_workers), progress=shown_by(progress))
    for fault in hashed.fault:
        if fault is not None:
            raise fault
    return hashed


def _unsigned(hashes: Any) -> UInt64[np.ndarray, " photo"]:
    given = hashes if isinstance(hashes, list | tuple) else as_numpy(hashes, name="hashes", by="near_pairs").tolist()
    if not all(isinstance(one, int | np.integer) and 0 <= int(one) < 2**64 for one in given):
        raise FieldmarkError(
            "near_pairs() needs one hash per photo, as whole numbers of 64 bits.",
            got=f"{type(hashes).__name__}: {str(hashes)[:60]}",
            fix="pass what phashes() returns.",
        )
    return np.array([int(one) for one in given], np.uint64)


def _need_numba() -> None:
    if find_spec("numba") is None:
        raise FieldmarkError("Comparing hashes needs a package that is not installed.", got="numba", fix=INSTALL)

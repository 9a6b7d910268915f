"""Perceptual hashes, and groups of photos of the same picture, resized, saved again or renamed.

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
    """Return the 64-bit perceptual hash of a photo; hashes of copies differ in few bits.

    Args:
        photo: A path, bytes, a PIL image, or an array (height, width, 3) of uint8.

    Returns:
        A number from 0 to 2**64 - 1. ``f"{phash(photo):016x}"`` equals ``str(imagehash.phash(...))``
        up to a few bits.

    Raises:
        ImageError: The file cannot be read.
        FieldmarkError: The photo has an unsupported type.

    Source:
        Zauner 2010, the DCT hash, as in the package imagehash; shrinking by area is ours.
    """
    from PIL import Image

    from fieldmark.images.hashes import phash as of_grey

    return of_grey(np.asarray(Image.fromarray(pixels_of(photo)).convert("L")))


def phashes(
    photos: Photo | Sequence[Photo], *, n_workers: int = 2, progress: ShowProgress = None
) -> UInt64[np.ndarray, " photo"]:
    """Return the perceptual hashes of many photos, with image files decoded at low resolution.

    The low resolution may change a bit or two compared with ``phash``.

    Args:
        photos: A list, a column of paths, or an array (photo, height, width, 3) of uint8.
        n_workers: Number of image-loading threads.
        progress: Whether to show a progress bar; None: only in a terminal or notebook.

    Returns:
        One hash per photo, in their order.

    Raises:
        DataError: A path is not a file.
        ImageError: A file cannot be read; the error names the first.
        FieldmarkError: A photo has an unsupported type.
    """
    with files_of(as_list(photos)) as paths:
        return _hashed(paths, n_workers=n_workers, progress=progress).phash


def near_pairs(hashes: Any, *, within: int = 6) -> Int64[np.ndarray, "pair 2"]:
    """Return all pairs of photos whose hashes differ in at most ``within`` bits (exact search).

    Args:
        hashes: One whole number from 0 to 2**64 - 1 per photo, as ``phash`` and ``phashes`` return them.
        within: Maximum number of differing bits, 0 to 64. The number of pairs grows steeply above about 12.

    Returns:
        Two row numbers per pair, the smaller first, in order.

    Raises:
        FieldmarkError: ``hashes`` is not a list of whole numbers from 0, or ``within`` is not between 0 and 64.

    Source:
        Norouzi, Punjani and Fleet 2012 (multi-index hashing).
    """
    _need_numba()
    from fieldmark.quality.duplicates.near_hashes import near

    return near(_unsigned(hashes), within=within).image_pairs()


def groups(
    photos: Photo | Sequence[Photo], *, within: int = 6, n_workers: int = 2, progress: ShowProgress = None
) -> Int64[np.ndarray, " photo"]:
    """Return a group number per photo; photos of the same picture share it.

    Similar hashes propose pairs, and the pixels decide. Use the numbers as ``groups`` of ``fieldmark.folds.assign``.

    Args:
        photos: A list, a column of paths, or an array (photo, height, width, 3) of uint8.
        within: Maximum number of differing bits (of 64) between the hashes of compared photos.
        n_workers: Number of image-loading threads.
        progress: Whether to show a progress bar; None: only in a terminal or notebook.

    Returns:
        Whole numbers from 0, in the order of the first photo of each group.

    Raises:
        DataError: A path is not a file.
        ImageError: A file cannot be read; the error names the first.
        FieldmarkError: A photo has an unsupported type, or ``within`` is not between 0 and 64.

    Source:
        A public kernel of Humpback Whale Identification 2018/19; see ``fieldmark.duplicates`` for whole tables.
    """
    _need_numba()
    from fieldmark.data.copies import same_bytes
    from fieldmark.images.hashes import seen as thumbnail
    from fieldmark.quality.duplicates.near_hashes import near
    from fieldmark.quality.duplicates.same_pictures import same_pictures

    with files_of(as_list(photos)) as paths:
        hashed = _hashed(paths, n_workers=n_workers, progress=progress)

        def thumbnails(rows: np.ndarray) -> np.ndarray:
            with ThreadPoolExecutor(max(1, n_workers)) as pool:
                return np.stack(list(pool.map(thumbnail, [paths[row] for row in rows.tolist()])))

        shape = np.divide(hashed.width_px, hashed.height_px)
        return same_pictures(near(hashed.phash, within=within), thumbnails, shape, copies=same_bytes(paths)).group


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
        raise FieldmarkError("near_duplicates needs a package that is not installed.", got="numba", fix=INSTALL)

"""Conversion of photos in any form (paths, bytes, PIL images, arrays) to files and collections."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from fieldmark.core.errors import DataError, FieldmarkError, several

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import UInt8

    from fieldmark.data.collection import Collection

Photo: TypeAlias = Any
"""A path (``str`` or ``Path``), the bytes of an image file, a PIL image, or an array or tensor (height, width, 3) of
uint8."""


@contextmanager
def photos_of(photos: Collection | Photo | Sequence[Photo]) -> Iterator[Collection | Path | str]:
    """Convert photos to a collection or path, with images in memory in a temporary folder.

    An image in memory is named by its position: ``0``, ``1`` ... A file is named by its path.

    Raises:
        FieldmarkError: A photo has an unsupported type.
    """
    from fieldmark.data.collection import Collection

    if isinstance(photos, Collection):
        yield photos
        return
    if _is_frame(photos):
        yield Collection.of(photos, root=Path())
        return
    photos = as_list(photos, stacked=False)
    several_of = photos if isinstance(photos, list) else [photos]
    if all(isinstance(one, str | Path) for one in several_of):
        if not isinstance(photos, list):
            yield several_of[0]
        else:
            from fieldmark.api.photos import of_files

            yield of_files(several_of)
        return
    with tempfile.TemporaryDirectory(prefix="fieldmark-photos-") as folder:
        yield _written(several_of, Path(folder))


def as_list(photos: Any, *, stacked: bool = True) -> Any:
    """Return a tuple, a column of paths, or (if ``stacked``) an array (photo, height, width, 3) as a list.

    Any other value is returned unchanged.
    """
    if _is_frame(photos) or isinstance(photos, str | bytes | Path):
        return photos
    is_column = hasattr(photos, "to_list") or getattr(getattr(photos, "dtype", None), "kind", "") in {"O", "U"}
    if isinstance(photos, list | tuple) or is_column or (stacked and getattr(photos, "ndim", 0) == 4):
        return list(photos)
    return photos


def pixels_of(photo: Photo) -> UInt8[np.ndarray, "height width 3"]:
    """Return the pixels of one photo, 0-255, rotated upright by its EXIF data.

    Args:
        photo: A path, the bytes of an image file, a PIL image, or an array or tensor (height, width, 3) of uint8.

    Raises:
        ImageError: The file cannot be read.
        FieldmarkError: The photo has an unsupported type.
    """
    import numpy as np

    if isinstance(photo, str | Path | bytes):
        from fieldmark.images.reading import read_pixels

        return read_pixels(photo if isinstance(photo, bytes) else Path(photo))
    pixels = _pixels(photo)
    if pixels is None:
        raise _no_photo([f"{type(photo).__name__}{_shape(photo)}"])
    return np.ascontiguousarray(pixels)


def _no_photo(unsupported: Sequence[str]) -> FieldmarkError:
    return FieldmarkError(
        "The photo has an unsupported type.",
        got=several(unsupported),
        fix="pass paths, bytes of image files, PIL images, or arrays (height, width, 3) of uint8.",
    )


def _is_frame(photos: Any) -> bool:
    """Return whether photos are given as a polars or pandas frame, or as a mapping of columns."""
    return isinstance(photos, Mapping) or hasattr(photos, "columns")


@contextmanager
def files_of(photos: Photo | Sequence[Photo]) -> Iterator[list[Path]]:
    """Return one file per photo, in their order, with images in memory in a temporary folder.

    Raises:
        DataError: A path is not a file.
        FieldmarkError: A photo has an unsupported type.
    """
    several_of = photos if isinstance(photos, list) else [photos]
    missing = [str(one) for one in several_of if isinstance(one, str | Path) and not Path(one).is_file()]
    if missing:
        raise DataError("The photo does not exist.", got=several(missing), fix="check the path.")
    with tempfile.TemporaryDirectory(prefix="fieldmark-photos-") as folder:
        yield [file for _, file in _named_files(several_of, Path(folder))]


def _written(photos: Sequence[Any], folder: Path) -> Collection:
    """Write images in memory to a folder (bytes unchanged, pixels without loss), and return the collection."""
    from fieldmark.data.collection import Collection

    named = _named_files(photos, folder)
    table = {"image": [name for name, _ in named], "file": [str(file) for _, file in named]}
    return Collection.of(table, root=Path("/"), name="photos")


def _named_files(photos: Sequence[Any], folder: Path) -> list[tuple[str, Path]]:
    """Return the name and the file of each photo; images in memory are written to ``folder``."""
    import numpy as np

    unsupported = [
        f"photo {number}: {type(one).__name__}{_shape(one)}"
        for number, one in enumerate(photos)
        if not isinstance(one, str | Path | bytes) and _pixels(one) is None
    ]
    if unsupported:
        raise _no_photo(unsupported)
    named = []
    for number, one in enumerate(photos):
        if isinstance(one, str | Path):
            named.append((str(one), Path(one).absolute()))
            continue
        path = folder / f"{number}.png"
        if isinstance(one, bytes):
            path.write_bytes(one)
        else:
            from PIL import Image

            Image.fromarray(np.asarray(_pixels(one))).save(path, compress_level=1)
        named.append((str(number), path))
    return named


def _pixels(photo: Any) -> np.ndarray | None:
    """Return the pixels of a PIL image, array or tensor as (height, width, 3) of uint8; None for any other type.

    A PIL image gives the same pixels as its file: rotated by its EXIF orientation, transparent parts over white.
    """
    import numpy as np

    if hasattr(photo, "getbands") and hasattr(photo, "getexif"):
        from fieldmark.images.containers import ORIENTATION
        from fieldmark.images.pixels import eight_bit, upright

        photo.load()
        orientation = photo.getexif().get(ORIENTATION, 1)
        return upright(eight_bit(photo, "rgb"), orientation if orientation in range(1, 9) else 1)
    if hasattr(photo, "detach") and hasattr(photo, "cpu"):
        photo = photo.detach().cpu().numpy()
    if not isinstance(photo, np.ndarray) or photo.dtype != np.uint8:
        return None
    if photo.ndim == 2:
        photo = np.repeat(photo[:, :, None], 3, axis=2)
    return photo if photo.ndim == 3 and photo.shape[2] == 3 and photo.size else None


def _shape(photo: Any) -> str:
    shape, dtype = getattr(photo, "shape", None), getattr(photo, "dtype", None)
    return "" if shape is None else f" {tuple(shape)} {dtype}"

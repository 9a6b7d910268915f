"""Photos as users of Python have them: paths, bytes, PIL images, arrays; as a collection of files."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from fieldmark.core.errors import FieldmarkError, several

if TYPE_CHECKING:
    import numpy as np

    from fieldmark.data.collection import Collection

Photo: TypeAlias = Any
"""A path (``str`` or ``Path``), the bytes of an image file, a PIL image, or an array or tensor (height, width, 3) of
uint8."""


@contextmanager
def photos_of(photos: Collection | Photo | Sequence[Photo]) -> Iterator[Collection | Path | str]:
    """Photos as the reading functions take them; images in memory lie in a temporary folder meanwhile.

    Images in memory are named by their place: ``0``, ``1`` ...; paths by themselves.

    Raises:
        FieldmarkError: One is of a type that is no photo.
    """
    from fieldmark.data.collection import Collection

    if isinstance(photos, Collection):
        yield photos
        return
    if _is_frame(photos):
        yield Collection.of(photos, root=Path())
        return
    several_of = list(photos) if isinstance(photos, list | tuple) else [photos]
    if all(isinstance(one, str | Path) for one in several_of):
        if len(several_of) == 1 and (not isinstance(photos, list | tuple)):
            yield several_of[0]
        else:
            from fieldmark.api.photos import of_files

            yield of_files(several_of)
        return
    with tempfile.TemporaryDirectory(prefix="fieldmark-photos-") as folder:
        yield _written(several_of, Path(folder))


def _is_frame(photos: Any) -> bool:
    """Whether it is a polars or pandas frame, or a mapping of columns."""
    return isinstance(photos, Mapping) or hasattr(photos, "columns")


def _written(photos: Sequence[Any], folder: Path) -> Collection:
    """Images in memory as files of a folder, bytes as they are, pixels without loss."""
    import numpy as np

    from fieldmark.data.collection import Collection

    strange = [
        f"photo {number}: {type(one).__name__}{_shape(one)}"
        for number, one in enumerate(photos)
        if not isinstance(one, str | Path | bytes) and _pixels(one) is None
    ]
    if strange:
        raise FieldmarkError(
            "A photo is of a type that cannot be read.",
            got=several(strange),
            fix="pass paths, bytes of image files, PIL images, or arrays (height, width, 3) of uint8.",
        )
    images, files = [], []
    for number, one in enumerate(photos):
        if isinstance(one, str | Path):
            images.append(str(one))
            files.append(str(Path(one).absolute()))
            continue
        path = folder / f"{number}.png"
        if isinstance(one, bytes):
            path.write_bytes(one)
        else:
            from PIL import Image

            Image.fromarray(np.asarray(_pixels(one))).save(path, compress_level=1)
        images.append(str(number))
        files.append(str(path))
    return Collection.of({"image": images, "file": files}, root=Path("/"), name="photos")


def _pixels(photo: Any) -> np.ndarray | None:
    """The pixels of a PIL image, array or tensor as (height, width, 3) of uint8; None for anything else.

    A PIL image is seen as its file would be: upright by its EXIF orientation, transparent parts over white.
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

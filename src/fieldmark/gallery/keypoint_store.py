"""Points of photos kept on disk, so that a photo compared with many is looked at once."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from fieldmark.core.errors import FieldmarkError, ImageError, RunError
from fieldmark.core.files import write_bytes
from fieldmark.gallery.keypoints import Keypoints, Size, boxed, find_keypoints
from fieldmark.gallery.opencv import opencv
from fieldmark.gallery.specs import Akaze, KeypointMethod, Sift
from fieldmark.images.crops import Box
from fieldmark.images.masks import from_text, stretched
from fieldmark.images.reading import read_pixels

FORMAT = "1"
ARRAYS = ("xy", "score", "descriptors")


class KeypointStore:
    """Finds points, or reads those that were found before.

    A file is named by a hash of the photo's content, the settings, box, mask and true size, so that it cannot be stale;
    it is written aside and renamed, so that it is whole; and it holds a hash of its own numbers: a damaged one
    is made anew.

    Args:
        folder: Where points are kept; made when first needed. Where it cannot be written, and with None, nothing
            more is kept.
        points: Which points.
    """

    def __init__(self, folder: Path | None, points: KeypointMethod) -> None:
        self.folder, self.points = folder, points
        self._digests: dict[Path, bytes] = {}
        self._keeps = True

    def of(
        self, photo: Path, *, true_size: Size | None = None, box: Box | None = None, mask: str | None = None
    ) -> Keypoints:
        """The points of a photo.

        Args:
            photo: Its file.
            true_size: Height and width it once had, where its file was squashed.
            box: Left, top, right and bottom of the animal, in px of the true size.
            mask: Where the animal is, as ``fieldmark.images.masks`` writes it; the box then has no say.

        Raises:
            ImageError: The photo cannot be read.
            ShapeError: The mask is none.
            FieldmarkError: OpenCV or weights are missing; see ``fieldmark.gallery.keypoints.find_keypoints``.
        """
        box = None if mask else box
        if self.folder is None:
            return self._found(photo, true_size=true_size, box=box, mask=mask)
        kept = self.folder / f"{self._name(photo, true_size=true_size, box=box, mask=mask)}.safetensors"
        known = _opened(kept)
        if known is not None:
            return known
        found = self._found(photo, true_size=true_size, box=box, mask=mask)
        if self._keeps:
            try:
                write_bytes(kept, _packed(found))
            except RunError:  # a run on a read-only share, a full disk: only time is lost
                self._keeps = False
        return found

    def _found(self, photo: Path, *, true_size: Size | None, box: Box | None, mask: str | None) -> Keypoints:
        pixels = read_pixels(photo)
        inside = None
        if mask:
            inside = stretched(from_text(mask), pixels.shape[:2])
        elif box is not None:
            across, down = (pixels.shape[1] / true_size[1], pixels.shape[0] / true_size[0]) if true_size else (1.0, 1.0)
            left, top, right, bottom = box
            inside = boxed(pixels.shape[:2], (left * across, top * down, right * across, bottom * down))
        return find_keypoints(self.points, pixels, mask=inside, true_size=true_size)

    def _name(self, photo: Path, *, true_size: Size | None, box: Box | None, mask: str | None) -> str:
        """Everything the points depend on, as a short hash."""
        if photo not in self._digests:
            try:
                self._digests[photo] = hashlib.sha256(photo.read_bytes()).digest()
            except OSError as error:
                raise ImageError(
                    "The picture cannot be opened.",
                    got=f"{photo}: {error.strerror}",
                    fix="check the path, and whether the file may be read.",
                ) from error
        by = opencv().__version__ if isinstance(self.points, Sift | Akaze) else ""
        about = json.dumps([FORMAT, by, self.points.model_dump(mode="json"), true_size, box, *([mask] if mask else [])])
        return hashlib.sha256(self._digests[photo] + about.encode()).hexdigest()[:32]


def _packed(points: Keypoints) -> bytes:
    arrays = {name: np.ascontiguousarray(getattr(points, name)) for name in ARRAYS}
    about = {"height": str(points.size[0]), "width": str(points.size[1]), "sha256": _digest(arrays)}
    return save(arrays, metadata=about)


def _opened(path: Path) -> Keypoints | None:
    """The points in a file; None where there is none, or it is not what was written."""
    try:
        with safe_open(path, framework="np") as file:
            about, arrays = file.metadata(), {name: file.get_tensor(name) for name in ARRAYS}
        if about["sha256"] != _digest(arrays):
            return None
        return Keypoints(**arrays, size=(int(about["height"]), int(about["width"])))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, FieldmarkError):
        return None


def _digest(arrays: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in ARRAYS:
        digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        digest.update(arrays[name].tobytes())
    return digest.hexdigest()

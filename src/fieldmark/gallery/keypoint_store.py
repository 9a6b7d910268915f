"""Keypoints cached on disk, so that keypoints of a photo are computed only once."""

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
    """Computes keypoints, or reads them from the cache.

    The file name is a hash of the photo's content, the settings, box, mask and true size, so a file is never outdated.
    Each file is written under a temporary name and then renamed, so it is never incomplete. It holds a hash of its own
    arrays; a damaged file is computed again.

    Args:
        folder: Cache folder; created when first needed. None, or a folder that cannot be written, disables the cache.
        points: The keypoint method.
    """

    def __init__(self, folder: Path | None, points: KeypointMethod) -> None:
        self.folder, self.points = folder, points
        self._digests: dict[Path, bytes] = {}
        self._keeps = True

    def of(
        self, photo: Path, *, true_size: Size | None = None, box: Box | None = None, mask: str | None = None
    ) -> Keypoints:
        """Return the keypoints of a photo.

        Args:
            photo: The image file.
            true_size: Height and width of the original photo, if the file was resized to another shape.
            box: Left, top, right and bottom of the animal, in px of the true size.
            mask: The mask of the animal, as text written by ``fieldmark.images.masks``; if given, the box is ignored.

        Raises:
            ImageError: The photo cannot be read.
            ShapeError: The mask text is invalid.
            FieldmarkError: OpenCV or weights are missing; see ``fieldmark.gallery.keypoints.find_keypoints``.
        """
        box = None if mask else box
        if self.folder is None:
            return self._found(photo, true_size=true_size, box=box, mask=mask)
        cache_file = self.folder / f"{self._name(photo, true_size=true_size, box=box, mask=mask)}.safetensors"
        cached = _opened(cache_file)
        if cached is not None:
            return cached
        found = self._found(photo, true_size=true_size, box=box, mask=mask)
        if self._keeps:
            try:
                write_bytes(cache_file, _packed(found))
            except RunError:  # read-only folder or full disk: continue without the cache
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
        """Return a short hash of everything the keypoints depend on."""
        if photo not in self._digests:
            try:
                self._digests[photo] = hashlib.sha256(photo.read_bytes()).digest()
            except OSError as error:
                raise ImageError(
                    "The image file cannot be opened.",
                    got=f"{photo}: {error.strerror}",
                    fix="check the path and the read permission of the file.",
                ) from error
        by = opencv().__version__ if isinstance(self.points, Sift | Akaze) else ""
        about = json.dumps([FORMAT, by, self.points.model_dump(mode="json"), true_size, box, *([mask] if mask else [])])
        return hashlib.sha256(self._digests[photo] + about.encode()).hexdigest()[:32]


def _packed(points: Keypoints) -> bytes:
    arrays = {name: np.ascontiguousarray(getattr(points, name)) for name in ARRAYS}
    about = {"height": str(points.size[0]), "width": str(points.size[1]), "sha256": _digest(arrays)}
    return save(arrays, metadata=about)


def _opened(path: Path) -> Keypoints | None:
    """Return the keypoints in a file; None if there is no file or it is damaged."""
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

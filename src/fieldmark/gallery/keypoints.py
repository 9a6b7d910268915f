"""Keypoints of a photo: points that can be found again in another photo, with their descriptors."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float16, Float32, UInt8
from PIL import Image

from fieldmark.core.errors import ShapeError
from fieldmark.gallery.opencv import akaze, opencv
from fieldmark.gallery.specs import Akaze, KeypointMethod, Sift, Superpoint, Xfeat
from fieldmark.images.crops import Box

if TYPE_CHECKING:
    from fieldmark.models.keypoint_nets import SuperpointNet, XfeatNet

LEAST_MASK_PX = 1000
"""If a mask has fewer pixels than this in the resized photo, it probably missed the animal; the whole photo is used."""
CLAHE_LIMIT, CLAHE_TILES = 2.0, (8, 8)

Size = tuple[int, int]
"""Height and width in px."""


@dataclass(frozen=True, eq=False)
class Keypoints:
    """Keypoints of one photo, the strongest first.

    Attributes:
        xy: Column and row of each point in px of the resized photo; the centre of the first pixel is 0, 0.
        score: Strength of each point; comparable within a photo only.
        descriptors: Description of each point: vectors of length 1 (in half precision), or bits (eight per byte).
        size: Height and width of the resized photo in px.
    """

    xy: Float32[np.ndarray, "point 2"]
    score: Float32[np.ndarray, " point"]
    descriptors: Float16[np.ndarray, "point dim"] | UInt8[np.ndarray, "point byte"]
    size: Size

    def __post_init__(self) -> None:
        """Raise an error for arrays of different lengths."""
        n = len(self.xy)
        if self.xy.shape != (n, 2) or self.score.shape != (n,) or self.descriptors.shape[:1] != (n,):
            raise ShapeError(
                "Keypoints need one position, one score and one descriptor each.",
                got=f"xy {self.xy.shape}, score {self.score.shape}, descriptors {self.descriptors.shape}",
                fix="pass arrays with one row per point, as find_keypoints() returns them.",
            )

    def __len__(self) -> int:
        return len(self.xy)

    def on(self, size: Size) -> Float32[np.ndarray, "point 2"]:
        """Return the positions of the points in px of the same photo at another size (height, width)."""
        scale = np.array([size[1] / self.size[1], size[0] / self.size[0]], np.float32)
        return (self.xy + np.float32(0.5)) * scale - np.float32(0.5)


def find_keypoints(
    points: KeypointMethod,
    pixels: UInt8[np.ndarray, "height width 3"],
    *,
    mask: Bool[np.ndarray, "height width"] | None = None,
    true_size: Size | None = None,
) -> Keypoints:
    """Find the keypoints of a photo, at most ``points.most``, the strongest first.

    The photo is resized to its true shape with its longer side at ``points.size_px``, so that pixels have the same
    meaning in all photos. The same input gives bit-identical keypoints.

    Args:
        points: The keypoint method.
        pixels: Upright photo, values 0-255.
        mask: True for pixels of the animal; keypoints elsewhere are left out. A mask with fewer than 1,000 px of the
            resized photo is treated as failed and ignored. For a box, use the mask of ``boxed``.
        true_size: Height and width of the original photo, if the file was resized to another shape.

    Raises:
        ShapeError: The pixels are not an RGB image, or the mask has another size.
        FieldmarkError: OpenCV is needed and not installed, or has no AKAZE.
        WeightsError: The network's weights are missing, damaged or of another network.

    Source:
        RootSIFT within a mask, the whole photo where it is too small: Humpback 2018/19, fourth place.
    """
    _check(pixels, mask)
    picture = _resized(pixels, points.size_px, true_size or pixels.shape[:2])
    inside = None
    if mask is not None:
        inside = np.asarray(Image.fromarray(mask).resize(picture.size, Image.Resampling.NEAREST))
        inside = inside if inside.sum() >= LEAST_MASK_PX else None
    if isinstance(points, Sift | Akaze):
        return _by_opencv(points, picture, inside)
    net = _xfeat() if isinstance(points, Xfeat) else _superpoint(points)
    found = net.find(np.asarray(picture), threshold=points.threshold)
    kept = _strongest(found.xy, found.score, inside, most=points.most)
    return Keypoints(
        xy=found.xy[kept].astype(np.float32),
        score=found.score[kept],
        descriptors=found.descriptors[kept].astype(np.float16),
        size=(picture.height, picture.width),
    )


def boxed(size: Size, box: Box) -> Bool[np.ndarray, "height width"]:
    """Return a mask that is True inside a box, for ``find_keypoints``.

    Args:
        size: Height and width of the photo in px.
        box: Left, top, right and bottom in px of the same photo; parts outside the photo are cut off.
    """
    left, top, right, bottom = (max(0, round(edge)) for edge in box)
    mask = np.zeros(size, dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


def _check(pixels: np.ndarray, mask: np.ndarray | None) -> None:
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or not pixels.size:
        raise ShapeError(
            "pixels must be an RGB image of type uint8.",
            got=f"pixels {pixels.shape} of type {pixels.dtype}",
            fix="pass the output of fieldmark.images.reading.read_pixels().",
        )
    if mask is not None and (mask.shape != pixels.shape[:2] or mask.dtype != np.bool_):
        raise ShapeError(
            "mask must hold True or False for each pixel.",
            got=f"mask {mask.shape} of type {mask.dtype} for pixels {pixels.shape}",
            fix="pass a (height, width) array of type bool with the photo's size, for example mask > 0.",
        )


def _resized(pixels: np.ndarray, size_px: int, true_size: Size) -> Image.Image:
    scale = size_px / max(true_size)
    height, width = (max(1, round(side * scale)) for side in true_size)
    picture = Image.fromarray(pixels)
    return picture if picture.size == (width, height) else picture.resize((width, height), Image.Resampling.BICUBIC)


def _by_opencv(points: Sift | Akaze, picture: Image.Image, inside: np.ndarray | None) -> Keypoints:
    cv2 = opencv()
    grey = np.asarray(picture.convert("L"))
    if isinstance(points, Sift) and points.clahe:
        grey = cv2.createCLAHE(CLAHE_LIMIT, CLAHE_TILES).apply(grey)
    finder = cv2.SIFT_create() if isinstance(points, Sift) else akaze(threshold=points.threshold)
    found = finder.detect(grey, None)
    xy = np.array([one.pt for one in found], np.float32).reshape(-1, 2)
    score = np.array([one.response for one in found], np.float32)
    kept = _strongest(xy, score, inside, most=points.most)
    described, descriptors = finder.compute(grey, [found[row] for row in kept]) if len(kept) else ((), None)
    if descriptors is None:
        width, kind = (128, np.float16) if isinstance(points, Sift) else (61, np.uint8)
        descriptors = np.zeros((0, width), kind)
    return Keypoints(
        xy=np.array([one.pt for one in described], np.float32).reshape(-1, 2),
        score=np.array([one.response for one in described], np.float32),
        descriptors=_root(descriptors) if isinstance(points, Sift) else descriptors,
        size=(picture.height, picture.width),
    )


def _root(descriptors: np.ndarray) -> Float16[np.ndarray, "point dim"]:
    """Compute RootSIFT: normalise to sum 1, then take square roots, so that strong gradients dominate less."""
    share = descriptors.astype(np.float32)
    share /= np.maximum(share.sum(axis=1, keepdims=True), np.finfo(np.float32).tiny)
    return np.sqrt(share).astype(np.float16)


def _strongest(xy: np.ndarray, score: np.ndarray, inside: np.ndarray | None, *, most: int) -> np.ndarray:
    """Return the rows of the strongest keypoints inside the mask; ties from top to bottom and left to right."""
    order = np.lexsort((xy[:, 0], xy[:, 1], -score))
    if inside is not None:
        column, row = np.rint(xy[order]).astype(int).T
        order = order[inside[row.clip(0, inside.shape[0] - 1), column.clip(0, inside.shape[1] - 1)]]
    return order[:most]


@cache
def _xfeat() -> XfeatNet:
    from fieldmark.models.keypoint_nets import XfeatNet

    return XfeatNet.load()


@cache
def _superpoint(points: Superpoint) -> SuperpointNet:
    from fieldmark.models.keypoint_nets import SuperpointNet

    return SuperpointNet.load(Path(points.path), sha256=points.sha256)

"""Keypoints of photos, and keypoint matching of two photos.

Photos are paths, bytes of image files, PIL images, or arrays (height, width, 3) of uint8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float32, Float64

from fieldmark.api.guards import need_torch
from fieldmark.api.inputs import Photo, pixels_of
from fieldmark.api.pairs import By, matching_of
from fieldmark.core.public import exports

if TYPE_CHECKING:
    from fieldmark.gallery.keypoints import Keypoints, Size
    from fieldmark.gallery.specs import KeypointMatching

__all__ = ["Keypoints", "PointMatches", "find", "match"]


@dataclass(frozen=True, eq=False)
class PointMatches:
    """The matched keypoints of two photos.

    Attributes:
        left: Column and row of each matched keypoint in the left photo, in px; the centre of the first pixel is 0, 0.
        right: Column and row of the matching keypoint in the right photo.
        is_inlier: Whether one change of viewpoint explains the match.
        homography: Matrix (3, 3) that maps the left photo to the right one, in px; None with too few matches.
        plausible: Whether a camera moving around the object could have taken both photos.
        n_points: Number of keypoints in each photo.
    """

    left: Float32[np.ndarray, "match 2"]
    right: Float32[np.ndarray, "match 2"]
    is_inlier: Bool[np.ndarray, " match"]
    homography: Float64[np.ndarray, "3 3"] | None
    plausible: bool
    n_points: tuple[int, int]

    def __len__(self) -> int:
        return len(self.left)

    @property
    def n_inliers(self) -> int:
        """Number of matches that one change of viewpoint explains: the score of the pair."""
        return int(self.is_inlier.sum())

    @property
    def inlier_share(self) -> float:
        """Inliers as a share of the matches, 0 to 1; 0 without matches."""
        return self.n_inliers / len(self) if len(self) else 0.0


def find(photo: Photo, *, by: By | KeypointMatching = "xfeat") -> Keypoints:
    """Find the keypoints of a photo, the strongest first.

    Args:
        photo: A path, bytes, a PIL image, or an array (height, width, 3) of uint8.
        by: ``xfeat`` (a network), ``lighterglue`` (the same keypoints, matched by a second network), ``sift`` or
            ``akaze`` (no network); or all settings.

    Returns:
        ``xy``, ``score`` and ``descriptors``, one row per keypoint. Positions are in px of the resized photo
        (``size``); ``on((height, width))`` converts them to another size.

    Raises:
        ImageError: The file cannot be read.
        WeightsError: The weights of the network are not installed.
        FieldmarkError: OpenCV is not installed, ``by`` is unknown, or the photo has an unsupported type.
    """
    return _points(pixels_of(photo), matching_of(by))


def match(left: Photo, right: Photo, *, by: By | KeypointMatching = "xfeat") -> PointMatches:
    """Match the keypoints of two photos, and find the matches that one change of viewpoint explains.

    Args:
        left: A path, bytes, a PIL image, or an array (height, width, 3) of uint8.
        right: The other photo.
        by: Keypoint method, as in ``find``.

    Returns:
        The matches; ``n_inliers`` is large if both photos show the same marks.

    Raises:
        ImageError: A file cannot be read.
        WeightsError: The weights of the network are not installed.
        FieldmarkError: OpenCV is not installed, ``by`` is unknown, or a photo has an unsupported type.

    Source:
        Humpback Whale Identification 2018/19, fourth place; XFeat: Potje et al. 2024, arXiv:2404.19174.
    """
    from fieldmark.gallery.matching import agreement

    matching = matching_of(by)
    pixels = [pixels_of(one) for one in (left, right)]
    points = [_points(one, matching) for one in pixels]
    found = agreement(points[0], points[1], matching)
    sizes: list[Size] = [(one.shape[0], one.shape[1]) for one in pixels]
    places = [of.on(size)[found.pairs[:, side]] for side, (of, size) in enumerate(zip(points, sizes, strict=True))]
    homography = found.homography
    if homography is not None:
        shrunk = [_to_resized(size, of.size) for size, of in zip(sizes, points, strict=True)]
        homography = np.linalg.inv(shrunk[1]) @ homography @ shrunk[0]
        homography = homography / homography[2, 2]
    return PointMatches(
        left=places[0],
        right=places[1],
        is_inlier=found.inlier,
        homography=homography,
        plausible=found.plausible,
        n_points=(len(points[0]), len(points[1])),
    )


def _points(pixels: np.ndarray, matching: KeypointMatching) -> Keypoints:
    from fieldmark.gallery.keypoints import find_keypoints as found

    if matching.points.kind in {"xfeat", "superpoint"}:
        need_torch()
    return found(matching.points, pixels)


def _to_resized(size: Size, resized: Size) -> Float64[np.ndarray, "3 3"]:
    """Return the map from px of the photo to px of the resized photo; the centre of the first pixel is 0, 0 in both."""
    across, down = resized[1] / size[1], resized[0] / size[0]
    return np.array([[across, 0, (across - 1) / 2], [0, down, (down - 1) / 2], [0, 0, 1]])


__getattr__, __dir__ = exports(__name__, {"Keypoints": "fieldmark.gallery.keypoints"}, own=__all__)

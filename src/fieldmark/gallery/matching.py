"""Keypoint matching of two photos: matched pairs of points, and the homography that explains them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from fieldmark.core.errors import ShapeError
from fieldmark.gallery.keypoints import Keypoints
from fieldmark.gallery.opencv import opencv
from fieldmark.gallery.specs import KeypointMatching, KeypointMethod, Xfeat

if TYPE_CHECKING:
    from fieldmark.models.lighterglue import LighterGlue

MOST_ROUNDS, CONFIDENCE = 2000, 0.999
"""Settings of RANSAC; OpenCV uses a fixed seed."""
MOST_SCALED, MOST_SQUASHED, MOST_TILTED = 4.0, 4.0, 4.0
"""Limits of a plausible view: ratio of sizes, of stretching in two directions, and of distances of both ends."""


@dataclass(frozen=True, eq=False)
class PointAgreement:
    """Result of keypoint matching for two photos.

    Attributes:
        pairs: Rows of the matched points, in the left photo and in the right one.
        inlier: Whether the homography explains the match, and it counts (see ``KeypointMatching.views_only``).
        homography: From px of the left resized photo to px of the right one; None if there are too few matches.
        plausible: Whether a change of viewpoint could cause this homography.
        took_s: Duration in seconds.
    """

    pairs: Int64[np.ndarray, "match 2"]
    inlier: Bool[np.ndarray, " match"]
    homography: Float64[np.ndarray, "3 3"] | None
    plausible: bool
    took_s: float

    @property
    def n_matches(self) -> int:
        """Number of matched points."""
        return len(self.pairs)

    @property
    def n_inliers(self) -> int:
        """Number of matches that the homography explains; 0 without a homography."""
        return int(self.inlier.sum())

    @property
    def inlier_share(self) -> float:
        """Share of inliers among all matches; 0 without matches."""
        return self.n_inliers / len(self.pairs) if len(self.pairs) else 0.0


def agreement(left: Keypoints, right: Keypoints, matching: KeypointMatching) -> PointAgreement:
    """Match the keypoints of two photos.

    Args:
        left: Keypoints of one photo.
        right: Keypoints of the other, found with the same settings.
        matching: Settings.

    Returns:
        The matches; bit-identical for the same input. With left and right exchanged, the matches are the same and the
        inliers nearly the same. Mirrored photos do not match: flip the pixels before finding keypoints to compare them.

    Raises:
        ShapeError: The keypoints are of different kinds.
        FieldmarkError: OpenCV is not installed.

    Source:
        Humpback 2018/19, fourth place: ratio test, ten matches or more, homography within 9 px. There a check of its
        eight numbers by boosted trees was always used; here it is a rule, used with ``views_only``.
    """
    began = time.perf_counter()
    pairs = matches(left, right, matching.points)
    homography, inlier = None, np.zeros(len(pairs), dtype=bool)
    if len(pairs) >= matching.least:
        homography, inlier = _homography(left.xy[pairs[:, 0]], right.xy[pairs[:, 1]], within_px=matching.within_px)
    is_plausible = homography is not None and plausible(homography, left.xy[pairs[inlier, 0]])
    if matching.views_only and not is_plausible:
        inlier = np.zeros_like(inlier)
    return PointAgreement(pairs, inlier, homography, is_plausible, time.perf_counter() - began)


def matches(left: Keypoints, right: Keypoints, points: KeypointMethod) -> Int64[np.ndarray, "match 2"]:
    """Return pairs of points that are mutual nearest neighbours, distinct enough and similar enough.

    "Distinct enough" means for both points that the second nearest is further away, by ``points.ratio`` on squared
    distances. The number of different bits is a squared distance too. The rule is symmetric in left and right.

    Raises:
        ShapeError: The descriptors are of different kinds.
    """
    if left.descriptors.shape[1:] != right.descriptors.shape[1:] or left.descriptors.dtype != right.descriptors.dtype:
        raise ShapeError(
            "The two photos have keypoints of different kinds.",
            got=f"descriptors {left.descriptors.shape} {left.descriptors.dtype} and "
            f"{right.descriptors.shape} {right.descriptors.dtype}",
            fix="find the keypoints of both photos with the same settings.",
        )
    if not len(left) or not len(right):
        return np.zeros((0, 2), np.int64)
    if isinstance(points, Xfeat) and points.matcher == "lighterglue":
        return _lighterglue().pair(
            (left.xy, right.xy),
            (left.descriptors, right.descriptors),
            (left.size, right.size),
            min_proba=points.min_proba,
        )
    cosine = _unit(left.descriptors) @ _unit(right.descriptors).T
    forward, backward = cosine.argmax(axis=1), cosine.argmax(axis=0)
    at = np.flatnonzero(backward[forward] == np.arange(len(left)))
    best = cosine[at, forward[at]]
    good = best >= points.min_cosine
    if points.ratio < 1:
        second = np.maximum(_second(cosine)[at], _second(cosine.T)[forward[at]])
        good &= 1 - best <= points.ratio * (1 - second)
    return np.stack([at[good], forward[at[good]]], axis=1).astype(np.int64)


def plausible(homography: Float64[np.ndarray, "3 3"], xy: Float32[np.ndarray, "point 2"]) -> bool:
    """Return whether a homography could be a change of viewpoint, checked where the points are.

    It must neither mirror the plane nor turn it inside out. At the centre of the points it may scale by a factor of at
    most 4, and stretch one direction at most 4 times as much as the other. The far end may be at most 4 times as
    distant as the near end.

    Args:
        homography: From px to px.
        xy: The points it explains, in px of the left photo.

    Source:
        Ours, instead of the trees of Humpback 2018/19, fourth place, whose training pairs are not public.
    """
    if not np.isfinite(homography).all() or not len(xy):
        return False
    low, high = xy.min(axis=0), xy.max(axis=0)
    corners = np.array([[x, y, 1.0] for x in (low[0], high[0]) for y in (low[1], high[1])])
    depth = corners @ homography[2]
    if depth.min() <= 0 < depth.max() or depth.max() == 0:
        return False
    depth = np.abs(depth)
    middle = np.append((low + high) / 2, 1.0)
    image = homography @ middle
    jacobian = (homography[:2, :2] - np.outer(image[:2] / image[2], homography[2, :2])) / image[2]
    long, short = np.linalg.svd(jacobian, compute_uv=False)
    if np.linalg.det(jacobian) <= 0:
        return False
    scale = float(np.sqrt(long * short))
    return bool(
        1 / MOST_SCALED <= scale <= MOST_SCALED
        and long <= MOST_SQUASHED * short
        and depth.max() <= MOST_TILTED * depth.min()
    )


def _homography(left: np.ndarray, right: np.ndarray, *, within_px: float) -> tuple[np.ndarray | None, np.ndarray]:
    cv2 = opencv()
    found, mask = cv2.findHomography(left, right, cv2.RANSAC, within_px, maxIters=MOST_ROUNDS, confidence=CONFIDENCE)
    if found is None:
        return None, np.zeros(len(left), dtype=bool)
    return found, mask.ravel().astype(bool)


def _unit(descriptors: np.ndarray) -> Float32[np.ndarray, "point dim"]:
    """Return vectors of length 1; bits become +1 and -1, so the product counts the equal ones."""
    if descriptors.dtype != np.uint8:
        return descriptors.astype(np.float32)
    bits = np.unpackbits(descriptors, axis=1).astype(np.float32)
    return (2 * bits - 1) / np.float32(np.sqrt(bits.shape[1]))


def _second(cosine: Float32[np.ndarray, "one other"]) -> Float32[np.ndarray, " one"]:
    """Return the second highest value of each row; -1, the minimum cosine, where there is no second."""
    if cosine.shape[1] < 2:
        return np.full(len(cosine), -1, np.float32)
    return np.partition(cosine, -2, axis=1)[:, -2]


@cache
def _lighterglue() -> LighterGlue:
    from fieldmark.models.lighterglue import LighterGlue

    return LighterGlue.load()

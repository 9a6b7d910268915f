"""Do two photos agree point by point: matched points, and the one change of viewpoint that explains them."""

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
"""Of RANSAC, whose draws OpenCV begins at a fixed seed."""
MOST_SCALED, MOST_SQUASHED, MOST_TILTED = 4.0, 4.0, 4.0
"""A view of the same animal is at most so many times larger, squashed one way, nearer at one end than at the other."""


@dataclass(frozen=True, eq=False)
class PointAgreement:
    """What the points of two photos say.

    Attributes:
        pairs: Rows of the matched points, in the left photo and in the right.
        inlier: Whether the homography explains the match, and counts (see ``KeypointMatching.views_only``).
        homography: From px of the left resized photo to those of the right; None where there are too few matches.
        plausible: Whether a camera that went round the animal could have seen it so.
        took_s: Seconds it took, by the clock.
    """

    pairs: Int64[np.ndarray, "match 2"]
    inlier: Bool[np.ndarray, " match"]
    homography: Float64[np.ndarray, "3 3"] | None
    plausible: bool
    took_s: float

    @property
    def n_matches(self) -> int:
        """Matched points."""
        return len(self.pairs)

    @property
    def n_inliers(self) -> int:
        """Matches that the homography explains; 0 where there is none."""
        return int(self.inlier.sum())

    @property
    def inlier_share(self) -> float:
        """Inliers as a share of all matches; 0 where there are none."""
        return self.n_inliers / len(self.pairs) if len(self.pairs) else 0.0


def agreement(left: Keypoints, right: Keypoints, matching: KeypointMatching) -> PointAgreement:
    """How well two photos agree.

    Args:
        left: Points of one photo.
        right: Points of the other, found with the same settings.
        evidence: What counts.

    Returns:
        The same to the bit for the same input; with left and right exchanged, the same matches and nearly the
        same inliers. Points do not agree across a mirror: mirror the pixels before they are found to ask for it.

    Raises:
        ShapeError: The points of the two are of different kinds.
        FieldmarkError: OpenCV is not installed.

    Source:
        Humpback 2018/19, fourth place: ratio test, ten matches or more, homography within 9 px, and (there always,
        here with ``views_only``) a check of its eight numbers, there by boosted trees, here by rule.
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
    """Pairs of points each of which is the other's nearest, clearly enough and similar enough.

    "Clearly enough" asks of both points that the second nearest is further away: by ``points.ratio`` on squared
    distances (bits that differ are squared distances too), so that left and right can change places.

    Raises:
        ShapeError: The descriptors are of different kinds.
    """
    if left.descriptors.shape[1:] != right.descriptors.shape[1:] or left.descriptors.dtype != right.descriptors.dtype:
        raise ShapeError(
            "Only points of one kind can be matched.",
            got=f"descriptors {left.descriptors.shape} {left.descriptors.dtype} and "
            f"{right.descriptors.shape} {right.descriptors.dtype}",
            fix="find the points of both photos with the same settings.",
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
    there, back = cosine.argmax(axis=1), cosine.argmax(axis=0)
    at = np.flatnonzero(back[there] == np.arange(len(left)))
    best = cosine[at, there[at]]
    good = best >= points.min_cosine
    if points.ratio < 1:
        second = np.maximum(_second(cosine)[at], _second(cosine.T)[there[at]])
        good &= 1 - best <= points.ratio * (1 - second)
    return np.stack([at[good], there[at[good]]], axis=1).astype(np.int64)


def plausible(homography: Float64[np.ndarray, "3 3"], xy: Float32[np.ndarray, "point 2"]) -> bool:
    """Whether a homography could be a change of viewpoint, judged where the points are.

    It must not mirror, nor turn the plane inside out; at the middle of the points it may scale by at most 4, squash one
    way by at most 4, and its far end may be at most 4 times as far as its near end.

    Args:
        homography: From px to px.
        xy: The points it explains, in px of the left photo.

    Source:
        Ours, for the trees of Humpback 2018/19, fourth place, whose training pairs are not public.
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
    """Vectors of length 1; bits become +1 and -1, whose product counts those that agree."""
    if descriptors.dtype != np.uint8:
        return descriptors.astype(np.float32)
    bits = np.unpackbits(descriptors, axis=1).astype(np.float32)
    return (2 * bits - 1) / np.float32(np.sqrt(bits.shape[1]))


def _second(cosine: Float32[np.ndarray, "one other"]) -> Float32[np.ndarray, " one"]:
    """The second highest of each row; -1, the least there can be, where there is no second."""
    if cosine.shape[1] < 2:
        return np.full(len(cosine), -1, np.float32)
    return np.partition(cosine, -2, axis=1)[:, -2]


@cache
def _lighterglue() -> LighterGlue:
    from fieldmark.models.lighterglue import LighterGlue

    return LighterGlue.load()

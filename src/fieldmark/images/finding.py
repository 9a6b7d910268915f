"""Automatic boxes: the subject is found by its colours or by the feature norms of a pretrained network (no torch)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image

from fieldmark.core.errors import FieldmarkError
from fieldmark.images.masks import Mask, bounds
from fieldmark.images.reading import DEFAULT, Limits, decode, opened
from fieldmark.images.specs import GrabCut

Shares = tuple[float, float, float, float]
"""(left, top, right, bottom) as shares of the upright image's width and height."""
FULL: Shares = (0.0, 0.0, 1.0, 1.0)
PART = 0.1
"""Pieces of a mask smaller than this share of its largest piece are removed as noise, such as spray."""
LEAST, MOST = 0.01, 0.97
"""Range of the share of the image that a subject may cover; outside of it the subject counts as not found."""
UPSAMPLED_PX = 80


@dataclass(frozen=True)
class FoundSubject:
    """Location of the subject as predicted by a finder.

    Attributes:
        box: Bounding box of the subject; None if nothing was found, in which case the full frame is used.
        mask: Mask of the subject, if the finder predicts one.
        points: (x, y) of each landmark as shares, if the finder predicts landmarks.
        note: Reason why there is no box.
    """

    box: Shares | None
    mask: Mask | None = None
    points: tuple[tuple[float, float], ...] = ()
    note: str = ""


def small_picture(
    source: Path | bytes, *, longest_px: int, limits: Limits = DEFAULT
) -> UInt8[np.ndarray, "height width 3"]:
    """Return the upright image with its longer side at most ``longest_px``; smaller images keep their size.

    Raises:
        ImageError: The image cannot be read.
    """
    photo = opened(source, limits=limits)
    share = min(1.0, longest_px / max(photo.height, photo.width))
    height, width = (max(1, round(side * share)) for side in (photo.height, photo.width))
    pixels = decode(photo, at_least=(height, width))
    if pixels.shape[:2] == (height, width):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BOX))


def grabcut(pixels: UInt8[np.ndarray, "height width 3"], spec: GrabCut) -> FoundSubject:
    """Return the part of the image whose colours differ from those of its border.

    GrabCut fits colour models to the border and to the inside, and repeats this for some iterations.

    Args:
        pixels: Small upright image.
        spec: Border, iterations, seed.

    Raises:
        FieldmarkError: OpenCV is not installed.

    Source:
        Rother, Kolmogorov, Blake 2004, "GrabCut", by OpenCV. Ours: the starting rectangle (a border of 4 %), and the
        removal of pieces smaller than a tenth of the largest piece.
    """
    cv2 = _opencv()
    height, width = pixels.shape[:2]
    across, down = max(1, round(spec.border * width)), max(1, round(spec.border * height))
    inner = (across, down, width - 2 * across, height - 2 * down)
    if min(inner[2:]) < 4 or np.ptp(pixels.reshape(-1, 3), axis=0).max() < 8:
        return FoundSubject(None, note="image too small or too uniform")
    labels = np.zeros((height, width), dtype=np.uint8)
    cv2.setRNGSeed(spec.seed)  # seeds this thread; the first colour models are random
    models = np.zeros((1, 65)), np.zeros((1, 65))
    blue_first = np.ascontiguousarray(pixels[:, :, ::-1])
    try:
        cv2.grabCut(blue_first, labels, inner, *models, spec.iterations, cv2.GC_INIT_WITH_RECT)
    except cv2.error:  # no pixel is left in one of the two classes
        return FoundSubject(None, note="no subject found")
    return of_mask((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD))


def by_strength(strength: Float[np.ndarray, "height width"]) -> FoundSubject:
    """Return the part of the image with large feature norms. Otsu's method splits large norms from small ones.

    Args:
        strength: Norm of the feature vector at each position of the last feature map.

    Source:
        Otsu 1979 for the split; feature norms as a mark of the subject: ours, after Wei et al. 2017, "SCDA".
    """
    low, high = float(strength.min()), float(strength.max())
    if not np.isfinite(high) or high - low <= 1e-6 * max(abs(high), 1.0):
        return FoundSubject(None, note="no subject found")
    grey = Image.fromarray(((strength - low) / (high - low)).astype(np.float32))
    fine = np.asarray(grey.resize((UPSAMPLED_PX, UPSAMPLED_PX), Image.Resampling.BILINEAR))
    return of_mask(fine > otsu(fine))


def otsu(values: Float[np.ndarray, ...], *, n_bins: int = 256) -> float:
    """Return the value that splits numbers into two groups with the smallest within-group variance.

    Source: Otsu 1979, "A threshold selection method from gray-level histograms", equation 18.
    """
    counts, edges = np.histogram(values, bins=n_bins)
    middle = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)[:-1]
    above = counts.sum() - below
    sums = np.cumsum(counts * middle)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (sums[:-1] / below - (sums[-1] - sums[:-1]) / above) ** 2
    return float(edges[1:-1][np.nanargmax(np.where((below > 0) & (above > 0), between, np.nan))])


def of_mask(mask: Mask) -> FoundSubject:
    """Return the box around the large pieces of a mask, and the mask without the small pieces."""
    whole = _large_pieces(mask)
    share, box = float(whole.mean()), bounds(whole)
    if box is None or not LEAST <= share <= MOST:
        return FoundSubject(None, note="no subject found" if share < LEAST else "subject covers the whole image")
    return FoundSubject(box, whole)


def agreed(one: FoundSubject, other: FoundSubject, *, least_iou: float) -> FoundSubject:
    """Return the first result if the two boxes overlap enough; otherwise no box, and the reason.

    If one of the two finders found nothing, the result also has no box, and the full frame is used.
    """
    if one.box is None or other.box is None:
        return FoundSubject(None, note=f"only one finder found a subject ({one.note or other.note})")
    overlap = iou(one.box, other.box)
    return (
        replace(one, note="")
        if overlap >= least_iou
        else FoundSubject(None, note=f"two finders disagree: {overlap:.2f}")
    )


def iou(one: Shares, other: Shares) -> float:
    """Return the intersection over union (IoU) of two boxes, 0 to 1.

    Example:
        >>> iou((0, 0, 2, 2), (1, 0, 3, 2))
        0.3333333333333333
    """
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(0.0, width) * max(0.0, height)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return shared / max(sum(areas) - shared, 1e-12)


def _large_pieces(mask: Bool[np.ndarray, "height width"]) -> Mask:
    from scipy.ndimage import label  # here, as it takes half a second to load

    pieces, n_pieces = label(mask)
    if n_pieces == 0:
        return mask
    areas = np.bincount(pieces.reshape(-1))[1:]
    return np.isin(pieces, 1 + np.flatnonzero(areas >= PART * areas.max()))


def _opencv() -> Any:
    """Import OpenCV when it is first needed.

    Raises:
        FieldmarkError: OpenCV is not installed.
    """
    try:
        import cv2
    except ImportError as error:
        raise FieldmarkError(
            "Finding subjects by colour needs OpenCV, which is not installed.",
            got=str(error),
            fix='pip install "fieldmark[boxes]", or use `--by features`.',
        ) from error
    return cv2

"""Affine maps that align the landmarks of a photo with a reference shape. The functions work on coordinates only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from fieldmark.core.errors import ShapeError
from fieldmark.images.specs import Align
from fieldmark.images.subjects import Place

Affine = Float[np.ndarray, "2 3"]
"""Matrix that maps (x, y, 1) to (x', y')."""
FEWEST = 3
"""Minimum number of landmarks for an affine map."""


def affine(places: Float[np.ndarray, "point 2"], wanted: Float[np.ndarray, "point 2"]) -> Affine:
    """Return the affine map from ``places`` to ``wanted`` with the smallest squared error.

    Args:
        places: Points to map; at least three that do not lie on one line.
        wanted: Target of each point, in the same order.

    Raises:
        ShapeError: There are fewer than three points, the two arrays differ in shape, or all points lie on one line.

    Source:
        Humpback 2018, third place: least-squares affine (3 x 2) from the landmarks to a reference shape.
    """
    places, wanted = np.asarray(places, dtype=np.float64), np.asarray(wanted, dtype=np.float64)
    known = places.shape == wanted.shape and places.ndim == 2 and places.shape[1] == 2 and len(places) >= FEWEST
    known = known and bool(np.isfinite(places).all() and np.isfinite(wanted).all())
    spread = np.linalg.svd(places - places.mean(axis=0), compute_uv=False) if known else np.zeros(1)
    if not known or spread[-1] <= 1e-6 * max(spread[0], 1e-300):
        raise ShapeError(
            "The landmarks do not define an affine map.",
            got=f"{places.shape} to {wanted.shape}: {places.round(1).tolist()}",
            fix="give three landmarks or more that do not lie on one line, as (x, y) pairs.",
        )
    with_one = np.concatenate((places, np.ones((len(places), 1))), axis=1)
    return np.linalg.lstsq(with_one, wanted, rcond=None)[0].T


def inverse(map_: Affine) -> Affine:
    """Return the inverse of an affine map."""
    back = np.linalg.inv(map_[:, :2])
    return np.concatenate((back, -back @ map_[:, 2:]), axis=1)


def alignment(
    points: Sequence[Place | None],
    align: Align,
    target: tuple[int, int],
    *,
    rng: np.random.Generator | None = None,
) -> Affine | None:
    """Return the affine map from photo pixels to target pixels, or None if the landmarks do not define one.

    Args:
        points: One point for each landmark of ``align``; None for an unknown landmark.
        align: Reference shape and size of the jitter.
        target: (height_px, width_px) of the network's input.
        rng: Random generator of the sample, for the jitter; None means no jitter.
    """
    known = [at for at, place in enumerate(points) if place is not None and np.isfinite(place).all()]
    if len(points) != len(align.points) or len(known) < FEWEST:
        return None
    sides = np.array([target[1], target[0]], dtype=np.float64)
    wanted = np.array([(align.points[at].x, align.points[at].y) for at in known]) * sides
    if rng is not None and align.jitter > 0:
        wanted = wanted + rng.uniform(-1, 1, size=wanted.shape) * align.jitter * sides
    try:
        map_ = affine(np.array([points[at] for at in known]), wanted)
    except ShapeError:  # all landmarks lie on one line
        return None
    # A map that reflects or flattens the photo comes from swapped landmarks.
    across, along = np.linalg.svd(map_[:, :2], compute_uv=False)
    return map_ if np.linalg.det(map_[:, :2]) > 0 and along > 0.05 * across else None


def mean_shape(
    points: Float[np.ndarray, "photo point 2"], *, margin: float = 0.1, aspect: float = 1.0
) -> Float[np.ndarray, "point 2"]:
    """Return the mean shape of the landmarks of many photos, as shares of a target's width and height.

    Use it as the reference shape of ``Align``. Each photo's shape is first centred and scaled to unit size, so that
    large photos do not count more. The mean shape is then centred in the target, with a margin. Its proportions are
    kept.

    Args:
        points: Landmarks of each photo, in pixels; photos with an unknown (NaN) landmark are left out.
        margin: Share of the target that stays empty on each side.
        aspect: Width / height of the target.

    Raises:
        ShapeError: No photo has all landmarks.
    """
    whole = points[np.isfinite(points).all(axis=(1, 2))].astype(np.float64)
    if not len(whole):
        raise ShapeError(
            "No photo has all landmarks.", got=f"{len(points)} photos", fix="mark all landmarks on at least one photo."
        )
    centred = whole - whole.mean(axis=1, keepdims=True)
    mean = (centred / np.sqrt((centred**2).mean(axis=(1, 2), keepdims=True)).clip(1e-9)).mean(axis=0)
    mean -= (mean.min(axis=0) + mean.max(axis=0)) / 2
    width, height = np.ptp(mean, axis=0).clip(1e-9)
    scale = (1 - 2 * margin) / max(width / aspect, height)  # a target of height 1 and width aspect
    return mean * scale / np.array([aspect, 1.0]) + 0.5

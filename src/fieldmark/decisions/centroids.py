"""Robust centroids: the mean embedding of each identity, without outlier photos."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32, Int

from fieldmark.core.errors import ShapeError, several
from fieldmark.decisions.specs import Centroid

LENGTH_TOLERANCE = 1e-3  # float32 rows are within 1e-6; bfloat16 rows, converted to float32, within 4e-4


def centroids(
    embedding: Float[np.ndarray, "image dim"],
    classes: Int[np.ndarray, " image"],
    *,
    n_classes: int,
    by: Centroid | None = None,
) -> Float32[np.ndarray, "class dim"]:
    """Return the robust centroid of each identity, a vector of unit length.

    An outlier photo, such as a whale half hidden by a wave, should not move the mean of its identity. Photos far from
    the mean are removed and the mean is computed again. Each round uses only the photos that the last round kept. It
    stops for an identity with fewer than ``by.least`` photos left.

    Args:
        embedding: One row per photo (and view), of unit length.
        classes: Identity of each row; rows of class -1 are ignored.
        n_classes: Number of identities.
        by: When a photo counts as an outlier.

    Returns:
        One row per identity; zeros where it has no photo or where its photos cancel out.

    Raises:
        ShapeError: The arrays do not match in shape, are empty, or contain rows that are not of unit length.

    Source:
        Humpback Whale 2018/19, 3rd place. As there, the share of photos kept is rounded down, and a removed photo does
        not come back.
    """
    by = by or Centroid()
    embedding, classes = np.asarray(embedding), np.asarray(classes)
    if embedding.ndim != 2 or not embedding.size or classes.shape != embedding.shape[:1]:
        raise ShapeError(
            "centroids() needs one embedding per row and the class of each row.",
            got=f"embedding {embedding.shape}, classes {classes.shape}",
            fix="pass arrays of shape (image, dim) and (image,), with at least one image.",
        )
    check_unit_length(embedding, what="embedding")
    centre = np.zeros((n_classes, embedding.shape[1]), np.float32)
    for names, photos in similar_many(classes):
        step = max(1, 8192 // photos.shape[1])
        for first in range(0, len(names), step):
            some = embedding[photos[first : first + step]].astype(np.float32, copy=False)
            centre[names[first : first + step]] = _robust_mean(some, by)
    return centre


def _robust_mean(photos: np.ndarray, by: Centroid) -> np.ndarray:
    """Reduce (identity, photo, dim) to (identity, dim)."""
    kept = np.ones(photos.shape[:2], bool)
    for _ in range(by.rounds if photos.shape[1] >= by.least else 0):
        active = kept.sum(axis=1) >= by.least
        cosine = np.einsum("ipd,id->ip", photos, _mean(photos, kept))
        cosine[~kept] = -np.inf
        place = np.argsort(np.argsort(-cosine, axis=1, kind="stable"), axis=1)
        least_kept = np.floor(kept.sum(axis=1, keepdims=True) * by.keep + 1e-9)
        kept &= ((cosine > by.close) | (place < least_kept)) | ~active[:, None]
    return _mean(photos, kept)


def _mean(photos: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Return the direction of the sum of the kept photos; zeros where they cancel out."""
    total = np.einsum("ipd,ip->id", photos, kept.astype(np.float32))
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return np.divide(total, length, out=np.zeros_like(total), where=length > 1e-6)


def similar_many(classes: Int[np.ndarray, " image"]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the photos of each class, grouped by the number of photos per class.

    Args:
        classes: Class of each photo; -1 is ignored.

    Returns:
        For each number of photos that occurs: the classes (ascending) and a (class, photo) matrix of row numbers,
        ascending in each row.

    Example:
        >>> similar_many(np.array([1, 0, 1, 2]))
        [(array([0, 2]), array([[1],
               [3]])), (array([1]), array([[0, 2]]))]
    """
    order = np.argsort(classes, kind="stable")
    order = order[np.searchsorted(classes[order], 0) :]
    names, starts, counts = np.unique(classes[order], return_index=True, return_counts=True)
    return [
        (names[counts == count], order[starts[counts == count][:, None] + np.arange(count)])
        for count in np.unique(counts)
    ]


def check_unit_length(embedding: Float[np.ndarray, "image dim"], *, what: str) -> None:
    """Raise an error if some rows are not of length 1, as their products would not be cosines.

    Raises:
        ShapeError: Some rows are longer, shorter or contain NaN.
    """
    odd: list[str] = []
    n_odd = 0
    for start in range(0, len(embedding), 8192):
        block = embedding[start : start + 8192].astype(np.float32, copy=False)
        length = np.sqrt(np.einsum("id,id->i", block, block))
        rows = np.flatnonzero(~(np.abs(length - 1) <= LENGTH_TOLERANCE))
        n_odd += len(rows)
        odd += [f"{what} row {start + row}: length {length[row]:.4g}" for row in rows[: 5 - len(odd)]]
    if n_odd:
        raise ShapeError(
            f"{n_odd} of {len(embedding)} rows of {what} are not of length 1.",
            got=several(odd),
            fix="divide each row by its length: x / np.linalg.norm(x, axis=1, keepdims=True); remove rows with NaN.",
        )

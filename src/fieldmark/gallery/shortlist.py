"""Shortlist for re-ranking: for each candidate individual, its photos most similar to the query."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int, Int64

from fieldmark.core.errors import ShapeError

UNKNOWN = -1


def similar_photos(
    similarity: Float[np.ndarray, "query gallery"],
    classes: Int[np.ndarray, " gallery"],
    names: Int[np.ndarray, "query rank"],
    *,
    n_photos: int,
) -> Int64[np.ndarray, "query rank photo"]:
    """For each candidate individual of a query, return its most similar gallery photos, best first.

    Places without a photo hold -1.

    Args:
        similarity: Output of ``GalleryStore.compare``; -inf for pairs that must not be compared.
        classes: The individual of each gallery photo.
        names: Candidate individuals of each query; a negative number is an empty place.
        n_photos: Maximum number of photos per individual.

    Raises:
        ShapeError: The arrays do not match in shape.
    """
    similarity, classes, names = np.asarray(similarity), np.asarray(classes), np.asarray(names)
    if similarity.ndim != 2 or classes.shape != similarity.shape[1:] or names.shape[:1] != similarity.shape[:1]:
        raise ShapeError(
            "similarity and names must have one row per query, and classes one entry per gallery photo.",
            got=f"similarity {similarity.shape}, classes {classes.shape}, names {names.shape}",
            fix="pass the outputs of GalleryStore.compare() and top() for the same queries.",
        )
    order = np.argsort(classes, kind="stable")
    ordered = classes[order]
    found = np.full((*names.shape, n_photos), UNKNOWN, np.int64)
    for query, place in np.argwhere(names >= 0):
        first, last = np.searchsorted(ordered, [names[query, place], names[query, place] + 1])
        photos = order[first:last]
        photos = photos[similarity[query, photos] > -np.inf]
        best = photos[np.argsort(-similarity[query, photos], kind="stable")][:n_photos]
        found[query, place, : len(best)] = best
    return found

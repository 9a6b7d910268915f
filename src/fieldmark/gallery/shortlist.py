"""Which photos to look at again: of each likely individual the few most similar the query."""

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
    """Of each query's likely individuals the gallery photos most similar it, best first; -1 where there are no more.

    Args:
        similarity: As ``GalleryStore.compare`` gives it; -inf: not to be compared.
        classes: The individual of each gallery photo.
        names: Individuals on each query's shortlist; below 0: nobody.
        n_photos: Of each individual, at most.

    Raises:
        ShapeError: The arrays do not fit each other.
    """
    similarity, classes, names = np.asarray(similarity), np.asarray(classes), np.asarray(names)
    if similarity.ndim != 2 or classes.shape != similarity.shape[1:] or names.shape[:1] != similarity.shape[:1]:
        raise ShapeError(
            "Each query needs a row of similarities and one of names, each gallery photo a class.",
            got=f"similarity {similarity.shape}, classes {classes.shape}, names {names.shape}",
            fix="pass what GalleryStore.compare() and top() give for the same queries.",
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

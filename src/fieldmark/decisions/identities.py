"""Scores per identity, from the similarity of a query to each gallery photo."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Float32, Int, Int64

from fieldmark.core.errors import FieldmarkError, ShapeError, several
from fieldmark.decisions.centroids import centroids, check_unit_length, similar_many
from fieldmark.decisions.specs import Best, Centroid, IdentityScore, MeanTop, Nearest, SumAbove

QUERY_BLOCK = 1024
PHOTO_BLOCK = 2048


def from_embeddings(
    query: Float[np.ndarray, "query dim"],
    gallery: Float[np.ndarray, "gallery dim"],
    gallery_classes: Int[np.ndarray, " gallery"],
    *,
    n_classes: int,
    by: IdentityScore | None = None,
) -> Float32[np.ndarray, "query class"]:
    """Return the score of every identity for each query, from embeddings of unit length.

    The cosine to every photo is computed and reduced to one number per identity: see ``fieldmark.decisions.specs.Best``
    (the default), ``MeanTop``, ``Nearest``, ``SumAbove`` and ``Centroid``. The computation is done in blocks. Neither
    the matrix of all similarities nor a copy of the gallery is kept in memory, so ``gallery`` may be a memory map.

    Args:
        query: One embedding per row, of unit length.
        gallery: One embedding per known photo, of unit length.
        gallery_classes: The identity of each photo; photos of class -1 (unknown individual) are never candidates.
        n_classes: Number of identities.
        by: How the similarities of an identity's photos become one score.

    Returns:
        Cosines (-1 to 1); -inf where an identity has no photo.

    Raises:
        ShapeError: The arrays do not match in shape, are empty, or contain rows that are not of length 1.
        FieldmarkError: A class is outside -1 ... ``n_classes - 1``.

    Source:
        Best photo and mean of the best: common practice; centroids: Humpback 2019, 3rd place; sum above a floor: 5th
        place; the nearest 500 photos: Happywhale 2022, 1st place (there the others score 0).
    """
    by = by or Best()
    query, gallery = np.asarray(query), np.asarray(gallery)
    _check_pair(query, gallery, gallery_classes)
    classes = checked_identities(gallery_classes, n_classes=n_classes)
    check_unit_length(query, what="query")
    if isinstance(by, Centroid):
        centre = centroids(gallery, classes, n_classes=n_classes, by=by)
        scores = query.astype(np.float32, copy=False) @ centre.T
        scores[:, np.bincount(classes[classes >= 0], minlength=n_classes) == 0] = -np.inf
        return scores
    check_unit_length(gallery, what="gallery")

    def similarity(rows: slice) -> Callable[[np.ndarray], np.ndarray]:
        block = query[rows].astype(np.float32, copy=False).T
        return lambda photos: gallery[photos].astype(np.float32, copy=False) @ block

    return _reduce(similarity, len(query), classes, n_classes=n_classes, by=by)


def from_similarity(
    similarity: Float[np.ndarray, "query gallery"],
    gallery_classes: Int[np.ndarray, " gallery"],
    *,
    n_classes: int,
    by: Best | MeanTop | Nearest | SumAbove | None = None,
) -> Float32[np.ndarray, "query class"]:
    """Return the score of every identity for each query, from given similarities.

    It works as ``from_embeddings``, for any similarity (larger is more similar; negative values are allowed). A
    similarity of -inf excludes a pair, for example a photo and itself; it is left out of every mean.

    Raises:
        ShapeError: The arrays do not match in shape or are empty.
        FieldmarkError: A class is out of range, a similarity is NaN, or ``by`` needs the embeddings.
    """
    by = by or Best()
    similarity = np.asarray(similarity)
    if isinstance(by, Centroid):
        raise FieldmarkError(
            "by=Centroid() needs embeddings; it cannot be computed from similarities.",
            got="by=Centroid(...)",
            fix="use from_embeddings(), or by=Best() or by=MeanTop(m=3).",
        )
    if similarity.ndim != 2 or 0 in similarity.shape or np.shape(gallery_classes) != similarity.shape[1:]:
        raise ShapeError(
            "from_similarity() needs a (query, gallery) matrix and the class of each gallery photo.",
            got=f"similarity {similarity.shape}, gallery_classes {np.shape(gallery_classes)}",
            fix="pass one class per column of similarity, and at least one query and one photo.",
        )
    classes = checked_identities(gallery_classes, n_classes=n_classes)
    if np.isnan(similarity).any():
        raise FieldmarkError(
            "similarity contains NaN.",
            got=f"{int(np.isnan(similarity).sum())} NaN of {similarity.size}",
            fix="remove the photos whose embedding contains NaN; use -inf for pairs that must not be compared.",
        )

    def given(rows: slice) -> Callable[[np.ndarray], np.ndarray]:
        block = np.ascontiguousarray(similarity[rows].T, dtype=np.float32)
        return lambda photos: block[photos]

    return _reduce(given, len(similarity), classes, n_classes=n_classes, by=by)


def checked_identities(classes: Int[np.ndarray, " gallery"], *, n_classes: int) -> Int64[np.ndarray, " gallery"]:
    """Return ``classes`` as int64, all within -1 ... ``n_classes - 1``.

    Raises:
        FieldmarkError: Some are outside that range or are not whole numbers.
    """
    classes = np.asarray(classes)
    if not np.issubdtype(classes.dtype, np.integer) or n_classes < 1:
        raise FieldmarkError(
            "Classes must be whole numbers, and n_classes at least 1.",
            got=f"classes of type {classes.dtype}, n_classes {n_classes}",
            fix="convert names to classes with a Vocabulary; -1 is an unknown individual.",
        )
    odd = np.flatnonzero((classes < -1) | (classes >= n_classes))
    if len(odd):
        raise FieldmarkError(
            f"Some classes are outside -1 ... {n_classes - 1}.",
            got=several([f"row {row}: {classes[row]}" for row in odd]),
            fix="pass n_classes of the vocabulary that made the classes; -1 is an unknown individual.",
        )
    return classes.astype(np.int64, copy=False)


def _check_pair(query: np.ndarray, gallery: np.ndarray, gallery_classes: np.ndarray) -> None:
    fits = query.ndim == gallery.ndim == 2 and query.shape[1] == gallery.shape[1] and query.size and gallery.size
    if not fits or np.shape(gallery_classes) != gallery.shape[:1]:
        raise ShapeError(
            "query and gallery must be embeddings of one network, with one class per gallery photo.",
            got=f"query {query.shape}, gallery {gallery.shape}, gallery_classes {np.shape(gallery_classes)}",
            fix="pass arrays of shape (query, dim), (gallery, dim) and (gallery,) with the same dim, none empty.",
        )


def _reduce(
    similarity: Callable[[slice], Callable[[np.ndarray], np.ndarray]],
    n_queries: int,
    classes: np.ndarray,
    *,
    n_classes: int,
    by: Best | MeanTop | Nearest | SumAbove,
) -> np.ndarray:
    """Return identity scores, where ``similarity(rows)(photos)`` gives a (photo, query) block.

    Identities with the same number of photos are processed together: their block is reshaped to (identity, photo,
    query) and reduced along the photos. Queries are contiguous in memory. There is no loop over identities.
    """
    same_size = similar_many(classes)
    scores = np.full((n_queries, n_classes), -np.inf, np.float32)
    transposed = np.full((n_classes, QUERY_BLOCK), -np.inf, np.float32)
    for start in range(0, n_queries, QUERY_BLOCK):
        rows = slice(start, min(start + QUERY_BLOCK, n_queries))
        width = rows.stop - rows.start
        of = similarity(rows)
        last = _last_of_nearest(of, classes, width, n=by.n) if isinstance(by, Nearest) else None
        for names, photos in same_size:
            step = max(1, PHOTO_BLOCK // photos.shape[1])
            for first in range(0, len(names), step):
                some = photos[first : first + step]
                block = of(some.ravel()).reshape(*some.shape, width)
                transposed[names[first : first + step], :width] = _one_number(block, by)
        scores[rows] = transposed[:, :width].T
        if last is not None:
            scores[rows] = np.where(scores[rows] > -np.inf, np.maximum(scores[rows], last[:, None]), -np.inf)
    return scores


def _one_number(block: np.ndarray, by: Best | MeanTop | Nearest | SumAbove) -> np.ndarray:
    """Reduce (identity, photo, query) to (identity, query)."""
    if isinstance(by, MeanTop):
        return _mean_top(block, m=by.m)
    best = block.max(axis=1)
    if not isinstance(by, SumAbove):
        return best
    return np.where(best > by.floor, np.where(block > by.floor, block, 0).sum(axis=1), best)


def _last_of_nearest(
    of: Callable[[np.ndarray], np.ndarray], classes: np.ndarray, width: int, *, n: int
) -> Float32[np.ndarray, " query"]:
    """Return the similarity of each query's ``n``-th nearest photo; -inf where there are fewer.

    Photos of unknown individuals are counted too.
    """
    best = np.full((0, width), -np.inf, np.float32)
    for start in range(0, len(classes), PHOTO_BLOCK):
        best = np.concatenate([best, of(np.arange(start, min(start + PHOTO_BLOCK, len(classes))))])
        if len(best) > n:
            best = np.partition(best, len(best) - n, axis=0)[len(best) - n :]
    return best.min(axis=0) if len(best) == n else np.full(width, -np.inf, np.float32)


def _mean_top(block: np.ndarray, *, m: int) -> np.ndarray:
    """Return the mean of the ``m`` largest finite values along axis 1, by insertion into the ``m`` best so far."""
    m = min(m, block.shape[1])
    best = [np.full_like(block[:, 0], -np.inf) for _ in range(m)]
    for photo in range(block.shape[1]):
        value = block[:, photo]
        for rank in range(m):
            best[rank], value = np.maximum(best[rank], value), np.minimum(best[rank], value)
    count = sum((np.isfinite(rank).astype(np.float32) for rank in best), np.zeros_like(best[0]))
    total = sum((np.where(np.isfinite(rank), rank, 0) for rank in best), np.zeros_like(best[0]))
    return np.where(count > 0, total / np.maximum(count, 1), -np.inf)

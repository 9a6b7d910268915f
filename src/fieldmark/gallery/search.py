"""Exact nearest neighbours among photos, by cosine, in bounded memory."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32, Int, Int64

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.decisions.centroids import check_unit_length, similar_many
from fieldmark.decisions.ranking import top

UNKNOWN = -1  # no gallery row
QUERY_BLOCK = 1024
SPARE = 16
EXACT_NUMBERS = 2**23  # float64 numbers held while candidates are compared exactly


def nearest_photos(
    query: Float[np.ndarray, "query dim"],
    gallery: Float[np.ndarray, "gallery dim"],
    *,
    k: int,
    own: Int[np.ndarray, " query"] | None = None,
    block: int = 8192,
) -> tuple[Int64[np.ndarray, "query rank"], Float32[np.ndarray, "query rank"]]:
    """Return the ``k`` gallery photos most similar to each query, best first.

    The search is exact: every pair is compared. The last digits of float32 products depend on the position of a photo
    in a block. So the best few are compared again in float64: equal photos tie, ties are in the order of the gallery,
    and ``block`` only changes memory and speed.

    Args:
        query: One embedding per row, of unit length.
        gallery: One embedding per photo, of unit length; may be a memory map.
        k: Number of photos, at most the number that can be compared.
        own: The gallery row of the query itself, which is left out; -1 where the query is not in the gallery.
        block: Number of gallery rows processed at once.

    Returns:
        Gallery rows and cosines.

    Raises:
        ShapeError: The arrays do not match in shape, are empty, or contain rows that are not of length 1.
        FieldmarkError: ``k`` or ``block`` is out of range.
    """
    query, gallery = np.asarray(query), np.asarray(gallery)
    own = checked_own(query, gallery, own)
    most = len(gallery) - bool((own != UNKNOWN).any())
    if not 1 <= k <= most or block < 1:
        raise FieldmarkError(
            "k must be at most the number of photos to compare with, and k and block at least 1.",
            got=f"k={k}, block={block}, {most} photos",
            fix=f"use k from 1 to {most}, and block of 1 or more." if most else "add photos to the gallery.",
        )
    index = np.empty((len(query), k), np.int64)
    similarity = np.empty((len(query), k), np.float32)
    for start in range(0, len(query), QUERY_BLOCK):
        rows = slice(start, start + QUERY_BLOCK)
        index[rows], similarity[rows] = _nearest_block(query[rows], gallery, own[rows], k=k, block=block)
    return index, similarity


def best_photo_per_identity(
    query: Float[np.ndarray, "query dim"],
    gallery: Float[np.ndarray, "gallery dim"],
    gallery_classes: Int[np.ndarray, " gallery"],
    identities: Int[np.ndarray, "query rank"],
    *,
    own: Int[np.ndarray, " query"] | None = None,
) -> tuple[Int64[np.ndarray, "query rank"], Float32[np.ndarray, "query rank"]]:
    """For each query and each of its answered identities, find that identity's photo most similar to the query.

    Args:
        query: One embedding per row, of unit length.
        gallery: One embedding per photo, of unit length.
        gallery_classes: Identity of each photo.
        identities: One row of identities per query, as ``decisions.ranking.rank()`` returns them.
        own: The gallery row of the query itself, which is left out; -1 where the query is not in the gallery.

    Returns:
        Gallery rows and cosines; ties go to the first photo in the gallery. -1 and NaN where there is no photo, for
        example for an unknown individual (-1).

    Raises:
        ShapeError: The arrays do not match in shape, are empty, or contain rows that are not of length 1.
    """
    query, gallery, identities = np.asarray(query), np.asarray(gallery), np.asarray(identities)
    own = checked_own(query, gallery, own)
    if identities.ndim != 2 or len(identities) != len(query) or np.shape(gallery_classes) != gallery.shape[:1]:
        raise ShapeError(
            "identities must have one row per query, and gallery_classes one entry per gallery photo.",
            got=f"query {query.shape}, identities {identities.shape}, gallery_classes {np.shape(gallery_classes)}",
            fix="pass identities as (query, rank), as rank() returns them, and one class per gallery photo.",
        )
    index = np.full(identities.shape, UNKNOWN, np.int64)
    similarity = np.full(identities.shape, np.nan, np.float32)
    photos_of = {
        int(name): photos
        for names, same_size in similar_many(np.asarray(gallery_classes))
        for name, photos in zip(names, same_size, strict=True)
    }
    order = np.argsort(identities, axis=None, kind="stable")
    names, starts = np.unique(identities.ravel()[order], return_index=True)
    for name, cells in zip(names, np.split(order, starts[1:]), strict=True):
        photos = photos_of.get(int(name))
        if photos is None:
            continue
        query_row, place = np.divmod(cells, identities.shape[1])
        cosine = (query[query_row].astype(np.float64) @ gallery[photos].astype(np.float64).T).astype(np.float32)
        cosine[photos == own[query_row][:, None]] = -np.inf
        best = cosine.argmax(axis=1)
        value = np.take_along_axis(cosine, best[:, None], axis=1)[:, 0]
        found = value > -np.inf
        index[query_row[found], place[found]] = photos[best[found]]
        similarity[query_row[found], place[found]] = value[found]
    return index, similarity


def checked_own(query: np.ndarray, gallery: np.ndarray, own: np.ndarray | None) -> Int64[np.ndarray, " query"]:
    """Return ``own`` (or -1 for each query) after all checks."""
    fits = query.ndim == gallery.ndim == 2 and query.shape[1] == gallery.shape[1] and query.size and gallery.size
    if not fits or (own is not None and np.shape(own) != query.shape[:1]):
        raise ShapeError(
            "query and gallery must be embeddings of one network.",
            got=f"query {query.shape}, gallery {gallery.shape}, own {None if own is None else np.shape(own)}",
            fix="pass (query, dim) and (gallery, dim) with the same dim, none empty, and one 'own' per query.",
        )
    check_unit_length(query, what="query")
    check_unit_length(gallery, what="gallery")
    return np.full(len(query), UNKNOWN) if own is None else np.asarray(own, np.int64)


def _nearest_block(
    query: np.ndarray, gallery: np.ndarray, own: np.ndarray, *, k: int, block: int
) -> tuple[np.ndarray, np.ndarray]:
    n_kept = min(k + SPARE, len(gallery))
    index, rough = _scan(query.astype(np.float32, copy=False), gallery, own, k=n_kept, block=block)
    exact = _exact(query, gallery, index)
    order = np.lexsort((index, -exact), axis=1)[:, :k]
    index, exact = np.take_along_axis(index, order, axis=1), np.take_along_axis(exact, order, axis=1)
    if n_kept < len(gallery):
        # Rounding error of a float32 product of unit vectors; a larger difference cannot change the order.
        uncertainty = 8 * np.finfo(np.float32).eps * np.sqrt(query.shape[1])
        open_rows = np.flatnonzero(rough[:, -1] >= exact[:, -1] - uncertainty)
        if len(open_rows):  # too many nearly equal photos: compare all in float64
            index[open_rows], exact[open_rows] = _scan(
                query[open_rows].astype(np.float64), gallery, own[open_rows], k=k, block=block
            )
    return index, exact


def _scan(
    query: np.ndarray, gallery: np.ndarray, own: np.ndarray, *, k: int, block: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the best ``k``, with products in the type of ``query`` rounded to float32; ties by gallery row."""
    index = np.full((len(query), 0), UNKNOWN, np.int64)
    value = np.empty((len(query), 0), np.float32)
    for start in range(0, len(gallery), block):
        part = gallery[start : start + block].astype(query.dtype, copy=False)
        cosine = (query @ part.T).astype(np.float32, copy=False)
        here = np.flatnonzero((own >= start) & (own < start + len(part)))
        cosine[here, own[here] - start] = -np.inf
        new_index, new_value = top(cosine, k=k)
        # Earlier photos are left of later ones, so equal values keep the order of the gallery.
        value = np.concatenate([value, new_value], axis=1)
        index = np.concatenate([index, np.where(new_index >= 0, new_index + start, UNKNOWN)], axis=1)
        if value.shape[1] > k:
            order = np.argsort(-value, axis=1, kind="stable")[:, :k]
            index, value = np.take_along_axis(index, order, axis=1), np.take_along_axis(value, order, axis=1)
    return index, value


def _exact(query: np.ndarray, gallery: np.ndarray, index: np.ndarray) -> Float32[np.ndarray, "query rank"]:
    """Return the cosines of some pairs, in float64 and then rounded; -inf where there is no gallery row."""
    exact = np.full(index.shape, -np.inf, np.float32)
    step = max(1, EXACT_NUMBERS // (index.shape[1] * query.shape[1]))
    for start in range(0, len(query), step):
        rows = slice(start, start + step)
        photos = gallery[index[rows]].astype(np.float64)
        exact[rows] = np.matmul(photos, query[rows].astype(np.float64)[:, :, None])[:, :, 0]
    exact[index == UNKNOWN] = -np.inf
    return exact

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
    """The ``k`` gallery photos most similar each query, best first.

    Exact: every pair is compared. float32 products depend in their last digits on where a photo lies in a block, so
    the best few are compared again in float64: equal photos tie, ties come in the order of the gallery, and
    ``block`` changes nothing but memory and speed.

    Args:
        query: One embedding a row, length 1.
        gallery: One embedding a photo, length 1; may be a memory map.
        k: How many, at most the photos that may be compared.
        own: The gallery row of the query itself, which is left out; -1 where it is not in the gallery.
        block: Gallery rows taken at once.

    Returns:
        Gallery rows and cosines.

    Raises:
        ShapeError: The arrays do not fit each other, are empty, or rows are not of length 1.
        FieldmarkError: ``k`` or ``block`` is impossible.
    """
    query, gallery = np.asarray(query), np.asarray(gallery)
    own = checked_own(query, gallery, own)
    most = len(gallery) - bool((own != UNKNOWN).any())
    if not 1 <= k <= most or block < 1:
        raise FieldmarkError(
            "There are not that many photos to compare with.",
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
    """For each query and each identity it is answered with, that identity's photo most similar the query.

    Args:
        query: One embedding a row, length 1.
        gallery: One embedding a photo, length 1.
        gallery_classes: Identity of each photo.
        identities: Identities asked for, a row a query, as ``decide.ranking.rank()`` gives them.
        own: The gallery row of the query itself, which is left out; -1 where it is not in the gallery.

    Returns:
        Gallery rows and cosines; ties go to the first photo in the gallery. -1 and NaN where there is no photo, as
        for "nobody we know" (-1).

    Raises:
        ShapeError: The arrays do not fit each other, are empty, or rows are not of length 1.
    """
    query, gallery, identities = np.asarray(query), np.asarray(gallery), np.asarray(identities)
    own = checked_own(query, gallery, own)
    if identities.ndim != 2 or len(identities) != len(query) or np.shape(gallery_classes) != gallery.shape[:1]:
        raise ShapeError(
            "Each query needs a row of identities, each gallery photo a class.",
            got=f"query {query.shape}, identities {identities.shape}, gallery_classes {np.shape(gallery_classes)}",
            fix="pass identities as (query, rank), as rank() gives them, and one class a gallery photo.",
        )
    index = np.full(identities.shape, UNKNOWN, np.int64)
    similarity = np.full(identities.shape, np.nan, np.float32)
    photos_of = {
        int(name): photos
        for names, bundle in similar_many(np.asarray(gallery_classes))
        for name, photos in zip(names, bundle, strict=True)
    }
    order = np.argsort(identities, axis=None, kind="stable")
    names, starts = np.unique(identities.ravel()[order], return_index=True)
    for name, cells in zip(names, np.split(order, starts[1:]), strict=True):
        photos = photos_of.get(int(name))
        if photos is None:
            continue
        asked, place = np.divmod(cells, identities.shape[1])
        cosine = (query[asked].astype(np.float64) @ gallery[photos].astype(np.float64).T).astype(np.float32)
        cosine[photos == own[asked][:, None]] = -np.inf
        best = cosine.argmax(axis=1)
        value = np.take_along_axis(cosine, best[:, None], axis=1)[:, 0]
        there = value > -np.inf
        index[asked[there], place[there]] = photos[best[there]]
        similarity[asked[there], place[there]] = value[there]
    return index, similarity


def checked_own(query: np.ndarray, gallery: np.ndarray, own: np.ndarray | None) -> Int64[np.ndarray, " query"]:
    """``own``, or none of them, after all checks."""
    fits = query.ndim == gallery.ndim == 2 and query.shape[1] == gallery.shape[1] and query.size and gallery.size
    if not fits or (own is not None and np.shape(own) != query.shape[:1]):
        raise ShapeError(
            "Queries and gallery must be embeddings of one network.",
            got=f"query {query.shape}, gallery {gallery.shape}, own {None if own is None else np.shape(own)}",
            fix="pass (query, dim) and (gallery, dim) with the same dim, and one own a query; none may be empty.",
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
        # Rounding of a float32 product of unit vectors; photos further apart than this cannot change places.
        label_error_proba = 8 * np.finfo(np.float32).eps * np.sqrt(query.shape[1])
        open_rows = np.flatnonzero(rough[:, -1] >= exact[:, -1] - label_error_proba)
        if len(open_rows):  # so many near-equal photos that the spare ones do not settle it
            index[open_rows], exact[open_rows] = _scan(
                query[open_rows].astype(np.float64), gallery, own[open_rows], k=k, block=block
            )
    return index, exact


def _scan(
    query: np.ndarray, gallery: np.ndarray, own: np.ndarray, *, k: int, block: int
) -> tuple[np.ndarray, np.ndarray]:
    """The best ``k``, products taken in the type of ``query`` and rounded to float32; ties by gallery row."""
    index = np.full((len(query), 0), UNKNOWN, np.int64)
    value = np.empty((len(query), 0), np.float32)
    for start in range(0, len(gallery), block):
        part = gallery[start : start + block].astype(query.dtype, copy=False)
        cosine = (query @ part.T).astype(np.float32, copy=False)
        here = np.flatnonzero((own >= start) & (own < start + len(part)))
        cosine[here, own[here] - start] = -np.inf
        new_index, new_value = top(cosine, k=k)
        # Earlier photos stand left of later ones, so that equal values keep the order of the gallery.
        value = np.concatenate([value, new_value], axis=1)
        index = np.concatenate([index, np.where(new_index >= 0, new_index + start, UNKNOWN)], axis=1)
        if value.shape[1] > k:
            order = np.argsort(-value, axis=1, kind="stable")[:, :k]
            index, value = np.take_along_axis(index, order, axis=1), np.take_along_axis(value, order, axis=1)
    return index, value


def _exact(query: np.ndarray, gallery: np.ndarray, index: np.ndarray) -> Float32[np.ndarray, "query rank"]:
    """The cosines of some pairs, in float64 and then rounded; -inf where there is no gallery row."""
    exact = np.full(index.shape, -np.inf, np.float32)
    step = max(1, EXACT_NUMBERS // (index.shape[1] * query.shape[1]))
    for start in range(0, len(query), step):
        rows = slice(start, start + step)
        photos = gallery[index[rows]].astype(np.float64)
        exact[rows] = np.matmul(photos, query[rows].astype(np.float64)[:, :, None])[:, :, 0]
    exact[index == UNKNOWN] = -np.inf
    return exact

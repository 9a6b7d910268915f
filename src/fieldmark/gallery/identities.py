"""Find the most similar identities of many queries, without a matrix of all similarities in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float, Float32, Int, Int64

from fieldmark.core.errors import FieldmarkError
from fieldmark.decisions.identities import checked_identities
from fieldmark.decisions.ranking import EMPTY
from fieldmark.gallery.search import EXACT_NUMBERS, UNKNOWN, checked_own

QUERY_BLOCK = 256
CHUNK = 32
"""Number of photos whose maximum is taken together in the search for a bound of the k-th best identity."""

Block = Float32[np.ndarray, "photo query"]


class GalleryPart(Protocol):
    """A block of gallery photos, prepared for products with queries; approximate, with a known error."""

    def __call__(self, query: Float32[np.ndarray, "query dim"]) -> tuple[Block, Float32[np.ndarray, " query"]]:
        """Return cosines, and for each query their largest error before rounding (see ``Products.relative``)."""
        ...


@dataclass(frozen=True, slots=True)
class Products:
    """A method for matrix products that may be approximate if its error is known.

    Attributes:
        by: Prepares photos (one embedding per row) for products.
        relative: Relative rounding error of the result.
    """

    by: Callable[[np.ndarray], GalleryPart]
    relative: float = 0.0


@dataclass(frozen=True, slots=True)
class NearestIdentities:
    """The identities most similar to each query, best first.

    Attributes:
        identities: Classes; -2 at empty places.
        photos: Gallery row of the identity's most similar photo; -1 at empty places.
        similarity: Cosine of that photo to the query; -inf at empty places.
    """

    identities: Int64[np.ndarray, "query rank"]
    photos: Int64[np.ndarray, "query rank"]
    similarity: Float32[np.ndarray, "query rank"]


def _plain(photos: np.ndarray) -> GalleryPart:
    """Prepare float32 products; their error is that of summing rounded terms."""
    error = np.float32(4 * np.finfo(np.float32).eps * np.sqrt(photos.shape[1]))
    return lambda query: (photos @ query.T, np.full(len(query), error))


def best_identities(
    query: Float[np.ndarray, "query dim"],
    gallery: Float[np.ndarray, "gallery dim"],
    gallery_classes: Int[np.ndarray, " gallery"],
    *,
    k: int = 5,
    own: Int[np.ndarray, " query"] | None = None,
    products: Products | None = None,
    block: int = 16384,
) -> NearestIdentities:
    """Return the ``k`` identities most similar to each query, by the best photo of each.

    It combines ``Best`` and ``rank`` in one step. The result is exact, and the same for every ``block`` and all
    ``products``. A first, approximate pass selects the few photos that may be among the best. Those are compared again
    in float64. Ties are ordered by identity number, and ties of one identity's photos by gallery row.

    Args:
        query: One embedding per row, of unit length.
        gallery: One embedding per photo, of unit length; may be a memory map.
        gallery_classes: The identity of each photo; photos of class -1 (unknown individual) are never candidates.
        k: Number of identities, at least 1.
        own: The gallery row of the query itself, which is left out; -1 where the query is not in the gallery.
        products: Method of the approximate pass; float32 by default. ``Products(BfloatProducts, ROUNDING)`` of
            ``fieldmark.training.products`` is faster on processors with bfloat16.
        block: Number of gallery photos processed at once; memory is about ``4 * 256 * block`` bytes.

    Raises:
        ShapeError: The arrays do not match in shape, are empty, or contain rows that are not of length 1.
        FieldmarkError: ``k`` or ``block`` is below 1, or a class is below -1.
    """
    query, gallery = np.asarray(query), np.asarray(gallery)
    own = checked_own(query, gallery, own)
    classes = _checked_classes(gallery_classes, len(gallery), k=k, block=block)
    products = products or Products(_plain)
    largest = int(np.bincount(classes[classes >= 0], minlength=1).max())
    bound, uncertainty = np.full(len(query), -np.inf, np.float32), np.zeros(len(query), np.float32)
    kept: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    rough = query.astype(np.float32, copy=False)
    for photos in _blocks(classes, block):
        similar = products.by(np.ascontiguousarray(gallery[photos], dtype=np.float32))
        place = np.full(len(gallery) + 1, UNKNOWN)  # the last entry is for own = -1
        place[photos] = np.arange(len(photos))
        for start in range(0, len(query), QUERY_BLOCK):
            rows = slice(start, min(start + QUERY_BLOCK, len(query)))
            cosine, error = similar(rough[rows])
            own_place = place[own[rows]]
            inside = np.flatnonzero(own_place != UNKNOWN)
            cosine[own_place[inside], inside] = -np.inf
            bound[rows] = np.maximum(bound[rows], _bound(cosine, k=k, largest=largest))
            # The bound may be too high by one error, and a photo too low by another.
            margin = 2 * (error + products.relative * np.minimum(np.abs(bound[rows]), 1))
            uncertainty[rows] = np.maximum(uncertainty[rows], margin)
            least = np.maximum(bound[rows] - margin, np.finfo(np.float32).min)
            at, query_row = np.divmod(np.flatnonzero((cosine >= least).ravel()), cosine.shape[1])
            by_query = np.argsort(query_row.astype(np.uint16), kind="stable")  # a radix sort, as uint16 has few bits
            at, query_row = at[by_query], query_row[by_query]
            kept.append((query_row + start, photos[at], cosine[at, query_row]))
    return _exact_best(query, gallery, classes, kept, uncertainty=uncertainty, k=k)


def _checked_classes(classes: np.ndarray, n_photos: int, *, k: int, block: int) -> np.ndarray:
    classes = np.asarray(classes)
    if classes.shape != (n_photos,) or k < 1 or block < 1:
        raise FieldmarkError(
            "best_identities() needs one class per gallery photo, and k and block of at least 1.",
            got=f"{n_photos} photos, classes {classes.shape}, k={k}, block={block}",
            fix="pass one class per gallery photo, k=1 or more, and block=1 or more.",
        )
    highest = int(classes.max()) if np.issubdtype(classes.dtype, np.integer) else 0
    return checked_identities(classes, n_classes=max(highest + 1, 1))


def _blocks(classes: np.ndarray, block: int) -> Iterator[np.ndarray]:
    """Yield photos of known identities in the order of their identities, in blocks."""
    order = np.argsort(classes, kind="stable")
    order = order[np.searchsorted(classes[order], 0) :]
    for start in range(0, len(order), block):
        yield order[start : start + block]


def _bound(cosine: Block, *, k: int, largest: int) -> Float32[np.ndarray, " query"]:
    """Return a lower bound of the similarity of the k-th best identity.

    Photos of an identity are adjacent, so they lie in few chunks. Chunks with the highest maxima therefore belong to k
    different identities, if there are more chunks than k - 1 identities can cover.
    """
    n_chunks = len(cosine) // CHUNK
    enough = (k - 1) * ((largest + CHUNK - 2) // CHUNK + 1) + 1
    if n_chunks < enough:
        return np.full(cosine.shape[1], -np.inf, np.float32)
    highest = cosine[: n_chunks * CHUNK].reshape(n_chunks, CHUNK, -1).max(axis=1)
    return np.partition(highest, n_chunks - enough, axis=0)[n_chunks - enough]


def _exact_best(
    query: np.ndarray,
    gallery: np.ndarray,
    classes: np.ndarray,
    kept: list[tuple[np.ndarray, np.ndarray, np.ndarray]],
    *,
    uncertainty: Float32[np.ndarray, " query"],
    k: int,
) -> NearestIdentities:
    """Return the k best identities among the selected photos: first approximately, then exactly."""
    found = NearestIdentities(
        identities=np.full((len(query), k), EMPTY, np.int64),
        photos=np.full((len(query), k), UNKNOWN, np.int64),
        similarity=np.full((len(query), k), -np.inf, np.float32),
    )
    if not kept:
        return found
    query_row, photos, value = (np.concatenate(column) for column in zip(*kept, strict=True))
    # Blocks are in the order of identities. So are each query's photos; those of one identity are by gallery row.
    by_query = np.argsort(query_row, kind="stable")
    query_row, photos, value = query_row[by_query], photos[by_query], value[by_query]
    first, best = _best_of_each(query_row, classes[photos], value)
    order, place = _places(query_row[first], best)
    floor, last = np.full(len(query), -np.inf, np.float32), order[place == k - 1]
    floor[query_row[first[last]]] = best[last] - uncertainty[query_row[first[last]]]
    possible = value >= floor[query_row]
    query_row, photos = query_row[possible], photos[possible]
    exact = np.empty(len(query_row), np.float32)
    step = max(1, EXACT_NUMBERS // query.shape[1])
    for start in range(0, len(query_row), step):
        some = slice(start, start + step)
        exact[some] = np.einsum(
            "pd,pd->p", gallery[photos[some]].astype(np.float64), query[query_row[some]].astype(np.float64)
        )
    first, best = _best_of_each(query_row, classes[photos], exact)
    order, place = _places(query_row[first], best)
    some = place < k
    places = query_row[first[order[some]]], place[some]
    # The first photo that is as similar as the best of its identity.
    is_best = np.flatnonzero(exact == np.repeat(best, np.diff(first, append=len(exact))))
    best_photos = photos[is_best[np.searchsorted(is_best, first)]]
    found.identities[places] = classes[best_photos[order[some]]]
    found.photos[places] = best_photos[order[some]]
    found.similarity[places] = best[order[some]]
    return found


def _best_of_each(query_row: np.ndarray, names: np.ndarray, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first row of each query and identity, and the largest value among their photos."""
    is_first = np.ones(len(query_row), bool)
    is_first[1:] = (query_row[1:] != query_row[:-1]) | (names[1:] != names[:-1])
    first = np.flatnonzero(is_first)
    return first, np.maximum.reduceat(value, first)


def _places(query_row: np.ndarray, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of each query in descending order of value (ties in order), and the place of each row, from 0."""
    order = np.lexsort((-value, query_row))
    return order, np.arange(len(query_row)) - np.searchsorted(query_row, query_row)

"""The most similar identities of many queries, without ever holding how similar all pairs are."""

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
"""Photos whose maximum is taken together while a bound for the k-th best identity is looked for."""

Block = Float32[np.ndarray, "photo query"]


class GalleryPart(Protocol):
    """Some of the gallery's photos, ready to be multiplied with queries; roughly, but with a known error."""

    def __call__(self, query: Float32[np.ndarray, "query dim"]) -> tuple[Block, Float32[np.ndarray, " query"]]:
        """Cosines, and for each query their largest error before they were rounded (see ``Products.relative``)."""
        ...


@dataclass(frozen=True, slots=True)
class Products:
    """A way to multiply that may be rough, as long as its error is known.

    Attributes:
        by: Makes photos (one embedding a row) ready.
        relative: How far the result is rounded, as a share of itself.
    """

    by: Callable[[np.ndarray], GalleryPart]
    relative: float = 0.0


@dataclass(frozen=True, slots=True)
class NearestIdentities:
    """The identities most similar each query, best first.

    Attributes:
        identities: Classes; -2 at places for which no identity is left.
        photos: Gallery row of the identity's most similar photo; -1 at empty places.
        similarity: Its cosine; -inf at empty places.
    """

    identities: Int64[np.ndarray, "query rank"]
    photos: Int64[np.ndarray, "query rank"]
    similarity: Float32[np.ndarray, "query rank"]


def _plain(photos: np.ndarray) -> GalleryPart:
    """float32 products; their error is that of summing rounded terms."""
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
    """The ``k`` identities most similar each query, by the best photo of each: ``Best`` and ``rank`` in one step.

    Exact, with the same answers for every ``block`` and all ``products``: a first, rough pass leaves the few photos
    that may be among the best, and those are compared again in float64. Equal identities come in the order of their
    numbers, equal photos of one in the order of the gallery.

    Args:
        query: One embedding a row, length 1.
        gallery: One embedding a photo, length 1; may be a memory map.
        gallery_classes: The identity of each photo; -1 is "nobody we know", and such photos are no candidates.
        k: Identities wanted, at least 1.
        own: The gallery row of the query itself, which is left out; -1 where it is not in the gallery.
        products: How the rough pass multiplies; float32 by default. ``Products(BfloatProducts, ROUNDING)`` of
            ``fieldmark.training.products`` is quicker where the processor knows bfloat16.
        block: Gallery photos taken at once; memory is about ``4 * 256 * block`` bytes.

    Raises:
        ShapeError: The arrays do not fit each other, are empty, or rows are not of length 1.
        FieldmarkError: ``k`` or ``block`` is below 1, or a class is below -1.
    """
    query, gallery = np.asarray(query), np.asarray(gallery)
    own = checked_own(query, gallery, own)
    classes = _checked_classes(gallery_classes, len(gallery), k=k, block=block)
    products = products or Products(_plain)
    largest = int(np.bincount(classes[classes >= 0], minlength=1).max())
    bound, label_error_proba = np.full(len(query), -np.inf, np.float32), np.zeros(len(query), np.float32)
    kept: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    rough = query.astype(np.float32, copy=False)
    for photos in _blocks(classes, block):
        similar = products.by(np.ascontiguousarray(gallery[photos], dtype=np.float32))
        place = np.full(len(gallery) + 1, UNKNOWN)  # the last entry answers own = -1
        place[photos] = np.arange(len(photos))
        for start in range(0, len(query), QUERY_BLOCK):
            rows = slice(start, min(start + QUERY_BLOCK, len(query)))
            cosine, error = similar(rough[rows])
            mine = place[own[rows]]
            inside = np.flatnonzero(mine != UNKNOWN)
            cosine[mine[inside], inside] = -np.inf
            bound[rows] = np.maximum(bound[rows], _bound(cosine, k=k, largest=largest))
            # The bound may be too high by one error, a photo too low by another.
            unsure = 2 * (error + products.relative * np.minimum(np.abs(bound[rows]), 1))
            label_error_proba[rows] = np.maximum(label_error_proba[rows], unsure)
            least = np.maximum(bound[rows] - unsure, np.finfo(np.float32).min)
            at, asked = np.divmod(np.flatnonzero((cosine >= least).ravel()), cosine.shape[1])
            by_query = np.argsort(asked.astype(np.uint16), kind="stable")  # of so few bits it is a radix sort
            at, asked = at[by_query], asked[by_query]
            kept.append((asked + start, photos[at], cosine[at, asked]))
    return _settled(query, gallery, classes, kept, label_error_proba=label_error_proba, k=k)


def _checked_classes(classes: np.ndarray, n_photos: int, *, k: int, block: int) -> np.ndarray:
    classes = np.asarray(classes)
    if classes.shape != (n_photos,) or k < 1 or block < 1:
        raise FieldmarkError(
            "best_identities() needs one class a gallery photo, a place to fill and a block.",
            got=f"{n_photos} photos, classes {classes.shape}, k={k}, block={block}",
            fix="pass one class a gallery photo, k=1 or more, and block=1 or more.",
        )
    highest = int(classes.max()) if np.issubdtype(classes.dtype, np.integer) else 0
    return checked_identities(classes, n_classes=max(highest + 1, 1))


def _blocks(classes: np.ndarray, block: int) -> Iterator[np.ndarray]:
    """Photos of named identities in the order of their identities, some at a time."""
    order = np.argsort(classes, kind="stable")
    order = order[np.searchsorted(classes[order], 0) :]
    for start in range(0, len(order), block):
        yield order[start : start + block]


def _bound(cosine: Block, *, k: int, largest: int) -> Float32[np.ndarray, " query"]:
    """A value that the k-th best identity reaches at least.

    Photos of an identity stand side by side, so that it reaches into few chunks. The chunks with the highest maxima
    are thus of k different identities as soon as they are more than k - 1 identities can reach into.
    """
    n_chunks = len(cosine) // CHUNK
    enough = (k - 1) * ((largest + CHUNK - 2) // CHUNK + 1) + 1
    if n_chunks < enough:
        return np.full(cosine.shape[1], -np.inf, np.float32)
    highest = cosine[: n_chunks * CHUNK].reshape(n_chunks, CHUNK, -1).max(axis=1)
    return np.partition(highest, n_chunks - enough, axis=0)[n_chunks - enough]


def _settled(
    query: np.ndarray,
    gallery: np.ndarray,
    classes: np.ndarray,
    kept: list[tuple[np.ndarray, np.ndarray, np.ndarray]],
    *,
    label_error_proba: Float32[np.ndarray, " query"],
    k: int,
) -> NearestIdentities:
    """The k best identities among the photos that were kept: roughly first, then exactly."""
    found = NearestIdentities(
        identities=np.full((len(query), k), EMPTY, np.int64),
        photos=np.full((len(query), k), UNKNOWN, np.int64),
        similarity=np.full((len(query), k), -np.inf, np.float32),
    )
    if not kept:
        return found
    asked, photos, value = (np.concatenate(column) for column in zip(*kept, strict=True))
    # Blocks come in the order of identities: so do each query's photos, and those of one identity by gallery row.
    by_query = np.argsort(asked, kind="stable")
    asked, photos, value = asked[by_query], photos[by_query], value[by_query]
    first, best = _best_of_each(asked, classes[photos], value)
    order, place = _places(asked[first], best)
    floor, last = np.full(len(query), -np.inf, np.float32), order[place == k - 1]
    floor[asked[first[last]]] = best[last] - label_error_proba[asked[first[last]]]
    still = value >= floor[asked]
    asked, photos = asked[still], photos[still]
    exact = np.empty(len(asked), np.float32)
    step = max(1, EXACT_NUMBERS // query.shape[1])
    for start in range(0, len(asked), step):
        some = slice(start, start + step)
        exact[some] = np.einsum(
            "pd,pd->p", gallery[photos[some]].astype(np.float64), query[asked[some]].astype(np.float64)
        )
    first, best = _best_of_each(asked, classes[photos], exact)
    order, place = _places(asked[first], best)
    some = place < k
    places = asked[first[order[some]]], place[some]
    # The first photo that is as similar as the best of its identity.
    is_best = np.flatnonzero(exact == np.repeat(best, np.diff(first, append=len(exact))))
    best_photos = photos[is_best[np.searchsorted(is_best, first)]]
    found.identities[places] = classes[best_photos[order[some]]]
    found.photos[places] = best_photos[order[some]]
    found.similarity[places] = best[order[some]]
    return found


def _best_of_each(asked: np.ndarray, names: np.ndarray, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the photos of each query and identity begin, and the largest value among them."""
    is_first = np.ones(len(asked), bool)
    is_first[1:] = (asked[1:] != asked[:-1]) | (names[1:] != names[:-1])
    first = np.flatnonzero(is_first)
    return first, np.maximum.reduceat(value, first)


def _places(asked: np.ndarray, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows of each query from its largest value on, equal ones in their order; and the place of each, from 0."""
    order = np.lexsort((-value, asked))
    return order, np.arange(len(asked)) - np.searchsorted(asked, asked)

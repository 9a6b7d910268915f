"""Label transfer from the most similar photos (k-nearest neighbours)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int, Int32

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.stacking.specs import Relevance

UNKNOWN = -1  # no photo
QUERY_BLOCK = 1024
GALLERY_BLOCK = 8192
MOST_FOUND = 2**22  # pairs kept per block of queries before the worse ones are dropped
CELL_BLOCK = 2**18


@dataclass(frozen=True, eq=False)
class NearestRows:
    """The most similar photos of each query, best first.

    Attributes:
        index: Gallery rows, int32; -1 where there are no more.
        cosine: Their cosines to the query, float32; -inf where there are no more.
    """

    index: Int32[np.ndarray, "query rank"]
    cosine: Float32[np.ndarray, "query rank"]

    def __len__(self) -> int:
        return len(self.index)

    def first(self, k: int) -> NearestRows:
        """Return only the ``k`` most similar."""
        return NearestRows(self.index[:, :k], self.cosine[:, :k])


def neighbours(
    query: Float[np.ndarray, "query dim"],
    gallery: Float[np.ndarray, "gallery dim"],
    *,
    k: int,
    groups: tuple[Int[np.ndarray, " query"], Int[np.ndarray, " gallery"]] | None = None,
) -> NearestRows:
    """Return the ``k`` gallery photos most similar to each query, without those of the query's own group.

    Every pair is compared, in float32. If the group is the fold, no photo gets labels from its own fold or from itself,
    so the transferred labels are out-of-fold. If the group is the encounter (the shop, the artist), near copies are
    excluded.

    Args:
        query: Embeddings of unit length.
        gallery: Embeddings of unit length; may be a memory map.
        k: Number of neighbours, at least 1; missing ones are -1.
        groups: Group of each query and of each gallery photo; None: no photo is left out.

    Raises:
        ShapeError: The arrays do not match in shape, or rows are not of length 1.
        FieldmarkError: ``k`` is below 1.
    """
    query, gallery = np.asarray(query), np.asarray(gallery)
    _check(query, gallery, k, groups)
    index = np.full((len(query), k), UNKNOWN, np.int32)
    cosine = np.full((len(query), k), -np.inf, np.float32)
    for start in range(0, len(query), QUERY_BLOCK):
        rows = slice(start, start + QUERY_BLOCK)
        own = None if groups is None else (np.asarray(groups[0])[rows], np.asarray(groups[1]))
        image, photo, value = _nearest_block(query[rows].astype(np.float32, copy=False), gallery, k, own)
        place = _places(image)
        index[start + image, place], cosine[start + image, place] = photo, value
    return NearestRows(index, cosine)


def joined_galleries(lists: Sequence[NearestRows], *, k: int) -> NearestRows:
    """Return the ``k`` most similar photos of several galleries that share row numbers and have no common photo."""
    index = np.concatenate([each.index for each in lists], axis=1)
    cosine = np.concatenate([each.cosine for each in lists], axis=1)
    order = np.lexsort((index, -cosine), axis=1)[:, :k]
    return NearestRows(np.take_along_axis(index, order, axis=1), np.take_along_axis(cosine, order, axis=1))


def neighbour_weights(nearest: NearestRows, by: Relevance) -> Float32[np.ndarray, "query rank"]:
    """Return the weight of each neighbour: it falls with the distance and sums to 1 (to 0 without neighbours)."""
    cosine = nearest.cosine[:, : by.k]
    best = np.where(np.isfinite(cosine[:, :1]), cosine[:, :1], 0)
    weight = np.exp(np.float32(by.sharpness) * (cosine - best))
    return weight / np.maximum(weight.sum(axis=1, keepdims=True), np.finfo(np.float32).tiny)


def relevance(
    nearest: NearestRows, truth: Bool[np.ndarray, "gallery label"], by: Relevance
) -> Float32[np.ndarray, "query label"]:
    """Return the probability of each label from the labels of the neighbours.

    Each neighbour counts as ``1 - noise`` for the labels it has and as ``noise`` for the others. Nearer neighbours have
    larger weights.

    Args:
        nearest: Neighbours of the queries; only the first ``by.k`` are used.
        truth: Labels of the gallery's photos.
        by: Number of neighbours, sharpness of the weights, and label noise.

    Source:
        Guillaumin et al. 2009, "TagProp", equations 1, 2 and 5 (distance-based weights, 1 - cosine as distance); iMet
        2019, 4th place (weights ``exp(-d * (1 - cosine))``, averaged with the network).
    """
    weights = neighbour_weights(nearest, by)
    index = nearest.index[:, : by.k]
    dense = np.empty((len(nearest), truth.shape[1]), np.float32)
    for start in range(0, len(nearest), QUERY_BLOCK):
        rows = slice(start, start + QUERY_BLOCK)
        positive = np.zeros_like(dense[rows])
        for rank in range(index.shape[1]):  # weights of missing neighbours are 0
            positive += weights[rows, rank, None] * truth[index[rows, rank]]
        dense[rows] = by.noise + (1 - 2 * by.noise) * positive
    return dense


def cell_relevance(
    nearest: NearestRows,
    truth: Bool[np.ndarray, "gallery label"],
    by: Relevance,
    *,
    image: Int[np.ndarray, " cell"],
    label: Int[np.ndarray, " cell"],
    usual: tuple[Bool[np.ndarray, "gallery label"], Float64[np.ndarray, " label"]] | None = None,
) -> Float32[np.ndarray, " cell"]:
    """Return ``relevance`` for some cells only: row ``image[c]`` of the queries, column ``label[c]``.

    ``usual``: which cells of the truth are labelled, and each label's share. A photo without a label counts with the
    share.
    """
    weights = neighbour_weights(nearest, by)
    index = nearest.index[:, : by.k]
    value = np.empty(len(image), np.float32)
    for start in range(0, len(image), CELL_BLOCK):
        part = slice(start, start + CELL_BLOCK)
        where = index[image[part]], label[part, None]
        transferred = truth[where] if usual is None else np.where(usual[0][where], truth[where], usual[1][where[1]])
        value[part] = by.noise + (1 - 2 * by.noise) * (weights[image[part]] * transferred).sum(axis=1)
    return value


def choose_relevance(
    nearest: NearestRows,
    truth: Bool[np.ndarray, "gallery label"],
    own_truth: Bool[np.ndarray, "query label"],
    grid: Sequence[Relevance],
    *,
    most_images: int = 4000,
) -> tuple[Relevance, tuple[float, ...]]:
    """Return the settings under which the queries' own labels are most likely.

    Args:
        nearest: Neighbours of the queries, out-of-fold: no query among its own neighbours.
        truth: Labels of the gallery's photos.
        own_truth: Labels of the queries.
        grid: Settings to try; on a tie the first is chosen.
        most_images: Maximum number of queries used, evenly spread.

    Returns:
        The best settings, and the mean log-likelihood (nats per image) for each entry of ``grid``.

    Raises:
        FieldmarkError: ``grid`` is empty or needs more neighbours than ``nearest`` has.
    """
    widest = max((by.k for by in grid), default=0)
    if not 1 <= widest <= nearest.index.shape[1] or not len(nearest):
        raise FieldmarkError(
            "grid is empty, there are no queries, or a setting needs more neighbours than given.",
            got=f"{len(grid)} settings with up to {widest} neighbours, {nearest.index.shape[1]} given",
            fix="pass one setting or more, and as many neighbours as the largest k of grid.",
        )
    some_queries = np.unique(np.linspace(0, len(nearest) - 1, min(most_images, len(nearest))).astype(np.int64))
    some = NearestRows(nearest.index[some_queries], nearest.cosine[some_queries])
    nats = []
    for by in grid:
        proba = relevance(some, truth, by)
        likely = np.where(own_truth[some_queries], proba, 1 - proba)
        nats.append(float(np.log(likely, out=likely).sum(axis=1, dtype=np.float64).mean()))
    return grid[int(np.argmax(nats))], tuple(nats)


def _check(query: np.ndarray, gallery: np.ndarray, k: int, groups: tuple[np.ndarray, np.ndarray] | None) -> None:
    fits = query.ndim == gallery.ndim == 2 and query.shape[1] == gallery.shape[1]
    shapes = None if groups is None else tuple(np.asarray(group).shape for group in groups)
    if not fits or shapes not in {None, (query.shape[:1], gallery.shape[:1])}:
        raise ShapeError(
            "query and gallery must be embeddings of one network; groups must be None or one entry per row.",
            got=f"query {query.shape}, gallery {gallery.shape}, groups {shapes}",
            fix="pass (query, dim) and (gallery, dim) with the same dim, and one group per row, or groups=None.",
        )
    for name, rows in (("query", query), ("gallery", gallery)):
        for start in range(0, len(rows), GALLERY_BLOCK):
            part = rows[start : start + GALLERY_BLOCK]
            square = np.einsum("ij,ij->i", part, part, dtype=np.float32)
            if not (np.abs(square - 1) < 0.01).all():
                raise ShapeError(
                    f"The rows of {name} must be of length 1.",
                    got=f"a squared length of {square[np.argmax(np.abs(square - 1))]:.4g}",
                    fix="divide each row by its length.",
                )
    if k < 1:
        raise FieldmarkError("k must be 1 or more.", got=f"k={k}", fix="use k=20, the default of Relevance.")


def _nearest_block(
    query: np.ndarray, gallery: np.ndarray, k: int, groups: tuple[np.ndarray, np.ndarray] | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (query, gallery row, cosine) of the best ``k`` of each query, ordered by query, then best first.

    Pairs no better than the k-th best so far are skipped with one comparison. So almost all the time is spent in the
    matrix product.
    """
    floor = np.full(len(query), -np.inf, np.float32)  # a pair must be better than this
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for start in range(0, len(gallery), GALLERY_BLOCK):
        cosine = query @ gallery[start : start + GALLERY_BLOCK].T.astype(np.float32, copy=False)
        if groups is not None:
            cosine[groups[0][:, None] == groups[1][None, start : start + GALLERY_BLOCK]] = -np.inf
        if start == 0 and cosine.shape[1] > k:
            kth = np.partition(cosine, cosine.shape[1] - k, axis=1)[:, cosine.shape[1] - k]
            floor = np.nextafter(kth, np.float32(-np.inf))
        image, photo = np.nonzero(cosine > floor[:, None])
        found.append((image, photo + start, cosine[image, photo]))
        if sum(len(image) for image, _, _ in found) > MOST_FOUND:
            found = [_best(found, k)]
            image, _, value = found[0]
            full = np.flatnonzero(_places(image) == k - 1)
            floor[image[full]] = value[full]  # later photos lose ties, so from here on a value must be greater
    return _best(found, k)


def _best(found: list[tuple[np.ndarray, np.ndarray, np.ndarray]], k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if not found:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32)
    image, photo, value = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.lexsort((photo, -value, image))
    order = order[_places(image[order]) < k]
    return image[order], photo[order], value[order]


def _places(image: np.ndarray) -> np.ndarray:
    """Return 0, 1, 2, ... within each run of equal numbers."""
    first = np.searchsorted(image, image)
    return np.arange(len(image)) - first

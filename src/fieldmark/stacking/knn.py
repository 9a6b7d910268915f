"""Labels lent by the most similar photos (nearest neighbours)."""

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
MOST_FOUND = 2**22  # pairs kept of one block of queries before the worse ones are dropped
CELL_BLOCK = 2**18


@dataclass(frozen=True, eq=False)
class NearestRows:
    """The most similar photos of each query, best first.

    Attributes:
        index: Gallery rows, int32; -1 where there are no more.
        cosine: Their likeness, float32; -inf where there are no more.
    """

    index: Int32[np.ndarray, "query rank"]
    cosine: Float32[np.ndarray, "query rank"]

    def __len__(self) -> int:
        return len(self.index)

    def first(self, k: int) -> NearestRows:
        """Only the ``k`` most similar."""
        return NearestRows(self.index[:, :k], self.cosine[:, :k])


def neighbours(
    query: Float[np.ndarray, "query dim"],
    gallery: Float[np.ndarray, "gallery dim"],
    *,
    k: int,
    groups: tuple[Int[np.ndarray, " query"], Int[np.ndarray, " gallery"]] | None = None,
) -> NearestRows:
    """The ``k`` gallery photos most similar each query, leaving out those of the query's own group.

    Every pair is compared, in float32. Give the fold as the group and no photo is ever told by one of its own fold,
    nor by itself: what it is told is out-of-fold. Give the encounter (the shop, the artist) to keep near copies out.

    Args:
        query: Embeddings of length 1.
        gallery: Embeddings of length 1; may be a memory map.
        k: How many, at least 1; where fewer are left the rest is -1.
        groups: Group of each query and of each gallery photo; None leaves nobody out.

    Raises:
        ShapeError: The arrays do not fit each other, or rows are not of length 1.
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
    """The ``k`` most similar of several galleries that share their row numbers and have no photo in common."""
    index = np.concatenate([each.index for each in lists], axis=1)
    cosine = np.concatenate([each.cosine for each in lists], axis=1)
    order = np.lexsort((index, -cosine), axis=1)[:, :k]
    return NearestRows(np.take_along_axis(index, order, axis=1), np.take_along_axis(cosine, order, axis=1))


def says(nearest: NearestRows, by: Relevance) -> Float32[np.ndarray, "query rank"]:
    """How much each neighbour has to say: falls with the distance, sums to 1 (to 0 where there is no neighbour)."""
    cosine = nearest.cosine[:, : by.k]
    best = np.where(np.isfinite(cosine[:, :1]), cosine[:, :1], 0)
    weight = np.exp(np.float32(by.sharpness) * (cosine - best))
    return weight / np.maximum(weight.sum(axis=1, keepdims=True), np.finfo(np.float32).tiny)


def relevance(
    nearest: NearestRows, truth: Bool[np.ndarray, "gallery label"], by: Relevance
) -> Float32[np.ndarray, "query label"]:
    """The probability of each label as the neighbours have it.

    Each neighbour says yes (``1 - noise``) for the labels it has and no (``noise``) for the others; what the near
    ones say weighs more.

    Args:
        nearest: Of the queries; only the first ``by.k`` are heard.
        truth: Labels of the gallery's photos.
        by: How many are heard, how sharply, and how far they are trusted.

    Source:
        Guillaumin et al. 2009, "TagProp", equations 1, 2 and 5 (distance-based weights, 1 - cosine as distance);
        iMet 2019, 4th place (weights ``exp(-d * (1 - cosine))``, averaged with the network).
    """
    members_or_mean = says(nearest, by)
    index = nearest.index[:, : by.k]
    dense = np.empty((len(nearest), truth.shape[1]), np.float32)
    for start in range(0, len(nearest), QUERY_BLOCK):
        rows = slice(start, start + QUERY_BLOCK)
        yes = np.zeros_like(dense[rows])
        for rank in range(index.shape[1]):  # voices of absent neighbours are 0
            yes += members_or_mean[rows, rank, None] * truth[index[rows, rank]]
        dense[rows] = by.noise + (1 - 2 * by.noise) * yes
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
    """As ``relevance``, for some cells only: row ``image[c]`` of the queries, column ``label[c]``.

    ``usual``: where the truth is told at all, and each label's share; elsewhere a photo says what is usual.
    """
    members_or_mean = says(nearest, by)
    index = nearest.index[:, : by.k]
    value = np.empty(len(image), np.float32)
    for start in range(0, len(image), CELL_BLOCK):
        part = slice(start, start + CELL_BLOCK)
        where = index[image[part]], label[part, None]
        heard = truth[where] if usual is None else np.where(usual[0][where], truth[where], usual[1][where[1]])
        value[part] = by.noise + (1 - 2 * by.noise) * (members_or_mean[image[part]] * heard).sum(axis=1)
    return value


def choose_relevance(
    nearest: NearestRows,
    truth: Bool[np.ndarray, "gallery label"],
    own_truth: Bool[np.ndarray, "query label"],
    grid: Sequence[Relevance],
    *,
    most_images: int = 4000,
) -> tuple[Relevance, tuple[float, ...]]:
    """Of some settings, those under which the queries' own labels are likeliest.

    Args:
        nearest: Of the queries, out-of-fold: no query among its own neighbours.
        truth: Labels of the gallery's photos.
        own_truth: Labels of the queries.
        grid: What to try; on a tie the first is taken.
        most_images: Only so many queries, evenly spread, are asked.

    Returns:
        The best settings, and the mean log-likelihood (nats an image) of each of ``grid``.

    Raises:
        FieldmarkError: ``grid`` is empty or asks for more neighbours than were looked up.
    """
    widest = max((by.k for by in grid), default=0)
    if not 1 <= widest <= nearest.index.shape[1] or not len(nearest):
        raise FieldmarkError(
            "There is nothing to choose from.",
            got=f"{len(grid)} settings with up to {widest} neighbours, {nearest.index.shape[1]} looked up",
            fix="give one setting or more, and look up as many neighbours as the widest asks for.",
        )
    asked = np.unique(np.linspace(0, len(nearest) - 1, min(most_images, len(nearest))).astype(np.int64))
    some = NearestRows(nearest.index[asked], nearest.cosine[asked])
    nats = []
    for by in grid:
        proba = relevance(some, truth, by)
        likely = np.where(own_truth[asked], proba, 1 - proba)
        nats.append(float(np.log(likely, out=likely).sum(axis=1, dtype=np.float64).mean()))
    return grid[int(np.argmax(nats))], tuple(nats)


def _check(query: np.ndarray, gallery: np.ndarray, k: int, groups: tuple[np.ndarray, np.ndarray] | None) -> None:
    fits = query.ndim == gallery.ndim == 2 and query.shape[1] == gallery.shape[1]
    shapes = None if groups is None else tuple(np.asarray(group).shape for group in groups)
    if not fits or shapes not in {None, (query.shape[:1], gallery.shape[:1])}:
        raise ShapeError(
            "Queries and gallery must be embeddings of one network, with one group each or none at all.",
            got=f"query {query.shape}, gallery {gallery.shape}, groups {shapes}",
            fix="pass (query, dim) and (gallery, dim) with the same dim, and groups=None or one group a row of both.",
        )
    for name, rows in (("query", query), ("gallery", gallery)):
        for start in range(0, len(rows), GALLERY_BLOCK):
            part = rows[start : start + GALLERY_BLOCK]
            square = np.einsum("ij,ij->i", part, part, dtype=np.float32)
            if not (np.abs(square - 1) < 0.01).all():
                raise ShapeError(
                    f"Embeddings must have length 1; those of {name} have not.",
                    got=f"a squared length of {square[np.argmax(np.abs(square - 1))]:.4g}",
                    fix="divide each row by its length.",
                )
    if k < 1:
        raise FieldmarkError("A photo needs a neighbour to learn from.", got=f"k={k}", fix="use k=1 or more.")


def _nearest_block(
    query: np.ndarray, gallery: np.ndarray, k: int, groups: tuple[np.ndarray, np.ndarray] | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(query, gallery row, cosine) of the best ``k`` of each query, ordered by query, then from best to worst.

    Pairs no better than the k-th best so far are passed over by one comparison, so that nearly all the time goes
    into the matrix product.
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
            floor[image[full]] = value[full]  # later photos lose ties, so equal is not enough from here on
    return _best(found, k)


def _best(found: list[tuple[np.ndarray, np.ndarray, np.ndarray]], k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if not found:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32)
    image, photo, value = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.lexsort((photo, -value, image))
    order = order[_places(image[order]) < k]
    return image[order], photo[order], value[order]


def _places(image: np.ndarray) -> np.ndarray:
    """0, 1, 2, ... within each run of equal numbers."""
    first = np.searchsorted(image, image)
    return np.arange(len(image)) - first

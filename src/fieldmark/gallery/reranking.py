"""Re-ranking by common neighbours (k-reciprocal encoding), in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Float64, Int64

from fieldmark.decisions.specs import Reciprocal
from fieldmark.gallery.search import nearest_photos

AGREEING = 2 / 3
"""Minimum share of a neighbour's reciprocal neighbours that are already in the set, so that the rest are added."""


@dataclass(frozen=True, slots=True)
class _Weights:
    """Neighbourhood of a photo: gallery rows with weights that sum to 1; or empty."""

    photos: Int64[np.ndarray, " neighbour"]
    weight: Float64[np.ndarray, " neighbour"]


@dataclass(frozen=True)
class Neighbourhoods:
    """Gallery photos with their neighbourhoods, to be compared with queries.

    Two photos are reciprocal neighbours if each is among the nearest photos of the other. A photo that is near to many
    others is then a neighbour of few. Photos are compared by the overlap of their neighbourhoods (Jaccard).

    Each query is processed by itself, so its answer does not depend on other queries. (The paper ranks all queries and
    the gallery together.)

    Attributes:
        rows: The gallery's embeddings.
        by: Settings.
        nearest: The nearest photos of each photo, itself first.
        reach: Cosine of each photo to the last of its nearest photos.
        columns: For each photo, the photos that have it in their neighbourhood, with weights.
        sharp: The neighbourhood of each photo before averaging.

    Source:
        Zhong et al. 2017, arXiv:1701.08398, equations 2 to 12. Distances are 1 - cosine.
    """

    rows: Float32[np.ndarray, "gallery dim"]
    by: Reciprocal
    nearest: Int64[np.ndarray, "gallery rank"]
    reach: Float32[np.ndarray, " gallery"]
    columns: tuple[_Weights, ...]
    sharp: tuple[_Weights, ...]

    @classmethod
    def of(cls, rows: Float[np.ndarray, "gallery dim"], by: Reciprocal) -> Neighbourhoods:
        """Compute the neighbourhoods of all photos of a gallery.

        Args:
            rows: One embedding per photo, of unit length.
            by: Settings; in a gallery with fewer photos than ``k1``, all photos are neighbours.
        """
        n = len(rows)
        k1 = min(by.k1, n - 1)
        own = np.arange(n)
        index, cosine = nearest_photos(rows, rows, k=k1, own=own) if k1 else (np.zeros((n, 0), int), np.ones((n, 0)))
        index = np.concatenate([own[:, None], index], axis=1)
        cosine = np.concatenate([np.ones((n, 1), np.float32), cosine], axis=1)
        wide, narrow = _reciprocal(index, k1), _reciprocal(index, max(1, k1 // 2))
        sharp = tuple(
            _surroundings(
                wide[row], narrow, dict(zip(index[row].tolist(), cosine[row].tolist(), strict=True)), rows, rows[row]
            )
            for row in range(n)
        )
        soft = [_mean([sharp[photo] for photo in index[row, : by.k2].tolist()]) for row in range(n)]
        return cls(rows, by, index, cosine[:, -1], _transposed(soft), sharp)

    def likeness(self, query: Float[np.ndarray, "query dim"]) -> Float32[np.ndarray, "query gallery"]:
        """Return the similarity of each query to each photo: the weighted mean of cosine and Jaccard overlap."""
        cosine = np.asarray(query @ self.rows.T, np.float32)
        similar = np.empty_like(cosine)
        narrow = _reciprocal(self.nearest, max(1, (self.nearest.shape[1] - 1) // 2))
        for row, own in enumerate(cosine):
            common = self._in_common(np.asarray(query[row]), own, narrow)
            similar[row] = self.by.weight * own + (1 - self.by.weight) * common
        return similar

    def _in_common(
        self, query: np.ndarray, cosine: Float32[np.ndarray, " gallery"], narrow: list[frozenset[int]]
    ) -> Float64[np.ndarray, " gallery"]:
        """Return the Jaccard overlap of one query's neighbourhood with each photo's."""
        k1 = min(max(self.nearest.shape[1] - 1, 1), len(cosine))
        first = np.argsort(-cosine, kind="stable")[:k1]
        mutual = frozenset(first[cosine[first] >= self.reach[first]].tolist())
        known = dict(zip(first.tolist(), cosine[first].tolist(), strict=True))
        own_weights = _surroundings(mutual, narrow, known, self.rows, query)
        own_weights = _mean([own_weights, *(self.sharp[photo] for photo in first[: self.by.k2 - 1].tolist())])
        least = np.zeros(len(cosine))
        for photo, weight in zip(own_weights.photos.tolist(), own_weights.weight.tolist(), strict=True):
            column = self.columns[photo]
            least[column.photos] += np.minimum(column.weight, weight)
        return least / (own_weights.weight.sum() + 1 - least)


def _reciprocal(index: Int64[np.ndarray, "gallery rank"], k: int) -> list[frozenset[int]]:
    """Return each photo's reciprocal neighbours among the first ``k``; always including itself."""
    near = [frozenset(row) for row in index[:, : k + 1].tolist()]
    return [frozenset(other for other in nearest if row in near[other]) for row, nearest in enumerate(near)]


def _surroundings(
    mutual: frozenset[int],
    narrow: list[frozenset[int]],
    cosine: dict[int, float],
    rows: np.ndarray,
    own: np.ndarray,
) -> _Weights:
    """Return the reciprocal neighbours, their own neighbours that agree, and weights ``exp(-distance)``."""
    whole = set(mutual)
    for other in mutual:
        of_other = narrow[other]
        if len(of_other & mutual) > AGREEING * len(of_other):
            whole |= of_other
    photos = np.array(sorted(whole), np.int64)
    if not len(photos):
        return _Weights(photos, np.zeros(0))
    missing = [photo for photo in photos.tolist() if photo not in cosine]
    known = dict(cosine)
    if missing:
        known.update(zip(missing, (rows[missing] @ own).tolist(), strict=True))
    weight = np.exp(np.array([known[photo] for photo in photos.tolist()]) - 1)
    return _Weights(photos, weight / weight.sum())


def _mean(several: list[_Weights]) -> _Weights:
    """Return the mean of the neighbourhoods that are not empty."""
    several = [one for one in several if len(one.photos)]
    if len(several) < 2:
        return several[0] if several else _Weights(np.zeros(0, np.int64), np.zeros(0))
    photos, member = np.unique(np.concatenate([one.photos for one in several]), return_inverse=True)
    weight = np.bincount(member, weights=np.concatenate([one.weight for one in several]), minlength=len(photos))
    return _Weights(photos, weight / len(several))


def _transposed(surroundings: list[_Weights]) -> tuple[_Weights, ...]:
    around = np.concatenate([one.photos for one in surroundings])
    weight = np.concatenate([one.weight for one in surroundings])
    owner = np.repeat(np.arange(len(surroundings)), [len(one.photos) for one in surroundings])
    order = np.argsort(around, kind="stable")
    bounds = np.searchsorted(around[order], np.arange(1, len(surroundings)))
    parts = zip(np.split(owner[order], bounds), np.split(weight[order], bounds), strict=True)
    return tuple(_Weights(photos, weights) for photos, weights in parts)

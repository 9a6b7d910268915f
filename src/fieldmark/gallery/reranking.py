"""Photos are similar if they have neighbours in common: k-reciprocal re-ranking, in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Float64, Int64

from fieldmark.decisions.specs import Reciprocal
from fieldmark.gallery.search import nearest_photos

AGREEING = 2 / 3
"""Share of a neighbour's own reciprocal neighbours that must be ours, so that the rest become ours too."""


@dataclass(frozen=True, slots=True)
class _Weights:
    """Whom a photo is surrounded by: gallery rows, and how much each counts; they sum up to 1, or there are none."""

    photos: Int64[np.ndarray, " neighbour"]
    weight: Float64[np.ndarray, " neighbour"]


@dataclass(frozen=True)
class Neighbourhoods:
    """Gallery photos with their surroundings, ready to be compared with queries.

    A photo's reciprocal neighbours are those that are among its nearest and have it among theirs: a mere hub, near to
    everybody, is nobody's. Two photos are compared by how much of their surroundings they share (Jaccard).

    Each query is looked at by itself: the answer to a photo does not depend on what else is asked. (The paper ranks all
    queries and the gallery together.)

    Attributes:
        rows: The gallery's embeddings.
        by: Settings.
        nearest: The nearest photos of each, itself first.
        reach: Cosine of each photo with the last of its nearest.
        columns: For each photo, who is surrounded by it, and with what weight.
        sharp: The surroundings of each photo before averaging.

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
        """Find the surroundings of all photos of a gallery.

        Args:
            rows: One embedding a photo, length 1.
            by: Settings; of a gallery with fewer photos than ``k1`` all count as neighbours.
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
        """How similar each query is to each photo: the weighted mean of the cosine and of the share in common."""
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
        """The Jaccard share of one query's surroundings and each photo's."""
        k1 = min(max(self.nearest.shape[1] - 1, 1), len(cosine))
        first = np.argsort(-cosine, kind="stable")[:k1]
        mutual = frozenset(first[cosine[first] >= self.reach[first]].tolist())
        known = dict(zip(first.tolist(), cosine[first].tolist(), strict=True))
        mine = _surroundings(mutual, narrow, known, self.rows, query)
        mine = _mean([mine, *(self.sharp[photo] for photo in first[: self.by.k2 - 1].tolist())])
        least = np.zeros(len(cosine))
        for photo, weight in zip(mine.photos.tolist(), mine.weight.tolist(), strict=True):
            column = self.columns[photo]
            least[column.photos] += np.minimum(column.weight, weight)
        return least / (mine.weight.sum() + 1 - least)


def _reciprocal(index: Int64[np.ndarray, "gallery rank"], k: int) -> list[frozenset[int]]:
    """Each photo's neighbours among the first ``k`` that have it among their first ``k``; itself always."""
    near = [frozenset(row) for row in index[:, : k + 1].tolist()]
    return [frozenset(other for other in mine if row in near[other]) for row, mine in enumerate(near)]


def _surroundings(
    mutual: frozenset[int],
    narrow: list[frozenset[int]],
    cosine: dict[int, float],
    rows: np.ndarray,
    own: np.ndarray,
) -> _Weights:
    """The reciprocal neighbours, those of theirs that agree with them, and their weights ``exp(-distance)``."""
    whole = set(mutual)
    for other in mutual:
        theirs = narrow[other]
        if len(theirs & mutual) > AGREEING * len(theirs):
            whole |= theirs
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
    """The mean of those that have any surroundings."""
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
    cuts = np.searchsorted(around[order], np.arange(1, len(surroundings)))
    parts = zip(np.split(owner[order], cuts), np.split(weight[order], cuts), strict=True)
    return tuple(_Weights(photos, weights) for photos, weights in parts)

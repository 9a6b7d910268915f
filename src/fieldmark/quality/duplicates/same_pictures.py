"""Group near-duplicate photos: near hashes give candidate pairs, and a comparison of pixels accepts or rejects them.

The result does not depend on the order of the photos. Every comparison is about one pair, all comparisons use the same
pixels, and the groups are the connected components of the accepted pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64
from scipy.cluster.hierarchy import DisjointSet
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.quality.duplicates.near_hashes import NearHashes

MAX_DIFFERENCE = 0.1
"""Largest mean squared difference of two near-duplicates, for pixels with mean 0 and standard deviation 1.

Two unrelated pictures have a difference of about 2."""

MAX_STRETCH = 0.02
"""Largest relative difference between the aspect ratios of two near-duplicates; small copies differ by rounding."""

COMPARED_AT_ONCE = 2**22

PixelReader = Callable[[Int64[np.ndarray, " row"]], Float[np.ndarray, "row pixel"]]
"""A function that returns the grey pixels of some rows, with mean 0 and length 1; zeros for a uniform picture."""


@dataclass(frozen=True, eq=False)
class SamePictures:
    """Photos grouped by picture.

    Attributes:
        group: Group number of each photo, counted from 0 in the order of the first photo of each group.
        n_compared: Number of photo pairs whose pixels were compared.
        n_different: Number of these pairs with near hashes that show different pictures.
    """

    group: Int64[np.ndarray, " image"]
    n_compared: int
    n_different: int

    def rows(self) -> list[Int64[np.ndarray, " row"]]:
        """Return the rows of each group that has at least two photos."""
        order = np.argsort(self.group, kind="stable")
        ends = np.cumsum(np.bincount(self.group)) if len(self.group) else np.zeros(0, np.int64)
        return [rows for rows in np.split(order, ends[:-1]) if len(rows) > 1] if len(ends) else []


def same_pictures(
    near: NearHashes,
    read_pixels: PixelReader,
    shape: Float[np.ndarray, " image"],
    *,
    copies: Iterable[Sequence[int]] = (),
    max_difference: float = MAX_DIFFERENCE,
) -> SamePictures:
    """Group near-duplicate photos.

    Photos with the same hash are joined if their pixels agree, directly or through other photos of that hash. Such a
    part is called a cell. Two cells with near hashes are joined if the pixels of *all* photo pairs between them
    agree. Pictures with different aspect ratios never agree.

    Args:
        near: The hashes and the near pairs.
        read_pixels: Returns the pixels of some photos; called only for photos that have a candidate.
        shape: Width divided by height of each photo.
        copies: Groups of rows that are known to be the same picture, such as files with the same bytes. Uniform
            pictures are included.
        max_difference: Largest mean squared difference between two near-duplicates, after normalising brightness and
            contrast; 0.1 corresponds to a correlation of 0.95.

    Raises:
        ShapeError: The number of shapes differs from the number of hashes.
        FieldmarkError: ``max_difference`` is not between 0 and 2.

    Source:
        Kaggle Humpback Whale Identification 2018/19, duplicate detection of a public kernel (hashes within 6 bits,
        mean squared error of normalised pictures at most 0.1 for all pairs of two hashes). The kernel's result
        depends on the order of photos, because it merges while it compares. Cells and connected components are ours,
        and so are the 64 x 64 pixels. The kernel requires equal image sizes; we require equal aspect ratios.
    """
    shape = np.asarray(shape, np.float64)
    if shape.shape != near.of_image.shape:
        raise ShapeError(
            "Argument 'shape' of same_pictures() needs one value for every photo.",
            got=f"{len(near.of_image)} hashes, shape {shape.shape}",
            fix="pass width / height of each photo.",
        )
    if not 0 <= max_difference <= 2:
        raise FieldmarkError(
            "Setting 'max_difference' must be between 0 and 2.",
            got=f"max_difference={max_difference:g}",
            fix="use 0.1.",
        )
    joined = DisjointSet(range(len(shape)))
    holders = near.images()
    for rows in copies:
        for row in rows[1:]:
            joined.merge(int(rows[0]), int(row))
    n_compared = n_different = 0
    for hashes, pairs in _neighbourhoods(near):
        rows = np.sort(np.concatenate([holders[one] for one in hashes]))
        if len({joined[row] for row in rows.tolist()}) == 1:
            continue
        comparison = _PixelComparison(rows, read_pixels(rows), shape, max_difference)
        cells = {one: _cells(holders[one], comparison, joined) for one in hashes}
        _join_cells(cells, pairs, comparison, joined)
        n_compared, n_different = n_compared + comparison.n_compared, n_different + comparison.n_different
    number: dict[int, int] = {}
    group = [number.setdefault(joined[row], len(number)) for row in range(len(shape))]
    return SamePictures(np.array(group, np.int64), n_compared, n_different)


def _neighbourhoods(near: NearHashes) -> Iterator[tuple[list[int], list[tuple[int, int]]]]:
    """Yield groups of hashes connected by near pairs, with these pairs; also single hashes of several photos."""
    n_hashes = len(near.distinct)
    graph = csr_matrix((np.ones(len(near.first), np.int8), (near.first, near.second)), shape=(n_hashes, n_hashes))
    part = connected_components(graph, directed=False)[1]  # numbered by their first hash
    n_images = np.bincount(near.of_image, minlength=n_hashes)
    considered = np.unique(np.concatenate([np.flatnonzero(n_images > 1), near.first, near.second]))
    members: dict[int, list[int]] = {}
    for one in considered.tolist():
        members.setdefault(int(part[one]), []).append(one)
    inside: dict[int, list[tuple[int, int]]] = {}
    for pair in zip(near.first.tolist(), near.second.tolist(), strict=True):
        inside.setdefault(int(part[pair[0]]), []).append(pair)
    for number in sorted(members):
        yield members[number], inside.get(number, [])


def _cells(rows: Int64[np.ndarray, " row"], comparison: _PixelComparison, joined: DisjointSet) -> list[np.ndarray]:
    """Join the photos of one hash whose pixels agree, and return the resulting cells."""
    if len(rows) > 1:
        for one, others in comparison.agreeing_later(rows):
            for other in others:
                joined.merge(one, other)
    parts: dict[int, list[int]] = {}
    for row in rows.tolist():
        parts.setdefault(joined[row], []).append(row)
    return [np.array(part) for part in parts.values()]


def _join_cells(
    cells: dict[int, list[np.ndarray]],
    pairs: Sequence[tuple[int, int]],
    comparison: _PixelComparison,
    joined: DisjointSet,
) -> None:
    """Join cells of near hashes if all photo pairs between them agree; the cells themselves do not change."""
    agreed = [
        (int(one[0]), int(other[0]))
        for first, second in pairs
        for one in cells[first]
        for other in cells[second]
        if comparison.all_agree(one, other)
    ]
    for one, other in agreed:
        joined.merge(one, other)


class _PixelComparison:
    """Compares the pixels of photos and counts the comparisons."""

    def __init__(self, rows: np.ndarray, pixels: np.ndarray, shape: np.ndarray, max_difference: float) -> None:
        if pixels.ndim != 2 or len(pixels) != len(rows):
            raise ShapeError(
                "Argument 'read_pixels' of same_pictures() must return one row of pixels for every photo.",
                got=f"{len(rows)} photos, pixels {pixels.shape}",
                fix="return an array of shape (row, pixel).",
            )
        self._place = {row: place for place, row in enumerate(rows.tolist())}
        self._pixels = pixels
        self._shape = shape
        # With mean 0 and standard deviation 1, the mean squared difference is 2 - 2 x correlation.
        self._least = 1 - max_difference / 2 - 1e-6
        self.n_compared = self.n_different = 0

    def all_agree(self, one: np.ndarray, other: np.ndarray) -> bool:
        """Whether every photo of one cell agrees with every photo of the other."""
        agrees = self._agree(one, other)
        self._count(agrees)
        return bool(agrees.all())

    def agreeing_later(self, rows: np.ndarray) -> Iterator[tuple[int, list[int]]]:
        """Yield each row with the later rows that agree with it."""
        step = max(1, COMPARED_AT_ONCE // len(rows))
        for start in range(0, len(rows), step):
            some = rows[start : start + step]
            agrees = self._agree(some, rows)
            for place, row in enumerate(some.tolist(), start=start):
                later = agrees[place - start, place + 1 :]
                self._count(later)
                yield row, rows[place + 1 :][later].tolist()

    def _agree(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        ratio = np.log(self._shape[one])[:, None] - np.log(self._shape[other])
        similar = self._of(one) @ self._of(other).T
        return (similar >= self._least) & (np.abs(ratio) <= np.log1p(MAX_STRETCH))

    def _of(self, rows: np.ndarray) -> np.ndarray:
        return self._pixels[[self._place[row] for row in rows.tolist()]]

    def _count(self, agrees: np.ndarray) -> None:
        self.n_compared += agrees.size
        self.n_different += int(agrees.size - np.count_nonzero(agrees))

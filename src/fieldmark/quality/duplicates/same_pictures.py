"""Which photos are one picture: near hashes say where to look, the pixels decide, and what is joined stays joined.

Nothing here depends on the order of photos: every decision is about a pair, all are taken on the same facts, and the
groups are what the decisions connect.
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

MOST_APART = 0.1
"""Mean squared difference of two pictures of mean 0 and deviation 1, up to which they are one; 2 is "unrelated"."""

MOST_STRETCHED = 0.02
"""How far the ratios of width to height may differ, as a part: what rounding does to a small copy."""

COMPARED_AT_ONCE = 2**22

DescribeImages = Callable[[Int64[np.ndarray, " row"]], Float[np.ndarray, "row pixel"]]
"""The pictures of those rows: greys of mean 0 and length 1, zeros for a picture that shows nothing."""


@dataclass(frozen=True, eq=False)
class SamePictures:
    """Photos in groups of one picture.

    Attributes:
        group: A number that photos of one picture share, counted from 0 in the order of their first photo.
        n_looked: Pairs of photos whose pixels were compared.
        n_refused: Those of them that are near by hash and yet other pictures.
    """

    group: Int64[np.ndarray, " image"]
    n_looked: int
    n_refused: int

    def rows(self) -> list[Int64[np.ndarray, " row"]]:
        """The rows of each picture that lies in several photos."""
        order = np.argsort(self.group, kind="stable")
        ends = np.cumsum(np.bincount(self.group)) if len(self.group) else np.zeros(0, np.int64)
        return [rows for rows in np.split(order, ends[:-1]) if len(rows) > 1] if len(ends) else []


def same_pictures(
    near: NearHashes,
    look: DescribeImages,
    shape: Float[np.ndarray, " image"],
    *,
    copies: Iterable[Sequence[int]] = (),
    most_apart: float = MOST_APART,
) -> SamePictures:
    """Put photos of one picture together.

    Photos with one and the same hash are one picture where their pixels agree, directly or through others of that
    hash; such a part is a cell. Two cells of near hashes are one picture where the pixels of *all* pairs across them
    agree. Pictures of other shapes never agree.

    Args:
        near: The hashes, and which are near each other.
        look: Gives the pixels of some photos; asked only for photos that have a candidate.
        shape: Width to height of each photo.
        copies: Rows that are known to be one picture, such as files with the same bytes; also where there is
            nothing on it.
        most_apart: Mean squared difference of two pictures, brightness and contrast taken out, up to which they agree;
            0.1 is a correlation of 0.95.

    Raises:
        ShapeError: There is not one shape for every hash.
        FieldmarkError: ``most_apart`` is not between 0 and 2.

    Source:
        Kaggle Humpback Whale Identification 2018/19, duplicate detection of a public kernel (hashes within 6 bits,
        mean squared error of normalised pictures at most 0.1 for all pairs of two hashes). The kernel's result depends
        on the order of photos, as it merges while it compares; cells and connected parts are ours, and so are
        64 x 64 pixels, and the ratio of the sides where the kernel asks for equal size.
    """
    shape = np.asarray(shape, np.float64)
    if shape.shape != near.of_image.shape:
        raise ShapeError(
            "same_pictures() needs the shape of every photo.",
            got=f"{len(near.of_image)} hashes, shape {shape.shape}",
            fix="pass width / height of each photo.",
        )
    if not 0 <= most_apart <= 2:
        raise FieldmarkError(
            "Pictures of deviation 1 differ by 0 to 2, or more where one is the other's negative.",
            got=f"most_apart={most_apart:g}",
            fix="use 0.1.",
        )
    joined = DisjointSet(range(len(shape)))
    holders = near.images()
    for rows in copies:
        for row in rows[1:]:
            joined.merge(int(rows[0]), int(row))
    n_looked = n_refused = 0
    for hashes, pairs in _neighbourhoods(near):
        rows = np.sort(np.concatenate([holders[one] for one in hashes]))
        if len({joined[row] for row in rows.tolist()}) == 1:
            continue
        judge = _Judge(rows, look(rows), shape, most_apart)
        cells = {one: _cells(holders[one], judge, joined) for one in hashes}
        _join_cells(cells, pairs, judge, joined)
        n_looked, n_refused = n_looked + judge.n_looked, n_refused + judge.n_refused
    number: dict[int, int] = {}
    group = [number.setdefault(joined[row], len(number)) for row in range(len(shape))]
    return SamePictures(np.array(group, np.int64), n_looked, n_refused)


def _neighbourhoods(near: NearHashes) -> Iterator[tuple[list[int], list[tuple[int, int]]]]:
    """Hashes that near pairs connect, with those pairs; a hash alone where several photos have it."""
    n_hashes = len(near.distinct)
    graph = csr_matrix((np.ones(len(near.first), np.int8), (near.first, near.second)), shape=(n_hashes, n_hashes))
    part = connected_components(graph, directed=False)[1]  # numbered by their first hash
    n_images = np.bincount(near.of_image, minlength=n_hashes)
    worth = np.unique(np.concatenate([np.flatnonzero(n_images > 1), near.first, near.second]))
    members: dict[int, list[int]] = {}
    for one in worth.tolist():
        members.setdefault(int(part[one]), []).append(one)
    inside: dict[int, list[tuple[int, int]]] = {}
    for pair in zip(near.first.tolist(), near.second.tolist(), strict=True):
        inside.setdefault(int(part[pair[0]]), []).append(pair)
    for number in sorted(members):
        yield members[number], inside.get(number, [])


def _cells(rows: Int64[np.ndarray, " row"], judge: _Judge, joined: DisjointSet) -> list[np.ndarray]:
    """The photos of one hash, joined where they agree, in parts that are one picture each."""
    if len(rows) > 1:
        for one, others in judge.agreeing_below(rows):
            for other in others:
                joined.merge(one, other)
    parts: dict[int, list[int]] = {}
    for row in rows.tolist():
        parts.setdefault(joined[row], []).append(row)
    return [np.array(part) for part in parts.values()]


def _join_cells(
    cells: dict[int, list[np.ndarray]], pairs: Sequence[tuple[int, int]], judge: _Judge, joined: DisjointSet
) -> None:
    """Join cells of near hashes that agree in all pairs of photos; cells themselves stay as they were."""
    agreed = [
        (int(one[0]), int(other[0]))
        for first, second in pairs
        for one in cells[first]
        for other in cells[second]
        if judge.all_agree(one, other)
    ]
    for one, other in agreed:
        joined.merge(one, other)


class _Judge:
    """Compares the pixels of some photos, and counts what it compared."""

    def __init__(self, rows: np.ndarray, pixels: np.ndarray, shape: np.ndarray, most_apart: float) -> None:
        if pixels.ndim != 2 or len(pixels) != len(rows):
            raise ShapeError(
                "A look at photos gives a row of pixels for each.",
                got=f"{len(rows)} photos, pixels {pixels.shape}",
                fix="return (row, pixel).",
            )
        self._place = {row: place for place, row in enumerate(rows.tolist())}
        self._pixels = pixels
        self._shape = shape
        # Of rows with mean 0 and deviation 1 the mean squared difference is 2 - 2 x correlation.
        self._least = 1 - most_apart / 2 - 1e-6
        self.n_looked = self.n_refused = 0

    def all_agree(self, one: np.ndarray, other: np.ndarray) -> bool:
        """Whether every photo of the one part agrees with every one of the other."""
        agrees = self._agree(one, other)
        self._count(agrees)
        return bool(agrees.all())

    def agreeing_below(self, rows: np.ndarray) -> Iterator[tuple[int, list[int]]]:
        """Each row with the rows after it that agree with it."""
        step = max(1, COMPARED_AT_ONCE // len(rows))
        for start in range(0, len(rows), step):
            some = rows[start : start + step]
            agrees = self._agree(some, rows)
            for place, row in enumerate(some.tolist(), start=start):
                below = agrees[place - start, place + 1 :]
                self._count(below)
                yield row, rows[place + 1 :][below].tolist()

    def _agree(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        ratio = np.log(self._shape[one])[:, None] - np.log(self._shape[other])
        similar = self._of(one) @ self._of(other).T
        return (similar >= self._least) & (np.abs(ratio) <= np.log1p(MOST_STRETCHED))

    def _of(self, rows: np.ndarray) -> np.ndarray:
        return self._pixels[[self._place[row] for row in rows.tolist()]]

    def _count(self, agrees: np.ndarray) -> None:
        self.n_looked += agrees.size
        self.n_refused += int(agrees.size - np.count_nonzero(agrees))

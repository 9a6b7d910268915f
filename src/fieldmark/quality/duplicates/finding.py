"""Find near-duplicate photos in one or two tables, conflicts between their names, and duplicate identities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, Int64

from fieldmark.core.progress import QUIET, Progress
from fieldmark.data import copies as same_bytes
from fieldmark.data.collection import Collection
from fieldmark.images.hashes import hashes, seen
from fieldmark.quality.duplicates.conflicts import (
    UNKNOWN_INDIVIDUAL,
    UNLABELLED,
    IdentityPair,
    Verdict,
    merge_pairs,
    sharing,
    similar,
    taken_over,
    verdict,
)
from fieldmark.quality.duplicates.near_hashes import near
from fieldmark.quality.duplicates.same_pictures import same_pictures
from fieldmark.quality.inspecting import names_given
from fieldmark.reporting.contents import SkippedFile

Source = Literal["known", "new"]
ORDER: tuple[Verdict, ...] = ("two names", "unknown and named", "same name", "no name")
"""Sort order of pictures by verdict: definite conflicts come first."""


@dataclass(frozen=True, slots=True)
class NearDuplicate:
    """A photo that has at least one near-duplicate.

    Attributes:
        source: Table of the photo: ``known`` or ``new``.
        row: Row in that table, counted from 0.
        image: Image id.
        file: File path, relative to the photo folder of the table.
        name: Identity in the table, else its labels; empty if the table has neither.
        width_px: Width in pixels, after applying the EXIF orientation.
        height_px: Height in pixels, after applying the EXIF orientation.
        largest: Whether to keep this photo: the first one with the most pixels among its near-duplicates.
    """

    source: Source
    row: int
    image: str
    file: str
    name: str
    width_px: int
    height_px: int
    largest: bool


@dataclass(frozen=True)
class Picture:
    """A group of near-duplicate photos; ``verdict`` compares their names."""

    duplicates: tuple[NearDuplicate, ...]
    verdict: Verdict

    @property
    def is_conflict(self) -> bool:
        """Whether at least one of the names must be wrong."""
        return self.verdict in ORDER[:2]

    @property
    def crosses(self) -> bool:
        """Whether the group contains photos of both tables."""
        return len({duplicate.source for duplicate in self.duplicates}) > 1


@dataclass(frozen=True, slots=True)
class PerhapsOne:
    """Two names that may belong to one individual; see ``fieldmark.quality.duplicates.conflicts.IdentityPair``."""

    first: str
    second: str
    n_shared: int
    cosine: float
    score: float


@dataclass(frozen=True)
class NearDuplicates:
    """Result of a search for near-duplicates. The tables are not changed.

    Attributes:
        n_known: Number of readable photos in the first table.
        n_new: Number of readable photos in the second table.
        broken: Files that cannot be read.
        pictures: Groups of near-duplicate photos, sorted by ``ORDER``, then in table order.
        suggested: Pairs of names that may belong to one individual, the strongest evidence first.
        taken_over: (image id, name) of new photos without a name that have a named near-duplicate.
        n_compared: Number of photo pairs with near hashes, whose pixels were compared.
        n_different: Number of these pairs that show different pictures.
    """

    n_known: int
    n_new: int
    broken: tuple[SkippedFile, ...]
    pictures: tuple[Picture, ...]
    suggested: tuple[PerhapsOne, ...]
    taken_over: tuple[tuple[str, str], ...]
    n_compared: int
    n_different: int

    @property
    def conflicts(self) -> tuple[Picture, ...]:
        """The groups in which at least one name must be wrong."""
        return tuple(picture for picture in self.pictures if picture.is_conflict)


@dataclass(frozen=True, eq=False)
class IdentityLikeness:
    """Similarity between identities: ``of[a, b]`` compares ``names[a]`` with ``names[b]``; nan where unknown."""

    names: tuple[str, ...]
    of: Float[np.ndarray, "identity identity"]


def find_duplicates(
    known: Collection,
    new: Collection | None = None,
    *,
    within: int = 6,
    likeness: IdentityLikeness | None = None,
    n_workers: int = 2,
    progress: Progress = QUIET,
) -> NearDuplicates:
    """Find near-duplicate photos in one or two tables and compare their names.

    Args:
        known: The first table; names may be missing.
        new: The second table; its photos may repeat photos of the first table under other ids.
        within: Largest number of bits in which the hashes of two compared photos may differ.
        likeness: Similarity between identities, as computed by a run. With None, only identities that share a
            picture are suggested.
        n_workers: Number of image-loading threads.
        progress: Receives the number of finished photos.
    """
    listed = [*_listed("known", known), *(_listed("new", new) if new is not None else [])]
    hashed = hashes([one.path for one in listed], n_threads=max(1, n_workers), progress=progress)
    good = np.array([fault is None for fault in hashed.fault], bool)
    whole = [one for one, is_good in zip(listed, good, strict=True) if is_good]
    width_px, height_px = hashed.width_px[good], hashed.height_px[good]
    table_shape = np.array([one.shape for one in whole])
    found = same_pictures(
        near(hashed.phash[good], within=within),
        lambda rows: _grey_pixels([whole[row].path for row in rows.tolist()], n_workers=n_workers),
        np.where(np.isfinite(table_shape), table_shape, np.divide(width_px, height_px)),
        copies=same_bytes.same_bytes([one.path for one in whole]),
    )
    classes, name_of = _numbered([one.name for one in whole], unknown=known.vocabulary.unknown)
    pictures = [
        Picture(_duplicates(rows, whole, width_px, height_px), verdict(classes[rows].tolist())) for rows in found.rows()
    ]
    given = taken_over(found.group, classes)
    is_new = np.array([one.source == "new" for one in whole], bool)
    fillable = np.flatnonzero(is_new & (classes == UNLABELLED) & (given != UNLABELLED)).tolist()
    shared = sharing(found.group, classes) if "identity" in known.table.columns else []
    return NearDuplicates(
        n_known=int(np.count_nonzero(~is_new)),
        n_new=int(np.count_nonzero(is_new)),
        broken=tuple(
            SkippedFile(one.file, fault.problem)
            for one, fault in zip(listed, hashed.fault, strict=True)
            if fault is not None
        ),
        pictures=tuple(sorted(pictures, key=lambda one: ORDER.index(one.verdict))),
        suggested=_suggested(shared, likeness, name_of),
        taken_over=tuple((whole[row].image, name_of[int(given[row])]) for row in fillable),
        n_compared=found.n_compared,
        n_different=found.n_different,
    )


@dataclass(frozen=True, slots=True)
class _Listed:
    """A photo of one of the tables; ``shape`` is width divided by height as given in the table, else nan."""

    source: Source
    row: int
    image: str
    file: str
    path: Path
    name: str
    shape: float


def _listed(source: Source, photos: Collection) -> Iterator[_Listed]:
    """Yield what the table gives for every photo, before any file is read."""
    columns = (photos.images, photos.table["file"], photos.paths, names_given(photos), _true_shape(photos).tolist())
    for row, cells in enumerate(zip(*columns, strict=True)):
        yield _Listed(source, row, *cells)


def _duplicates(
    rows: Int64[np.ndarray, " row"], whole: Sequence[_Listed], width_px: np.ndarray, height_px: np.ndarray
) -> tuple[NearDuplicate, ...]:
    """Return the photos of one group, with the largest one marked."""
    largest = int(rows[np.argmax(width_px[rows] * height_px[rows])])
    return tuple(
        NearDuplicate(
            source=whole[row].source,
            row=whole[row].row,
            image=whole[row].image,
            file=whole[row].file,
            name=whole[row].name,
            width_px=int(width_px[row]),
            height_px=int(height_px[row]),
            largest=row == largest,
        )
        for row in rows.tolist()
    )


def _suggested(
    shared: Sequence[IdentityPair], likeness: IdentityLikeness | None, names: dict[int, str]
) -> tuple[PerhapsOne, ...]:
    """Return pairs of names that share a picture or have similar photos."""
    by_similarity: list[IdentityPair] = []
    if likeness is not None:
        number = {name: one for one, name in names.items()}
        for one in similar(likeness.of):
            pair = [number.get(likeness.names[end], -1) for end in (one.first, one.second)]
            if min(pair) >= 0:
                by_similarity.append(IdentityPair(min(pair), max(pair), cosine=one.cosine, score=one.score))
    return tuple(
        PerhapsOne(names[one.first], names[one.second], one.n_shared, one.cosine, one.score)
        for one in merge_pairs(shared, by_similarity)
    )


def _numbered(names: Sequence[str], *, unknown: str) -> tuple[np.ndarray, dict[int, str]]:
    """Return a class number for every name, and the name of every class."""
    number = {name: place for place, name in enumerate(sorted(set(names) - {"", unknown}))}
    codes = {**number, "": UNLABELLED, unknown: UNKNOWN_INDIVIDUAL}
    return np.array([codes[name] for name in names], np.int64), {code: name for name, code in codes.items()}


def _true_shape(photos: Collection) -> Float[np.ndarray, " image"]:
    """Return width divided by height from the table, as a resized file may be distorted; nan where it is not given."""
    if not {"width", "height"} <= set(photos.table.columns):
        return np.full(len(photos), np.nan)
    width, height = (
        photos.table[side].fill_null(0).to_numpy().astype(np.float64, copy=False) for side in ("width", "height")
    )
    is_given = (width > 0) & (height > 0)
    return np.divide(width, height, out=np.full(len(photos), np.nan), where=is_given)


def _grey_pixels(paths: Sequence[Path], *, n_workers: int) -> Float[np.ndarray, "row pixel"]:
    with ThreadPoolExecutor(max(1, n_workers)) as pool:
        return np.stack(list(pool.map(seen, paths)))

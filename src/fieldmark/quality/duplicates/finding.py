"""Photos of one picture in one table or two, what their names say together, and identities that may be one."""

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
    OneIdentity,
    Verdict,
    both,
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
"""In which pictures are told: what must be wrong comes first."""


@dataclass(frozen=True, slots=True)
class NearDuplicate:
    """A photo that shows a picture which other photos show too.

    Attributes:
        source: The table it stands in.
        row: Its row there, from 0.
        image: Its id.
        file: Below the table's folder of photos.
        name: What the table calls it: its identity, else its labels; empty if nothing.
        width_px: Of the upright file.
        height_px: Likewise.
        largest: Whether it is the first with the most pixels of its picture: the one to keep.
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
    """One picture that lies in several photos; ``verdict`` tells what their names say together."""

    duplicates: tuple[NearDuplicate, ...]
    verdict: Verdict

    @property
    def is_conflict(self) -> bool:
        """Whether at least one of the names must be wrong."""
        return self.verdict in ORDER[:2]

    @property
    def crosses(self) -> bool:
        """Whether photos of both tables show it."""
        return len({duplicate.source for duplicate in self.duplicates}) > 1


@dataclass(frozen=True, slots=True)
class PerhapsOne:
    """Two identities, by name, that may be one; see ``fieldmark.quality.duplicates.conflicts.OneIdentity``."""

    first: str
    second: str
    n_shared: int
    cosine: float
    score: float


@dataclass(frozen=True)
class NearDuplicates:
    """What was found; nothing was changed.

    Attributes:
        n_known: Photos of the table that could be read.
        n_new: Photos of the other table that could be read.
        broken: Files that cannot be read.
        pictures: Those that lie in several photos: by ``ORDER``, then in the order of the tables.
        suggested: Identities that may be one, the surest first.
        taken_over: (image id, name) of new photos without a name that a near-duplicate would give one.
        n_looked: Pairs of photos that are near by hash, whose pixels were compared.
        n_refused: Those of them that are other pictures.
    """

    n_known: int
    n_new: int
    broken: tuple[SkippedFile, ...]
    pictures: tuple[Picture, ...]
    suggested: tuple[PerhapsOne, ...]
    taken_over: tuple[tuple[str, str], ...]
    n_looked: int
    n_refused: int

    @property
    def conflicts(self) -> tuple[Picture, ...]:
        """The pictures of which at least one name must be wrong."""
        return tuple(picture for picture in self.pictures if picture.is_conflict)


@dataclass(frozen=True, eq=False)
class IdentityLikeness:
    """How similar identities look: ``of[a, b]`` for names ``names[a]`` and ``names[b]``; nan where unknown."""

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
    """The photos of one picture, across both tables, and what follows for names.

    Args:
        known: A table; names may be missing.
        new: Another table; its photos may repeat the first's under other ids.
        within: Bits in which the hashes of photos may differ that are compared.
        likeness: How similar identities look, as a run sees them; None suggests only identities that share a picture.
        n_workers: Threads that read photos.
        progress: Told as photos are done.
    """
    listed = [*_listed("known", known), *(_listed("new", new) if new is not None else [])]
    hashed = hashes([one.path for one in listed], n_threads=max(1, n_workers), progress=progress)
    good = np.array([fault is None for fault in hashed.fault], bool)
    whole = [one for one, is_good in zip(listed, good, strict=True) if is_good]
    width_px, height_px = hashed.width_px[good], hashed.height_px[good]
    told = np.array([one.shape for one in whole])
    found = same_pictures(
        near(hashed.phash[good], within=within),
        lambda rows: _seen([whole[row].path for row in rows.tolist()], n_workers=n_workers),
        np.where(np.isfinite(told), told, np.divide(width_px, height_px)),
        copies=same_bytes.same_bytes([one.path for one in whole]),
    )
    classes, name_of = _numbered([one.name for one in whole], unknown=known.vocabulary.unknown)
    pictures = [
        Picture(_duplicates(rows, whole, width_px, height_px), verdict(classes[rows].tolist())) for rows in found.rows()
    ]
    given = taken_over(found.group, classes)
    is_new = np.array([one.source == "new" for one in whole], bool)
    learnt = np.flatnonzero(is_new & (classes == UNLABELLED) & (given != UNLABELLED)).tolist()
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
        taken_over=tuple((whole[row].image, name_of[int(given[row])]) for row in learnt),
        n_looked=found.n_looked,
        n_refused=found.n_refused,
    )


@dataclass(frozen=True, slots=True)
class _Listed:
    """A photo of one of the tables; ``shape`` is its true width to height where the table tells it, else nan."""

    source: Source
    row: int
    image: str
    file: str
    path: Path
    name: str
    shape: float


def _listed(source: Source, photos: Collection) -> Iterator[_Listed]:
    """What is known of every photo of a table before it is looked at."""
    columns = (photos.images, photos.table["file"], photos.paths, names_given(photos), _true_shape(photos).tolist())
    for row, cells in enumerate(zip(*columns, strict=True)):
        yield _Listed(source, row, *cells)


def _duplicates(
    rows: Int64[np.ndarray, " row"], whole: Sequence[_Listed], width_px: np.ndarray, height_px: np.ndarray
) -> tuple[NearDuplicate, ...]:
    """The photos of one picture, the largest marked."""
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
    shared: Sequence[OneIdentity], likeness: IdentityLikeness | None, names: dict[int, str]
) -> tuple[PerhapsOne, ...]:
    """Identities that share a picture or look similar, by name."""
    looks: list[OneIdentity] = []
    if likeness is not None:
        number = {name: one for one, name in names.items()}
        for one in similar(likeness.of):
            pair = [number.get(likeness.names[end], -1) for end in (one.first, one.second)]
            if min(pair) >= 0:
                looks.append(OneIdentity(min(pair), max(pair), cosine=one.cosine, score=one.score))
    return tuple(
        PerhapsOne(names[one.first], names[one.second], one.n_shared, one.cosine, one.score)
        for one in both(shared, looks)
    )


def _numbered(names: Sequence[str], *, unknown: str) -> tuple[np.ndarray, dict[int, str]]:
    """A class for every name, whatever it names, and the name of every class."""
    number = {name: place for place, name in enumerate(sorted(set(names) - {"", unknown}))}
    codes = {**number, "": UNLABELLED, unknown: UNKNOWN_INDIVIDUAL}
    return np.array([codes[name] for name in names], np.int64), {code: name for name, code in codes.items()}


def _true_shape(photos: Collection) -> Float[np.ndarray, " image"]:
    """Width to height as the table tells it, where a file was squashed; nan where it does not."""
    if not {"width", "height"} <= set(photos.table.columns):
        return np.full(len(photos), np.nan)
    width, height = (
        photos.table[side].fill_null(0).to_numpy().astype(np.float64, copy=False) for side in ("width", "height")
    )
    told = (width > 0) & (height > 0)
    return np.divide(width, height, out=np.full(len(photos), np.nan), where=told)


def _seen(paths: Sequence[Path], *, n_workers: int) -> Float[np.ndarray, "row pixel"]:
    with ThreadPoolExecutor(max(1, n_workers)) as pool:
        return np.stack(list(pool.map(seen, paths)))

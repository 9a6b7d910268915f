"""How well answers can be guessed from what is not the picture: each side feature beside the photos, tried on each target."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from fieldmark.core.errors import DataError, FieldmarkError, nearest, several
from fieldmark.core.progress import QUIET, Progress
from fieldmark.core.seeds import generator
from fieldmark.data import copies
from fieldmark.data.collection import Collection
from fieldmark.data.folds import assign
from fieldmark.data.specs import PlainFolds
from fieldmark.images.hashes import hashes
from fieldmark.images.traces import traces
from fieldmark.quality.leakage.copies import Copied, Crossing, ask_copies, crossings, joined
from fieldmark.quality.leakage.leaks import LEAST_GROUPS, Gain, Target, guess, untellable
from fieldmark.quality.leakage.side_columns import perhaps_known, side_features, targets

N_FOLDS = 5
MOST_PHOTOS = 20_000
SPLIT, PHASH = "split", "phash"
"""Columns that are understood where a table has them: the part a photo belongs to, and its perceptual hash in hex."""


@dataclass(frozen=True)
class Audit:
    """What was found; nothing was changed.

    Attributes:
        name: Of the table.
        n_photos: Of the table.
        n_tried: Photos that side features were tried on: all, or a random part of a large table.
        n_files: Of those, photos whose file could be read.
        n_hashed: Photos, of both tables, whose look from afar is known.
        gains: Each side feature on each target, the largest gain first.
        copies: What rows of one picture say of each other, for each kind of copy and target; their gains are among
            ``gains``.
        crossings: Photos of one part of the table (or of the new photos) that lie in another part, by kind of copy.
        same_everywhere: Side features that have one value on all photos, and so tell nothing.
        left_out: Targets that cannot be audited, and why.
    """

    name: str
    n_photos: int
    n_tried: int
    n_files: int
    n_hashed: int
    gains: tuple[Gain, ...]
    copies: tuple[tuple[str, Copied], ...]
    crossings: tuple[tuple[str, Crossing], ...]
    same_everywhere: tuple[str, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()

    @property
    def leaks(self) -> tuple[Gain, ...]:
        """The gains that are worth a warning."""
        return tuple(one for one in self.gains if one.verdict == "leak")

    @property
    def is_leaky(self) -> bool:
        """Whether anything is worth a warning."""
        return bool(self.leaks or self.crossings)


@dataclass(frozen=True, eq=False)
class AuditPhotos:
    """A table and where its files lie; None for a photo without one."""

    collection: Collection
    paths: Sequence[Path | None]


def audit_side_features(
    known: AuditPhotos,
    new: AuditPhotos | None = None,
    *,
    only: Sequence[str] = (),
    columns: Sequence[str] = (),
    within: int = 0,
    most_photos: int = MOST_PHOTOS,
    seed: int = 0,
    n_workers: int = 2,
    progress: Progress = QUIET,
) -> Audit:
    """Guess every target from every side feature, and look photos up that lie in several rows.

    Groups of the table and files with the same bytes stay together when photos are held back, so that a side feature cannot
    merely know a photo again.

    Args:
        known: The table.
        new: New photos, of which only is asked whether they lie in the table already.
        only: Targets to guess; empty for all.
        columns: Further columns of the table to take for side features.
        within: Bits of 64 in which the hashes of photos of one look may differ.
        most_photos: Of a larger table so many photos are drawn by lot; rows with the same bytes, address or ``phash``
            are looked up among all.
        seed: Of the lot and the folds.
        n_workers: Threads that read files.
        progress: Told as files are read and side features are tried.

    Raises:
        DataError: The table tells nothing that can be guessed, or lacks a column.
        FieldmarkError: There is no target of a name in ``only``.
    """
    photos = known.collection
    asked, left_out = _asked(photos, only)
    chance = generator(seed, "audit")
    some = np.sort(chance.permutation(len(photos))[:most_photos])
    similar = _similar(known, new, some, within=within, n_workers=n_workers, progress=progress)
    same = {kind: joined(len(photos), _within(groups, len(photos))) for kind, groups in similar.groups.items()}
    apart = photos.groups
    together = joined(len(photos), [*_rows(apart.tolist()), *_within(similar.groups["same bytes"], len(photos))])[some]
    found = traces([known.paths[row] for row in some.tolist()], n_threads=max(1, n_workers), progress=progress)
    beside = side_features(photos.take(some), found, some, columns)
    usable, tried = [], [Target(one.name, one.truth[some], ranked=one.ranked) for one in asked]
    for whole, part in zip(asked, tried, strict=True):
        if why := untellable(part, together):
            left_out.append((part.name, why))
        else:
            usable.append((whole, part))
    if not usable:
        raise DataError(
            "Nothing can be audited.",
            got=several([f"{name}: {why}" for name, why in left_out]),
            fix="give a table with more photos, in more groups, that have different answers.",
        )
    fold = assign(
        PlainFolds(n_folds=min(N_FOLDS, LEAST_GROUPS)), classes=photos.classes[some], groups=together, seed=seed
    )
    pairs = [(name, part) for name in beside for _, part in usable if beside[name].n_distinct > 1]
    gains = [
        guess(beside[name], part, name=name, fold=fold, groups=together)
        for name, part in progress.track(pairs, total=len(pairs), what="trying side features")
    ]
    copies = [(kind, ask_copies(same[kind], whole, name=kind, groups=apart)) for kind in same for whole, _ in usable]
    copies = [(kind, one) for kind, one in copies if one.gain.n_given]
    return Audit(
        name=photos.name,
        n_photos=len(photos),
        n_tried=len(some),
        n_files=sum(one is not None for one in found),
        n_hashed=similar.n_hashed,
        gains=tuple(sorted([*gains, *(one.gain for _, one in copies)], key=lambda one: -one.gain.value)),
        copies=tuple(copies),
        crossings=tuple(
            (kind, one)
            for kind, groups in similar.groups.items()
            for one in crossings(joined(similar.n_photos, groups), similar.parts)
        ),
        same_everywhere=tuple(name for name, side_feature in beside.items() if side_feature.n_distinct <= 1),
        left_out=tuple(left_out),
    )


def judged(one: Gain) -> str:
    """The verdict on a side feature in words; the same for all that prints it."""
    if one.verdict == "leak":
        return "leak or source: you decide" if perhaps_known(one.side_feature) else "leak"
    return "slight" if one.verdict == "slight" else ""


def _asked(photos: Collection, only: Sequence[str]) -> tuple[list[Target], list[tuple[str, str]]]:
    """The targets to guess, and a list for those that cannot be.

    Raises:
        DataError: The table tells nothing that can be guessed.
        FieldmarkError: There is no target of a name in ``only``.
    """
    there = targets(photos)
    if not there:
        raise DataError(
            "The table tells nothing that could be guessed.",
            got=f"columns {', '.join(photos.table.columns)}",
            fix="name a column of answers: --question COLUMN, or --column identity=COLUMN.",
        )
    names = [one.name for one in there]
    strange = [name for name in only if name not in names]
    if strange:
        raise FieldmarkError(
            "There is nothing of that name to guess.", got=several(strange), fix=nearest(strange[0], names)
        )
    return [one for one in there if not only or one.name in only], []


@dataclass(frozen=True, eq=False)
class _Similar:
    """Rows of both tables (the new ones after the known ones) that are one picture, by kind of copy."""

    n_photos: int
    n_hashed: int
    parts: Sequence[str]
    groups: dict[str, list[list[int]]]


def _similar(
    known: AuditPhotos, new: AuditPhotos | None, some: np.ndarray, *, within: int, n_workers: int, progress: Progress
) -> _Similar:
    """Rows with the same bytes or file, with the same address, and of near hashes."""
    tables = [known] if new is None else [known, new]
    paths = [path for one in tables for path in one.paths]
    have = [row for row, path in enumerate(paths) if path is not None]
    by_bytes = [[have[at] for at in rows] for rows in copies.same_bytes([paths[row] for row in have])]  # type: ignore[misc]
    by_path = _rows([None if path is None else str(path) for path in paths])
    urls = [url for one in tables for url in _cells(one.collection, "url")]
    hashed = _hashed(tables, some, n_workers=n_workers, progress=progress)
    parts = [_cells(one.collection, SPLIT) for one in tables]
    if new is not None:
        parts = [[part or "known" for part in parts[0]], ["new"] * len(parts[1])]
    return _Similar(
        n_photos=len(paths),
        n_hashed=len(hashed),
        parts=[part or "" for one in parts for part in one],
        groups={
            "same bytes": [*by_bytes, *by_path],
            "same address": _rows(urls),
            "same hash": _near(hashed, within=within),
        },
    )


def _hashed(tables: Sequence[AuditPhotos], some: np.ndarray, *, n_workers: int, progress: Progress) -> dict[int, int]:
    """The hash of each row whose look is known: by the table's own column, else by a look at its file."""
    found: dict[int, int] = {}
    start = 0
    for number, one in enumerate(tables):
        written = _cells(one.collection, PHASH)
        if any(written):
            read = {start + row: _hex(cell) for row, cell in enumerate(written)}
            found |= {row: value for row, value in read.items() if value is not None}
        else:
            rows = some.tolist() if number == 0 else range(min(len(one.paths), max(1, len(some))))
            rows = [row for row in rows if one.paths[row] is not None]
            made = hashes([one.paths[row] for row in rows], n_threads=max(1, n_workers), progress=progress)  # type: ignore[misc]
            looks = zip(rows, made.phash.tolist(), made.fault, strict=True)
            found |= {start + row: value for row, value, fault in looks if fault is None}
        start += len(one.paths)
    return found


def _near(hashed: dict[int, int], *, within: int) -> list[list[int]]:
    """Rows of equal or near hashes; a picture without light and dark (hash 0) is like no other."""
    rows = np.array([row for row, value in hashed.items() if value], np.int64)
    values = np.array([value for value in hashed.values() if value], np.uint64)
    if within == 0 or not len(rows):
        return [rows[np.array(some)].tolist() for some in _rows(values.tolist())]
    from fieldmark.quality.duplicates.near_hashes import near  # needs numba, which equal hashes do not

    return [rows[pair].tolist() for pair in near(values, within=within).image_pairs()]


def _rows(keys: Iterable[Hashable | None]) -> list[list[int]]:
    """The rows of each key that several rows have; None and "" are no keys."""
    of_key: dict[Hashable, list[int]] = defaultdict(list)
    for row, key in enumerate(keys):
        if key is not None and key != "":
            of_key[key].append(row)
    return [rows for rows in of_key.values() if len(rows) > 1]


def _within(groups: Sequence[Sequence[int]], n_photos: int) -> list[list[int]]:
    """The same groups without the rows of new photos."""
    known = ([row for row in rows if row < n_photos] for rows in groups)
    return [rows for rows in known if len(rows) > 1]


def _cells(photos: Collection, column: str) -> list[str | None]:
    if column not in photos.table.columns or isinstance(photos.table[column].dtype, pl.List):
        return [None] * len(photos)
    return photos.table[column].to_list()


def _hex(cell: str | None) -> int | None:
    """A hash of 16 hex digits; None for anything else."""
    try:
        return int(cell, 16) if cell and len(cell) == 16 else None
    except ValueError:
        return None


__all__ = ["MOST_PHOTOS", "Audit", "AuditPhotos", "audit_side_features", "judged"]

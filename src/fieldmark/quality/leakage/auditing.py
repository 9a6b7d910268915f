"""Leakage audit: measure how well each side feature of the photos predicts each target without the pictures."""

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
from fieldmark.quality.leakage.copies import Copied, Crossing, compare_copies, crossings, joined
from fieldmark.quality.leakage.leaks import LEAST_GROUPS, Gain, Target, guess, reason_not_auditable
from fieldmark.quality.leakage.side_columns import perhaps_known, side_features, targets

N_FOLDS = 5
MOST_PHOTOS = 20_000
SPLIT, PHASH = "split", "phash"
"""Optional columns of a table: the part of each photo, such as train or test, and its perceptual hash in hex digits."""


@dataclass(frozen=True)
class Audit:
    """Result of a leakage audit. The table is not changed.

    Attributes:
        name: Name of the table.
        n_photos: Number of photos in the table.
        n_tried: Number of photos used to test side features: all, or a random sample of a large table.
        n_files: Number of these photos whose file could be read.
        n_hashed: Number of photos, in both tables, with a perceptual hash.
        gains: Gain of each side feature on each target, the largest first.
        copies: How often the labels of copies agree, for each kind of copy and target. The gains are also in
            ``gains``.
        crossings: Number of photos of one part (or of the new photos) that are also in another part, by kind of copy.
        same_everywhere: Side features with the same value on all photos, which predict nothing.
        left_out: Targets that cannot be audited, with the reasons.
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
        """The gains that are large enough for a warning."""
        return tuple(one for one in self.gains if one.verdict == "leak")

    @property
    def is_leaky(self) -> bool:
        """Whether any result needs a warning."""
        return bool(self.leaks or self.crossings)


@dataclass(frozen=True, eq=False)
class AuditPhotos:
    """A table and the path of each photo; None for a photo without a file."""

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
    """Predict every target from every side feature, and compare the labels of copies.

    Photos of one group and files with the same bytes are always in the same fold. A side feature therefore cannot
    gain by recognising a photo of the training folds.

    Args:
        known: The table to audit.
        new: New photos; the audit only counts how many of them are already in the table.
        only: Names of the targets to audit; empty means all.
        columns: Further columns of the table to use as side features.
        within: Largest number of bits, of 64, in which the hashes of copies may differ.
        most_photos: Size of the random sample from a larger table. Copies by bytes, address or ``phash`` are searched
            in all rows.
        seed: Random seed of the sample and the folds.
        n_workers: Number of threads that read files.
        progress: Receives the number of files read and side features tested.

    Raises:
        DataError: The table has no labels to predict, or a column is missing.
        FieldmarkError: A name in ``only`` is not a target.
    """
    photos = known.collection
    requested, left_out = _requested(photos, only)
    chance = generator(seed, "audit")
    some = np.sort(chance.permutation(len(photos))[:most_photos])
    similar = _similar(known, new, some, within=within, n_workers=n_workers, progress=progress)
    same = {kind: joined(len(photos), _within(groups, len(photos))) for kind, groups in similar.groups.items()}
    own_groups = photos.groups
    together = joined(len(photos), [*_rows(own_groups.tolist()), *_within(similar.groups["same bytes"], len(photos))])[
        some
    ]
    found = traces([known.paths[row] for row in some.tolist()], n_threads=max(1, n_workers), progress=progress)
    beside = side_features(photos.take(some), found, some, columns)
    usable, tried = [], [Target(one.name, one.truth[some], ranked=one.ranked) for one in requested]
    for whole, part in zip(requested, tried, strict=True):
        if why := reason_not_auditable(part, together):
            left_out.append((part.name, why))
        else:
            usable.append((whole, part))
    if not usable:
        raise DataError(
            "No target of this table can be audited.",
            got=several([f"{name}: {why}" for name, why in left_out]),
            fix="use a table with more photos, more groups and at least two different labels.",
        )
    fold = assign(
        PlainFolds(n_folds=min(N_FOLDS, LEAST_GROUPS)), classes=photos.classes[some], groups=together, seed=seed
    )
    pairs = [(name, part) for name in beside for _, part in usable if beside[name].n_distinct > 1]
    gains = [
        guess(beside[name], part, name=name, fold=fold, groups=together)
        for name, part in progress.track(pairs, total=len(pairs), what="testing side features")
    ]
    copies = [
        (kind, compare_copies(same[kind], whole, name=kind, groups=own_groups)) for kind in same for whole, _ in usable
    ]
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
    """Return the verdict on a side feature as printed on the page, in the CSV file and in the terminal."""
    if one.verdict == "leak":
        return "possible leak: you decide" if perhaps_known(one.side_feature) else "leak"
    return "slight" if one.verdict == "slight" else ""


def _requested(photos: Collection, only: Sequence[str]) -> tuple[list[Target], list[tuple[str, str]]]:
    """Return the targets to audit, and an empty list for the targets that cannot be audited.

    Raises:
        DataError: The table has no labels to predict.
        FieldmarkError: A name in ``only`` is not a target.
    """
    there = targets(photos)
    if not there:
        raise DataError(
            "The table has no labels to audit.",
            got=f"columns {', '.join(photos.table.columns)}",
            fix="name a column with labels: --question COLUMN, or --column identity=COLUMN.",
        )
    names = [one.name for one in there]
    unknown = [name for name in only if name not in names]
    if unknown:
        raise FieldmarkError(
            "Setting --target names an unknown target.", got=several(unknown), fix=nearest(unknown[0], names)
        )
    return [one for one in there if not only or one.name in only], []


@dataclass(frozen=True, eq=False)
class _Similar:
    """Groups of rows that are copies, by kind of copy; rows of the new table follow those of the known table."""

    n_photos: int
    n_hashed: int
    parts: Sequence[str]
    groups: dict[str, list[list[int]]]


def _similar(
    known: AuditPhotos, new: AuditPhotos | None, some: np.ndarray, *, within: int, n_workers: int, progress: Progress
) -> _Similar:
    """Find rows with the same bytes or file, with the same address, and with near hashes."""
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
    """Return the perceptual hash of each row, from the column ``phash`` of the table, else from the file."""
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
            results = zip(rows, made.phash.tolist(), made.fault, strict=True)
            found |= {start + row: value for row, value, fault in results if fault is None}
        start += len(one.paths)
    return found


def _near(hashed: dict[int, int], *, within: int) -> list[list[int]]:
    """Return groups of rows with equal or near hashes. Uniform pictures (hash 0) never match."""
    rows = np.array([row for row, value in hashed.items() if value], np.int64)
    values = np.array([value for value in hashed.values() if value], np.uint64)
    if within == 0 or not len(rows):
        return [rows[np.array(some)].tolist() for some in _rows(values.tolist())]
    from fieldmark.quality.duplicates.near_hashes import near  # needs numba; equal hashes do not

    return [rows[pair].tolist() for pair in near(values, within=within).image_pairs()]


def _rows(keys: Iterable[Hashable | None]) -> list[list[int]]:
    """Return the rows of each key that at least two rows have; None and "" are ignored."""
    of_key: dict[Hashable, list[int]] = defaultdict(list)
    for row, key in enumerate(keys):
        if key is not None and key != "":
            of_key[key].append(row)
    return [rows for rows in of_key.values() if len(rows) > 1]


def _within(groups: Sequence[Sequence[int]], n_photos: int) -> list[list[int]]:
    """Return the groups without the rows of new photos."""
    known = ([row for row in rows if row < n_photos] for rows in groups)
    return [rows for rows in known if len(rows) > 1]


def _cells(photos: Collection, column: str) -> list[str | None]:
    if column not in photos.table.columns or isinstance(photos.table[column].dtype, pl.List):
        return [None] * len(photos)
    return photos.table[column].to_list()


def _hex(cell: str | None) -> int | None:
    """Return the hash of 16 hex digits as an integer; None for any other text."""
    try:
        return int(cell, 16) if cell and len(cell) == 16 else None
    except ValueError:
        return None


__all__ = ["MOST_PHOTOS", "Audit", "AuditPhotos", "audit_side_features", "judged"]

"""What a table and its files tell beside the pictures, as side features; and what may be guessed from them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import PurePosixPath
from types import MappingProxyType
from urllib.parse import unquote, urlsplit

import numpy as np
import polars as pl
from scipy.sparse import csr_matrix

from fieldmark.core.errors import DataError, nearest, several
from fieldmark.data.collection import Collection
from fieldmark.images.traces import Trace
from fieldmark.quality.leakage.leaks import Target
from fieldmark.quality.leakage.ngrams import Sparse
from fieldmark.quality.leakage.side_features import Categories, Numbers, SideFeature, TextSideFeatures

IDENTITY, UNKNOWN_INDIVIDUAL, LABELS = "identity", "known or unknown individual", "labels"
COLUMN = "column "

MEANINGS: Mapping[str, str] = MappingProxyType(
    {
        "URL": "the words and codes of the address, without its host",
        "host": "the host of the address",
        "text": "the description in the table",
        "photo id": "letters and digits of the id",
        "order of ids": "photos of neighbouring ids",
        "order of rows": "photos of neighbouring rows",
        "file name": "letters and digits of the file's name",
        "folder": "the folder of the file",
        "date": "photos of neighbouring days",
        "size in the table": "width and height as the table tells them",
        "shape in the table": "width to height as the table tells them",
        "size": "width and height of the file's picture",
        "shape": "width to height of the file's picture",
        "pixels": "how many pixels the file has",
        "bytes": "how large the file is",
        "format": "the kind of file, and colour or grey",
        "encoder": "how a JPEG was saved: its quantisation tables and colour sampling",
        "camera": "make and model in the file's notes",
        "software": "the program named in the file's notes",
        "time taken": "the time in the file's notes",
        "notes": "which kinds of notes the file has, whatever they say",
        "same bytes": "another row has the same file",
        "same address": "another row has the same address",
        "same hash": "another row's picture looks the same from afar",
    }
)
"""Every side feature with what it is."""
PERHAPS_KNOWN = frozenset({"URL", "text", "date", "time taken", "same address", "same hash"})
"""Side features that may rightly be used where they will be known of new photos too: a person must say.

A picture that looks the same may be a copy, or merely similar, which is for a model to see."""


def side_features(
    photos: Collection, traces: Sequence[Trace | None], rows: np.ndarray, columns: Sequence[str] = ()
) -> dict[str, SideFeature]:
    """Every side feature that there is beside the pictures, by name.

    Args:
        photos: Some or all photos of a table.
        traces: What their files tell; None for a photo without a file.
        rows: Where they stand in the table.
        columns: Further columns of the table to take for side features.

    Raises:
        DataError: There is no such column.
    """
    absent = [f"{column!r}: {nearest(column, photos.table.columns)}" for column in columns]
    absent = [said for said, column in zip(absent, columns, strict=True) if column not in photos.table.columns]
    if absent:
        raise DataError("There is no such column to guess from.", got=several(absent), fix="check --side-feature.")
    found = {**_of_names(photos, rows), **_of_cells(photos), **_of_files(traces)}
    for column in columns:
        found[COLUMN + column] = _of_column(photos.table[column])
    return found


def targets(photos: Collection) -> list[Target]:
    """What may be guessed: who it is and whether it is anybody known, the labels, the answer to each question."""
    names, table = photos.vocabulary, photos.table
    found: list[Target] = []
    if "identity" in table.columns:
        named = pl.Series(
            [[name] if name is not None else None for name in table["identity"]], dtype=pl.List(pl.String)
        )
        found += [Target(IDENTITY, _truth(named, names.identities))] if len(names.identities) > 1 else []
        if (photos.classes == -1).any() and (photos.classes >= 0).any():
            rows = np.flatnonzero(photos.classes >= -1)
            answer = (photos.classes[rows] < 0).astype(np.int64)
            ones = np.ones(len(rows), np.float32)
            found.append(Target(UNKNOWN_INDIVIDUAL, csr_matrix((ones, (rows, answer)), shape=(len(photos), 2))))
    if "labels" in table.columns and names.tags:
        found.append(Target(LABELS, _truth(table["labels"], names.tags), ranked=True))
    found += [Target(one.name, _truth(table[one.name], one.answers)) for one in names.questions]
    return found


def perhaps_known(side_feature: str) -> bool:
    """Whether only a person can say if the side feature is a leak, as it may be known of new photos too."""
    return side_feature in PERHAPS_KNOWN or side_feature.startswith(COLUMN)


def meaning(side_feature: str) -> str:
    """What a side feature is, in words."""
    return MEANINGS.get(side_feature, "a column of the table")


def _truth(lists: pl.Series, names: Sequence[str]) -> Sparse:
    """(photo, name) with 1 where a photo's list has the name; names that are not asked for are passed over."""
    number = {name: place for place, name in enumerate(names)}
    pairs = pl.DataFrame({"name": lists}).with_row_index("row").explode("name").drop_nulls("name").unique()
    column = np.array([number.get(name, -1) for name in pairs["name"]], np.int64)
    row = pairs["row"].to_numpy()
    ones = np.ones(int((column >= 0).sum()), np.float32)
    return csr_matrix((ones, (row[column >= 0], column[column >= 0])), shape=(len(lists), len(names)))


def _of_names(photos: Collection, rows: np.ndarray) -> dict[str, SideFeature]:
    """Ids, file names, folders, and the order in which photos stand."""
    files = [PurePosixPath(file or "") for file in photos.table["file"]]
    folders = [str(file.parent) for file in files]
    stems = [PurePosixPath(image).stem for image in photos.images]
    found: dict[str, SideFeature] = {
        "photo id": TextSideFeatures([PurePosixPath(image).name for image in photos.images]),
        "order of ids": Numbers(_ranks(photos.images)),
        "order of rows": Numbers(rows.astype(np.float64)),
    }
    if [file.stem for file in files] != stems:
        found["file name"] = TextSideFeatures([file.name for file in files])
    if not _names_are_folders(photos, files):
        found["folder"] = Categories(folders)
    else:  # the id of such a photo is its path, and its folder is where its name was read
        found["order of ids"] = Numbers(_ranks([file.name for file in files]))
        del found["order of rows"]
    return found


def _of_cells(photos: Collection) -> dict[str, SideFeature]:
    """What the table's own columns tell: addresses, descriptions, days, sizes."""
    table, found = photos.table, dict[str, SideFeature]()
    if "url" in table.columns:
        parts = [_parted(url or "") for url in table["url"]]
        found["URL"] = TextSideFeatures([path for _, path in parts])
        found["host"] = Categories([host for host, _ in parts])
    if "text" in table.columns:
        found["text"] = TextSideFeatures([text or "" for text in table["text"]])
    if photos.dates is not None:
        day = photos.dates.astype("datetime64[D]")
        found["date"] = Numbers(np.where(np.isnat(day), np.nan, day.astype(np.float64)))
    if {"width", "height"} <= set(table.columns):
        sizes = list(zip(table["width"].to_list(), table["height"].to_list(), strict=True))
        found["size in the table"] = Categories([f"{w} x {h}" if w and h else "" for w, h in sizes])
        found["shape in the table"] = Numbers(np.array([w / h if w and h else np.nan for w, h in sizes]))
    return found


def _of_files(traces: Sequence[Trace | None]) -> dict[str, SideFeature]:
    """What files tell without their pictures; nothing where no photo has a file."""
    if not any(traces):
        return {}

    def words(name: str) -> list[str]:
        return [str(getattr(one, name)) if one is not None else "" for one in traces]

    def numbers(values: Sequence[float]) -> Numbers:
        return Numbers(np.array(values, np.float64))

    nan = float("nan")
    return {
        "size": Categories([f"{one.width} x {one.height}" if one else "" for one in traces]),
        "shape": numbers([one.width / one.height if one else nan for one in traces]),
        "pixels": numbers([one.width * one.height if one else nan for one in traces]),
        "bytes": numbers([one.n_bytes if one else nan for one in traces]),
        "format": Categories(words("format")),
        "encoder": Categories(words("encoder")),
        "camera": Categories(words("camera")),
        "software": Categories(words("software")),
        "time taken": numbers([_seconds(one.taken) if one else nan for one in traces]),
        "notes": Categories(words("notes")),
    }


def _of_column(cells: pl.Series) -> SideFeature:
    """A column of the user's: numbers where all its cells are, else texts."""
    if isinstance(cells.dtype, pl.List):
        cells = cells.list.join("|")
    cells = cells.cast(pl.String)
    number = cells.cast(pl.Float64, strict=False)
    if number.is_not_null().sum() == (cells.fill_null("") != "").sum() and number.is_not_null().any():
        return Numbers(number.fill_null(float("nan")).to_numpy().astype(np.float64))
    return TextSideFeatures(cells.fill_null("").to_list())


def _names_are_folders(photos: Collection, files: Sequence[PurePosixPath]) -> bool:
    """Whether photos lie in folders of their individuals' names, so that the folder is the name."""
    if "identity" not in photos.table.columns or not len(photos):
        return False
    names = photos.table["identity"].to_list()
    return all(name is None or (file.parts[:-1] or ("",))[0] == name for name, file in zip(names, files, strict=True))


def _parted(url: str) -> tuple[str, str]:
    """Host and the rest of an address; what cannot be parted is all rest."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
    except ValueError:
        return "", url
    return host, unquote(f"{parts.path} {parts.query} {parts.fragment}".strip()) if host else url


def _ranks(names: Sequence[str]) -> np.ndarray:
    """The place of each name in the order in which people sort: photo9 before photo10."""
    keys = [
        [(len(part.lstrip("0")), part.lstrip("0")) if part.isdecimal() else (-1, part) for part in _DIGITS.split(name)]
        for name in names
    ]
    place = np.empty(len(names))
    place[sorted(range(len(names)), key=keys.__getitem__)] = np.arange(len(names))
    return place


_DIGITS = re.compile("([0-9]+)")


def _seconds(taken: str) -> float:
    """The time in a camera's notes as a number; nan where there is none."""
    try:
        at = datetime.strptime(taken[:19], "%Y:%m:%d %H:%M:%S")
    except ValueError:
        return float("nan")
    return (at - datetime(1970, 1, 1)).total_seconds()

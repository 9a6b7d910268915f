"""Extract side features from the columns and files of a table, and list the targets to predict from them."""

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
        "photo id": "letters and digits of the photo id",
        "order of ids": "photos with neighbouring ids",
        "order of rows": "photos in neighbouring rows",
        "file name": "letters and digits of the file name",
        "folder": "the folder of the file",
        "date": "photos of neighbouring dates",
        "size in the table": "width and height in the table",
        "shape in the table": "width divided by height, from the table",
        "size": "width and height of the picture",
        "shape": "width divided by height of the picture",
        "pixels": "number of pixels in the picture",
        "bytes": "size of the file",
        "format": "file format, and colour or grey",
        "encoder": "JPEG quantisation tables and colour sampling",
        "camera": "camera make and model in the metadata of the file",
        "software": "software in the metadata of the file",
        "time taken": "time in the metadata of the file",
        "notes": "kinds of metadata in the file, without their values",
        "same bytes": "copies with the same file content",
        "same address": "copies with the same address",
        "same hash": "copies with the same perceptual hash",
    }
)
"""Description of every side feature."""
PERHAPS_KNOWN = frozenset({"URL", "text", "date", "time taken", "same address", "same hash"})
"""Side features that are legitimate inputs if new photos also have them. A person must decide.

A picture with the same hash may be a copy, or only similar, which a model may use."""


def side_features(
    photos: Collection, traces: Sequence[Trace | None], rows: np.ndarray, columns: Sequence[str] = ()
) -> dict[str, SideFeature]:
    """Return all side features of the photos, by name.

    Args:
        photos: Some or all photos of a table.
        traces: File properties of each photo; None for a photo without a file.
        rows: Row numbers of the photos in the table.
        columns: Further columns of the table to use as side features.

    Raises:
        DataError: The table lacks a column.
    """
    absent = [f"{column!r}: {nearest(column, photos.table.columns)}" for column in columns]
    absent = [text for text, column in zip(absent, columns, strict=True) if column not in photos.table.columns]
    if absent:
        raise DataError(
            "Setting --side-feature names a column that the table lacks.",
            got=several(absent),
            fix="use --side-feature COLUMN with a column of the table.",
        )
    found = {**_of_names(photos, rows), **_of_cells(photos), **_of_files(traces)}
    for column in columns:
        found[COLUMN + column] = _of_column(photos.table[column])
    return found


def targets(photos: Collection) -> list[Target]:
    """Return the targets of a table: identity, known or unknown individual, labels, and each question."""
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
    """Whether a person must decide if the side feature is a leak, because new photos may also have it."""
    return side_feature in PERHAPS_KNOWN or side_feature.startswith(COLUMN)


def meaning(side_feature: str) -> str:
    """Return the description of a side feature."""
    return MEANINGS.get(side_feature, "a column of the table")


def _truth(lists: pl.Series, names: Sequence[str]) -> Sparse:
    """Return the (photo, name) matrix with 1 where the list of a photo has the name; other names are ignored."""
    number = {name: place for place, name in enumerate(names)}
    pairs = pl.DataFrame({"name": lists}).with_row_index("row").explode("name").drop_nulls("name").unique()
    column = np.array([number.get(name, -1) for name in pairs["name"]], np.int64)
    row = pairs["row"].to_numpy()
    ones = np.ones(int((column >= 0).sum()), np.float32)
    return csr_matrix((ones, (row[column >= 0], column[column >= 0])), shape=(len(lists), len(names)))


def _of_names(photos: Collection, rows: np.ndarray) -> dict[str, SideFeature]:
    """Return side features of photo ids, file names, folders, and the order of photos."""
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
    else:  # the id of such a photo is its path, and its folder gives its identity
        found["order of ids"] = Numbers(_ranks([file.name for file in files]))
        del found["order of rows"]
    return found


def _of_cells(photos: Collection) -> dict[str, SideFeature]:
    """Return side features of the table columns: addresses, descriptions, dates and sizes."""
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
    """Return side features of the files; an empty dictionary if no photo has a file."""
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
    """Return the side feature of a column chosen by the user: numbers if all cells are numbers, else texts."""
    if isinstance(cells.dtype, pl.List):
        cells = cells.list.join("|")
    cells = cells.cast(pl.String)
    number = cells.cast(pl.Float64, strict=False)
    if number.is_not_null().sum() == (cells.fill_null("") != "").sum() and number.is_not_null().any():
        return Numbers(number.fill_null(float("nan")).to_numpy().astype(np.float64))
    return TextSideFeatures(cells.fill_null("").to_list())


def _names_are_folders(photos: Collection, files: Sequence[PurePosixPath]) -> bool:
    """Whether every photo is in a folder named after its individual, so that the folder is the label itself."""
    if "identity" not in photos.table.columns or not len(photos):
        return False
    names = photos.table["identity"].to_list()
    return all(name is None or (file.parts[:-1] or ("",))[0] == name for name, file in zip(names, files, strict=True))


def _parted(url: str) -> tuple[str, str]:
    """Return the host and the rest of an address; an invalid address has an empty host."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
    except ValueError:
        return "", url
    return host, unquote(f"{parts.path} {parts.query} {parts.fragment}".strip()) if host else url


def _ranks(names: Sequence[str]) -> np.ndarray:
    """Return the rank of each name in natural sort order: photo9 before photo10."""
    keys = [
        [(len(part.lstrip("0")), part.lstrip("0")) if part.isdecimal() else (-1, part) for part in _DIGITS.split(name)]
        for name in names
    ]
    place = np.empty(len(names))
    place[sorted(range(len(names)), key=keys.__getitem__)] = np.arange(len(names))
    return place


_DIGITS = re.compile("([0-9]+)")


def _seconds(taken: str) -> float:
    """Return the capture time in seconds since 1970; nan if it is missing."""
    try:
        at = datetime.strptime(taken[:19], "%Y:%m:%d %H:%M:%S")
    except ValueError:
        return float("nan")
    return (at - datetime(1970, 1, 1)).total_seconds()

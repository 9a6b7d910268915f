"""Read a table of photos to download: image ids and their URLs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from fieldmark.core.errors import DataError, FieldmarkError, nearest
from fieldmark.data.columns import place
from fieldmark.data.mistakes import Mistake, refusal
from fieldmark.data.reading import survey
from fieldmark.data.sheets import ROW, read_sheet

_URL_COLUMN = re.compile(r"(image|photo|img)?[_ -]?url[_ -]?\d*|urls")
_JSON_URLS = ("url", "coco_url", "flickr_url", "image_url")
_JSON_IDS = ("imageId", "image_id", "id")


@dataclass(frozen=True)
class Wanted:
    """The photos of a table.

    Attributes:
        urls: URLs of each image id, in the order of requests.
        table: One row per photo: ``image`` and the other columns of the table.
        n_repeats: Number of further rows with an id that already occurred; their URLs are added to the first row.
    """

    urls: Mapping[str, tuple[str, ...]]
    table: pl.DataFrame
    n_repeats: int = 0


@dataclass
class _Rows:
    """Ids, URLs and mistakes, collected while reading rows."""

    source: str
    urls: dict[str, dict[str, None]] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)
    first: list[int] = field(default_factory=list)

    def add(self, at: int, row: int, image: Any, urls: Iterable[Any]) -> None:
        """Add a row; ``at`` is its position in the table and ``row`` its number in error messages."""
        found = [url for url in (str(url).strip() for url in urls if url is not None) if url]
        if image is None or str(image) == "":
            self.mistakes.append(Mistake(self.source, row, "image", "has no image id", "", "give every row an id"))
        elif not found and str(image) not in self.urls:
            self.mistakes.append(
                Mistake(self.source, row, "url", "has no address", str(image), "give every image an address")
            )
        else:
            if str(image) not in self.urls:
                self.first.append(at)
            self.urls.setdefault(str(image), {}).update(dict.fromkeys(found))


def read_wanted(
    path: Path, *, urls: Sequence[str] = (), columns: Mapping[str, str] | None = None, encoding: str = "utf-8"
) -> Wanted:
    """Read the photos to download from a CSV, TSV, Parquet or JSON file.

    Args:
        path: Path of the file. In JSON (COCO, iMaterialist), the list ``images`` is read.
        urls: Columns with URLs, the preferred first; by default all columns named ``url``, ``image_url``, ``url2`` and
            so on. A cell holds one URL, or a list in Parquet.
        columns: Name of the id column: ``{"image": "photo_id"}``; by default the usual names are recognised.
        encoding: Text encoding of the table.

    Raises:
        DataError: The file does not exist, or it or some rows have no ids or URLs; all mistakes are listed.
    """
    if not path.is_file():
        raise DataError(
            f"File {path} does not exist.",
            got=path,
            fix="use a .csv, .tsv, .parquet or .json file with image addresses.",
        )
    rows, table = (
        _of_json(path)
        if path.suffix.lower() == ".json"
        else _of_sheet(path, tuple(urls), dict(columns or {}), encoding)
    )
    if rows.mistakes:
        raise refusal(str(path), rows.mistakes)
    if not rows.urls:
        raise DataError(
            f"Table {path} contains no photo.", got="no rows", fix="use a table with at least one id and address."
        )
    found = {image: tuple(each) for image, each in rows.urls.items()}
    return Wanted(found, table[rows.first], n_repeats=len(table) - len(rows.first))


def _of_sheet(path: Path, urls: tuple[str, ...], columns: dict[str, str], encoding: str) -> tuple[_Rows, pl.DataFrame]:
    sheet = read_sheet(path, encoding=encoding)
    if sheet.mistakes:
        raise refusal(str(path), sheet.mistakes)
    found = _url_columns(path, sheet.names, urls)
    ids = place(sheet.names, columns, reserved=found).get("image")
    if ids is None:
        raise DataError(
            f"Table {path} has no column with image ids.",
            got=", ".join(sheet.names),
            fix=f"name the column: --column image={next((name for name in sheet.names if name not in found), 'id')}",
        )
    rows = _Rows(path.name)
    cells = sheet.table.select(ROW, ids, *found)
    for at, (row, image, *each) in enumerate(cells.iter_rows()):
        rows.add(at, row, image, _flat(each))
    others = [name for name in sheet.names if name not in {ids, "image", "file"}]
    return rows, sheet.table.select(pl.col(ids).alias("image"), *others)


def _url_columns(path: Path, names: Sequence[str], chosen: tuple[str, ...]) -> tuple[str, ...]:
    """Return the columns with URLs in natural order: ``url10`` after ``url2``."""
    absent = [name for name in chosen if name not in names]
    if absent:
        raise DataError(f"Table {path} lacks a column of --urls.", got=", ".join(absent), fix=nearest(absent[0], names))
    found = chosen or tuple(
        sorted(
            (name for name in names if _URL_COLUMN.fullmatch(name.lower())),
            key=lambda name: int(re.sub(r"\D", "", name) or 0),
        )
    )
    if not found:
        raise DataError(
            f"Table {path} has no column with addresses.",
            got=", ".join(names),
            fix="name the column: --urls COLUMN; the option may be repeated.",
        )
    return found


def _flat(cells: Iterable[Any]) -> Iterable[Any]:
    for cell in cells:
        if isinstance(cell, list):
            yield from cell
        else:
            yield cell


def _of_json(path: Path) -> tuple[_Rows, pl.DataFrame]:
    """Read the list ``images`` of a JSON file; the other columns (labels, questions) come from the usual reader."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        entries = content["images"]
        listed = [entry for entry in entries if isinstance(entry, dict)]
    except (OSError, ValueError, RecursionError, KeyError, TypeError) as error:
        raise DataError(
            f"File {path} cannot be read as a list of photos.",
            got=f"{type(error).__name__}: {error}",
            fix='use a JSON object with a list "images" of objects with an id and a url.',
        ) from error
    rows = _Rows(path.name)
    ids: list[str | None] = []
    for at, entry in enumerate(listed):
        image = next((entry[key] for key in _JSON_IDS if entry.get(key) is not None), None)
        ids.append(None if image is None else str(image))
        rows.add(at, at + 1, image, _flat(entry.get(key) for key in _JSON_URLS))
    table = pl.DataFrame({"image": ids}, schema={"image": pl.String})
    try:
        known = survey(path, labelled=False, check_files=False).collection.table
    except FieldmarkError:  # a file with only a list of URLs is enough here
        return rows, table
    known = known.drop("file", strict=False).unique("image", keep="first", maintain_order=True)
    return rows, table.join(known, on="image", how="left", maintain_order="left")


def read_manifest(path: Path, *, encoding: str = "utf-8") -> dict[str, str]:
    """Read the SHA-256 of each photo from a manifest of ``fieldmark download``.

    Raises:
        DataError: The file is not a manifest, or a hash is invalid.
    """
    if not path.is_file():
        raise DataError(f"File {path} does not exist.", got=path, fix="use the manifest.csv of a download.")
    sheet = read_sheet(path, encoding=encoding)
    if sheet.mistakes:
        raise refusal(str(path), sheet.mistakes)
    if not {"image", "sha256"} <= set(sheet.names):
        raise DataError(
            f"File {path} is not a manifest.",
            got=", ".join(sheet.names),
            fix="use a table with the columns image and sha256, such as the manifest.csv of a download.",
        )
    fix = "write the 64 hex digits of the photo's SHA-256"
    mistakes = [
        Mistake(path.name, row, "sha256", "is not a SHA-256", str(digest or ""), fix)
        for row, digest in sheet.table.select(ROW, "sha256").iter_rows()
        if not re.fullmatch(r"[0-9a-fA-F]{64}", digest or "")
    ]
    if mistakes:
        raise refusal(str(path), mistakes)
    pairs = sheet.table.select("image", "sha256").iter_rows()
    return {image: digest.lower() for image, digest in pairs if image}

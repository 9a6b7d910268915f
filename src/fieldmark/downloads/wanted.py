"""Which photos a table wants, and where each may lie."""

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
    """What a table asks for.

    Attributes:
        urls: For each photo's id the addresses it may lie at, in the order in which they are tried.
        table: A row a photo: ``image`` and the table's other columns.
        n_repeats: Further rows of the same photo, whose addresses were added to the first.
    """

    urls: Mapping[str, tuple[str, ...]]
    table: pl.DataFrame
    n_repeats: int = 0


@dataclass
class _Rows:
    """Rows as they are read: ids, addresses, and what is wrong."""

    source: str
    urls: dict[str, dict[str, None]] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)
    first: list[int] = field(default_factory=list)

    def add(self, at: int, row: int, image: Any, urls: Iterable[Any]) -> None:
        """Note a row; ``at`` is its place in the table and ``row`` its number for people."""
        found = [url for url in (str(url).strip() for url in urls if url is not None) if url]
        if image is None or str(image) == "":
            self.mistakes.append(Mistake(self.source, row, "image", "has no image id", "", "give every row an id"))
        elif not found and str(image) not in self.urls:
            self.mistakes.append(Mistake(self.source, row, "url", "has no address", str(image), "give it an address"))
        else:
            if str(image) not in self.urls:
                self.first.append(at)
            self.urls.setdefault(str(image), {}).update(dict.fromkeys(found))


def read_wanted(
    path: Path, *, urls: Sequence[str] = (), columns: Mapping[str, str] | None = None, encoding: str = "utf-8"
) -> Wanted:
    """The photos that a CSV, TSV, Parquet or JSON file wants.

    Args:
        path: The file. In JSON (COCO, iMaterialist) it is the list ``images``.
        urls: The columns that hold addresses, the preferred first; by default all that are called ``url``,
            ``image_url``, ``url2`` and so on. A cell may hold one, or in Parquet a list.
        columns: Which column is the id: ``{"image": "photo_id"}``; without it the usual names are known.
        encoding: How a text table is written.

    Raises:
        DataError: There is no such table, it has no ids or addresses, or rows lack them; all are told.
    """
    if not path.is_file():
        raise DataError(
            "There is no table of that name.", got=path, fix="give a .csv, .tsv, .parquet or .json file with addresses."
        )
    rows, table = (
        _of_json(path)
        if path.suffix.lower() == ".json"
        else _of_sheet(path, tuple(urls), dict(columns or {}), encoding)
    )
    if rows.mistakes:
        raise refusal(str(path), rows.mistakes)
    if not rows.urls:
        raise DataError(f"{path} wants no photo.", got="no rows", fix="give a table with at least one id and address.")
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
            f"No column of {path} names the photos.",
            got=", ".join(sheet.names),
            fix=f"say which: --column image={next((name for name in sheet.names if name not in found), 'id')}",
        )
    rows = _Rows(path.name)
    cells = sheet.table.select(ROW, ids, *found)
    for at, (row, image, *each) in enumerate(cells.iter_rows()):
        rows.add(at, row, image, _flat(each))
    others = [name for name in sheet.names if name not in {ids, "image", "file"}]
    return rows, sheet.table.select(pl.col(ids).alias("image"), *others)


def _url_columns(path: Path, names: Sequence[str], chosen: tuple[str, ...]) -> tuple[str, ...]:
    """The columns that hold addresses, ``url10`` after ``url2``."""
    absent = [name for name in chosen if name not in names]
    if absent:
        raise DataError("The table has no such column.", got=", ".join(absent), fix=nearest(absent[0], names))
    found = chosen or tuple(
        sorted(
            (name for name in names if _URL_COLUMN.fullmatch(name.lower())),
            key=lambda name: int(re.sub(r"\D", "", name) or 0),
        )
    )
    if not found:
        raise DataError(
            f"No column of {path} is called url.",
            got=", ".join(names),
            fix="say which: --urls COLUMN; may be repeated.",
        )
    return found


def _flat(cells: Iterable[Any]) -> Iterable[Any]:
    for cell in cells:
        if isinstance(cell, list):
            yield from cell
        else:
            yield cell


def _of_json(path: Path) -> tuple[_Rows, pl.DataFrame]:
    """The ``images`` of a JSON file; the other columns (labels, questions) as the reader of collections sees them."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        entries = content["images"]
        listed = [entry for entry in entries if isinstance(entry, dict)]
    except (OSError, ValueError, RecursionError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} cannot be read as a list of photos.",
            got=f"{type(error).__name__}: {error}",
            fix='give a JSON object with a list "images" of objects that have an id and a url.',
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
    except FieldmarkError:  # a list of addresses and nothing else is enough here
        return rows, table
    known = known.drop("file", strict=False).unique("image", keep="first", maintain_order=True)
    return rows, table.join(known, on="image", how="left", maintain_order="left")


def read_manifest(path: Path, *, encoding: str = "utf-8") -> dict[str, str]:
    """The SHA-256 that each photo must have, from a manifest as ``fieldmark download`` writes it.

    Raises:
        DataError: It is no such table, or a hash is none.
    """
    if not path.is_file():
        raise DataError("There is no manifest of that name.", got=path, fix="give the manifest.csv of a download.")
    sheet = read_sheet(path, encoding=encoding)
    if sheet.mistakes:
        raise refusal(str(path), sheet.mistakes)
    if not {"image", "sha256"} <= set(sheet.names):
        raise DataError(
            f"{path} is no manifest.",
            got=", ".join(sheet.names),
            fix="give a table with the columns image and sha256, such as the manifest.csv of a download.",
        )
    fix = "write the 64 hex digits of the photo's SHA-256"
    mistakes = [
        Mistake(path.name, row, "sha256", "is no SHA-256", str(digest or ""), fix)
        for row, digest in sheet.table.select(ROW, "sha256").iter_rows()
        if not re.fullmatch(r"[0-9a-fA-F]{64}", digest or "")
    ]
    if mistakes:
        raise refusal(str(path), mistakes)
    pairs = sheet.table.select("image", "sha256").iter_rows()
    return {image: digest.lower() for image, digest in pairs if image}

"""One CSV, TSV or Parquet file as a frame of text, with the row of every record and all that is wrong with its form."""

from __future__ import annotations

import codecs
import csv
import io
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from fieldmark.core.errors import DataError, FieldmarkError
from fieldmark.data.frames import as_text
from fieldmark.data.mistakes import Mistake

ROW = "row of the file"
"""The column that carries each record's row number; the header is row 1."""

SEPARATORS = ",;\t|"
_FIX_ENCODING = "say how it is written, for example `--encoding cp1252` (Windows), `latin-1` or `utf-16`"


@dataclass(frozen=True)
class Sheet:
    """A file's records as text.

    Attributes:
        table: The columns under their own names, and ``ROW``.
        mistakes: What is wrong with the file's form. Where its text cannot be read at all, the table is empty.
    """

    table: pl.DataFrame
    mistakes: list[Mistake] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """The names of the file's own columns."""
        return [name for name in self.table.columns if name != ROW]


def read_sheet(path: Path, *, encoding: str = "utf-8") -> Sheet:
    """The records of a ``.csv``, ``.tsv``, ``.txt`` or ``.parquet`` file; nothing is guessed but the separator.

    Every cell stays the text it is, so leading zeros live. Ragged rows, unnamed and repeated columns are left out
    and told.

    Args:
        path: The file.
        encoding: How a text file is written; a byte order mark is understood in any case.

    Raises:
        DataError: The file cannot be opened, or there is no such encoding.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path} cannot be read.", got=error.strerror or error, fix="give a file you may read."
        ) from error
    if path.suffix.lower() == ".parquet":
        return _parquet(data, path.name)
    try:
        text = _decode(data, encoding)
    except UnicodeDecodeError as error:
        return Sheet(pl.DataFrame({ROW: []}, schema={ROW: pl.Int64}), [_wrong_encoding(error, data, path.name)])
    except LookupError as error:
        raise DataError("There is no such encoding.", got=encoding, fix=f"{_FIX_ENCODING}.") from error
    return _csv(text, path.name)


def _decode(data: bytes, encoding: str) -> str:
    """The text of the bytes; a byte order mark wins over utf-8."""
    codecs.lookup(encoding)
    if encoding.lower().replace("_", "-") in {"utf-8", "utf8"}:
        is_utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        encoding = "utf-16" if is_utf16 else "utf-8-sig"
    return data.decode(encoding)


def _wrong_encoding(error: UnicodeDecodeError, data: bytes, name: str) -> Mistake:
    """The mistake that names the row and the byte that cannot be text."""
    row = data[: error.start].count(b"\n") + 1
    around = data[max(error.start - 12, 0) : error.start + 12]
    value = f"byte 0x{data[error.start]:02x} at position {error.start}, in {ascii(around.decode('latin-1'))[1:-1]}"
    return Mistake(name, row, None, f"is not {error.encoding} text", value, _FIX_ENCODING)


def _csv(text: str, name: str) -> Sheet:
    """The records of separated text. The standard reader splits (in C); rows of another length are set aside."""
    empty = pl.DataFrame({ROW: []}, schema={ROW: pl.Int64})
    skipped = 0
    if text[:4].lower() == "sep=":  # the line by which Excel tells itself the separator
        first, _, text = text.partition("\n")
        separator, skipped = first[4:5], 1
    else:
        separator = _separator(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    records: list[list[str]] = []
    mistakes = []
    try:
        records.extend(reader)
    except csv.Error as error:
        fix = 'close the quote; a quote inside a quoted cell is written ""'
        mistakes.append(Mistake(name, len(records) + 1 + skipped, None, "cannot be split into cells", str(error), fix))
    if not records or not any(cell.strip() for cell in records[0]):
        if not mistakes:
            fix = "write the names of the columns into the first row"
            mistakes = [Mistake(name, 1 + skipped, None, "has no header", text[:40], fix)]
        return Sheet(empty, mistakes)

    header = [cell.strip() for cell in records[0]]
    rows = [(number, record) for number, record in enumerate(records[1:], start=2 + skipped) if record]
    ragged = [(number, record) for number, record in rows if len(record) != len(header)]
    fix = "give every row as many cells as the header; quote cells that contain the separator"
    mistakes += [
        Mistake(name, number, None, f"does not have the header's {len(header)} cells", separator.join(record), fix)
        for number, record in ragged
    ]
    if ragged:
        rows = [(number, record) for number, record in rows if len(record) == len(header)]
    kept, header_mistakes = _header(header, name, row=1 + skipped)
    columns = list(zip(*(record for _, record in rows), strict=True)) or [()] * len(header)
    table = pl.DataFrame({label: columns[at] for at, label in kept}, schema={label: pl.String for _, label in kept})
    table = table.with_columns(pl.Series(ROW, [number for number, _ in rows], dtype=pl.Int64))
    return Sheet(table, header_mistakes + mistakes)


def _separator(text: str) -> str:
    """The separator that stands most often in the first line; a comma where none does."""
    first = text[: text.find("\n")] if "\n" in text else text
    return max(SEPARATORS, key=first.count)


def _header(header: list[str], name: str, *, row: int) -> tuple[list[tuple[int, str]], list[Mistake]]:
    """Which columns can be used (place and name), and the unnamed and repeated ones as mistakes."""
    kept: list[tuple[int, str]] = []
    mistakes = []
    seen: set[str] = set()
    for at, label in enumerate(header):
        if not label:
            fix = "name every column, or delete the unnamed one (pandas: to_csv(index=False))"
            mistakes.append(Mistake(name, row, f"number {at + 1}", "column without a name", label, fix))
        elif label in seen:
            mistakes.append(Mistake(name, row, label, "two columns of one name", label, "rename one of them"))
        else:
            seen.add(label)
            kept.append((at, label))
    return kept, mistakes


def _parquet(data: bytes, name: str) -> Sheet:
    """The records of a Parquet file, each column as text or lists of text."""
    try:
        table = pl.read_parquet(io.BytesIO(data))
    except pl.exceptions.PolarsError as error:
        value = str(error).splitlines()[0]
        unreadable = Mistake(name, None, None, "is no whole Parquet file", value, "write the file again")
        return Sheet(pl.DataFrame({ROW: []}, schema={ROW: pl.Int64}), [unreadable])
    return sheet_of(table, name)


def sheet_of(table: pl.DataFrame, name: str) -> Sheet:
    """A frame's records, each column as text or lists of text.

    Args:
        table: Of any types.
        name: Of the file it came from, for messages.
    """
    columns, mistakes = [], []
    for series in table.get_columns():
        try:
            columns.append(as_text(series))
        except FieldmarkError as error:
            mistakes.append(Mistake(name, None, series.name, "cannot be read as text", str(error.got), error.fix[:-1]))
    rows = pl.Series(ROW, range(1, len(table) + 1), dtype=pl.Int64)
    return Sheet(pl.DataFrame([*columns, rows]), mistakes)

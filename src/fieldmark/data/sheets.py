"""Reading of a CSV, TSV or Parquet file as a frame of text, with row numbers and the mistakes of its format."""

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
"""Name of the column with the row number of each record; the header is row 1."""

SEPARATORS = ",;\t|"
_FIX_ENCODING = "give the encoding of the file, for example `--encoding cp1252` (Windows), `latin-1` or `utf-16`"


@dataclass(frozen=True)
class Sheet:
    """The records of a file as text.

    Attributes:
        table: The columns with their original names, and ``ROW``. It is empty if the text cannot be read.
        mistakes: Mistakes of the format of the file.
    """

    table: pl.DataFrame
    mistakes: list[Mistake] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """Names of the columns of the file, without ``ROW``."""
        return [name for name in self.table.columns if name != ROW]


def read_sheet(path: Path, *, encoding: str = "utf-8") -> Sheet:
    """Read the records of a ``.csv``, ``.tsv``, ``.txt`` or ``.parquet`` file. Only the separator is guessed.

    Every cell is read as text, so leading zeros are kept. Rows with a wrong number of cells, columns without a name and
    repeated columns are left out and reported as mistakes.

    Args:
        path: Path of the file.
        encoding: Encoding of a text file. A byte order mark is always recognised.

    Raises:
        DataError: The file cannot be opened, or the encoding is unknown.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path} cannot be read.", got=error.strerror or error, fix="check the path and your read permission."
        ) from error
    if path.suffix.lower() == ".parquet":
        return _parquet(data, path.name)
    try:
        text = _decode(data, encoding)
    except UnicodeDecodeError as error:
        return Sheet(pl.DataFrame({ROW: []}, schema={ROW: pl.Int64}), [_wrong_encoding(error, data, path.name)])
    except LookupError as error:
        raise DataError("The encoding is unknown.", got=encoding, fix=f"{_FIX_ENCODING}.") from error
    return _csv(text, path.name)


def _decode(data: bytes, encoding: str) -> str:
    """Decode the bytes. A byte order mark has priority over utf-8."""
    codecs.lookup(encoding)
    if encoding.lower().replace("_", "-") in {"utf-8", "utf8"}:
        is_utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        encoding = "utf-16" if is_utf16 else "utf-8-sig"
    return data.decode(encoding)


def _wrong_encoding(error: UnicodeDecodeError, data: bytes, name: str) -> Mistake:
    """A mistake with the row and the byte that cannot be decoded."""
    row = data[: error.start].count(b"\n") + 1
    around = data[max(error.start - 12, 0) : error.start + 12]
    value = f"byte 0x{data[error.start]:02x} at position {error.start}, in {ascii(around.decode('latin-1'))[1:-1]}"
    return Mistake(name, row, None, f"text is not in {error.encoding}", value, _FIX_ENCODING)


def _csv(text: str, name: str) -> Sheet:
    """The records of a text with separators. Rows with a wrong number of cells are left out and reported."""
    empty = pl.DataFrame({ROW: []}, schema={ROW: pl.Int64})
    skipped = 0
    if text[:4].lower() == "sep=":  # the first line in which Excel stores the separator
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
        fix = 'close the quotation marks; write a quotation mark inside of a quoted cell as ""'
        mistakes.append(Mistake(name, len(records) + 1 + skipped, None, "cannot be split into cells", str(error), fix))
    if not records or not any(cell.strip() for cell in records[0]):
        if not mistakes:
            fix = "write the names of the columns into the first row"
            mistakes = [Mistake(name, 1 + skipped, None, "missing header", text[:40], fix)]
        return Sheet(empty, mistakes)

    header = [cell.strip() for cell in records[0]]
    rows = [(number, record) for number, record in enumerate(records[1:], start=2 + skipped) if record]
    ragged = [(number, record) for number, record in rows if len(record) != len(header)]
    fix = "write as many cells in every row as in the header; quote cells that contain the separator"
    mistakes += [
        Mistake(name, number, None, f"row does not have {len(header)} cells", separator.join(record), fix)
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
    """The most frequent separator in the first line; a comma if there is none."""
    first = text[: text.find("\n")] if "\n" in text else text
    return max(SEPARATORS, key=first.count)


def _header(header: list[str], name: str, *, row: int) -> tuple[list[tuple[int, str]], list[Mistake]]:
    """Position and name of the usable columns, and mistakes for columns without a name and repeated columns."""
    kept: list[tuple[int, str]] = []
    mistakes = []
    used: set[str] = set()
    for at, label in enumerate(header):
        if not label:
            fix = "name every column, or delete the unnamed one (pandas: to_csv(index=False))"
            mistakes.append(Mistake(name, row, f"number {at + 1}", "column without a name", label, fix))
        elif label in used:
            mistakes.append(Mistake(name, row, label, "two columns with the same name", label, "rename one of them"))
        else:
            used.add(label)
            kept.append((at, label))
    return kept, mistakes


def _parquet(data: bytes, name: str) -> Sheet:
    """The records of a Parquet file, each column as text or lists of text."""
    try:
        table = pl.read_parquet(io.BytesIO(data))
    except pl.exceptions.PolarsError as error:
        value = str(error).splitlines()[0]
        unreadable = Mistake(name, None, None, "invalid or incomplete Parquet file", value, "write the file again")
        return Sheet(pl.DataFrame({ROW: []}, schema={ROW: pl.Int64}), [unreadable])
    return sheet_of(table, name)


def sheet_of(table: pl.DataFrame, name: str) -> Sheet:
    """Convert a frame to a sheet, with each column as text or lists of text.

    Args:
        table: Frame with any types of columns.
        name: Name of the file, for messages.
    """
    columns, mistakes = [], []
    for series in table.get_columns():
        try:
            columns.append(as_text(series))
        except FieldmarkError as error:
            mistakes.append(Mistake(name, None, series.name, "cannot be read as text", str(error.got), error.fix[:-1]))
    rows = pl.Series(ROW, range(1, len(table) + 1), dtype=pl.Int64)
    return Sheet(pl.DataFrame([*columns, rows]), mistakes)

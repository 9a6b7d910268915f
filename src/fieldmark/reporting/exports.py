"""CSV tables of answers: exact values for programs, and safe cells for people who open them in a spreadsheet."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from fieldmark.core.errors import DataError, several
from fieldmark.core.files import write_bytes

Cell = str | int | float | bool | None

_STARTS_A_FORMULA = re.compile(r"[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")


def write_answers_csv(path: Path, rows: Iterable[Sequence[Cell]], columns: Sequence[str], *, for_people: bool) -> None:
    """Write a table as CSV. The file is replaced as a whole.

    A spreadsheet runs a cell that starts like a formula, so a photo named ``=cmd|...`` can attack the reader of the
    table. In tables for people, such texts get an apostrophe first (numbers stay numbers), and the file gets a
    byte-order mark, by which spreadsheets recognise UTF-8. Tables for programs, such as submissions, contain the exact
    values.

    Args:
        path: CSV file to write; its folder is created if it is missing.
        rows: Cells of each row, in the order of ``columns``; None is written as an empty cell.
        columns: Column names for the first line.
        for_people: Whether people may open the file in a spreadsheet.

    Raises:
        DataError: The number of cells of a row is wrong, or a text in a table for programs is not valid Unicode.

    Source:
        OWASP, "CSV Injection", which also lists the full-width forms of the four signs.
    """
    table = [list(row) for row in rows]
    uneven = [
        f"row {number}: {len(row)} cells" for number, row in enumerate(table, start=1) if len(row) != len(columns)
    ]
    if uneven:
        raise DataError(
            f"The table {path.name} needs {len(columns)} cells in every row.",
            got=several(uneven),
            fix=f"pass one cell per column in each row: {', '.join(columns)}.",
        )
    prepare = harmless if for_people else _as_it_is
    lines = [",".join(_quoted(prepare(cell)) for cell in row) for row in [list(columns), *table]]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, _encoded("\n".join(lines) + "\n", path, for_people=for_people))


def harmless(cell: Cell) -> str:
    """Return the text of a cell in a form that no spreadsheet runs as a formula.

    Example:
        >>> harmless("=1+1"), harmless("-0.5"), harmless(-0.5), harmless("w_1")
        ("'=1+1", '-0.5', '-0.5', 'w_1')
    """
    text = _as_it_is(cell)
    is_formula = isinstance(cell, str) and _STARTS_A_FORMULA.match(text) and not _NUMBER.fullmatch(text)
    return f"'{text}" if is_formula else text


def _as_it_is(cell: Cell) -> str:
    return "" if cell is None else str(cell)


def _quoted(text: str) -> str:
    """Quote a text if needed. The csv module does not quote a lone carriage return."""
    return '"' + text.replace('"', '""') + '"' if re.search(r'[",\r\n]', text) else text


def _encoded(text: str, path: Path, *, for_people: bool) -> bytes:
    """Encode a text as UTF-8. Other bytes of file names are kept (programs) or written as escapes (people)."""
    if for_people:
        return b"\xef\xbb\xbf" + text.encode(errors="backslashreplace")
    try:
        return text.encode(errors="surrogateescape")
    except UnicodeEncodeError as error:
        raise DataError(
            f"The table {path.name} contains a text that is not valid Unicode.",
            got=repr(error.object[error.start : error.end]),
            fix="rename that photo or label.",
        ) from error

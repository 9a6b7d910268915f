"""Tables of answers as CSV: to the byte for machines, harmless in a spreadsheet for people."""

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
    """Write a table, whole or not at all.

    A spreadsheet runs a cell that starts like a formula, so a photo named ``=cmd|...`` is an attack on whoever opens
    the table. Tables for people get an apostrophe before such texts (numbers stay numbers), and a byte-order mark, by
    which spreadsheets know UTF-8. Tables for machines, such as a submission, hold exactly what was given.

    Args:
        path: The file to write; its folder is made where missing.
        rows: The cells of each row, in the order of ``columns``; None is written as an empty cell.
        columns: The names in the first line.
        for_people: Whether somebody may open it in a spreadsheet.

    Raises:
        DataError: A row has another number of cells than there are columns; a name of a machine table is no Unicode.

    Source:
        OWASP, "CSV Injection", which also lists the full-width forms of the four signs.
    """
    table = [list(row) for row in rows]
    uneven = [
        f"row {number}: {len(row)} cells" for number, row in enumerate(table, start=1) if len(row) != len(columns)
    ]
    if uneven:
        raise DataError(
            f"{path.name} needs {len(columns)} cells in every row.",
            got=several(uneven),
            fix=f"give each row the cells of: {', '.join(columns)}.",
        )
    prepare = harmless if for_people else _as_it_is
    lines = [",".join(_quoted(prepare(cell)) for cell in row) for row in [list(columns), *table]]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, _encoded("\n".join(lines) + "\n", path, for_people=for_people))


def harmless(cell: Cell) -> str:
    """The text of a cell that no spreadsheet takes for a formula.

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
    """Quotes where a reader needs them: the csv module leaves a lone carriage return bare."""
    return '"' + text.replace('"', '""') + '"' if re.search(r'[",\r\n]', text) else text


def _encoded(text: str, path: Path, *, for_people: bool) -> bytes:
    """UTF-8; bytes of file names that are no UTF-8 come out as they were (machines) or as an escape (people)."""
    if for_people:
        return b"\xef\xbb\xbf" + text.encode(errors="backslashreplace")
    try:
        return text.encode(errors="surrogateescape")
    except UnicodeEncodeError as error:
        raise DataError(
            f"{path.name} cannot hold a text that is no Unicode.",
            got=repr(error.object[error.start : error.end]),
            fix="rename that photo or label.",
        ) from error

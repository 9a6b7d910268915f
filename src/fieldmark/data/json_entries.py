"""Readers of the lists in a JSON file: the whole file at once, or in batches for large files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

import polars as pl

from fieldmark.core.errors import DataError
from fieldmark.data.mistakes import Mistake
from fieldmark.data.sheets import ROW

PIECE = 1 << 20
"""Number of characters read at a time."""
BATCH = 1 << 15
"""Number of entries in a batch."""
FIX_ENTRY = "add the missing key to every entry; see the format of the contest or of COCO"

_BLANK = " \t\n\r"
_AFTER = frozenset(_BLANK + ",]}")


def load_json(file: Path) -> dict[str, Any]:
    """Read a JSON file that contains an object.

    Raises:
        DataError: The file cannot be opened, is not valid JSON, or does not contain an object.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise _unreadable(file, error) from error
    if not isinstance(content, dict):
        raise DataError(f"{file} has no known layout.", got=type(content).__name__, fix="give a JSON object.")
    return content


def stream_json(file: Path, *, batch: int = BATCH) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Iterate over the lists of a JSON object in batches, so that only one batch is in memory.

    Args:
        file: File with a JSON object. Values that are not lists are skipped.
        batch: Maximum number of entries in a batch.

    Yields:
        The key of a list and its next entries. An entry that is not an object is replaced by an empty one.

    Raises:
        DataError: The file cannot be opened, is not valid JSON, or does not contain an object.
    """
    try:
        with file.open(encoding="utf-8-sig") as text:
            reader = _Reader(text)
            for key in reader.keys():  # noqa: SIM118 - not a mapping: each step reads further in the file
                if not reader.skip("["):
                    reader.value()
                    continue
                entries: list[dict[str, Any]] = []
                for entry in reader.items():
                    entries.append(entry if isinstance(entry, dict) else {})
                    if len(entries) == batch:
                        yield key, entries
                        entries = []
                yield key, entries
    except (OSError, ValueError, RecursionError) as error:
        raise _unreadable(file, error) from error


class _Reader:
    """An incremental JSON parser that holds only the next piece of the text in memory."""

    def __init__(self, text: TextIO) -> None:
        self._text, self._held, self._at, self._ended = text, "", 0, False
        self._decode = json.JSONDecoder().raw_decode

    def keys(self) -> Iterator[str]:
        """The keys of the object. The caller must read the value of a key before it takes the next key."""
        self._expect("{")
        if not self.skip("}"):
            while True:
                key = self.value()
                if not isinstance(key, str):
                    raise self._wrong("a name in quotes")
                self._expect(":")
                yield key
                if self.skip("}"):
                    break
                self._expect(",")
        if self._next():
            raise self._wrong("the end of the file")

    def items(self) -> Iterator[Any]:
        """The entries of a list whose opening bracket was just skipped."""
        if self.skip("]"):
            return
        while True:
            yield self.value()
            if self.skip("]"):
                return
            self._expect(",")

    def value(self) -> Any:
        """The next complete value."""
        self._next()
        size = PIECE
        while True:
            try:
                found, end = self._decode(self._held, self._at)
            except ValueError:
                if self._ended:
                    raise
            else:
                # A number may continue in the next piece, even if this piece ends with "1." or "1e".
                is_cut = isinstance(found, int | float) and self._held[end : end + 1] not in _AFTER
                if (end < len(self._held) and not is_cut) or self._ended:
                    self._at = end
                    return found
            self._more(size)
            size *= 2

    def skip(self, mark: str) -> bool:
        """Skip a character if it comes next, and return whether it did."""
        found = self._next() == mark
        self._at += found
        return found

    def _expect(self, mark: str) -> None:
        if not self.skip(mark):
            raise self._wrong(f"{mark!r}")

    def _next(self) -> str:
        """The next character that is not white space; "" at the end of the file."""
        while True:
            while self._at < len(self._held):
                if self._held[self._at] not in _BLANK:
                    return self._held[self._at]
                self._at += 1
            if self._ended:
                return ""
            self._more(PIECE)

    def _more(self, size: int) -> None:
        piece = self._text.read(size)
        self._held, self._at, self._ended = self._held[self._at :] + piece, 0, not piece

    def _wrong(self, wanted: str) -> ValueError:
        return ValueError(f"{wanted} expected before {self._held[self._at : self._at + 20]!r}")


def _unreadable(file: Path, error: Exception) -> DataError:
    return DataError(f"{file} cannot be read as JSON.", got=error, fix="give a complete JSON file in UTF-8.")


def entries(content: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """The list under a key; empty if it is missing. Entries that are not objects are replaced by empty ones."""
    found = content.get(key)
    return [entry if isinstance(entry, dict) else {} for entry in found] if isinstance(found, list) else []


def texts(given: list[dict[str, Any]], keys: tuple[str, ...]) -> pl.Series:
    """For each entry the value of the first key that it has, as text; null if it has none of the keys."""
    first, *others = keys
    values = [entry.get(first) for entry in given]
    for key in others:
        values = [entry.get(key) if value is None else value for value, entry in zip(values, given, strict=True)]
    # Most values are text already, and there may be millions of them.
    return pl.Series([one if one is None or type(one) is str else str(one) for one in values], dtype=pl.String)


def table(
    given: list[dict[str, Any]], key: str, source: str, columns: Mapping[str, tuple[str, ...]], *, first: int = 1
) -> tuple[pl.DataFrame, list[Mistake]]:
    """Convert entries to columns of text, with ``ROW``. An entry without one of the columns is a mistake.

    Args:
        given: Entries of one list.
        key: Key of the list in the file.
        source: Name of the file.
        columns: For each column the possible keys of its values.
        first: Number of the first entry in its list.
    """
    made = pl.DataFrame({name: texts(given, keys) for name, keys in columns.items()})
    made = made.with_columns(pl.Series(ROW, range(first, first + len(given)), dtype=pl.Int64))
    mistakes = []
    for name, keys in columns.items():
        rows = made.filter(pl.col(name).is_null())[ROW]
        mistakes += [Mistake(source, row, f"{key}.{keys[0]}", "missing in this entry", "", FIX_ENTRY) for row in rows]
    return made, mistakes


def strays(rows: pl.DataFrame, column: str, problem: str, source: str, fix: str) -> list[Mistake]:
    """A mistake for every given row of annotations."""
    pairs = rows.select(ROW, pl.col(column).fill_null("")).iter_rows()
    return [Mistake(source, row, f"annotations.{column}", problem, value, fix) for row, value in pairs]


def names_beside(file: Path, kind: str, key: str, names: tuple[str, str]) -> dict[str, str]:
    """Ids and names from ``*task_map.json`` or ``*label_map.json`` in the folder of a file; empty if there is none."""
    beside = sorted(file.parent.glob(f"*{kind}.json"))
    if not beside:
        return {}
    return {str(entry.get(names[0])): str(entry.get(names[1])) for entry in entries(load_json(beside[0]), key)}

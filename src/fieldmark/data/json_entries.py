"""The lists of a JSON file, entry by entry: whole where the file is small, in batches where it may be large."""

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
"""Characters read at a time."""
BATCH = 1 << 15
"""Entries handed over at a time."""
FIX_ENTRY = "give every entry its id; see the form of the contest or of COCO"

_BLANK = " \t\n\r"
_AFTER = frozenset(_BLANK + ",]}")


def load_json(file: Path) -> dict[str, Any]:
    """The content of a JSON file, which must be an object.

    Raises:
        DataError: The file cannot be opened, is no JSON, or no object.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise _unreadable(file, error) from error
    if not isinstance(content, dict):
        raise DataError(f"{file} is of no known layout.", got=type(content).__name__, fix="give a JSON object.")
    return content


def stream_json(file: Path, *, batch: int = BATCH) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Walk through the lists of a JSON object without holding more than a batch of their entries.

    Args:
        file: Its content must be an object; what is no list in it is passed over.
        batch: Most entries at a time.

    Yields:
        The key of a list with its next entries; an entry that is no object comes as an empty one.

    Raises:
        DataError: The file cannot be opened, is no JSON, or no object.
    """
    try:
        with file.open(encoding="utf-8-sig") as text:
            reader = _Reader(text)
            for key in reader.keys():  # noqa: SIM118 - not a mapping: each step reads on in the file
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
    """A place in a JSON text of which only the next piece is in memory."""

    def __init__(self, text: TextIO) -> None:
        self._text, self._held, self._at, self._ended = text, "", 0, False
        self._decode = json.JSONDecoder().raw_decode

    def keys(self) -> Iterator[str]:
        """The keys of the one object; whoever asks for the next has read the value of the last."""
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
        """The entries of a list whose bracket was just skipped."""
        if self.skip("]"):
            return
        while True:
            yield self.value()
            if self.skip("]"):
                return
            self._expect(",")

    def value(self) -> Any:
        """The next value, whole."""
        self._next()
        size = PIECE
        while True:
            try:
                found, end = self._decode(self._held, self._at)
            except ValueError:
                if self._ended:
                    raise
            else:
                # A number may go on in the next piece, even where this one ends in "1." or "1e".
                cut = isinstance(found, int | float) and self._held[end : end + 1] not in _AFTER
                if (end < len(self._held) and not cut) or self._ended:
                    self._at = end
                    return found
            self._more(size)
            size *= 2

    def skip(self, mark: str) -> bool:
        """Step over a mark, if it comes next."""
        found = self._next() == mark
        self._at += found
        return found

    def _expect(self, mark: str) -> None:
        if not self.skip(mark):
            raise self._wrong(f"{mark!r}")

    def _next(self) -> str:
        """The next character that is no blank; "" at the end of the file."""
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
    return DataError(f"{file} cannot be read as JSON.", got=error, fix="give a whole JSON file in UTF-8.")


def entries(content: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """The list below a key; nothing where it is missing, entries that are no objects as empty ones."""
    found = content.get(key)
    return [entry if isinstance(entry, dict) else {} for entry in found] if isinstance(found, list) else []


def texts(given: list[dict[str, Any]], keys: tuple[str, ...]) -> pl.Series:
    """For each entry the first of the keys that it has, as text; null where it has none."""
    first, *others = keys
    values = [entry.get(first) for entry in given]
    for key in others:
        values = [entry.get(key) if value is None else value for value, entry in zip(values, given, strict=True)]
    # Most are text already, and there may be millions.
    return pl.Series([one if one is None or type(one) is str else str(one) for one in values], dtype=pl.String)


def table(
    given: list[dict[str, Any]], key: str, source: str, columns: Mapping[str, tuple[str, ...]], *, first: int = 1
) -> tuple[pl.DataFrame, list[Mistake]]:
    """Entries as columns of text with ``ROW``; entries that lack one are mistakes.

    Args:
        given: The entries of one list, or some of them.
        key: What the list is called in the file.
        source: What the file is called.
        columns: For each column the keys it may come from.
        first: The number of the first entry in its list.
    """
    made = pl.DataFrame({name: texts(given, keys) for name, keys in columns.items()})
    made = made.with_columns(pl.Series(ROW, range(first, first + len(given)), dtype=pl.Int64))
    mistakes = []
    for name, keys in columns.items():
        rows = made.filter(pl.col(name).is_null())[ROW]
        mistakes += [Mistake(source, row, f"{key}.{keys[0]}", "the entry lacks this", "", FIX_ENTRY) for row in rows]
    return made, mistakes


def strays(rows: pl.DataFrame, column: str, problem: str, source: str, fix: str) -> list[Mistake]:
    """A mistake for every row of annotations."""
    pairs = rows.select(ROW, pl.col(column).fill_null("")).iter_rows()
    return [Mistake(source, row, f"annotations.{column}", problem, value, fix) for row, value in pairs]


def names_beside(file: Path, kind: str, key: str, names: tuple[str, str]) -> dict[str, str]:
    """Ids and names of the one ``*task_map.json`` or ``*label_map.json`` beside a file; empty where there is none."""
    beside = sorted(file.parent.glob(f"*{kind}.json"))
    if not beside:
        return {}
    return {str(entry.get(names[0])): str(entry.get(names[1])) for entry in entries(load_json(beside[0]), key)}

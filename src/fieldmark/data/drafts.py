"""What a layout hands to the reader: a table in our names, still text, and where photos and label names are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from fieldmark.data.mistakes import Mistake
from fieldmark.data.questions import QuestionEntry
from fieldmark.data.sheets import ROW
from fieldmark.data.vocabulary import NEW_INDIVIDUAL


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a table of photos is to be read; ``fieldmark.data.reading.survey`` describes each."""

    layout: str = "auto"
    columns: Mapping[str, str] = field(default_factory=dict)
    questions: tuple[str, ...] = ()
    asked: tuple[QuestionEntry, ...] = ()
    photos: Path | None = None
    unknown: str | None = "auto"
    labelled: bool = True
    allow_outside: bool = False
    check_files: bool = True
    encoding: str = "utf-8"
    separator: str = "|"


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A table before it is checked.

    Attributes:
        table: Our columns as text (``labels`` and questions as lists of text), other columns, and ``ROW``.
        source: Name of the file it came from.
        name: What the collection may be called.
        folders: Where the photos may be, the likeliest first.
        theirs: Our column names with the user's, for messages.
        by_stem: Photos may be named without their ending.
        ending: The ending to add to names where the disk is not looked at.
        tags: The tags in column order, where the layout lists them; None: those that occur.
        tag_groups: Group of each tag, where the layout says so.
        questions: The columns that are questions.
        asked: The same with all that is known of them; empty where only names are.
        unknown: Label of unknown individuals in answers, where the table has none.
        mistakes: What is wrong so far.
        notes: What was left out rightly, or is worth knowing.
    """

    table: pl.DataFrame
    source: str
    name: str
    folders: tuple[Path, ...]
    theirs: Mapping[str, str] = field(default_factory=dict)
    by_stem: bool = False
    ending: str = ""
    tags: tuple[str, ...] | None = None
    tag_groups: Mapping[str, str] | None = None
    questions: tuple[str, ...] = ()
    asked: tuple[QuestionEntry, ...] = ()
    unknown: str = NEW_INDIVIDUAL
    mistakes: list[Mistake] = field(default_factory=list)
    notes: list[Mistake] = field(default_factory=list)

    def mark(self, bad: pl.Expr, *, column: str, problem: str, fix: str, value: pl.Expr | None = None) -> list[Mistake]:
        """A mistake for every row where ``bad`` is true; ``value`` is what it shows, else the column's text."""
        shown = (pl.col(column) if value is None else value).cast(pl.String).fill_null("")
        rows = self.table.filter(bad).select(pl.col(ROW), shown.alias("value"))
        theirs = self.theirs.get(column, column)
        return [Mistake(self.source, row, theirs, problem, text, fix) for row, text in rows.iter_rows()]

"""Drafts: the unchecked table that a layout returns, with the places of its photos and label names."""

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
    """The options of reading a table of photos; ``fieldmark.data.reading.survey`` describes each of them."""

    layout: str = "auto"
    columns: Mapping[str, str] = field(default_factory=dict)
    questions: tuple[str, ...] = ()
    question_entries: tuple[QuestionEntry, ...] = ()
    photos: Path | None = None
    unknown: str | None = "auto"
    labelled: bool = True
    allow_outside: bool = False
    check_files: bool = True
    encoding: str = "utf-8"
    separator: str = "|"


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A table before its rows are checked.

    Attributes:
        table: The columns of a collection as text (``labels`` and questions as lists of text), other columns, and
            ``ROW``.
        source: Name of the file of the table.
        name: Proposed name of the collection.
        folders: Possible folders of the photos, the most likely one first.
        theirs: For each column of the collection the name of the user's column, for messages.
        by_stem: Whether file names may lack their extension.
        ending: Extension to add to names if the files are not checked.
        tags: Tags in column order, if the layout lists them; None: the tags that occur.
        tag_groups: Group of each tag, if the layout defines groups.
        questions: Names of the columns that are questions.
        question_entries: The same questions with their answers and relations; empty if only names are given.
        unknown: Label of unknown individuals in answers, if the table has none.
        mistakes: Mistakes found so far.
        notes: Remarks that are not mistakes, for example files that were left out.
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
    question_entries: tuple[QuestionEntry, ...] = ()
    unknown: str = NEW_INDIVIDUAL
    mistakes: list[Mistake] = field(default_factory=list)
    notes: list[Mistake] = field(default_factory=list)

    def mark(self, bad: pl.Expr, *, column: str, problem: str, fix: str, value: pl.Expr | None = None) -> list[Mistake]:
        """A mistake for every row where ``bad`` is true. It shows ``value``, by default the text of the cell."""
        shown = (pl.col(column) if value is None else value).cast(pl.String).fill_null("")
        rows = self.table.filter(bad).select(pl.col(ROW), shown.alias("value"))
        theirs = self.theirs.get(column, column)
        return [Mistake(self.source, row, theirs, problem, text, fix) for row, text in rows.iter_rows()]

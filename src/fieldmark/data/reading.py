"""Reading of photo tables: ``read`` returns a collection, ``survey`` also returns all mistakes of the table."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from fieldmark.core.errors import FieldmarkError
from fieldmark.data.checks import check_duplicates, check_files, check_labels, check_values
from fieldmark.data.collection import Collection, labelled_unknowns, occurring, usual_unknowns
from fieldmark.data.drafts import Draft, Options
from fieldmark.data.frames import SCHEMA
from fieldmark.data.layouts import draft
from fieldmark.data.mistakes import Mistake, refusal
from fieldmark.data.questions import FILE, QuestionEntry, read_questions
from fieldmark.data.sheets import ROW
from fieldmark.data.vocabulary import Vocabulary


@dataclass(frozen=True)
class Survey:
    """The content of a table: valid rows, mistakes and notes.

    Attributes:
        collection: The rows without mistakes.
        mistakes: The mistakes for which ``read`` raises an error.
        notes: Harmless remarks, for example repeated rows and files that are not photos.
    """

    collection: Collection
    mistakes: tuple[Mistake, ...]
    notes: tuple[Mistake, ...] = ()


def read(  # noqa: PLR0913 - the options of reading, all by keyword
    path: Path | str,
    *,
    layout: str = "auto",
    columns: Mapping[str, str] | None = None,
    questions: Sequence[str | QuestionEntry] | Path | str | None = None,
    photos: Path | str | None = None,
    unknown: str | None = "auto",
    labelled: bool = True,
    allow_outside: bool = False,
    check_files: bool = True,
    encoding: str = "utf-8",
    separator: str = "|",
) -> Collection:
    """Read a table of photos. ``survey`` describes the options.

    Raises:
        DataError: There is nothing to read, or the table has mistakes. The error lists them by file, row and column.
    """
    found = survey(
        path,
        layout=layout,
        columns=columns,
        questions=questions,
        photos=photos,
        unknown=unknown,
        labelled=labelled,
        allow_outside=allow_outside,
        check_files=check_files,
        encoding=encoding,
        separator=separator,
    )
    if found.mistakes:
        raise refusal(str(path), found.mistakes)
    return found.collection


def survey(  # noqa: PLR0913 - the options of reading, all by keyword
    path: Path | str,
    *,
    layout: str = "auto",
    columns: Mapping[str, str] | None = None,
    questions: Sequence[str | QuestionEntry] | Path | str | None = None,
    photos: Path | str | None = None,
    unknown: str | None = "auto",
    labelled: bool = True,
    allow_outside: bool = False,
    check_files: bool = True,
    encoding: str = "utf-8",
    separator: str = "|",
) -> Survey:
    """Read the valid rows of a table of photos, and list the mistakes of all other rows.

    Args:
        path: A CSV, TSV, Parquet or JSON file, a folder with such a file, or a folder with one sub-folder for each
            individual.
        layout: "auto" recognises the layout. Else "table", "folders", "coco", "coco_identities", "humpback",
            "imet2019", "imaterialist2017", "imaterialist2018", or a layout from another package or script.
        columns: Column names, for example ``{"identity": "whale", "group": "dup_group"}`` for a table with the columns
            whale and dup_group. For other columns common names are recognised.
        questions: Names of the columns that are questions, or a TOML file (``fieldmark.data.questions``). An empty cell
            means that the photo is not labelled for the question. None: ``questions.toml`` in the folder of the table,
            if it exists.
        photos: Folder of the photos. None: the folder of the table and its common sub-folders.
        unknown: Label of unknown individuals in the table. "auto" recognises new_whale, unknown and new_individual.
            "" makes photos without identity unknown individuals. None: the table has no such label.
        labelled: False for new photos: labels may be missing.
        allow_outside: Whether photos may be outside of the folder of photos (absolute paths, ``..``, links).
        check_files: Whether the files must exist. If False, no file is checked and links are not resolved.
        encoding: Encoding of a text file.
        separator: Character between the labels of one cell.

    Raises:
        DataError: There is nothing to read at ``path``, or an option does not fit it.
    """
    entries = _question_entries(questions, Path(path), labelled=labelled)
    options = Options(
        layout=layout,
        columns=dict(columns or {}),
        questions=tuple(one.name for one in entries),
        question_entries=entries,
        photos=None if photos is None else Path(photos),
        unknown=unknown,
        labelled=labelled,
        allow_outside=allow_outside,
        check_files=check_files,
        encoding=encoding,
        separator=separator,
    )
    return _checked(draft(Path(path), options), options)


def _question_entries(
    questions: Sequence[str | QuestionEntry] | Path | str | None, path: Path, *, labelled: bool
) -> tuple[QuestionEntry, ...]:
    """The questions of the option ``questions``, or of the TOML file in the folder of the table."""
    if questions is None:
        beside = (path if path.is_dir() else path.parent) / FILE
        return read_questions(beside) if labelled and beside.is_file() else ()
    if isinstance(questions, str | Path):
        return read_questions(Path(questions))
    return tuple(QuestionEntry(name=one) if isinstance(one, str) else one for one in questions)


def _checked(made: Draft, options: Options) -> Survey:
    """The valid rows of the draft as a collection, and all mistakes."""
    if not {"image", "file"} <= set(made.table.columns) or made.table.is_empty():
        fix = "give a table or folder with at least one photo"
        mistakes = made.mistakes or [Mistake(made.source, None, None, "no photos found", "", fix)]
        empty = pl.DataFrame(schema={"image": pl.String, "file": pl.String})
        collection = Collection.of(empty, root=made.folders[0] if made.folders else Path(), name=made.name)
        return Survey(collection, tuple(mistakes), tuple(made.notes))

    made, mistakes = check_values(made)
    mistakes += check_labels(made, options)
    contradictions, repeats, notes = check_duplicates(made)
    made, root, lost = check_files(made, options)
    bad = {mistake.row for mistake in (*mistakes, *contradictions, *lost)} | set(repeats)
    table = made.table.filter(~pl.col(ROW).is_in(list(bad)) & ~pl.col("image").is_in(_ids_of(made, contradictions)))
    table, unknown = labelled_unknowns(_tidied(table, unknown=options.unknown), options.unknown, usual=made.unknown)
    vocabulary, ambiguous = _vocabulary(table, made, unknown)
    ambiguous += _missing_unknown(table, made, options)
    return Survey(
        Collection(table=table, root=root, vocabulary=vocabulary, name=made.name),
        (*made.mistakes, *mistakes, *contradictions, *lost, *ambiguous),
        (*made.notes, *notes),
    )


def _tidied(table: pl.DataFrame, *, unknown: str | None) -> pl.DataFrame:
    """The valid rows, with the columns of a collection first and with null for empty cells of identity and group."""
    for column in {"identity", "group"} & set(table.columns):
        blank = "" if column == "identity" and unknown == "" else None
        is_empty = pl.col(column).is_null() | (pl.col(column) == "")
        filled = pl.when(is_empty).then(pl.lit(blank, dtype=pl.String)).otherwise(column)
        table = table.with_columns(filled.alias(column))
    ours = [column for column in SCHEMA if column in table.columns]
    return table.select(ours + [column for column in table.columns if column not in {*SCHEMA, ROW}])


def _vocabulary(table: pl.DataFrame, made: Draft, unknown: str | None) -> tuple[Vocabulary, list[Mistake]]:
    """The vocabulary of the names that occur or that the layout lists, and mistakes of the names.

    Several labels for unknown individuals are a mistake.
    """
    tags, groups, questions = made.tags, made.tag_groups, made.question_entries or made.questions
    try:
        vocabulary = occurring(
            table, unknown=unknown, tags=tags, tag_groups=groups, questions=questions, usual=made.unknown
        )
    except FieldmarkError as error:
        column = made.theirs.get("identity", "identity") if "unknown individuals" in error.problem else None
        mistake = Mistake(made.source, None, column, error.problem, str(error.got), error.fix.rstrip("."))
        return occurring(table, unknown=None, tags=tags, tag_groups=groups, questions=made.questions), [mistake]
    return vocabulary, []


def _missing_unknown(table: pl.DataFrame, made: Draft, options: Options) -> list[Mistake]:
    """A mistake if no photo has the given label of unknown individuals, but photos have another common one.

    Without this check the unknown individuals would become one known individual.
    """
    if not options.unknown or options.unknown == "auto" or "identity" not in table.columns:
        return []
    names = table["identity"].drop_nulls().unique().to_list()
    others = usual_unknowns(names)
    if options.unknown in names or not others:
        return []
    column = made.theirs.get("identity", "identity")
    problem, fix = "no photo has the label of unknown individuals", f"use --unknown {shlex.quote(others[0])}"
    return [Mistake(made.source, None, column, problem, f"{options.unknown} (there is {others[0]})", fix)]


def _ids_of(made: Draft, mistakes: Sequence[Mistake]) -> list[str]:
    """The ids in the rows of the mistakes. If rows of an id contradict each other, all of them are left out."""
    rows = [mistake.row for mistake in mistakes]
    return made.table.filter(pl.col(ROW).is_in(rows))["image"].drop_nulls().to_list()

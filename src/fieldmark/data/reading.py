"""Any table of photos to a Collection: every mistake told at once, or the good rows with a list of the rest."""

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
    """What a table holds, good and bad.

    Attributes:
        collection: The rows without a mistake.
        mistakes: What ``read`` would refuse.
        notes: What is harmless and yet worth knowing: rows that stand twice, files that are no photos.
    """

    collection: Collection
    mistakes: tuple[Mistake, ...]
    notes: tuple[Mistake, ...] = ()


def read(  # noqa: PLR0913 - the reader's options, all by keyword
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
    """The collection at ``path``, if all of it is in order. ``survey`` describes the options.

    Raises:
        DataError: There is nothing to read, or the table has mistakes; all of them are told, by file, row and column.
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


def survey(  # noqa: PLR0913 - the reader's options, all by keyword
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
    """The good rows at ``path``, and every mistake of the others.

    Args:
        path: A CSV, TSV, Parquet or JSON file, or a folder that holds one, or a folder with a folder for each
            individual.
        layout: "auto" goes by the looks; else "table", "folders", "coco", "coco_identities", "humpback", "imet2019",
            "imaterialist2017", "imaterialist2018", or one that another package or a script registered.
        columns: Our column names with the table's, ``{"identity": "whale", "group": "dup_group"}``; for the others the
            names the field uses are recognised.
        questions: The columns that are questions, or a TOML file about them (``fieldmark.data.questions``); an empty
            cell is a question not answered. None: ``questions.toml`` beside the table, if it lies there.
        photos: The folder of the photos, if it is not the table's own or one that is usual beside it.
        unknown: The identity that stands for "nobody we know"; "auto" knows new_whale, unknown and new_individual;
            "" makes photos without identity unknown individuals; None: there is none.
        labelled: False for new photos: labels may be missing.
        allow_outside: Photos may lie outside of the folder of photos (absolute paths, ``..``, links).
        check_files: False leaves the disk alone: no file need exist, and links are not looked through.
        encoding: How a text table is written.
        separator: What stands between the labels of one cell.

    Raises:
        DataError: There is nothing to read at ``path``, or an option does not fit it.
    """
    asked = _asked(questions, Path(path), labelled=labelled)
    options = Options(
        layout=layout,
        columns=dict(columns or {}),
        questions=tuple(one.name for one in asked),
        asked=asked,
        photos=None if photos is None else Path(photos),
        unknown=unknown,
        labelled=labelled,
        allow_outside=allow_outside,
        check_files=check_files,
        encoding=encoding,
        separator=separator,
    )
    return _checked(draft(Path(path), options), options)


def _asked(
    questions: Sequence[str | QuestionEntry] | Path | str | None, path: Path, *, labelled: bool
) -> tuple[QuestionEntry, ...]:
    """The questions that are meant."""
    if questions is None:
        beside = (path if path.is_dir() else path.parent) / FILE
        return read_questions(beside) if labelled and beside.is_file() else ()
    if isinstance(questions, str | Path):
        return read_questions(Path(questions))
    return tuple(QuestionEntry(name=one) if isinstance(one, str) else one for one in questions)


def _checked(made: Draft, options: Options) -> Survey:
    """The draft's good rows as a collection, with all mistakes."""
    if not {"image", "file"} <= set(made.table.columns) or made.table.is_empty():
        fix = "give a table or folder with at least one photo"
        mistakes = made.mistakes or [Mistake(made.source, None, None, "has no photos", "", fix)]
        nothing = pl.DataFrame(schema={"image": pl.String, "file": pl.String})
        collection = Collection.of(nothing, root=made.folders[0] if made.folders else Path(), name=made.name)
        return Survey(collection, tuple(mistakes), tuple(made.notes))

    made, mistakes = check_values(made)
    mistakes += check_labels(made, options)
    contradictions, repeats, notes = check_duplicates(made)
    made, root, lost = check_files(made, options)
    bad = {mistake.row for mistake in (*mistakes, *contradictions, *lost)} | set(repeats)
    table = made.table.filter(~pl.col(ROW).is_in(list(bad)) & ~pl.col("image").is_in(_ids_of(made, contradictions)))
    table, unknown = labelled_unknowns(_tidied(table, unknown=options.unknown), options.unknown, usual=made.unknown)
    vocabulary, ambiguous = _vocabulary(table, made, unknown)
    ambiguous += _unheard(table, made, options)
    return Survey(
        Collection(table=table, root=root, vocabulary=vocabulary, name=made.name),
        (*made.mistakes, *mistakes, *contradictions, *lost, *ambiguous),
        (*made.notes, *notes),
    )


def _tidied(table: pl.DataFrame, *, unknown: str | None) -> pl.DataFrame:
    """The good rows with our columns first; empty cells of identity and group are missing ones."""
    for column in {"identity", "group"} & set(table.columns):
        blank = "" if column == "identity" and unknown == "" else None
        is_empty = pl.col(column).is_null() | (pl.col(column) == "")
        filled = pl.when(is_empty).then(pl.lit(blank, dtype=pl.String)).otherwise(column)
        table = table.with_columns(filled.alias(column))
    ours = [column for column in SCHEMA if column in table.columns]
    return table.select(ours + [column for column in table.columns if column not in {*SCHEMA, ROW}])


def _vocabulary(table: pl.DataFrame, made: Draft, unknown: str | None) -> tuple[Vocabulary, list[Mistake]]:
    """The names that occur, or that the layout lists; two words for the unknown identity are a mistake."""
    tags, groups, questions = made.tags, made.tag_groups, made.asked or made.questions
    try:
        vocabulary = occurring(
            table, unknown=unknown, tags=tags, tag_groups=groups, questions=questions, usual=made.unknown
        )
    except FieldmarkError as error:
        column = made.theirs.get("identity", "identity") if "unknown identity" in error.problem else None
        mistake = Mistake(made.source, None, column, error.problem, str(error.got), error.fix.rstrip("."))
        return occurring(table, unknown=None, tags=tags, tag_groups=groups, questions=made.questions), [mistake]
    return vocabulary, []


def _unheard(table: pl.DataFrame, made: Draft, options: Options) -> list[Mistake]:
    """A word for unknown individuals that nobody bears, where photos bear another that is usual: their unknown individuals are named."""
    if not options.unknown or options.unknown == "auto" or "identity" not in table.columns:
        return []
    names = table["identity"].drop_nulls().unique().to_list()
    others = usual_unknowns(names)
    if options.unknown in names or not others:
        return []
    column = made.theirs.get("identity", "identity")
    problem, fix = "no photo bears the word for nobody we know", f"--unknown {shlex.quote(others[0])}"
    return [Mistake(made.source, None, column, problem, f"{options.unknown} (there is {others[0]})", fix)]


def _ids_of(made: Draft, mistakes: Sequence[Mistake]) -> list[str]:
    """The ids in the rows of some mistakes: none of an id's contradicting rows can be trusted."""
    rows = [mistake.row for mistake in mistakes]
    return made.table.filter(pl.col(ROW).is_in(rows))["image"].drop_nulls().to_list()

"""The collection: a table of photos with their labels, boxes, dates and other data."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl
from jaxtyping import Bool, Float32, Int64

from fieldmark.core.errors import DataError, nearest, several
from fieldmark.core.files import write_text
from fieldmark.data.frames import SCHEMA, of_any, typed
from fieldmark.data.questions import QuestionEntry, questions_of
from fieldmark.data.vocabulary import GROUP_MARK, NEW_INDIVIDUAL, UNKNOWN, UNKNOWN_NAMES, Vocabulary, default_unknown

BOX = ("box_x", "box_y", "box_w", "box_h")


@dataclass(frozen=True, eq=False)
class Collection:
    """A table of photos with one row per photo. A collection is immutable: methods return new collections.

    Attributes:
        table: Frame with the columns ``image`` (id, text) and ``file`` (text, below ``root``). Optional columns are
            ``identity``, ``labels`` (list of text), ``group``, ``date``, ``box_x box_y box_w box_h`` (px of the
            original photo), ``width`` and ``height`` (size of the original photo in px), ``url``, ``text``, and one
            column (list of text) for each question of the vocabulary. All other columns are kept as text.
        root: Folder of the photos.
        vocabulary: Allowed names in ``identity``, ``labels`` and the questions.
        name: Name of the collection in reports.
    """

    table: pl.DataFrame
    root: Path
    vocabulary: Vocabulary
    name: str = "collection"

    def __post_init__(self) -> None:
        missing = [column for column in ("image", "file") if column not in self.table.columns]
        missing += [question.name for question in self.vocabulary.questions if question.name not in self.table.columns]
        if missing:
            raise DataError(
                "Required columns are missing in the table of photos.",
                got=several(missing),
                fix=f"add or rename columns; the table has {', '.join(self.table.columns) or 'none'}.",
            )
        object.__setattr__(self, "table", typed(self.table, lists=[q.name for q in self.vocabulary.questions]))
        object.__setattr__(self, "root", Path(self.root))
        images = self.table["image"]
        if images.null_count() or images.n_unique() < len(images):
            twice = self.table.filter(pl.col("image").is_duplicated() | pl.col("image").is_null())["image"]
            raise DataError(
                "Column 'image': some ids are missing or occur twice.",
                got=several(twice.unique(maintain_order=True).to_list()),
                fix="give every row a unique image id.",
            )
        _ = self.classes  # names missing in the vocabulary raise an error now, not at first use

    @classmethod
    def of(
        cls,
        frame: Any,
        *,
        root: Path | str,
        name: str = "collection",
        unknown: str | None = "auto",
        questions: Sequence[str | QuestionEntry] = (),
        vocabulary: Vocabulary | None = None,
    ) -> Self:
        """Create a collection from a polars or pandas frame, or from a mapping of columns.

        Args:
            frame: Table with the column names of ``Collection.table``. It needs a column ``image`` or ``file``; if one
                of them is missing, it is copied from the other.
            root: Folder of the photos.
            name: Name of the collection in reports.
            unknown: Label of unknown individuals in the frame. "auto" recognises new_whale, unknown and
                new_individual. "": an empty name. None: no photo shows an unknown individual.
            questions: Columns that are questions, as names or as ``QuestionEntry``.
            vocabulary: Allowed names; None: the names that occur in the frame.

        Raises:
            DataError: A column is missing, an id occurs twice, or a name is not in ``vocabulary``.
        """
        table = of_any(frame)
        if "image" not in table.columns and "file" in table.columns:
            table = table.with_columns(image=pl.col("file"))
        if "file" not in table.columns and "image" in table.columns:
            table = table.with_columns(file=pl.col("image"))
        columns = [one if isinstance(one, str) else one.name for one in questions]
        absent = [column for column in columns if column not in table.columns]
        if absent:
            raise DataError(
                "The table has no column for a question.",
                got=several(absent),
                fix=nearest(absent[0], table.columns),
            )
        table = typed(table, lists=columns)
        if vocabulary is None:
            table, unknown = labelled_unknowns(table, unknown)
        vocabulary = vocabulary or occurring(table, unknown=unknown, questions=questions)
        return cls(table=table, root=Path(root), vocabulary=vocabulary, name=name)

    def __len__(self) -> int:
        return len(self.table)

    def __repr__(self) -> str:
        known = len(self.vocabulary.identities)
        return f"Collection({self.name!r}, {len(self)} photos, {known} identities, {len(self.vocabulary.tags)} tags)"

    @property
    def images(self) -> list[str]:
        """The id of each photo."""
        return self.table["image"].to_list()

    @property
    def paths(self) -> list[Path]:
        """The file of each photo."""
        return [self.root / file for file in self.table["file"]]

    @property
    def present(self) -> Bool[np.ndarray, " image"]:
        """Whether each photo has a file. An empty file name marks a row whose photo no longer exists."""
        return (self.table["file"] != "").to_numpy()

    def lost(self) -> list[Path]:
        """The files of the table that do not exist, for example because the photos were moved."""
        return [path for path, there in zip(self.paths, self.present, strict=True) if there and not path.is_file()]

    @cached_property
    def classes(self) -> Int64[np.ndarray, " image"]:
        """Class of the identity of each photo; -1: unknown individual, -2: no identity in the table."""
        if "identity" not in self.table.columns:
            return _frozen(np.full(len(self), -2, dtype=np.int64))
        return _frozen(self.vocabulary.classes(self.table["identity"]))

    @cached_property
    def groups(self) -> Int64[np.ndarray, " image"]:
        """Group number of each photo. A photo without a group has its own number."""
        alone = pl.concat_str(pl.lit("photo "), pl.int_range(pl.len()).cast(pl.String))
        key = alone
        if "group" in self.table.columns:
            key = pl.coalesce(pl.concat_str(pl.lit("group "), pl.col("group")), alone)
        return _frozen(self.table.select((key.rank("dense") - 1).cast(pl.Int64)).to_series().to_numpy().copy())

    @cached_property
    def extra(self) -> Bool[np.ndarray, " image"]:
        """Whether each photo is for training only: it is never in validation, and new photos are not compared with it.

        These photos come from another collection. They have yes (or y, true, 1, x) in the column ``extra``.
        """
        if "extra" not in self.table.columns:
            return _frozen(np.zeros(len(self), np.bool_))
        cells = self.table["extra"].fill_null("").str.strip_chars().str.to_lowercase()
        return _frozen(cells.is_in(["yes", "y", "true", "1", "x"]).to_numpy().copy())

    @property
    def boxes(self) -> Float32[np.ndarray, "image 4"] | None:
        """Left, top, width and height in px of the original photo; nan for photos without box; None without columns."""
        if not set(BOX) <= set(self.table.columns):
            return None
        return self.table.select(BOX).fill_null(float("nan")).to_numpy().astype(np.float32)

    @property
    def dates(self) -> np.ndarray | None:
        """Date of each photo as ``datetime64[D]`` (NaT if missing); None without a date column."""
        return self.table["date"].to_numpy().astype("datetime64[D]") if "date" in self.table.columns else None

    @property
    def truth(self) -> Float32[np.ndarray, "image label"]:
        """Label matrix: 1 if the photo has the tag, else 0. Without a column ``labels`` it is all zeros.

        Raises:
            DataError: A label is not in the vocabulary.
        """
        labels = self.table["labels"] if "labels" in self.table.columns else [None] * len(self)
        return self.vocabulary.truth(labels)

    def answers(self, question: str) -> Float32[np.ndarray, "image label"]:
        """Label matrix of one question: 1 for right answers, else 0. The row of an unlabelled photo is all zeros.

        Raises:
            DataError: There is no such question, or an answer is not allowed.
        """
        self.vocabulary.question(question)
        return self.vocabulary.answers(question, self.table[question])

    def answering(self) -> Self:
        """The same photos with the answers as labels ``question::answer``. Each question is a label group.

        Networks that predict labels can then be trained on questions. The former labels are removed. The questions
        stay in the vocabulary.
        """
        vocabulary = self.vocabulary
        marked = [
            pl.col(one.name).list.eval(pl.lit(f"{one.name}{GROUP_MARK}") + pl.element()).fill_null([])
            for one in vocabulary.questions
        ]
        empty = pl.lit([], dtype=pl.List(pl.String))
        labels = pl.concat_list(marked) if marked else empty
        groups = [one.name for one in vocabulary.questions for _ in one.answers]
        known = {"tags": vocabulary.answer_names, "tag_groups": tuple(groups), "identities": ()}
        return replace(
            self,
            table=self.table.drop("identity", strict=False).with_columns(labels=labels),
            vocabulary=vocabulary.model_copy(update=known),
        )

    @property
    def has_answer(self) -> Bool[np.ndarray, "image question"]:
        """Whether each photo is labelled for each question. For unlabelled questions the right answer is unknown."""
        lists = [self.table[one.name].list.len().fill_null(0) > 0 for one in self.vocabulary.questions]
        return np.stack([one.to_numpy() for one in lists], axis=1) if lists else np.zeros((len(self), 0), np.bool_)

    def take(self, rows: Sequence[int] | np.ndarray) -> Self:
        """The photos of the given rows (row numbers or a boolean mask), with the same vocabulary."""
        rows = np.asarray(rows)
        if rows.dtype == np.bool_:
            if rows.shape != (len(self),):
                raise DataError(
                    "rows must have one True or False for each photo.",
                    got=f"{len(rows)} values for {len(self)} photos",
                    fix="pass a mask with one value per photo, or row numbers.",
                )
            rows = np.flatnonzero(rows)
        return replace(self, table=self.table[rows.astype(np.int64)])

    def with_group(self, column: str) -> Self:
        """The same photos, grouped by another column (for example ``dup_group``, an encounter or an artist).

        Raises:
            DataError: There is no such column.
        """
        if column not in self.table.columns:
            raise DataError(
                "The table has no column of that name for groups.",
                got=column,
                fix=nearest(column, self.table.columns),
            )
        text = pl.col(column).cast(pl.String)
        return replace(self, table=self.table.with_columns(group=pl.when(text != "").then(text)))

    def under(self, vocabulary: Vocabulary) -> Self:
        """The same photos with another vocabulary. Individuals that it does not contain become unknown individuals.

        Use it to evaluate a trained model on new photos: the identities of the model define who is unknown.
        """
        table = self.table
        if "identity" in table.columns:
            known = pl.col("identity").is_in(list(vocabulary.identities)) | pl.col("identity").is_null()
            table = table.with_columns(identity=pl.when(known).then("identity").otherwise(pl.lit(vocabulary.unknown)))
        return replace(self, table=table, vocabulary=vocabulary)

    def fingerprint(self) -> str:
        """Hash (16 hex digits) of the table, the vocabulary, and the name and size of each file.

        The folder of the photos has no effect on it.
        """
        vocabulary = self.vocabulary.to_json()
        if self.vocabulary.has_default_unknown and not (self.classes == UNKNOWN).any():
            # A label that no photo has is not part of the data. So runs of earlier versions keep their fingerprints.
            vocabulary = vocabulary.replace(f'\n "unknown": "{self.vocabulary.unknown}",', '\n "unknown": null,', 1)
        digest = hashlib.sha256(vocabulary.encode())
        digest.update(repr(sorted(self.table.schema.items())).encode())
        digest.update(self.table.select(sorted(self.table.columns)).write_json().encode())
        sizes = [_size(f"{self.root}/{file}") if file else -1 for file in self.table["file"]]
        digest.update(json.dumps(sizes).encode())
        return digest.hexdigest()[:16]

    def write(self, folder: Path | str) -> None:
        """Write ``collection.parquet``, ``vocabulary.json`` and ``collection.json`` (name and root) to a folder."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.table.write_parquet(folder / "collection.parquet")
        (folder / "vocabulary.json").write_text(self.vocabulary.to_json(), encoding="utf-8")
        self.note_root(folder)

    def note_root(self, folder: Path | str) -> None:
        """Update the folder of the photos in ``collection.json`` of a folder that ``write`` created."""
        about = json.dumps({"name": self.name, "root": str(self.root.absolute())}, ensure_ascii=False)
        write_text(Path(folder) / "collection.json", about)

    @classmethod
    def open(cls, folder: Path | str, *, root: Path | str | None = None) -> Self:
        """Read a collection that ``write`` saved to a folder.

        Args:
            folder: Folder of the saved collection.
            root: New folder of the photos, if they were moved.

        Raises:
            DataError: A file is missing or damaged.
        """
        folder = Path(folder)
        try:
            about = json.loads((folder / "collection.json").read_text(encoding="utf-8"))
            vocabulary = Vocabulary.from_json((folder / "vocabulary.json").read_text(encoding="utf-8"))
            with (folder / "collection.parquet").open("rb") as file:
                table = pl.read_parquet(file)
            return cls(table=table, root=Path(root or about["root"]), vocabulary=vocabulary, name=about["name"])
        except (OSError, ValueError, KeyError, TypeError, pl.exceptions.PolarsError) as error:
            raise DataError(
                f"The folder {folder} does not hold a complete collection.",
                got=error,
                fix="give a folder written by Collection.write(), with collection.parquet, vocabulary.json and "
                "collection.json.",
            ) from error


def occurring(
    table: pl.DataFrame,
    *,
    unknown: str | None,
    questions: Sequence[str | QuestionEntry] = (),
    tags: Iterable[str] | None = None,
    tag_groups: Mapping[str, str] | None = None,
    usual: str = NEW_INDIVIDUAL,
) -> Vocabulary:
    """Create the vocabulary of the names that occur in a table, sorted.

    Args:
        table: Frame with the columns of ``Collection.table`` in their types.
        unknown: Label of unknown individuals. "auto" recognises ``UNKNOWN_NAMES``. None: the table has no such label.
        questions: Columns that are questions, as names or as ``QuestionEntry``.
        tags: Tags in column order; None: the tags that occur.
        tag_groups: Group of each tag; None: the text before "::".
        usual: Label of unknown individuals in answers, if the table has none.

    Raises:
        DataError: With "auto", the table has several labels of unknown individuals. Or a question has an answer that
            is not among its listed answers.
    """
    identities = table["identity"].drop_nulls().unique().to_list() if "identity" in table.columns else []
    if unknown == "auto":
        words = usual_unknowns(identities)
        if len(words) > 1:
            raise DataError(
                "The table has more than one label for unknown individuals.",
                got=several([repr(word) for word in words]),
                fix=f"choose one, for example unknown={words[0]!r}, or use one label in the whole table.",
            )
        unknown = words[0] if words else None
    unknown = default_unknown(identities, usual) if unknown is None else unknown
    if tags is None:
        tags = _names(table["labels"]) if "labels" in table.columns else []
    return Vocabulary.of(
        identities=identities,
        unknown=unknown,
        tags=tags,
        tag_groups=tag_groups,
        questions=questions_of(table, questions),
    )


def labelled_unknowns(
    table: pl.DataFrame, unknown: str | None, *, usual: str = NEW_INDIVIDUAL
) -> tuple[pl.DataFrame, str | None]:
    """Replace empty names of unknown individuals by a label, and return the table and the label.

    Args:
        table: Frame with the columns of ``Collection.table``.
        unknown: Label of unknown individuals. The table is changed only if it is "".
        usual: The preferred label. Another one is used if an individual has this name.
    """
    if unknown != "" or "identity" not in table.columns:
        return table, unknown
    label = default_unknown(table["identity"].drop_nulls().unique().to_list(), usual)
    named = pl.when(pl.col("identity") == "").then(pl.lit(label)).otherwise("identity")
    return table.with_columns(identity=named), label


def usual_unknowns(identities: Iterable[str]) -> list[str]:
    """The names that are recognised automatically as labels of unknown individuals, sorted."""
    return sorted(name for name in identities if name.strip().casefold() in UNKNOWN_NAMES)


def _names(lists: pl.Series) -> list[str]:
    """The distinct names in a column of lists, sorted."""
    return sorted(set(lists.explode().drop_nulls().to_list()))


def _frozen(array: np.ndarray) -> np.ndarray:
    """The array, made read-only because several callers share it."""
    array.flags.writeable = False
    return array


def _size(path: str) -> int:
    """Size of a file in bytes; -1 if it is missing."""
    try:
        return os.stat(path).st_size  # noqa: PTH116 - Path objects would cost eight times as much
    except (OSError, ValueError):
        return -1


__all__ = ["BOX", "SCHEMA", "UNKNOWN_NAMES", "Collection", "labelled_unknowns", "occurring", "usual_unknowns"]

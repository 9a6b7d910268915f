"""A table of photos with what is known about them: the value every other room starts from."""

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
    """One row a photo; a frozen value, never changed in place.

    Attributes:
        table: ``image`` (id, text) and ``file`` (text, below ``root``), and as present ``identity``, ``labels``
            (list of text), ``group``, ``date``, ``box_x box_y box_w box_h`` (px of the true size), ``width`` and
            ``height`` (true size in px), ``url``, ``text``; one column (list of text) for each question of the
            vocabulary; any other column is carried along as text.
        root: The folder of the photos.
        vocabulary: The names that may occur in ``identity``, ``labels`` and the questions.
        name: What the collection is called in reports.
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
                "The table of photos lacks columns.",
                got=several(missing),
                fix=f"name them; the table has {', '.join(self.table.columns) or 'none'}.",
            )
        object.__setattr__(self, "table", typed(self.table, lists=[q.name for q in self.vocabulary.questions]))
        object.__setattr__(self, "root", Path(self.root))
        images = self.table["image"]
        if images.null_count() or images.n_unique() < len(images):
            twice = self.table.filter(pl.col("image").is_duplicated() | pl.col("image").is_null())["image"]
            raise DataError(
                "Photos need an id each, and no two the same.",
                got=several(twice.unique(maintain_order=True).to_list()),
                fix="give every row its own image id.",
            )
        _ = self.classes  # names that the vocabulary does not have are refused now, not at first use

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
        """A collection from a polars or pandas frame (or a mapping of columns) in our column names.

        Args:
            frame: At least a column ``image`` or ``file``; the other of the two is taken from it.
            root: The folder of the photos.
            name: What the collection is called in reports.
            unknown: Label of unknown individuals in the frame. "auto" recognises new_whale, unknown and
                new_individual. "": an empty name. None: no photo shows an unknown individual.
            questions: The columns that are questions, by name or with all that is known of them.
            vocabulary: The names to use instead of those that occur in the frame.

        Raises:
            DataError: A column is missing, an id stands twice, or a name is not in ``vocabulary``.
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
                "The table lacks a column for a question.",
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
        """Whether a photo has a file; an empty name stands for a photo that is gone, of which only the row is left."""
        return (self.table["file"] != "").to_numpy()

    def lost(self) -> list[Path]:
        """The files that should be there and are not, as when the photos were moved."""
        return [path for path, there in zip(self.paths, self.present, strict=True) if there and not path.is_file()]

    @cached_property
    def classes(self) -> Int64[np.ndarray, " image"]:
        """Class of each photo's identity; -1 the unknown identity, -2 none given."""
        if "identity" not in self.table.columns:
            return _frozen(np.full(len(self), -2, dtype=np.int64))
        return _frozen(self.vocabulary.classes(self.table["identity"]))

    @cached_property
    def groups(self) -> Int64[np.ndarray, " image"]:
        """A number each photo shares with the photos of its group; a photo without group has its own."""
        alone = pl.concat_str(pl.lit("photo "), pl.int_range(pl.len()).cast(pl.String))
        key = alone
        if "group" in self.table.columns:
            key = pl.coalesce(pl.concat_str(pl.lit("group "), pl.col("group")), alone)
        return _frozen(self.table.select((key.rank("dense") - 1).cast(pl.Int64)).to_series().to_numpy().copy())

    @cached_property
    def extra(self) -> Bool[np.ndarray, " image"]:
        """Photos of another collection that teach and nothing more: they never judge, and nobody is compared to them.

        Those with yes (y, true, 1, x) in the column ``extra``; none without the column.
        """
        if "extra" not in self.table.columns:
            return _frozen(np.zeros(len(self), np.bool_))
        told = self.table["extra"].fill_null("").str.strip_chars().str.to_lowercase()
        return _frozen(told.is_in(["yes", "y", "true", "1", "x"]).to_numpy().copy())

    @property
    def boxes(self) -> Float32[np.ndarray, "image 4"] | None:
        """Left, top, width, height in px of the true size; nan where a photo has no box; None without box columns."""
        if not set(BOX) <= set(self.table.columns):
            return None
        return self.table.select(BOX).fill_null(float("nan")).to_numpy().astype(np.float32)

    @property
    def dates(self) -> np.ndarray | None:
        """Day of each photo as ``datetime64[D]`` (NaT where missing); None without a date column."""
        return self.table["date"].to_numpy().astype("datetime64[D]") if "date" in self.table.columns else None

    @property
    def truth(self) -> Float32[np.ndarray, "image label"]:
        """1 where a photo has the tag, else 0; without a column of labels all zeros.

        Raises:
            DataError: A label is not in the vocabulary.
        """
        labels = self.table["labels"] if "labels" in self.table.columns else [None] * len(self)
        return self.vocabulary.truth(labels)

    def answers(self, question: str) -> Float32[np.ndarray, "image label"]:
        """1 where an answer to ``question`` is right; a row of zeros where the photo's answer is not given.

        Raises:
            DataError: There is no such question, or an answer is not allowed.
        """
        self.vocabulary.question(question)
        return self.vocabulary.answers(question, self.table[question])

    def answering(self) -> Self:
        """The same photos with every answer as a label, named ``question::answer``; a question is a label group.

        So whatever learns labels learns answers. Labels that the photos had go; the questions stay in the vocabulary.
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
    def told(self) -> Bool[np.ndarray, "image question"]:
        """Whether a photo's answer to each question is given; where it is not, no answer is known to be wrong."""
        lists = [self.table[one.name].list.len().fill_null(0) > 0 for one in self.vocabulary.questions]
        return np.stack([one.to_numpy() for one in lists], axis=1) if lists else np.zeros((len(self), 0), np.bool_)

    def take(self, rows: Sequence[int] | np.ndarray) -> Self:
        """The photos of those rows (numbers, or one True or False a photo), with the same vocabulary."""
        rows = np.asarray(rows)
        if rows.dtype == np.bool_:
            if rows.shape != (len(self),):
                raise DataError(
                    "A choice of photos needs one True or False for each.",
                    got=f"{len(rows)} for {len(self)} photos",
                    fix="pass a mask as long as the collection, or row numbers.",
                )
            rows = np.flatnonzero(rows)
        return replace(self, table=self.table[rows.astype(np.int64)])

    def with_group(self, column: str) -> Self:
        """The same photos, grouped by another column (``dup_group``, an encounter, an artist).

        Raises:
            DataError: There is no such column.
        """
        if column not in self.table.columns:
            raise DataError("There is no such column to group by.", got=column, fix=nearest(column, self.table.columns))
        text = pl.col(column).cast(pl.String)
        return replace(self, table=self.table.with_columns(group=pl.when(text != "").then(text)))

    def under(self, vocabulary: Vocabulary) -> Self:
        """The same photos seen with another vocabulary: whom it does not know becomes its unknown identity.

        This is how new photos are judged against a trained model: its identities decide who is unknown.
        """
        table = self.table
        if "identity" in table.columns:
            known = pl.col("identity").is_in(list(vocabulary.identities)) | pl.col("identity").is_null()
            table = table.with_columns(identity=pl.when(known).then("identity").otherwise(pl.lit(vocabulary.unknown)))
        return replace(self, table=table, vocabulary=vocabulary)

    def fingerprint(self) -> str:
        """16 hex digits of the table, the vocabulary, and each file's name and size; where they lie does not matter."""
        vocabulary = self.vocabulary.to_json()
        if self.vocabulary.has_default_unknown and not (self.classes == UNKNOWN).any():
            # A label that no photo has is no part of the data, and runs of earlier versions keep their fingerprints.
            vocabulary = vocabulary.replace(f'\n "unknown": "{self.vocabulary.unknown}",', '\n "unknown": null,', 1)
        digest = hashlib.sha256(vocabulary.encode())
        digest.update(repr(sorted(self.table.schema.items())).encode())
        digest.update(self.table.select(sorted(self.table.columns)).write_json().encode())
        sizes = [_size(f"{self.root}/{file}") if file else -1 for file in self.table["file"]]
        digest.update(json.dumps(sizes).encode())
        return digest.hexdigest()[:16]

    def write(self, folder: Path | str) -> None:
        """Write ``collection.parquet``, ``vocabulary.json`` and ``collection.json`` (name and root) into a folder."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.table.write_parquet(folder / "collection.parquet")
        (folder / "vocabulary.json").write_text(self.vocabulary.to_json(), encoding="utf-8")
        self.note_root(folder)

    def note_root(self, folder: Path | str) -> None:
        """Note in a folder that ``write`` has made where the photos lie (``collection.json``: name and root)."""
        about = json.dumps({"name": self.name, "root": str(self.root.absolute())}, ensure_ascii=False)
        write_text(Path(folder) / "collection.json", about)

    @classmethod
    def open(cls, folder: Path | str, *, root: Path | str | None = None) -> Self:
        """The collection that ``write`` left in a folder.

        Args:
            folder: Where it was written.
            root: The folder of the photos, if it was moved.

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
                f"{folder} holds no whole collection.",
                got=error,
                fix="give the folder that Collection.write() wrote; it has collection.parquet, vocabulary.json, "
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
    """The vocabulary of the names that occur in a typed table, sorted.

    Args:
        table: Columns as ``Collection`` describes them.
        unknown: Label of unknown individuals; "auto" recognises ``UNKNOWN_NAMES``; None: the table has none.
        questions: The columns that are questions, by name or with all that is known of them.
        tags: The tags in column order, instead of those that occur.
        tag_groups: Group of each tag; without it the text before "::".
        usual: Label of unknown individuals for answers, where the table has none.

    Raises:
        DataError: With "auto", more than one word for the unknown identity occurs; or a question has an answer that is
            not among those listed for it.
    """
    identities = table["identity"].drop_nulls().unique().to_list() if "identity" in table.columns else []
    if unknown == "auto":
        words = usual_unknowns(identities)
        if len(words) > 1:
            raise DataError(
                "Two words of the table may stand for the unknown identity.",
                got=several([repr(word) for word in words]),
                fix=f"say which: unknown={words[0]!r}, or write one of them everywhere.",
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
    """Where an empty name stands for unknown individuals, the table with a label in its place, and that label.

    Args:
        table: Columns as ``Collection`` describes them.
        unknown: Label of unknown individuals; only "" changes the table.
        usual: The label to use, if no individual has it.
    """
    if unknown != "" or "identity" not in table.columns:
        return table, unknown
    label = default_unknown(table["identity"].drop_nulls().unique().to_list(), usual)
    named = pl.when(pl.col("identity") == "").then(pl.lit(label)).otherwise("identity")
    return table.with_columns(identity=named), label


def usual_unknowns(identities: Iterable[str]) -> list[str]:
    """The names that are recognised as labels of unknown individuals without being named, sorted."""
    return sorted(name for name in identities if name.strip().casefold() in UNKNOWN_NAMES)


def _names(lists: pl.Series) -> list[str]:
    """The distinct names in a column of lists, sorted."""
    return sorted(set(lists.explode().drop_nulls().to_list()))


def _frozen(array: np.ndarray) -> np.ndarray:
    """The array, protected against writing, as it is shared by all who ask."""
    array.flags.writeable = False
    return array


def _size(path: str) -> int:
    """Bytes of a file, -1 where it is missing."""
    try:
        return os.stat(path).st_size  # noqa: PTH116 - Path objects would cost eight times as much
    except (OSError, ValueError):
        return -1


__all__ = ["BOX", "SCHEMA", "UNKNOWN_NAMES", "Collection", "labelled_unknowns", "occurring", "usual_unknowns"]

"""What a collection is like, in numbers: who is rare, what is missing, what contradicts itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Int64

from fieldmark.data.collection import Collection

N_COMMONEST = 20


@dataclass(frozen=True)
class Conflict:
    """A group (copies of one picture, one encounter) whose photos are said to show different individuals."""

    group: str
    identities: tuple[str, ...]
    n_photos: int


@dataclass(frozen=True)
class Facts:
    """The numbers of the ``inspect`` page.

    Attributes:
        n_photos: Photos.
        n_identities: Known individuals that occur.
        photos_per_identity: Number of photos to the number of identities that have so many.
        n_singletons: Identities with one photo.
        n_unknown: Photos of the unknown identity.
        n_unlabelled: Photos whose identity is not given, where the table has identities; else 0.
        unknown_share: Share of the unknown among the photos with an identity or the unknown one, 0-1.
        label_counts: Photos of each tag of the vocabulary, the commonest first; also those with none.
        labels_per_photo: Number of tags to the number of photos that have so many.
        cooccurrence: Photos that have both tags, for the 20 commonest in the order of ``label_counts``; the diagonal
            is the tag's own count.
        answer_counts: For each question its answers with their photos, the commonest first.
        group_sizes: Number of photos to the number of groups of that size, given groups only.
        conflicts: Groups of more than one identity (the unknown one counts), the largest first.
        missing: For each column the number of empty cells, where there are any.
        sizes: Width and height in px to the number of photos, the commonest first.
    """

    n_photos: int
    n_identities: int
    photos_per_identity: Mapping[int, int]
    n_singletons: int
    n_unknown: int
    n_unlabelled: int
    unknown_share: float
    label_counts: tuple[tuple[str, int], ...]
    labels_per_photo: Mapping[int, int]
    cooccurrence: Int64[np.ndarray, "label label"]
    answer_counts: Mapping[str, tuple[tuple[str, int], ...]]
    group_sizes: Mapping[int, int]
    conflicts: tuple[Conflict, ...]
    missing: Mapping[str, int]
    sizes: Mapping[tuple[int, int], int]

    def top(self, most: int = N_COMMONEST) -> tuple[tuple[str, int], ...]:
        """The commonest tags with their photos."""
        return self.label_counts[:most]

    def tail(self, most: int = N_COMMONEST) -> tuple[tuple[str, int], ...]:
        """The rarest tags with their photos, the rarest first."""
        return self.label_counts[::-1][:most]


def facts(collection: Collection) -> Facts:
    """Count everything that a person should know of a collection before training on it."""
    table, classes = collection.table, collection.classes
    per_identity = np.unique(classes[classes >= 0], return_counts=True)[1]
    n_unknown = int((classes == -1).sum())
    n_named = int((classes >= 0).sum())
    label_counts = _label_counts(collection)
    return Facts(
        n_photos=len(collection),
        n_identities=len(per_identity),
        photos_per_identity=_histogram(per_identity),
        n_singletons=int((per_identity == 1).sum()),
        n_unknown=n_unknown,
        n_unlabelled=int((classes == -2).sum()) if "identity" in table.columns else 0,
        unknown_share=n_unknown / max(n_unknown + n_named, 1),
        label_counts=label_counts,
        labels_per_photo=_histogram(table["labels"].list.len().fill_null(0).to_numpy()) if "labels" in table else {},
        cooccurrence=_cooccurrence(table, [name for name, _ in label_counts[:N_COMMONEST]]),
        answer_counts={question.name: _count(table[question.name]) for question in collection.vocabulary.questions},
        group_sizes=_histogram(table["group"].drop_nulls().value_counts()["count"].to_numpy())
        if "group" in table
        else {},
        conflicts=_conflicts(table),
        missing={name: n for name, n in zip(table.columns, table.null_count().row(0), strict=True) if n},
        sizes=_sizes(table),
    )


def _histogram(numbers: np.ndarray) -> dict[int, int]:
    """Each number with how often it occurs, in order."""
    values, counts = np.unique(numbers, return_counts=True)
    return {int(value): int(count) for value, count in zip(values, counts, strict=True)}


def _count(lists: pl.Series) -> tuple[tuple[str, int], ...]:
    """The names in a column of lists with their rows, the commonest first, ties by name."""
    counted = lists.explode().drop_nulls().rename("name").value_counts(name="count")
    return tuple(counted.sort(["count", "name"], descending=[True, False]).select("name", "count").iter_rows())


def _label_counts(collection: Collection) -> tuple[tuple[str, int], ...]:
    """The tags that occur, the commonest first, then those of the vocabulary that do not."""
    counted = _count(collection.table["labels"]) if "labels" in collection.table else ()
    used = {name for name, _ in counted}
    return (*counted, *((tag, 0) for tag in collection.vocabulary.tags if tag not in used))


def _cooccurrence(table: pl.DataFrame, names: list[str]) -> Int64[np.ndarray, "label label"]:
    """For each two of the names the photos that have both."""
    has = np.zeros((len(table), len(names)))  # floats, as only they multiply quickly; exact to 2^53
    if names:
        pairs = table.select("labels").with_row_index("row").explode("labels").filter(pl.col("labels").is_in(names))
        columns = pairs["labels"].replace_strict(names, list(range(len(names))), return_dtype=pl.Int64)
        has[pairs["row"].to_numpy(), columns.to_numpy()] = 1
    return (has.T @ has).astype(np.int64)


def _conflicts(table: pl.DataFrame) -> tuple[Conflict, ...]:
    """The groups with more than one identity."""
    if not {"group", "identity"} <= set(table.columns):
        return ()
    named = table.drop_nulls(["group", "identity"])
    held = named.group_by("group").agg(identities=pl.col("identity").unique().sort(), n_photos=pl.len())
    held = held.filter(pl.col("identities").list.len() > 1).sort(["n_photos", "group"], descending=[True, False])
    return tuple(Conflict(group, tuple(names), n) for group, names, n in held.iter_rows())


def _sizes(table: pl.DataFrame) -> dict[tuple[int, int], int]:
    """Width and height with the number of photos of that size."""
    if not {"width", "height"} <= set(table.columns):
        return {}
    counted = table.drop_nulls(["width", "height"]).group_by("width", "height").agg(n=pl.len())
    counted = counted.sort(["n", "width", "height"], descending=[True, False, False])
    return {(width, height): n for width, height, n in counted.iter_rows()}

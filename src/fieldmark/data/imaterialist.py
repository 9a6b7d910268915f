"""Reader of the JSON of iMaterialist 2017: 45 questions ``category:attribute`` whose answers share 381 labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from fieldmark.core.errors import DataError
from fieldmark.data.drafts import Draft, Options
from fieldmark.data.json_entries import names_beside, strays, stream_json, table
from fieldmark.data.mistakes import Mistake
from fieldmark.data.questions import QuestionEntry

CATEGORY = "category"
"""The question for the kind of object on the photo. Its answers come from the names of the tasks."""
CATEGORY_MARK = ":"
ALLOWED = "task_id_label_map.txt"
"""File name ending of an optional file with the allowed labels of each task, whether they occur or not."""
TASK_MAP = ("task_map", "taskInfo", ("taskId", "taskName"))
LABEL_MAP = ("label_map", "labelInfo", ("labelId", "labelName"))

_PHOTO = {"image": ("imageId", "image_id")}
_MARK = {"image": ("imageId",), "task": ("taskId",), "label": ("labelId",)}


def imaterialist2017(file: Path, _: Options) -> Draft:
    """Read the layout of iMaterialist 2017: one row per photo, one column per task (question) with its right labels.

    The file is read in batches, so memory depends on the size of the table and not on the size of the text. Names come
    from ``*task_map.json`` and ``*label_map.json`` in the same folder; without these files the ids are the names. The
    maps do not define which labels belong to a task. The answers of a question are therefore the labels listed in
    ``*task_id_label_map.txt`` (each line has the id of a task and the ids of its labels), then the others that occur.

    If tasks are named ``category:attribute``, a first question ``category`` is derived from them. A photo is a shoe if
    it is labelled for a task of shoes. These tasks then apply to shoes only.

    If a photo has several addresses, column ``url`` holds the first one and column ``urls`` all of them.

    Source: iMaterialist Challenge at FGVC4 2017 (github.com/visipedia/imat_comp), files train.data.json and maps.
    """
    photos, marks, mistakes = _content(file)
    tasks, labels = names_beside(file, *TASK_MAP), names_beside(file, *LABEL_MAP)
    mistakes += _unknown(marks, "task", tasks, file.name) + _unknown(marks, "label", labels, file.name)
    known = photos["image"].drop_nulls().unique()
    lost = marks.filter(pl.col("image").is_not_null() & ~pl.col("image").is_in(known.implode()))
    fix = "add the photo to the images of the file"
    mistakes += strays(lost, "image", "annotation of a photo that is not in the file", file.name, fix)
    marks = marks.drop_nulls().filter(pl.col("image").is_in(known.implode())).select("image", "task", "label")
    for column, names in (("task", tasks), ("label", labels)):
        if names:
            marks = marks.filter(pl.col(column).is_in(list(names)))
    questions, more = _questions(file, marks, tasks, labels)
    wide = _wide(photos, marks.unique(maintain_order=True), questions, labels)
    wide, questions = _with_category(wide, questions)
    return Draft(
        table=wide.with_columns(file=pl.col("image")),
        source=file.name,
        name="",
        folders=(),
        by_stem=True,
        ending=".jpg",
        questions=tuple(one.name for one in questions),
        question_entries=questions,
        mistakes=mistakes + more,
    )


@dataclass
class _Columns:
    """The entries read so far, as frames of photos and annotations."""

    source: str
    photos: list[pl.DataFrame] = field(default_factory=list)
    marks: list[pl.DataFrame] = field(default_factory=list)
    mistakes: list[Mistake] = field(default_factory=list)
    n_photos: int = 0
    n_marks: int = 0

    def add_photos(self, given: list[dict[str, Any]]) -> None:
        part, wrong = table(given, "images", self.source, _PHOTO, first=self.n_photos + 1)
        urls = [_urls(entry.get("url")) for entry in given]
        self.photos.append(part.with_columns(urls=pl.Series(urls, dtype=pl.List(pl.String))))
        self.mistakes += wrong
        self.n_photos += len(given)

    def add_marks(self, given: list[dict[str, Any]]) -> None:
        part, wrong = table(given, "annotations", self.source, _MARK, first=self.n_marks + 1)
        self.marks.append(part)
        self.mistakes += wrong
        self.n_marks += len(given)


def _content(file: Path) -> tuple[pl.DataFrame, pl.DataFrame, list[Mistake]]:
    """Photos (with ``url``, and ``urls`` if a photo has several) and annotations, as text."""
    columns = _Columns(file.name)
    for key, given in stream_json(file):
        if key == "images":
            columns.add_photos(given)
        elif key == "annotations":
            columns.add_marks(given)
    if not columns.photos:
        columns.add_photos([])
    if not columns.marks:
        columns.add_marks([])
    photos, marks = pl.concat(columns.photos, rechunk=True), pl.concat(columns.marks, rechunk=True)
    first = pl.col("urls").list.first()
    photos = photos.with_columns(url=first, urls=pl.when(first.is_not_null()).then("urls"))
    if not (photos["urls"].list.len() > 1).any():
        photos = photos.drop("urls")
    return photos, marks, columns.mistakes


def _urls(given: Any) -> list[str]:
    """The addresses of an entry, which holds none, one as text, or a list."""
    each = given if isinstance(given, list) else [given]
    return [str(url) for url in each if url is not None]


def _unknown(marks: pl.DataFrame, column: str, known: Mapping[str, str], source: str) -> list[Mistake]:
    """A mistake for each annotation whose task or label is not in its map."""
    if not known:
        return []
    unlisted = marks.filter(~pl.col(column).is_in(list(known)))
    return strays(unlisted, column, f"unknown {column}", source, f"use the ids of {column}_map.json")


def _questions(
    file: Path, marks: pl.DataFrame, tasks: Mapping[str, str], labels: Mapping[str, str]
) -> tuple[tuple[QuestionEntry, ...], list[Mistake]]:
    """The questions that have annotations or a line of allowed labels, in the order of the map.

    The ``code`` of a question is the id of its task; the code of an answer is the id of its label.
    """
    listed, mistakes = _allowed(file, tasks, labels)
    met = marks.select("task", "label").unique().group_by("task").agg("label")
    occur = {task: {labels.get(label, label) for label in each} for task, each in met.iter_rows()}
    ids = {labels.get(label, label): label for label in sorted(marks["label"].unique().to_list())}
    ids |= {name: label for label, name in labels.items()}
    questions = []
    for task in dict.fromkeys([*tasks, *listed, *sorted(occur)]):
        if task not in occur and task not in listed:
            continue
        named = dict.fromkeys(labels.get(label, label) for label in listed.get(task, ()))
        answers = (*named, *sorted(occur.get(task, set()) - named.keys()))
        codes = {answer: ids.get(answer, answer) for answer in answers}
        questions.append(QuestionEntry(name=tasks.get(task, task), answers=answers, code=task, codes=codes))
    return tuple(questions), mistakes


def _allowed(
    file: Path, tasks: Mapping[str, str], labels: Mapping[str, str]
) -> tuple[dict[str, tuple[str, ...]], list[Mistake]]:
    """The allowed label ids of each task, from the optional file. Ids that are not in the maps are mistakes."""
    beside = sorted(file.parent.glob(f"*{ALLOWED}"))
    listed: dict[str, tuple[str, ...]] = {}
    mistakes: list[Mistake] = []
    if not beside:
        return listed, mistakes
    try:
        lines = beside[0].read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise DataError(f"{beside[0]} cannot be read.", got=error, fix="write the file as text in UTF-8.") from error
    for row, line in enumerate(lines, start=1):
        task, *ids = line.split() or [""]
        unlisted = [task] if task and tasks and task not in tasks else []
        unlisted += [label for label in ids if labels and label not in labels]
        fix = "use the ids of task_map.json and label_map.json"
        mistakes += [Mistake(beside[0].name, row, None, "unknown id", each, fix) for each in unlisted]
        if task and not unlisted:
            listed[task] = tuple(dict.fromkeys([*listed.get(task, ()), *ids]))
    return listed, mistakes


def _wide(
    photos: pl.DataFrame, marks: pl.DataFrame, questions: Sequence[QuestionEntry], labels: Mapping[str, str]
) -> pl.DataFrame:
    """The photos with a column of lists for each question.

    The columns are built one after the other. Building all at once would take several times the memory.
    """
    columns = []
    for one in questions:
        part = marks.filter(pl.col("task") == one.code).select("image", "label")
        if labels:
            part = part.with_columns(pl.col("label").replace_strict(dict(labels), return_dtype=pl.String))
        lists = part.group_by("image").agg(pl.col("label").unique(maintain_order=True))
        column = photos.select("image").join(lists, on="image", how="left", maintain_order="left")["label"]
        columns.append(column.alias(one.name))
    return photos.with_columns(columns)


def _with_category(
    wide: pl.DataFrame, questions: tuple[QuestionEntry, ...]
) -> tuple[pl.DataFrame, tuple[QuestionEntry, ...]]:
    """Add ``category`` as first question, if the names of the tasks contain categories."""
    names = categories([one.name for one in questions])
    if not names:
        return wide, questions
    wide = wide.with_columns(category_of(names).alias(CATEGORY))
    kinds = tuple(dict.fromkeys(names.values()))
    dependent = tuple(
        one.model_copy(update={"applies": {CATEGORY: (names[one.name],)}}) if one.name in names else one
        for one in questions
    )
    return wide, (QuestionEntry(name=CATEGORY, answers=kinds), *dependent)


def categories(questions: Sequence[str]) -> dict[str, str]:
    """The category of each question named ``category:attribute``; empty if there is a question named category."""
    if CATEGORY in questions:
        return {}
    return {
        name: name.partition(CATEGORY_MARK)[0]
        for name in questions
        if all(name.partition(CATEGORY_MARK)) and not name.startswith(CATEGORY_MARK)
    }


def category_of(names: Mapping[str, str]) -> pl.Expr:
    """Expression for the categories of a photo: those of its labelled questions; null if it has none."""
    lists = [
        pl.when(pl.any_horizontal(_has_answer(name) for name, own in names.items() if own == kind))
        .then(pl.lit([kind], dtype=pl.List(pl.String)))
        .otherwise(pl.lit([], dtype=pl.List(pl.String)))
        for kind in dict.fromkeys(names.values())
    ]
    found = pl.concat_list(lists)
    return pl.when(found.list.len() > 0).then(found)


def _has_answer(name: str) -> pl.Expr:
    return pl.col(name).list.len().fill_null(0) > 0

"""Writer of the JSON of iMaterialist 2017: it saves a collection with questions in the files of the contest."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import polars as pl

from fieldmark.core.errors import DataError, several
from fieldmark.core.files import disk_errors, write_json, write_text
from fieldmark.data.collection import Collection
from fieldmark.data.imaterialist import ALLOWED, CATEGORY, categories, category_of
from fieldmark.data.vocabulary import Question, Vocabulary

PREFIX = "fgvc4_iMat"
"""Prefix of the file names of the contest."""
SLICE = 4096
"""Number of photos that are converted at a time."""


@dataclass(frozen=True)
class Written:
    """Summary of the written files.

    Attributes:
        folder: Folder of the files.
        n_images: Number of photos in all parts.
        n_annotations: Number of annotations (image, task, label) in all parts.
        left_out: Columns that the layout cannot store.
    """

    folder: Path
    n_images: int
    n_annotations: int
    left_out: tuple[str, ...]


def write_imaterialist2017(
    folder: Path | str,
    train: Collection,
    *,
    validation: Collection | None = None,
    test: Collection | None = None,
    prefix: str = PREFIX,
) -> Written:
    """Write a collection as ``PREFIX.train.data.json`` and further files, with the maps of task and label ids.

    Reading the files again returns the same photos, addresses, answers and questions, with the answers in the same
    order. Ids are the ``code`` and ``codes`` of the questions; missing ones are numbered from 1. A label that several
    questions share has one id. The question ``category`` is not written if it follows exactly from the names of the
    tasks; otherwise it is written as a task. The memory depends on ``SLICE``, not on the size of the file.

    Args:
        folder: Output folder. It is created if missing; files with the same names are replaced.
        train: Training photos with questions. Its vocabulary defines the ids of tasks and labels of all parts.
        validation: Validation photos with the same questions or some of them.
        test: New photos; only their ids and addresses are written.
        prefix: Prefix of the file names.

    Raises:
        DataError: There are no questions, a part has names that are missing in ``train``, or ids contradict each other.

    Source:
        iMaterialist Challenge at FGVC4 2017: ids are text, with one annotation per (image, task, label) and several
        annotations if several labels are right.
    """
    folder = Path(folder)
    parts = {"train": train} | ({} if validation is None else {"validation": validation})
    for name, part in parts.items():
        _refuse_unknowns(name, part, train.vocabulary)
    questions = _tasks(train.vocabulary, list(parts.values()))
    tasks, labels = _ids(questions)
    folder.mkdir(parents=True, exist_ok=True)
    n_annotations = 0
    for name, part in parts.items():
        with _whole(folder / f"{prefix}.{name}.data.json") as file:
            file.write('{"images": [')
            _write_list(file, _images(part))
            file.write('],\n"annotations": [')
            n_annotations += _write_list(file, _annotations(part, questions, tasks, labels))
            file.write("]}\n")
    if test is not None:
        with _whole(folder / f"{prefix}.test.image.json") as file:
            file.write('{"images": [')
            _write_list(file, _images(test))
            file.write("]}\n")
    _write_maps(folder, prefix, questions, tasks, labels)
    everything = [*parts.values(), *([] if test is None else [test])]
    kept = {"image", "file", "url", "urls", *(question.name for question in train.vocabulary.questions)}
    left_out = dict.fromkeys(column for part in everything for column in part.table.columns if column not in kept)
    return Written(folder, sum(map(len, everything)), n_annotations, tuple(left_out))


def _refuse_unknowns(name: str, part: Collection, vocabulary: Vocabulary) -> None:
    """Raise an error if a part has no questions, or has names without an id."""
    known = {question.name: set(question.answers) for question in vocabulary.questions}
    if not known:
        raise DataError(
            "A collection without questions cannot be written in this layout.",
            got=f"columns {', '.join(part.table.columns)}",
            fix="name the question columns: read(..., questions=[...]).",
        )
    missing = []
    for question in part.vocabulary.questions:
        if question.name not in known:
            missing.append(f"question {question.name!r}")
            continue
        met = part.table[question.name].explode().drop_nulls().unique().to_list()
        missing += [f"{question.name} = {answer!r}" for answer in sorted(set(met) - known[question.name])]
    if missing:
        raise DataError(
            f"The part {name!r} has questions or answers that the training part does not have.",
            got=several(missing),
            fix="read both with the same questions: read(..., questions='questions.toml').",
        )


def _tasks(vocabulary: Vocabulary, parts: list[Collection]) -> tuple[Question, ...]:
    """The questions that become tasks: all except ``category``, if it follows from the names of the others."""
    others = tuple(question for question in vocabulary.questions if question.name != CATEGORY)
    names = categories([question.name for question in others])
    if len(others) == len(vocabulary.questions) or not names:
        return vocabulary.questions
    if vocabulary.question(CATEGORY).answers != tuple(dict.fromkeys(names.values())):
        return vocabulary.questions
    for part in parts:
        has = {name: kind for name, kind in names.items() if name in part.table.columns}
        derived = part.table.select(category_of(has).alias(CATEGORY))[CATEGORY] if has else None
        if derived is None or CATEGORY not in part.table.columns or not derived.equals(part.table[CATEGORY]):
            return vocabulary.questions
    return others


def _ids(questions: tuple[Question, ...]) -> tuple[dict[str, str], dict[str, str]]:
    """The ids of tasks and labels by name: the codes of the questions, and free numbers for the others."""
    tasks = {question.name: question.code for question in questions if question.code}
    pairs = {pair for question in questions for pair in zip(question.answers, question.codes, strict=False)}
    labels = dict(sorted(pairs))
    wrong = [f"label {name!r} has the ids {labels[name]!r} and {own!r}" for name, own in pairs if labels[name] != own]
    for kind, ids in (("task", tasks), ("label", labels)):
        used: dict[str, str] = {}
        for name, own in ids.items():
            if not own or own.split() != [own]:
                wrong.append(f"id {own!r} of the {kind} {name!r} is empty or contains spaces")
            if used.setdefault(own, name) != name:
                wrong.append(f"id {own!r} belongs to the {kind}s {used[own]!r} and {name!r}")
    if wrong:
        raise DataError(
            "The ids of tasks or labels contradict each other.",
            got=several(sorted(wrong)),
            fix="use one id per name and one name per id in code and codes of the questions.",
        )
    answers = dict.fromkeys(answer for question in questions for answer in question.answers)
    for ids, names in ((tasks, [question.name for question in questions]), (labels, list(answers))):
        free = _numbers(set(ids.values()))
        ids.update({name: next(free) for name in names if name not in ids})
    return tasks, labels


def _numbers(taken: set[str]) -> Iterator[str]:
    number = 0
    while True:
        number += 1
        if str(number) not in taken:
            yield str(number)


def _images(part: Collection) -> Iterator[tuple[str, int]]:
    """Pieces of JSON and their numbers of entries. One address is written as text, several as a list."""
    columns = [name for name in ("url", "urls") if name in part.table.columns]
    for table in part.table.select("image", *columns).iter_slices(SLICE):
        entries = []
        for row in table.iter_rows(named=True):
            urls = row.get("urls") or [url for url in [row.get("url")] if url is not None]
            entry: dict[str, str | list[str]] = {"imageId": row["image"]}
            if urls:
                entry["url"] = urls if len(urls) > 1 else urls[0]
            entries.append(json.dumps(entry, ensure_ascii=False))
        yield ",\n".join(entries), len(entries)


def _annotations(
    part: Collection, questions: tuple[Question, ...], tasks: dict[str, str], labels: dict[str, str]
) -> Iterator[tuple[str, int]]:
    """Pieces of JSON and their numbers of entries, in the order of photos, tasks and labels."""
    entry = pl.struct(imageId="image", taskId="task", labelId="label").struct.json_encode()
    names = [question.name for question in questions if question.name in part.table.columns]
    for table in part.table.select("image", *names).with_row_index("photo").iter_slices(SLICE):
        lists = table.unpivot(names, index=["photo", "image"], variable_name="task", value_name="label")
        rows = lists.explode("label").drop_nulls("label").sort("photo", maintain_order=True)
        ids = {"task": pl.col("task").replace_strict(tasks), "label": pl.col("label").replace_strict(labels)}
        rows = rows.with_columns(**ids)
        yield rows.select(entry.str.join(",\n")).item() or "", len(rows)


def _write_list(file: TextIO, pieces: Iterator[tuple[str, int]]) -> int:
    """Write the pieces separated by commas, and return the number of entries."""
    total = 0
    for text, number in pieces:
        if number:
            file.write((",\n" if total else "\n") + text)
        total += number
    return total


def _write_maps(
    folder: Path, prefix: str, questions: tuple[Question, ...], tasks: Mapping[str, str], labels: Mapping[str, str]
) -> None:
    """Write the maps of task and label ids, and the allowed labels of each task."""
    named = [{"taskName": question.name, "taskId": tasks[question.name]} for question in questions]
    write_json(folder / f"{prefix}.task_map.json", {"taskInfo": named})
    listed = [{"labelName": name, "labelId": own} for name, own in sorted(labels.items(), key=_by_id)]
    write_json(folder / f"{prefix}.label_map.json", {"labelInfo": listed})
    lines = [" ".join([tasks[one.name], *(labels[answer] for answer in one.answers)]) for one in questions]
    write_text(folder / f"{prefix}.{ALLOWED}", "\n".join(lines) + "\n")


def _by_id(item: tuple[str, str]) -> tuple[int, str]:
    """Sort key that puts numeric ids in the order of their numbers: 9 before 10."""
    return len(item[1]), item[1]


@contextmanager
def _whole(path: Path) -> Iterator[TextIO]:
    """A text file that appears under its name only when it is complete."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with disk_errors(path):
        try:
            with aside.open("w", encoding="utf-8") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)

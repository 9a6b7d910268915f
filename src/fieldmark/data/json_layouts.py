"""Layouts that come as JSON: COCO and the two iMaterialist contests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from fieldmark.core.errors import DataError, nearest
from fieldmark.data.drafts import Draft, Layout, Options
from fieldmark.data.mistakes import Mistake
from fieldmark.data.sheets import ROW

_FIX_ENTRY = "give every entry its id; see the form of the contest or of COCO"


def recognise(file: Path) -> Layout:
    """Which of the layouts a JSON file has.

    Raises:
        DataError: None of them.
    """
    content = _load(file)
    first = next(iter(_entries(content, "annotations")), {})
    if "categories" in content:
        return "coco"
    if "taskId" in first:
        return "imaterialist2017"
    if {"labelId", "label_id"} & first.keys():
        return "imaterialist2018"
    raise DataError(
        f"{file} is of no known layout.",
        got=f"keys {', '.join(map(repr, list(content)[:8]))}",
        fix="give COCO JSON (images, annotations, categories), or say layout='imaterialist2018' if unlabelled.",
    )


def coco(file: Path, _: Options) -> Draft:
    """COCO JSON: one row a photo, its categories as labels; its box where it has just one.

    Source: Lin et al. 2014, arXiv:1405.0312; the format at cocodataset.org.
    """
    return _coco(file, identities=False)


def coco_identities(file: Path, _: Options) -> Draft:
    """COCO JSON whose categories are individuals: one row a box.

    A photo with several boxes becomes several rows, with the ids ``ID#ANNOTATION``.
    """
    return _coco(file, identities=True)


def _coco(file: Path, *, identities: bool) -> Draft:
    content = _load(file)
    photos, mistakes = _table(content, "images", file.name, {"key": ("id",), "file": ("file_name",)})
    sizes = [_texts(_entries(content, "images"), (side,)) for side in ("width", "height")]
    photos = photos.with_columns(width=sizes[0], height=sizes[1])
    categories, more = _table(content, "categories", file.name, {"category": ("id",), "label": ("name",)})
    marks, yet_more = _table(content, "annotations", file.name, {"key": ("image_id",), "category": ("category_id",)})
    given = _entries(content, "annotations")
    marks = marks.with_columns(mark=_texts(given, ("id",)), box=_texts(given, ("bbox",)))
    marks = marks.join(categories.select("category", "label"), on="category", how="left", maintain_order="left")
    mistakes += more + yet_more
    fix = "add it to the file's categories"
    mistakes += _strays(marks.filter(pl.col("label").is_null()), "category", "no such category", file.name, fix)
    strays = marks.join(photos, on="key", how="anti", maintain_order="left")
    fix = "add the photo to the file's images"
    mistakes += _strays(strays, "key", "annotation of no listed photo", file.name, fix)
    marks = marks.drop_nulls("label").filter(pl.col("category").is_not_null())
    if identities:
        several = pl.len().over("key") > 1
        rows = photos.join(marks.drop(ROW), on="key", how="left", maintain_order="left")
        image = pl.when(several).then(pl.col("key") + "#" + pl.col("mark")).otherwise("key")
        rows = rows.with_columns(image=image, identity=pl.col("label").fill_null(""))
    else:
        once = marks.group_by("key", maintain_order=True).agg(
            labels=pl.col("label").unique(maintain_order=True),
            box=pl.when(pl.len() == 1).then(pl.col("box").first()),
        )
        rows = photos.join(once, on="key", how="left", maintain_order="left").rename({"key": "image"})
    return Draft(
        table=rows.drop("key", "category", "label", "mark", strict=False),
        source=file.name,
        name="",
        folders=(),
        tags=None if identities else tuple(dict.fromkeys(categories["label"])),
        mistakes=mistakes,
    )


def imaterialist2017(file: Path, _: Options) -> Draft:
    """The form of iMaterialist 2017: one row a photo, one column a task (question) with all its right labels.

    Names come from ``*task_map.json`` and ``*label_map.json`` beside it; without them the ids are the names. The map
    does not say which labels belong to a task, so a question's answers are those that occur.

    Source: iMaterialist Challenge at FGVC4 2017 (github.com/visipedia/imat_comp), files train.data.json and maps.
    """
    content = _load(file)
    photos, mistakes = _contest_photos(content, file.name)
    keys = {"image": ("imageId",), "task": ("taskId",), "label": ("labelId",)}
    marks, more = _table(content, "annotations", file.name, keys)
    mistakes += more
    tasks = _map(file, "task_map", "taskInfo", ("taskId", "taskName"))
    labels = _map(file, "label_map", "labelInfo", ("labelId", "labelName"))
    mistakes += _unknown(marks, "task", tasks, file.name) + _unknown(marks, "label", labels, file.name)
    if tasks:
        marks = marks.with_columns(task=pl.col("task").replace_strict(tasks, default=None)).drop_nulls("task")
    if labels:
        marks = marks.with_columns(label=pl.col("label").replace_strict(labels, default=None)).drop_nulls("label")
    strays = marks.join(photos, on="image", how="anti", maintain_order="left")
    fix = "add the photo to the file's images"
    mistakes += _strays(strays, "image", "annotation of no listed photo", file.name, fix)
    occurring = set(marks["task"])
    questions = tuple(task for task in dict.fromkeys([*tasks.values(), *marks["task"]]) if task in occurring)
    wide = marks.group_by("image", "task").agg(pl.col("label").unique(maintain_order=True))
    wide = wide.pivot(on="task", on_columns=list(questions), index="image", values="label", aggregate_function="first")
    return Draft(
        table=photos.join(wide, on="image", how="left", maintain_order="left"),
        source=file.name,
        name="",
        folders=(),
        by_stem=True,
        ending=".jpg",
        questions=questions,
        mistakes=mistakes,
    )


def imaterialist2018(file: Path, _: Options) -> Draft:
    """The form of iMaterialist 2018: one row a photo with its label ids; names from a ``*label_map.json`` beside it.

    Source: iMaterialist Challenge (Fashion and Furniture) at FGVC5 2018, files train.json and validation.json.
    """
    content = _load(file)
    photos, mistakes = _contest_photos(content, file.name)
    given = _entries(content, "annotations")
    marks, more = _table(content, "annotations", file.name, {"image": ("imageId", "image_id")})
    lists = [entry.get("labelId", entry.get("label_id")) for entry in given]
    lists = [each if isinstance(each, list) else [] if each is None else [each] for each in lists]
    labels = pl.Series([[str(label) for label in each] for each in lists], dtype=pl.List(pl.String))
    marks = marks.drop(ROW).with_columns(labels=labels)
    marks = marks.group_by("image", maintain_order=True).agg(pl.col("labels").explode().unique(maintain_order=True))
    made = Draft(
        table=photos.join(marks, on="image", how="left", maintain_order="left"),
        source=file.name,
        name="",
        folders=(),
        by_stem=True,
        ending=".jpg",
        mistakes=mistakes + more,
    )
    named = _map(file, "label_map", "labelInfo", ("labelId", "labelName"))
    if not named:
        return made
    frame, unknown = named_labels(made, named, file="label_map.json")
    return replace(made, table=frame, tags=tuple(named.values()), mistakes=[*made.mistakes, *unknown])


def named_labels(made: Draft, named: Mapping[str, str], *, file: str) -> tuple[pl.DataFrame, list[Mistake]]:
    """The draft's table with label names in place of ids, without the rows whose id has no name; those as mistakes."""
    if "labels" not in made.table.columns or made.table.is_empty():
        return made.table, []
    pairs = made.table.select(ROW, "labels").explode("labels").drop_nulls("labels").filter(pl.col("labels") != "")
    pairs = pairs.with_columns(name=pl.col("labels").replace_strict(dict(named), default=None, return_dtype=pl.String))
    strange = pairs.filter(pl.col("name").is_null())
    column = made.theirs.get("labels", "labels")
    fix = f"use the ids of {file}" + (f"; {nearest(strange['labels'][0], named)[:-1]}" if len(strange) else "")
    mistakes = [
        Mistake(made.source, row, column, "unknown label", label, fix)
        for row, label in strange.select(ROW, "labels").iter_rows()
    ]
    names = pairs.group_by(ROW, maintain_order=True).agg(labels=pl.col("name"))
    bad = set(strange[ROW])
    table = made.table.drop("labels").join(names, on=ROW, how="left", maintain_order="left")
    return table.filter(~pl.col(ROW).is_in(list(bad))), mistakes


def _contest_photos(content: Mapping[str, Any], source: str) -> tuple[pl.DataFrame, list[Mistake]]:
    """Ids and addresses of an iMaterialist file's photos; of several addresses the first."""
    photos, mistakes = _table(content, "images", source, {"image": ("imageId", "image_id")})
    urls = [entry.get("url") for entry in _entries(content, "images")]
    urls = [url[0] if isinstance(url, list) and url else url for url in urls]
    text = pl.Series([None if url is None or url == [] else str(url) for url in urls], dtype=pl.String)
    return photos.with_columns(url=text, file=pl.col("image")), mistakes


def _load(file: Path) -> dict[str, Any]:
    """The content of a JSON file, which must be an object."""
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{file} cannot be read as JSON.", got=error, fix="give a whole JSON file in UTF-8.") from error
    if not isinstance(content, dict):
        raise DataError(f"{file} is of no known layout.", got=type(content).__name__, fix="give a JSON object.")
    return content


def _entries(content: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """The list below a key; nothing where it is missing, entries that are no objects as empty ones."""
    entries = content.get(key)
    return [entry if isinstance(entry, dict) else {} for entry in entries] if isinstance(entries, list) else []


def _texts(entries: list[dict[str, Any]], keys: tuple[str, ...]) -> pl.Series:
    """For each entry the first of the keys that it has, as text; null where it has none."""
    values = [next((entry[key] for key in keys if entry.get(key) is not None), None) for entry in entries]
    return pl.Series([None if value is None else str(value) for value in values], dtype=pl.String)


def _table(
    content: Mapping[str, Any], key: str, source: str, columns: Mapping[str, tuple[str, ...]]
) -> tuple[pl.DataFrame, list[Mistake]]:
    """A list of entries as columns of text with ``ROW`` (from 1); entries that lack one are mistakes."""
    entries = _entries(content, key)
    table = pl.DataFrame({name: _texts(entries, keys) for name, keys in columns.items()})
    table = table.with_columns(pl.Series(ROW, range(1, len(entries) + 1), dtype=pl.Int64))
    mistakes = []
    for name, keys in columns.items():
        rows = table.filter(pl.col(name).is_null())[ROW]
        mistakes += [Mistake(source, row, f"{key}.{keys[0]}", "the entry lacks this", "", _FIX_ENTRY) for row in rows]
    return table, mistakes


def _map(file: Path, kind: str, key: str, names: tuple[str, str]) -> dict[str, str]:
    """Ids and names of the one ``*task_map.json`` or ``*label_map.json`` beside the file; empty where there is none."""
    beside = sorted(file.parent.glob(f"*{kind}.json"))
    if not beside:
        return {}
    entries = _entries(_load(beside[0]), key)
    return {str(entry.get(names[0])): str(entry.get(names[1])) for entry in entries}


def _unknown(marks: pl.DataFrame, column: str, known: Mapping[str, str], source: str) -> list[Mistake]:
    """The annotations whose task or label is not in its map."""
    if not known:
        return []
    strange = marks.filter(~pl.col(column).is_in(list(known)))
    fix = f"use the ids of {column}_map.json"
    return _strays(strange, column, f"unknown {column}", source, fix)


def _strays(rows: pl.DataFrame, column: str, problem: str, source: str, fix: str) -> list[Mistake]:
    """A mistake for every row."""
    pairs = rows.select(ROW, pl.col(column).fill_null("")).iter_rows()
    return [Mistake(source, row, f"annotations.{column}", problem, value, fix) for row, value in pairs]

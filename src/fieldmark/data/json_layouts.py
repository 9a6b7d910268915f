"""Readers of the JSON layouts COCO and iMaterialist 2018; ``imaterialist`` reads the layout of 2017."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from fieldmark.core.errors import DataError, nearest
from fieldmark.data.drafts import Draft, Options
from fieldmark.data.json_entries import entries, load_json, names_beside, strays, stream_json, table, texts
from fieldmark.data.mistakes import Mistake
from fieldmark.data.sheets import ROW


def recognise_json(file: Path) -> str:
    """The name of the layout of a JSON file.

    Raises:
        DataError: The file has no known layout.
    """
    for key, given in stream_json(file, batch=1024):
        if key == "annotations":
            if given and "taskId" in given[0]:
                return "imaterialist2017"
            break
    content = load_json(file)
    first = next(iter(entries(content, "annotations")), {})
    if "categories" in content:
        return "coco"
    if not first and "imageId" in next(iter(entries(content, "images")), {}):
        return "imaterialist2017"
    if {"labelId", "label_id"} & first.keys():
        return "imaterialist2018"
    raise DataError(
        f"{file} has no known layout.",
        got=f"keys {', '.join(map(repr, list(content)[:8]))}",
        fix="give COCO JSON (images, annotations, categories), or set layout='imaterialist2018' for unlabelled photos.",
    )


def coco(file: Path, _: Options) -> Draft:
    """Read COCO JSON: one row per photo, with its categories as labels. A photo with exactly one box keeps its box.

    Source: Lin et al. 2014, arXiv:1405.0312; the format at cocodataset.org.
    """
    return _coco(file, identities=False)


def coco_identities(file: Path, _: Options) -> Draft:
    """Read COCO JSON whose categories are individuals: one row per box.

    A photo with several boxes becomes several rows with the ids ``ID#ANNOTATION``.
    """
    return _coco(file, identities=True)


def _coco(file: Path, *, identities: bool) -> Draft:
    content = load_json(file)
    photos, mistakes = table(entries(content, "images"), "images", file.name, {"key": ("id",), "file": ("file_name",)})
    sizes = [texts(entries(content, "images"), (side,)) for side in ("width", "height")]
    photos = photos.with_columns(width=sizes[0], height=sizes[1])
    categories, more = table(
        entries(content, "categories"), "categories", file.name, {"category": ("id",), "label": ("name",)}
    )
    marks, yet_more = table(
        entries(content, "annotations"), "annotations", file.name, {"key": ("image_id",), "category": ("category_id",)}
    )
    given = entries(content, "annotations")
    marks = marks.with_columns(mark=texts(given, ("id",)), box=texts(given, ("bbox",)))
    marks = marks.join(categories.select("category", "label"), on="category", how="left", maintain_order="left")
    mistakes += more + yet_more
    fix = "add it to the categories of the file"
    mistakes += strays(marks.filter(pl.col("label").is_null()), "category", "unknown category", file.name, fix)
    lost = marks.join(photos, on="key", how="anti", maintain_order="left")
    fix = "add the photo to the images of the file"
    mistakes += strays(lost, "key", "annotation of a photo that is not in the file", file.name, fix)
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


def imaterialist2018(file: Path, _: Options) -> Draft:
    """Read the layout of iMaterialist 2018: one row per photo with its label ids.

    The names of the labels come from ``*label_map.json`` in the same folder.

    Source: iMaterialist Challenge (Fashion and Furniture) at FGVC5 2018, files train.json and validation.json.
    """
    content = load_json(file)
    photos, mistakes = _contest_photos(content, file.name)
    given = entries(content, "annotations")
    marks, more = table(entries(content, "annotations"), "annotations", file.name, {"image": ("imageId", "image_id")})
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
    named = names_beside(file, "label_map", "labelInfo", ("labelId", "labelName"))
    if not named:
        return made
    frame, unknown = named_labels(made, named, file="label_map.json")
    return replace(made, table=frame, tags=tuple(named.values()), mistakes=[*made.mistakes, *unknown])


def named_labels(made: Draft, named: Mapping[str, str], *, file: str) -> tuple[pl.DataFrame, list[Mistake]]:
    """Replace the label ids in the table of a draft by names. Rows with an unknown id are removed and reported.

    Args:
        made: Draft with ids in the column ``labels``.
        named: Name of each label id.
        file: Name of the file with the names, for messages.

    Returns:
        The table, and a mistake for each unknown id.
    """
    if "labels" not in made.table.columns or made.table.is_empty():
        return made.table, []
    pairs = made.table.select(ROW, "labels").explode("labels").drop_nulls("labels").filter(pl.col("labels") != "")
    pairs = pairs.with_columns(name=pl.col("labels").replace_strict(dict(named), default=None, return_dtype=pl.String))
    unlisted = pairs.filter(pl.col("name").is_null())
    column = made.theirs.get("labels", "labels")
    fix = f"use the ids of {file}" + (f"; {nearest(unlisted['labels'][0], named)[:-1]}" if len(unlisted) else "")
    mistakes = [
        Mistake(made.source, row, column, "unknown label", label, fix)
        for row, label in unlisted.select(ROW, "labels").iter_rows()
    ]
    names = pairs.group_by(ROW, maintain_order=True).agg(labels=pl.col("name"))
    bad = set(unlisted[ROW])
    table = made.table.drop("labels").join(names, on=ROW, how="left", maintain_order="left")
    return table.filter(~pl.col(ROW).is_in(list(bad))), mistakes


def _contest_photos(content: Mapping[str, Any], source: str) -> tuple[pl.DataFrame, list[Mistake]]:
    """Ids and addresses of the photos in an iMaterialist file. Of several addresses the first one is used."""
    photos, mistakes = table(entries(content, "images"), "images", source, {"image": ("imageId", "image_id")})
    urls = [entry.get("url") for entry in entries(content, "images")]
    urls = [url[0] if isinstance(url, list) and url else url for url in urls]
    text = pl.Series([None if url is None or url == [] else str(url) for url in urls], dtype=pl.String)
    return photos.with_columns(url=text, file=pl.col("image")), mistakes

"""Layouts of photo collections: tables, folders of individuals, and the files of contests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from fieldmark.core.errors import DataError, nearest
from fieldmark.data import imaterialist, json_layouts
from fieldmark.data.columns import SYNONYMS, place
from fieldmark.data.drafts import Draft, Options
from fieldmark.data.frames import of_any
from fieldmark.data.mistakes import Mistake
from fieldmark.data.photos import is_photo, walk
from fieldmark.data.readers import READERS, Reader, reader
from fieldmark.data.sheets import ROW, Sheet, read_sheet, sheet_of

TABLE_SUFFIXES = (".csv", ".tsv", ".txt", ".parquet")
MAIN_FILES = (
    "train.csv",
    "labels.csv",
    "train.data.json",
    "fgvc4_iMat.train.data.json",
    "train.json",
    "collection.parquet",
)
"""Files that are read if the user gives a folder; the first existing one is used."""
WITH_MAIN_FILE = ("table", "humpback", "imet2019", "coco", "coco_identities", "imaterialist2017", "imaterialist2018")
"""Layouts that read one file of a folder. All other layouts read the folder."""
PHOTO_FOLDERS = ("images", "train", "photos", "train_images", "img")


def draft(path: Path, options: Options) -> Draft:
    """Read the table at ``path`` with the layout of ``options``, or with the layout that is recognised.

    Raises:
        DataError: There is no file or folder at ``path``, or its layout is unknown.
    """
    if not path.exists():
        folder = path.parent
        names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
        hint = nearest(path.name, names) if len(names) <= 200 else "check the spelling."
        raise DataError("There is no table or folder of that name.", got=path, fix=hint if names else "check the path.")
    layout, file = recognise(path) if options.layout == "auto" else (options.layout, _main_file(path, options.layout))
    reader = READERS.find(layout)
    if reader is None:
        raise DataError("There is no layout of that name.", got=layout, fix=nearest(layout, READERS.names()))
    made = _drafted(reader.read(file, options), file, options)
    name = file.parent.name if file.name in MAIN_FILES else file.stem
    return replace(made, name=name or "collection", folders=_photo_folders(file, layout, options))


def recognise(path: Path) -> tuple[str, Path]:
    """The layout of a path, and the file or folder to read.

    Layouts that other packages registered are tried first, because their checks are more specific.

    Raises:
        DataError: No layout fits.
    """
    for name, one in READERS.items():
        if one.recognises is not None and one.recognises(path):
            return name, path
    file = _main_file(path, "auto")
    if file.is_dir():
        return "folders", file
    if file.suffix.lower() == ".json":
        return json_layouts.recognise_json(file), file
    if file.suffix.lower() not in TABLE_SUFFIXES:
        raise DataError(
            "A file of this type cannot hold a table of photos.",
            got=path,
            fix="give a .csv, .tsv, .parquet or .json file, or a folder.",
        )
    if file.suffix.lower() == ".csv":
        with file.open("rb") as opened:
            first = opened.readline(200).decode("utf-8-sig", errors="replace")
        header = {cell.strip().strip('"').lower() for cell in first.replace(";", ",").split(",")}
        if header == {"image", "id"}:
            return "humpback", file
        if header == {"id", "attribute_ids"}:
            return "imet2019", file
    return "table", file


def _main_file(path: Path, layout: str) -> Path:
    """The main file of a folder; the folder itself if it holds no table."""
    if not path.is_dir() or layout not in {"auto", *WITH_MAIN_FILE}:
        return path
    for name in MAIN_FILES:
        if (path / name).is_file():
            return path / name
    tables = sorted(file for file in path.iterdir() if file.suffix.lower() in {*TABLE_SUFFIXES, ".json"})
    tables = [file for file in tables if file.suffix != ".txt" and file.is_file()]
    if len(tables) > 1:
        raise DataError(
            "The folder has several tables.",
            got=", ".join(file.name for file in tables),
            fix=f"name one of them, such as {tables[0]}.",
        )
    return tables[0] if tables else path


def _photo_folders(file: Path, layout: str, options: Options) -> tuple[Path, ...]:
    """Possible folders of the photos: the folder that the user gave, else the table's folder and common sub-folders."""
    if options.photos is not None:
        return (options.photos,)
    if layout == "folders":
        return (file,)
    usual = (file.parent, *(file.parent / name for name in (*PHOTO_FOLDERS, file.stem)))
    return tuple(dict.fromkeys(folder for folder in usual if folder.is_dir()))


@reader("table")
def table(file: Path, options: Options) -> Draft:
    """Read a CSV, TSV or Parquet file. Columns are found by ``options.columns``, else by common names."""
    return _of_sheet(read_sheet(file, encoding=options.encoding), file, options)


def _drafted(made: Any, file: Path, options: Options) -> Draft:
    """The result of a reader as a draft. A frame is handled like the content of a table file."""
    if isinstance(made, Draft):
        return made
    return _of_sheet(sheet_of(of_any(made), file.name), file, options)


def _of_sheet(sheet: Sheet, file: Path, options: Options) -> Draft:
    """A draft of a sheet, with the column names of a collection."""
    if not sheet.names:
        return Draft(table=sheet.table, source=file.name, name="", folders=(), mistakes=sheet.mistakes)
    theirs = place(sheet.names, options.columns, reserved=options.questions)
    frame = _renamed(sheet.table, theirs)
    missing = _missing_columns(sheet, theirs, file.name, options)
    if "image" not in frame.columns and "file" in frame.columns:
        frame = frame.with_columns(image=pl.col("file"))
        theirs["image"] = theirs["file"]
    by_stem = "file" not in frame.columns
    if by_stem and "image" in frame.columns:
        frame = frame.with_columns(file=pl.col("image"))
        theirs["file"] = theirs["image"]
    for column in ("labels", *options.questions):
        if column in frame.columns and frame[column].dtype == pl.String:
            cell = pl.col(column)
            frame = frame.with_columns(pl.when(cell != "").then(cell.str.split(options.separator)).alias(column))
    if {"identity"} <= set(frame.columns) and frame["identity"].dtype != pl.String:
        frame = frame.with_columns(pl.col("identity").list.join(options.separator))
    return Draft(
        table=frame if not missing else frame.clear(),
        source=file.name,
        name="",
        folders=(),
        theirs=theirs,
        by_stem=by_stem,
        questions=options.questions,
        question_entries=options.question_entries,
        mistakes=sheet.mistakes + missing,
    )


def _renamed(frame: pl.DataFrame, theirs: dict[str, str]) -> pl.DataFrame:
    """The frame with the column names of a collection.

    A column of the user with one of these names but another meaning is removed.
    """
    ours = {name: mine for mine, name in theirs.items()}
    shadowed = [name for name in frame.columns if name in theirs and name not in ours]
    return frame.drop(shadowed).rename(ours)


def _missing_columns(sheet: Sheet, theirs: dict[str, str], source: str, options: Options) -> list[Mistake]:
    """A mistake for each missing required column: the photos, and (if ``labelled``) their labels."""
    has = ", ".join(sheet.names)
    mistakes = []
    if "image" not in theirs and "file" not in theirs:
        no_header = (
            " (the first row contains a photo; column names are missing)" if any(map(is_photo, sheet.names)) else ""
        )
        hint = (
            _hint(("image", "file"), sheet.names)
            or "name the column with --column image=... (in Python columns={'image': ...})"
        )
        mistakes.append(Mistake(source, 1, None, f"no column with photos found{no_header}", has, hint))
    named = "identity" in theirs or "labels" in theirs or options.questions
    if options.labelled and not named:
        hint = _hint(("identity", "labels"), sheet.names) or (
            "name the column with columns={'identity': ...}, columns={'labels': ...} or questions=[...], "
            "or use labelled=False for new photos"
        )
        mistakes.append(Mistake(source, 1, None, "no column with identities or labels found", has, hint))
    return mistakes


def _hint(ours: tuple[str, ...], names: list[str]) -> str:
    """A suggestion for a misspelt column, or ""."""
    known = [synonym for mine in ours for synonym in SYNONYMS[mine] if len(synonym) > 3]
    for name in names:
        hint = nearest(name.lower(), known)
        if hint.startswith("did"):
            mine = next(mine for mine in ours if hint[len("did you mean '") : -2] in SYNONYMS[mine])
            return f"did you mean column {name!r}? Then use columns={{'{mine}': {name!r}}}"
    return ""


@reader("humpback")
def humpback(file: Path, options: Options) -> Draft:
    """Read ``train.csv`` of the whale contests (Image, Id). Photos are in ``train/``, ``images/`` or the same folder.

    Source: Kaggle Humpback Whale Identification 2018/19, file train.csv.
    """
    columns = {"image": "Image", "identity": "Id", **options.columns}
    return replace(table(file, replace(options, columns=columns)), unknown="new_whale")


@reader("imet2019")
def imet2019(file: Path, options: Options) -> Draft:
    """Read ``train.csv`` of the iMet contests (id, attribute_ids separated by spaces) and the names in ``labels.csv``.

    Tags have the order of ``labels.csv``, so column k is attribute k. Photos are ``ID.png`` or ``ID.jpg``.

    Source: Kaggle iMet Collection 2019, files train.csv and labels.csv.
    """
    columns = {"image": "id", "labels": "attribute_ids", **options.columns}
    made = replace(table(file, replace(options, columns=columns, separator=" ")), ending=".png")
    beside = file.with_name("labels.csv")
    if not beside.is_file():
        fix = "put labels.csv (attribute_id, attribute_name) into the folder of train.csv"
        lost = Mistake(file.name, None, None, "the file of the label names is missing", str(beside), fix)
        return replace(made, mistakes=[*made.mistakes, lost])
    sheet = read_sheet(beside, encoding=options.encoding)
    if not {"attribute_id", "attribute_name"} <= set(sheet.names):
        fix = "give labels.csv the columns attribute_id and attribute_name"
        lost = Mistake(beside.name, 1, None, "missing column", ", ".join(sheet.names), fix)
        return replace(made, mistakes=[*made.mistakes, *sheet.mistakes, lost])
    named = dict(zip(sheet.table["attribute_id"], sheet.table["attribute_name"], strict=True))
    frame, mistakes = json_layouts.named_labels(made, named, file=beside.name)
    return replace(made, table=frame, tags=tuple(named.values()), mistakes=[*made.mistakes, *sheet.mistakes, *mistakes])


@reader("folders")
def folders(folder: Path, options: Options) -> Draft:
    """Read a folder with one sub-folder for each individual. The name of the sub-folder is the identity.

    Photos in deeper folders belong to the sub-folder at the top. Hidden files are skipped. Other files that are not
    photos are noted.
    """
    rows: dict[str, list[str]] = {"file": [], "identity": []}
    mistakes, notes = [], []
    for path, is_linked_folder in walk(folder):
        identity, slash, _ = path.partition("/")
        if is_linked_folder:
            fix = "replace the link by the folder itself"
            mistakes.append(Mistake(path, None, None, "links to folders are not followed", path, fix))
        elif not is_photo(path):
            notes.append(Mistake(path, None, None, "not a photo; left out", path))
        elif options.labelled and not slash:
            fix = "move it into the folder of its individual, or use labelled=False"
            mistakes.append(Mistake(path, None, None, "photo is not in the folder of an individual", path, fix))
        else:
            rows["file"].append(path)
            rows["identity"].append(identity)
    frame = pl.DataFrame(rows, schema=dict.fromkeys(rows, pl.String)).with_columns(image=pl.col("file"))
    frame = frame.with_columns(pl.Series(ROW, range(1, len(frame) + 1), dtype=pl.Int64))
    if not options.labelled:
        frame = frame.drop("identity")
    return Draft(table=frame, source=folder.name, name="", folders=(), mistakes=mistakes, notes=notes)


for _name, _read in (
    ("coco", json_layouts.coco),
    ("coco_identities", json_layouts.coco_identities),
    ("imaterialist2017", imaterialist.imaterialist2017),
    ("imaterialist2018", json_layouts.imaterialist2018),
):
    READERS.add(_name, Reader(_read))

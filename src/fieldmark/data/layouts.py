"""The forms in which photos come: tables, folders of folders, and the contests' own files."""

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
"""The file that stands for a folder, the first that is there."""
WITH_MAIN_FILE = ("table", "humpback", "imet2019", "coco", "coco_identities", "imaterialist2017", "imaterialist2018")
"""The layouts of which one file in a folder tells all; the others are given the folder."""
PHOTO_FOLDERS = ("images", "train", "photos", "train_images", "img")


def draft(path: Path, options: Options) -> Draft:
    """The table at ``path`` in our names, read as ``options.layout`` says, or as it looks.

    Raises:
        DataError: There is nothing at ``path``, or nothing of a known form.
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
    """Which layout a path has, and the file or folder it is read from.

    Layouts that others registered are asked first: what they look for is the more special.

    Raises:
        DataError: It looks like none.
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
            "This kind of file holds no table of photos.",
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
    """The file that stands for a folder; a folder that has none is itself a folder of folders."""
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
    """Where photos may lie: where the user says, else beside the table and in the folders that are usual there."""
    if options.photos is not None:
        return (options.photos,)
    if layout == "folders":
        return (file,)
    usual = (file.parent, *(file.parent / name for name in (*PHOTO_FOLDERS, file.stem)))
    return tuple(dict.fromkeys(folder for folder in usual if folder.is_dir()))


@reader("table")
def table(file: Path, options: Options) -> Draft:
    """A CSV, TSV or Parquet file; columns by ``options.columns``, else by the names the field uses."""
    return _of_sheet(read_sheet(file, encoding=options.encoding), file, options)


def _drafted(made: Any, file: Path, options: Options) -> Draft:
    """What a reader returned as a draft; frames are treated as a table's file would be."""
    if isinstance(made, Draft):
        return made
    return _of_sheet(sheet_of(of_any(made), file.name), file, options)


def _of_sheet(sheet: Sheet, file: Path, options: Options) -> Draft:
    """A sheet's columns in our names."""
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
        asked=options.asked,
        mistakes=sheet.mistakes + missing,
    )


def _renamed(frame: pl.DataFrame, theirs: dict[str, str]) -> pl.DataFrame:
    """The frame with our names; the user's own column of such a name, if it has another meaning, goes."""
    ours = {name: mine for mine, name in theirs.items()}
    shadowed = [name for name in frame.columns if name in theirs and name not in ours]
    return frame.drop(shadowed).rename(ours)


def _missing_columns(sheet: Sheet, theirs: dict[str, str], source: str, options: Options) -> list[Mistake]:
    """The columns without which the table says nothing: photos, and (if labelled) who or what is on them."""
    has = ", ".join(sheet.names)
    mistakes = []
    if "image" not in theirs and "file" not in theirs:
        looks = (
            " (the first row looks like a photo, not like names of columns)" if any(map(is_photo, sheet.names)) else ""
        )
        hint = (
            _hint(("image", "file"), sheet.names)
            or "say which column it is: columns={'image': ...} (--column image=...)"
        )
        mistakes.append(Mistake(source, 1, None, f"no column names the photos{looks}", has, hint))
    named = "identity" in theirs or "labels" in theirs or options.questions
    if options.labelled and not named:
        hint = _hint(("identity", "labels"), sheet.names) or (
            "say which column it is: columns={'identity': ...}, {'labels': ...} or questions=[...]; "
            "or labelled=False for new photos"
        )
        mistakes.append(Mistake(source, 1, None, "no column says who or what is on the photos", has, hint))
    return mistakes


def _hint(ours: tuple[str, ...], names: list[str]) -> str:
    """A guess at a misspelt column, or ""."""
    known = [synonym for mine in ours for synonym in SYNONYMS[mine] if len(synonym) > 3]
    for name in names:
        hint = nearest(name.lower(), known)
        if hint.startswith("did"):
            mine = next(mine for mine in ours if hint[len("did you mean '") : -2] in SYNONYMS[mine])
            return f"did you mean column {name!r}? then say columns={{'{mine}': {name!r}}}"
    return ""


@reader("humpback")
def humpback(file: Path, options: Options) -> Draft:
    """The whale contests' ``train.csv`` (Image, Id); photos in ``train/``, ``images/`` or beside it.

    Source: Kaggle Humpback Whale Identification 2018/19, file train.csv.
    """
    columns = {"image": "Image", "identity": "Id", **options.columns}
    return replace(table(file, replace(options, columns=columns)), unknown="new_whale")


@reader("imet2019")
def imet2019(file: Path, options: Options) -> Draft:
    """The iMet contests' ``train.csv`` (id, attribute_ids with spaces between) and the names in ``labels.csv``.

    Tags come in the order of ``labels.csv``, so that column k is attribute k; photos are ``ID.png`` or ``ID.jpg``.

    Source: Kaggle iMet Collection 2019, files train.csv and labels.csv.
    """
    columns = {"image": "id", "labels": "attribute_ids", **options.columns}
    made = replace(table(file, replace(options, columns=columns, separator=" ")), ending=".png")
    beside = file.with_name("labels.csv")
    if not beside.is_file():
        fix = "put labels.csv (attribute_id, attribute_name) beside train.csv"
        lost = Mistake(file.name, None, None, "the names of the labels are missing", str(beside), fix)
        return replace(made, mistakes=[*made.mistakes, lost])
    sheet = read_sheet(beside, encoding=options.encoding)
    if not {"attribute_id", "attribute_name"} <= set(sheet.names):
        fix = "give labels.csv the columns attribute_id and attribute_name"
        lost = Mistake(beside.name, 1, None, "a column is missing", ", ".join(sheet.names), fix)
        return replace(made, mistakes=[*made.mistakes, *sheet.mistakes, lost])
    named = dict(zip(sheet.table["attribute_id"], sheet.table["attribute_name"], strict=True))
    frame, mistakes = json_layouts.named_labels(made, named, file=beside.name)
    return replace(made, table=frame, tags=tuple(named.values()), mistakes=[*made.mistakes, *sheet.mistakes, *mistakes])


@reader("folders")
def folders(folder: Path, options: Options) -> Draft:
    """A folder with one folder for each individual; the folder's name is the identity.

    Photos in deeper folders belong to the first; hidden files are passed over; other files that are no photos are
    noted.
    """
    rows: dict[str, list[str]] = {"file": [], "identity": []}
    mistakes, notes = [], []
    for path, is_linked_folder in walk(folder):
        identity, slash, _ = path.partition("/")
        if is_linked_folder:
            fix = "put the folder itself there instead of a link"
            mistakes.append(Mistake(path, None, None, "a link to a folder is not entered", path, fix))
        elif not is_photo(path):
            notes.append(Mistake(path, None, None, "not a photo, left out", path))
        elif options.labelled and not slash:
            fix = "move it into the folder of its individual, or say labelled=False"
            mistakes.append(Mistake(path, None, None, "photo outside of an individual's folder", path, fix))
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

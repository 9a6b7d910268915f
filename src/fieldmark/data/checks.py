"""Checks of the rows of a draft: values, labels, repeated ids and files. Each check handles whole columns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl

from fieldmark.data.drafts import Draft, Options
from fieldmark.data.mistakes import Mistake
from fieldmark.data.photos import EMPTY, MISSING, OUTSIDE, find_files, is_photo, leaves, tidy
from fieldmark.data.sheets import ROW

_BOX = ("box_x", "box_y", "box_w", "box_h")
_CORNERS = ("x0", "y0", "x1", "y1")
_AT = "place in the table"


def check_values(made: Draft) -> tuple[Draft, list[Mistake]]:
    """Convert dates, sizes and boxes to their types, and report invalid cells. One box column becomes four."""
    mistakes = made.mark(
        _blank("image"), column="image", problem="empty id", fix="give the photo an id, or delete the row"
    )
    if "date" in made.table.columns:
        mistakes += _dates(made)
        made = replace(made, table=made.table.with_columns(date=_day()))
    for side in ("width", "height"):
        if side in made.table.columns:
            number = pl.col(side).cast(pl.Float64, strict=False)
            bad = ~_blank(side) & ~((number > 0) & (number < 2**31)).fill_null(value=False)
            fix = "write a whole number of pixels above 0, or leave the cell empty"
            mistakes += made.mark(bad, column=side, problem="invalid size", fix=fix)
            sound = pl.when(~bad).then(number.cast(pl.Int32, strict=False))
            made = replace(made, table=made.table.with_columns(sound.alias(side)))
    made, boxes = _boxes(made)
    return made, mistakes + boxes


def _day() -> pl.Expr:
    """The date at the start of a cell (YYYY-MM-DD, also with ``/`` or with ``:`` as in EXIF); null if there is none."""
    text = pl.col("date").cast(pl.String).str.slice(0, 10).str.replace_all(r"[/:]", "-")
    return text.str.to_date("%Y-%m-%d", strict=False)


def _dates(made: Draft) -> list[Mistake]:
    bad = ~_blank("date") & _day().is_null()
    return made.mark(bad, column="date", problem="invalid date", fix="write dates as YYYY-MM-DD")


def _boxes(made: Draft) -> tuple[Draft, list[Mistake]]:
    """Boxes from four columns, from one column with cells "x, y, w, h", or from columns of corners."""
    table = made.table
    if set(_BOX) <= set(table.columns):
        used = list(_BOX)
        parts = [pl.col(name).cast(pl.Float64, strict=False) for name in _BOX]
    elif "box" in table.columns:
        used = ["box"]
        numbers = pl.col("box").str.extract_all(r"[^\s,;\[\]()]+")
        parts = [
            pl.when(numbers.list.len() == 4).then(numbers.list.get(at, null_on_oob=True)).cast(pl.Float64, strict=False)
            for at in range(4)
        ]
    elif set(_CORNERS) <= set(table.columns):
        used = list(_CORNERS)
        x0, y0, x1, y1 = (pl.col(name).cast(pl.Float64, strict=False) for name in _CORNERS)
        parts = [x0, y0, x1 - x0, y1 - y0]
    else:
        return made, []
    blank = pl.all_horizontal(_blank(name) for name in used)
    sound = pl.all_horizontal(part.is_finite() for part in parts) & (parts[2] > 0) & (parts[3] > 0)
    bad = ~blank & ~sound.fill_null(value=False)
    shown = pl.concat_str([pl.col(name).fill_null("") for name in used], separator=", ")
    fix = "write left, top, width and height in pixels of the original photo, or leave the box empty"
    mistakes = made.mark(bad, column=used[0], problem="invalid box", fix=fix, value=shown)
    columns = [
        pl.when(~bad & ~blank).then(part).cast(pl.Float32).alias(name) for name, part in zip(_BOX, parts, strict=True)
    ]
    table = table.with_columns(columns).drop([name for name in used if name not in _BOX])
    return replace(made, table=table), mistakes


def check_labels(made: Draft, options: Options) -> list[Mistake]:
    """Mistakes of labels: rows without a label, and empty names among labels."""
    mistakes = []
    columns = made.table.columns
    fix = (
        "fill in the label or delete the row. New photos need no label: use `fieldmark predict`, --new, or in Python "
        "labelled=False"
    )
    if "identity" in columns and options.labelled and options.unknown != "":
        fix_identity = f"{fix}. If empty names mean unknown individuals, use --unknown ''"
        mistakes += made.mark(_blank("identity"), column="identity", problem="empty label", fix=fix_identity)
    for column in ("labels", *made.questions):
        if column not in columns:
            continue
        names = pl.col(column).list
        shown = names.join(options.separator)
        if column == "labels" and options.labelled:
            none = pl.col(column).is_null() | (names.len() == 0)
            mistakes += made.mark(none, column=column, problem="empty label", fix=fix, value=shown)
        has_empty = names.contains("").fill_null(value=False) & (names.len() > 0)
        fix_empty = f"delete the extra {options.separator!r}"
        mistakes += made.mark(has_empty, column=column, problem="empty label among others", fix=fix_empty, value=shown)
    return mistakes


def check_duplicates(made: Draft) -> tuple[list[Mistake], list[int], list[Mistake]]:
    """Find ids that occur more than once.

    Returns:
        Mistakes (rows that contradict the first row of their id), the numbers of rows that only repeat it, and a note
        for each repeated row.
    """
    if not made.table["image"].is_duplicated().any():
        return [], [], []
    columns = [name for name in ("identity", "labels", *made.questions) if name in made.table.columns]
    texts = [
        pl.col(name).list.join(", ") if made.table[name].dtype == pl.List else pl.col(name).cast(pl.String)
        for name in columns
    ]
    labels = pl.concat_str([text.fill_null("") for text in texts] or [pl.lit("")], separator="; ")
    twice = made.table.filter(pl.col("image").is_duplicated() & ~_blank("image")).with_columns(all_labels=labels)
    first = [pl.col(name).first().over("image").alias(f"first {name}") for name in (ROW, "all_labels", "file")]
    twice = twice.with_columns(first).filter(pl.col(ROW) != pl.col(f"first {ROW}"))
    differs = (pl.col("all_labels") != pl.col("first all_labels")).alias("differs")
    moved = (pl.col("file") != pl.col("first file")).fill_null(value=True).alias("moved")
    column = made.theirs.get("image", "image")
    mistakes, repeats, notes = [], [], []
    names = (ROW, "image", "all_labels", "file", f"first {ROW}", "first all_labels", "first file")
    chosen = twice.select(*names, differs, moved)
    for row, image, what, file, before, what_before, file_before, is_other, is_moved in chosen.iter_rows():
        if is_other:
            value = f"{image}: {what!r} here, {what_before!r} in row {before}"
            fix = "keep the row with the right label and delete the other"
            mistakes.append(Mistake(made.source, row, column, "same id with different labels", value, fix))
        elif is_moved:
            value = f"{image}: {file} here, {file_before} in row {before}"
            fix = "give each photo a unique id"
            mistakes.append(Mistake(made.source, row, column, "same id with different files", value, fix))
        else:
            repeats.append(row)
            notes.append(Mistake(made.source, row, column, f"repeats row {before}; one of them is kept", image))
    return mistakes, repeats, notes


def check_files(made: Draft, options: Options) -> tuple[Draft, Path, list[Mistake]]:
    """Find the file of each photo.

    Returns:
        The draft with the found files, the folder of photos, and mistakes for missing files and files outside of it.
    """
    column = "file"
    made = replace(made, table=made.table.with_columns(file=tidy(made.table[column])).with_row_index(_AT))
    fix = "use files below the folder of photos. If you trust the table, use --allow-outside (allow_outside=True)"
    control = pl.col(column).str.contains(r"[\x00-\x1f\x7f]").fill_null(value=False)
    outside = control if options.allow_outside else pl.lit(leaves(made.table[column]))
    mistakes = made.mark(outside, column=column, problem=OUTSIDE, fix=fix)
    sound = made.table.filter(~outside)
    if not options.check_files:
        bare = ~pl.col(column).map_elements(is_photo, return_dtype=pl.Boolean).fill_null(value=True)
        ending = pl.when(bare & pl.lit(made.by_stem)).then(pl.lit(made.ending)).otherwise(pl.lit(""))
        folder = made.folders[1] if made.by_stem and len(made.folders) > 1 else made.folders[0]
        table = made.table.with_columns(file=pl.col(column) + ending)
        mistakes += made.mark(_blank(column) & ~outside, column=column, problem=EMPTY, fix="enter the file name")
        return replace(made, table=table.drop(_AT)), folder, mistakes

    tried = []
    for folder in made.folders or (Path(),):
        found = find_files(sound[column], folder, by_stem=made.by_stem, allow_outside=options.allow_outside)
        tried.append((int(found["problem"].null_count()), folder, found))
        if tried[-1][0] == len(sound):
            break
    _, root, found = max(tried, key=lambda each: each[0])
    found = found.with_columns(sound[ROW], sound[_AT])
    lost = found.drop_nulls("problem")
    fixes = {MISSING: f"put the photo into {root}, or give the folder of the photos with --photos FOLDER", OUTSIDE: fix}
    theirs = made.theirs.get(column, column)
    for name, problem, hint, row in lost.select("file", "problem", "hint", ROW).iter_rows():
        value = f"{name} (there is {hint})" if hint and problem == MISSING else name
        fix_this = fixes.get(problem, "replace it by a readable photo")
        mistakes.append(Mistake(made.source, row, theirs, problem, value, fix_this))
    table = made.table.join(found.select(_AT, found="file"), on=_AT, how="left", maintain_order="left")
    table = table.with_columns(file=pl.coalesce("found", "file")).drop("found", _AT)
    return replace(made, table=table), root, mistakes


def _blank(column: str) -> pl.Expr:
    """Whether a cell is missing or an empty text."""
    return pl.col(column).is_null() | (pl.col(column).cast(pl.String) == "")

"""Boxes, landmarks and masks on photos, from one or more sources, in a separate table or in the table of photos.

Coordinates are pixels of the upright original photo. Its size is in the columns ``width`` and ``height`` of the photos;
without these columns it is the size of the file. Decimals are allowed. Relative coordinates are not, because 0.5 could
mean half a pixel or half the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Float32

from fieldmark.core.errors import DataError, nearest, several
from fieldmark.data.checks import check_values
from fieldmark.data.collection import BOX, Collection
from fieldmark.data.columns import place
from fieldmark.data.drafts import Draft
from fieldmark.data.mistakes import Mistake
from fieldmark.data.sheets import ROW, read_sheet

OURS = ("image", "file", "box", *BOX, "x0", "y0", "x1", "y1")
MASK = "mask"
MOST_PIXELS = 4096 * 4096
"""Maximum number of pixels of a mask, as in ``fieldmark.images.masks`` (which this package cannot import)."""
_RUNS = "write height, width and run lengths, as `fieldmark boxes --masks` does, or leave the cell empty"
_PIXELS = "write coordinates in pixels of the upright photo"


@dataclass(frozen=True)
class Marks:
    """Boxes, landmarks and masks of photos, read from one file.

    Attributes:
        table: Frame with the column ``image``. Optional columns are ``box_x box_y box_w box_h``, ``x_NAME y_NAME`` for
            each landmark (float, null if it was not marked), and ``mask`` (text).
        points: Names of the landmarks, in the order of the columns.
        source: Name of the file.
    """

    table: pl.DataFrame
    points: tuple[str, ...]
    source: str

    def __len__(self) -> int:
        return len(self.table)

    @property
    def has_boxes(self) -> bool:
        """Whether the table has boxes."""
        return set(BOX) <= set(self.table.columns)


def read_marks(path: Path | str, *, encoding: str = "utf-8") -> Marks:
    """Read a table of boxes, landmarks (``x_left_tip, y_left_tip, ...``) and masks.

    The column of the photos is ``image`` or ``file`` (or another common name). A box has the columns ``x0 y0 x1 y1``,
    or one column ``box`` with left, top, width and height. A photo without a box or landmark has empty cells or no row.

    Args:
        path: Path of a CSV, TSV or Parquet file.
        encoding: Encoding of a text file.

    Raises:
        DataError: The table has no boxes, landmarks or masks, or it has wrong cells. The error lists all mistakes by
            file, row and column.
    """
    path = Path(path)
    sheet = read_sheet(path, encoding=encoding)
    theirs = {ours: name for ours, name in place(sheet.names, {}).items() if ours in OURS}
    points = _landmarks(sheet.names)
    if "image" not in theirs and "file" in theirs:
        theirs["image"] = theirs.pop("file")
    marked = points or MASK in sheet.names or "box" in theirs or set(BOX) <= theirs.keys() or "x1" in theirs
    if not sheet.mistakes and ("image" not in theirs or not marked):
        lacking = "photo" if "image" not in theirs else "box, landmark or mask"
        raise DataError(
            f"The table has no column for a {lacking}.",
            got=f"{path}: columns {', '.join(sheet.names) or 'none'}",
            fix="use the columns image, x0, y0, x1, y1; for landmarks x_NAME, y_NAME such as x_left_tip, y_left_tip.",
        )
    frame = sheet.table.rename({name: ours for ours, name in theirs.items()})
    wanted = [ROW, *theirs, *(f"{axis}_{point}" for point in points for axis in "xy")]
    frame = frame.select(list(dict.fromkeys(wanted + ([MASK] if MASK in frame.columns else []))))
    made = Draft(table=frame, source=path.name, name="", folders=(), theirs=theirs)
    made, wrong = check_values(made)
    mistakes = [*sheet.mistakes, *wrong, *_twice(made), *_shares(made), *_wrong_points(made, points)]
    mistakes += _wrong_masks(made)
    if mistakes:
        raise refused(str(path), mistakes)
    numbers = [pl.col(f"{axis}_{point}").cast(pl.Float32, strict=False) for point in points for axis in "xy"]
    return Marks(made.table.with_columns(numbers).drop(ROW), points, path.name)


def refused(name: str, mistakes: Sequence[Mistake]) -> DataError:
    """One error for all mistakes of a table of boxes, landmarks and masks."""
    fixes = list(dict.fromkeys(mistake.fix for mistake in mistakes if mistake.fix))
    return DataError(
        f"{name} has {len(mistakes)} mistake(s).",
        got=several(mistakes, most=10),
        fix="; ".join(fixes) + "." if fixes else "correct the file.",
    )


def marked(photos: Collection, marks: Marks, *, source: str = "", strict: bool = True) -> Collection:
    """Add boxes, landmarks and masks to photos.

    Rows are matched by the id of the photo or by its file name. Marks of other photos are ignored. Photos without marks
    get empty cells.

    Args:
        photos: The photos.
        marks: The boxes, landmarks and masks.
        source: Name of the source. If empty, the marks become the photos' own boxes, masks and landmarks. Else they go
            to the columns ``box.SOURCE``, ``mask.SOURCE`` and ``x_NAME.SOURCE``.
        strict: Whether marks that match none of the photos are an error. If False, the photos are returned unchanged.

    Raises:
        DataError: No mark matches a photo, or boxes are outside of their photos (if the size of the photo is known).
    """
    named = _of(photos, marks)
    if named is None:
        if not strict:
            return photos
        raise DataError(
            f"{marks.source} matches none of the photos.",
            got=f"{several(marks.table['image'].head(3).to_list())}\nphotos: {several(photos.images[:3])}",
            fix="use the same photo names in both tables.",
        )
    outside = _outside(photos, named)
    if outside:
        raise refused(marks.source, outside)
    columns = []
    if marks.has_boxes:
        if source:
            cell = pl.concat_str([pl.col(name).cast(pl.String) for name in BOX], separator=", ")
            columns.append(named.select(cell).to_series().alias(f"box.{source}"))
        else:
            columns += [named[name] for name in BOX]
    if MASK in marks.table.columns:
        columns.append(named[MASK].alias(f"{MASK}.{source}" if source else MASK))
    end = f".{source}" if source else ""
    names = [f"{axis}_{point}" for point in marks.points for axis in "xy"]
    columns += [named[name].cast(pl.String).alias(f"{name}{end}") for name in names]
    return replace(photos, table=photos.table.with_columns(columns))


def boxes_of(photos: Collection, source: str = "") -> Float32[np.ndarray, "image 4"] | None:
    """Boxes from a source: left, top, width and height in px of the original photo.

    A photo without box has nan. The result is None if the photos have no boxes from this source.

    Raises:
        DataError: A cell is not a valid box.
    """
    column = f"box.{source}"
    if not source:
        return photos.boxes
    if column not in photos.table.columns:
        return None
    parts = [[_number(word) for word in (cell or "").split(",")] for cell in photos.table[column]]
    wrong = [
        f"{image}: {cell!r}"
        for image, cell, part in zip(photos.images, photos.table[column], parts, strict=True)
        if cell and (len(part) != 4 or not np.isfinite(part).all() or min(part[2:]) <= 0)
    ]
    if wrong:
        raise DataError(
            f"Column '{column}' has invalid boxes.",
            got=several(wrong),
            fix="write left, top, width, height in pixels, such as '12, 30, 200, 90', or leave the cell empty.",
        )
    return np.array([part if len(part) == 4 else [np.nan] * 4 for part in parts], dtype=np.float32).reshape(-1, 4)


def masks_of(photos: Collection, source: str = "") -> list[str | None]:
    """Masks from a source, in the text format of ``images.masks``; None for photos without mask.

    Raises:
        DataError: A cell is not a valid mask.
    """
    column = f"{MASK}.{source}" if source else MASK
    if column not in photos.table.columns:
        return [None] * len(photos)
    wrong = photos.table.filter(_no_mask(column)).select("image", _start(column)).rows()
    if wrong:
        got = several([f"{image}: {cell!r}" for image, cell in wrong])
        raise DataError(f"Column '{column}' has invalid masks.", got=got, fix=f"{_RUNS}.")
    return [cell or None for cell in photos.table[column]]


def points_of(photos: Collection, names: Sequence[str]) -> Float32[np.ndarray, "image point 2"]:
    """Coordinates of landmarks, in px of the original photo; nan for landmarks that were not marked.

    Raises:
        DataError: There is no landmark of that name, or a cell is not a number.
    """
    known = _landmarks(photos.table.columns)
    absent = [name for name in names if name not in known]
    if absent:
        raise DataError(
            "The photos have no landmarks of that name.",
            got=several(absent),
            fix=nearest(absent[0], known) if known else "add them: --boxes MARKS.csv with columns x_NAME and y_NAME.",
        )
    found = np.full((len(photos), len(names), 2), np.nan, dtype=np.float32)
    for at, name in enumerate(names):
        for axis, letter in enumerate("xy"):
            cells = photos.table[f"{letter}_{name}"]
            numbers = cells.cast(pl.Float32, strict=False)
            wrong = photos.table.filter(numbers.is_null() & cells.is_not_null() & (cells != ""))["image"].to_list()
            if wrong:
                raise DataError(
                    f"Column '{letter}_{name}' has cells that are not numbers.", got=several(wrong), fix=f"{_PIXELS}."
                )
            found[:, at, axis] = numbers.fill_null(float("nan")).to_numpy()
    return found


def _landmarks(columns: Sequence[str]) -> tuple[str, ...]:
    """Names of landmarks: those with both an ``x_`` and a ``y_`` column."""
    return tuple(name[2:] for name in columns if name.startswith("x_") and len(name) > 2 and f"y_{name[2:]}" in columns)


def _twice(made: Draft) -> list[Mistake]:
    fix = "keep one row for each photo"
    return made.mark(
        pl.col("image").is_duplicated() & pl.col("image").is_not_null(), column="image", problem="occurs twice", fix=fix
    )


def _shares(made: Draft) -> list[Mistake]:
    """A mistake for each box within the first pixel: such boxes are relative coordinates, not pixels."""
    if not set(BOX) <= set(made.table.columns):
        return []
    right, below = pl.col("box_x") + pl.col("box_w"), pl.col("box_y") + pl.col("box_h")
    tiny = (right <= 1) & (below <= 1) & (pl.col("box_w") > 0)
    shown = pl.concat_str([pl.col(name).cast(pl.String) for name in BOX], separator=", ")
    column = next((name for name in ("x0", "box", "box_x") if name in made.theirs), "image")
    fix = f"{_PIXELS}: multiply relative coordinates by the width and height of the photo"
    return made.mark(tiny, column=column, problem="box is not in pixels", fix=fix, value=shown)


def _wrong_points(made: Draft, points: Sequence[str]) -> list[Mistake]:
    mistakes = []
    for name in points:
        blank = {axis: _blank(f"{axis}_{name}") for axis in "xy"}
        for axis, other in (("x", "y"), ("y", "x")):
            column = f"{axis}_{name}"
            number = pl.col(column).cast(pl.Float64, strict=False)
            bad = ~blank[axis] & ~number.is_finite().fill_null(value=False)
            fix = f"{_PIXELS}, or leave the cell empty"
            mistakes += made.mark(bad, column=column, problem="not a number", fix=fix)
            half = blank[axis] & ~blank[other]
            fix = "fill in both x and y, or leave both empty"
            mistakes += made.mark(half, column=column, problem="incomplete landmark", fix=fix)
    return mistakes


def _wrong_masks(made: Draft) -> list[Mistake]:
    if MASK not in made.table.columns:
        return []
    return made.mark(_no_mask(MASK), column=MASK, problem="invalid mask", fix=_RUNS, value=_start(MASK))


def _no_mask(column: str) -> pl.Expr:
    """Whether a cell is not empty and not a mask: height, width, and run lengths that add up to height x width."""
    words = pl.col(column).cast(pl.String).str.extract_all(r"\S+")
    numbers = words.list.eval(pl.element().cast(pl.Int64, strict=False))
    height, width, runs = numbers.list.first(), numbers.list.get(1, null_on_oob=True), numbers.list.slice(2)
    whole = numbers.list.eval((pl.element() >= 0).fill_null(value=False)).list.all()
    fits = (height * width).is_between(1, MOST_PIXELS) & (runs.list.sum() == height * width)
    return ~_blank(column) & ~(whole & fits).fill_null(value=False)


def _start(column: str) -> pl.Expr:
    return pl.col(column).cast(pl.String).str.slice(0, 60)


def _blank(column: str) -> pl.Expr:
    return pl.col(column).is_null() | (pl.col(column).cast(pl.String) == "")


def _of(photos: Collection, marks: Marks) -> pl.DataFrame | None:
    """The marks of each photo, one row per photo, with null for photos without marks; None if no mark matches."""
    keys = photos.table.select("image", "file").with_columns(
        name=pl.col("file").str.extract(r"([^/]*)$"), stem=pl.col("image").str.replace(r"\.[^.]*$", "")
    )
    for key in ("image", "file", "name", "stem"):
        named = keys.join(marks.table, left_on=key, right_on="image", how="left", maintain_order="left")
        if keys[key].is_in(marks.table["image"].to_list()).any():
            return named
    return None


def _outside(photos: Collection, named: pl.DataFrame) -> list[Mistake]:
    """A mistake for each box that does not overlap its photo, if the size of the original photo is known."""
    if not {"width", "height"} <= set(photos.table.columns) or "box_x" not in named.columns:
        return []
    sized = named.with_columns(width=photos.table["width"], height=photos.table["height"])
    outside = (pl.col("box_x") >= pl.col("width")) | (pl.col("box_y") >= pl.col("height"))
    outside |= (pl.col("box_x") + pl.col("box_w") <= 0) | (pl.col("box_y") + pl.col("box_h") <= 0)
    fix = f"{_PIXELS} in its original size (columns width and height)"
    rows = sized.filter(outside.fill_null(value=False)).select("image", *BOX, "width", "height")
    return [
        Mistake(str(image), None, None, "box outside of its photo", f"{x}, {y}, {w}, {h} in {width} x {height}", fix)
        for image, x, y, w, h, width, height in rows.iter_rows()
    ]


def _number(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        return float("nan")

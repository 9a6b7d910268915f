"""Conversion of polars frames, pandas frames and mappings to polars frames with the column types of a collection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from fieldmark.core.errors import DataError

SCHEMA: dict[str, pl.DataType] = {
    "image": pl.String(),
    "file": pl.String(),
    "identity": pl.String(),
    "labels": pl.List(pl.String()),
    "group": pl.String(),
    "date": pl.Date(),
    "box_x": pl.Float32(),
    "box_y": pl.Float32(),
    "box_w": pl.Float32(),
    "box_h": pl.Float32(),
    "width": pl.Int32(),
    "height": pl.Int32(),
    "url": pl.String(),
    "text": pl.String(),
}
"""Columns of a collection and their types. Questions are lists of text; all other columns are text."""


def of_any(frame: Any) -> pl.DataFrame:
    """Convert a polars or pandas frame, or a mapping of names to columns, to a polars frame.

    A pandas frame is recognised by its attributes (``columns``, and columns with ``tolist``), so pandas is not
    required. Missing values become null. Whole numbers that pandas stores as floats (in columns with missing values)
    become integers again.

    Raises:
        DataError: ``frame`` is none of these.
    """
    if isinstance(frame, pl.DataFrame):
        return frame
    if isinstance(frame, Mapping):
        return pl.DataFrame(frame, strict=False)
    try:
        columns = {str(name): frame[name].tolist() for name in frame.columns}
    except (AttributeError, TypeError, KeyError) as error:
        raise DataError(
            "The table of photos has an unsupported type.",
            got=type(frame).__name__,
            fix="pass a polars or pandas frame, or a mapping of column names to lists.",
        ) from error
    return pl.DataFrame({name: _cells(values) for name, values in columns.items()}, strict=False)


def typed(table: pl.DataFrame, *, lists: Iterable[str] = ()) -> pl.DataFrame:
    """Convert the columns of a table to the types of ``SCHEMA``, to lists of text for ``lists``, and to text otherwise.

    Raises:
        DataError: A value does not fit its column, for example a word in ``width``.
    """
    lists = set(lists)
    clash = sorted(lists & SCHEMA.keys())
    if clash:
        raise DataError(
            "A question has the name of a reserved column.",
            got=", ".join(clash),
            fix="rename the column of that question.",
        )
    columns = []
    for series in table.get_columns():
        other = pl.List(pl.String()) if isinstance(series.dtype, pl.List) else pl.String()
        wanted = pl.List(pl.String()) if series.name in lists else SCHEMA.get(series.name, other)
        columns.append(_cast(series, wanted))
    return pl.DataFrame(columns)


def as_text(series: pl.Series) -> pl.Series:
    """Convert a column to text, or a column of lists to lists of text. Whole floats lose their ".0".

    Raises:
        DataError: Values of this type cannot be converted to text.
    """
    if series.dtype.is_float() and series.drop_nulls().is_finite().all():
        whole = series.cast(pl.Int64, strict=False)
        if (whole.cast(series.dtype) == series).all(ignore_nulls=True):
            series = whole
    try:
        return series.cast(pl.List(pl.String) if isinstance(series.dtype, pl.List) else pl.String)
    except pl.exceptions.PolarsError as error:
        raise DataError(
            f"Column {series.name!r} cannot be read as text.",
            got=series.dtype,
            fix="convert it to text, numbers, dates or lists of text.",
        ) from error


def _cast(series: pl.Series, wanted: pl.DataType) -> pl.Series:
    """One column, converted to the wanted type."""
    if series.dtype == wanted:
        return series
    is_list = isinstance(series.dtype, pl.List)
    if isinstance(wanted, pl.List):
        if is_list or series.dtype == pl.Null:
            return series.cast(wanted)
        text = as_text(series).to_frame()
        return text.select(pl.when(pl.first().is_not_null()).then(pl.concat_list(pl.first()))).to_series()
    if wanted == pl.String and not is_list:
        return as_text(series)
    try:
        if wanted == pl.Date and series.dtype == pl.String:
            return series.str.to_date("%Y-%m-%d")
        return series.cast(pl.Float64).cast(wanted) if series.dtype == pl.String else series.cast(wanted)
    except pl.exceptions.PolarsError as error:
        raise DataError(
            f"Column {series.name!r} holds values of a wrong type.",
            got=str(error).splitlines()[0],
            fix=f"convert it to {wanted!r}, or remove the column.",
        ) from error


def _cells(values: list[Any]) -> list[Any]:
    """The values of a column, with None for missing values (nan, NaT, NA) and integers for whole floats."""
    cells = [None if _is_missing(value) else value for value in values]
    floats = [value for value in cells if value is not None]
    if floats and all(isinstance(value, float) and value.is_integer() for value in floats):
        return [None if value is None else int(value) for value in cells]
    return cells


def _is_missing(value: Any) -> bool:
    """Whether a cell is empty: None, nan, or the NaT or NA of pandas."""
    if value is None or type(value).__name__ in {"NAType", "NaTType"}:
        return True
    return isinstance(value, float) and value != value  # noqa: PLR0124 - only nan differs from itself

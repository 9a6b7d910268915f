"""Validation folds for your own training loops.

A fold is one number per photo. Photos of fold k validate the model that is trained on all others; photos of fold -1 are
in every training part. Columns may be lists, numpy arrays, tensors, or pandas and polars columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Int, Int64

from fieldmark.core.arrays import converted, takes_arrays
from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.core.public import exports, kinds_of, named
from fieldmark.data import folds as _folds
from fieldmark.data.specs import (
    ByDate,
    DisjointIdentities,
    Folds,
    HumpbackSplit,
    IdentityFolds,
    OpenSetSplit,
    PlainFolds,
    StratifiedFolds,
)

if TYPE_CHECKING:
    from fieldmark.data.folds import FoldCounts, describe
    from fieldmark.data.stratified import Deviation, deviation, least_deviation

__all__ = ["Deviation", "FoldCounts", "assign", "describe", "deviation", "least_deviation", "splits"]
Strategy = Literal["plain", "stratified", "identity", "humpback", "open_set", "disjoint", "by_date"]
STRATEGIES = kinds_of(
    PlainFolds, StratifiedFolds, IdentityFolds, HumpbackSplit, OpenSetSplit, DisjointIdentities, ByDate
)
LABELS = Bool[np.ndarray, "photo label"] | Float[np.ndarray, "photo label"]
Column: TypeAlias = Any
"""A list, numpy array, tensor, or column."""


def assign(
    strategy: Strategy | Folds = "stratified",
    *,
    classes: Column | None = None,
    truth: Column | None = None,
    groups: Column | None = None,
    dates: Column | None = None,
    unknown: str = "unknown",
    seed: int = 0,
    **settings: Any,
) -> Int64[np.ndarray, " photo"]:
    """Assign each photo to a validation fold.

    Args:
        strategy: ``plain``: at random. ``stratified``: equal shares of each class or label. ``identity``: individuals
            of validation photos also occur in the training part, or are unknown. ``humpback``, ``open_set``: one fold
            of known and unknown individuals. ``disjoint``: no individual in two folds. ``by_date``: the latest photos.
            Or a setting of a plan, such as ``IdentityFolds(n_folds=4)``.
        classes: Individual or class of each photo: names, or whole numbers with -1 for unknown and -2 for unlabelled.
        truth: Matrix (photo, label) of 0 and 1, for ``stratified`` instead of ``classes``.
        groups: Name or number of the group of each photo (an encounter, a sender, copies); a group is never split.
            A photo with a missing value is its own group. None: no groups.
        dates: Day of each photo, for ``by_date``: dates, or texts such as ``2024-05-31``.
        unknown: Label of unknown individuals in ``classes``.
        seed: Random seed.
        **settings: Settings of the strategy, such as ``n_folds=5``.

    Returns:
        One whole number per photo. k >= 0: validation in fold k, training in all others. -1: training in all folds.

    Raises:
        DataError: The photos do not allow the strategy; ``fix`` names one that they allow.
        ShapeError: The columns differ in length.
        PlanError: The strategy has no setting of that name, or the value is not valid.
        FieldmarkError: The strategy does not exist, or a column has a wrong type.

    Source:
        Stratified: Sechidis et al. 2011; ``humpback`` and ``open_set``: Humpback Whale Identification 2018/19.
    """
    given = next((column for column in (classes, truth, groups, dates) if column is not None), None)
    n_photos = 0 if given is None else _length(given)
    return _folds.assign(
        named(STRATEGIES, strategy, settings, what="strategy"),
        classes=np.full(n_photos, -2) if classes is None else _classes(classes, unknown=unknown),
        groups=np.arange(n_photos) if groups is None else _groups(groups),
        dates=None if dates is None else _dates(dates),
        truth=None if truth is None else converted(truth, LABELS, name="truth", by="assign"),
        seed=seed,
    )


@takes_arrays
def splits(
    fold: Int[np.ndarray, " photo"],
) -> Iterator[tuple[Int64[np.ndarray, " row"], Int64[np.ndarray, " row"]]]:
    """Yield the rows of the training part and of the validation part of each fold, in order.

    Args:
        fold: Fold of each photo, as ``assign`` returns it.

    Raises:
        FieldmarkError: ``fold`` does not hold whole numbers.

    Example:
        ``for training, validation in folds.splits(fold): ...``
    """
    return ((np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(int(fold.max(initial=-1)) + 1))


def _length(column: Column) -> int:
    try:
        return len(column)
    except TypeError as error:
        raise FieldmarkError(
            "assign() needs columns with one value per photo.",
            got=f"{type(column).__name__}: {column}",
            fix="pass lists, arrays, or columns of a table.",
        ) from error


def _values(column: Column, *, name: str) -> list[Any]:
    """Return the values of a column as Python objects; missing values as None."""
    if isinstance(column, str) or not hasattr(column, "__iter__") or isinstance(column, dict):
        raise FieldmarkError(
            f"assign() needs one value per photo for {name}.",
            got=f"{type(column).__name__}: {column}",
            fix="pass a list, an array, or a column of a table.",
        )
    values = column.tolist() if hasattr(column, "tolist") else list(column)
    if values and isinstance(values[0], list):
        raise ShapeError(
            f"assign() needs one value per photo for {name}.", got="rows of values", fix="pass a single column."
        )
    return [None if one is None or one != one else one for one in values]  # noqa: PLR0124 - NaN is not itself


def _classes(column: Column, *, unknown: str) -> Int64[np.ndarray, " photo"]:
    values = _values(column, name="classes")
    if any(isinstance(one, str) for one in values):
        names = sorted({str(one) for one in values if one not in {None, "", unknown}})
        number = {**{name: place for place, name in enumerate(names)}, unknown: -1, "": -2}
        return np.array([-2 if one is None else number[str(one)] for one in values], np.int64)
    return converted(values, Int64[np.ndarray, " photo"], name="classes", by="assign")


def _groups(column: Column) -> Int64[np.ndarray, " photo"]:
    values = _values(column, name="groups")
    number: dict[Any, int] = {}
    return np.array([number.setdefault((row,) if one is None else one, len(number)) for row, one in enumerate(values)])


def _dates(column: Column) -> np.ndarray:
    try:
        days = [None if one is None else np.datetime64(str(one)[:10]) for one in _values(column, name="dates")]
        return np.array(days, "datetime64[D]")
    except ValueError as error:
        raise FieldmarkError(
            "assign() needs days for dates.", got=error, fix="pass dates, or texts such as 2024-05-31."
        ) from error


__getattr__, __dir__ = exports(
    __name__,
    {
        "Deviation": "fieldmark.data.stratified",
        "FoldCounts": "fieldmark.data.folds",
        "describe": "fieldmark.data.folds",
        "deviation": "fieldmark.data.stratified",
        "least_deviation": "fieldmark.data.stratified",
    },
    own=("assign", "splits"),
)

"""Average several submission files by a vote on names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from fieldmark.core.errors import DataError, FieldmarkError, several
from fieldmark.decisions.specs import ByVote


def average_submissions(
    paths: Sequence[Path], *, by: ByVote | None = None, weights: Sequence[float] | None = None
) -> pl.DataFrame:
    """Return one submission from several by a weighted vote; the unknown individual is a name like all others.

    Use it for submissions whose scores are not available. On equal sums, the name that an earlier file lists first is
    ranked first.

    Args:
        paths: CSV files ``Image,Id`` of the same photos, names separated by blanks, best first.
        by: The value of each place; names beyond those places are not counted.
        weights: One per file; None: equal weights.

    Returns:
        ``Image`` and ``Id``, photos in the order of the first file, with as many names as ``by`` has places.

    Raises:
        DataError: A file lacks a column or a photo, or lists a photo twice.
        FieldmarkError: There is no file, or the weights are not one number above 0 per file.

    Source:
        Positional votes: Humpback 2018/19, 24th place.
    """
    by, weights = by or ByVote(), list(weights or [1.0] * len(paths))
    if not paths or len(weights) != len(paths) or min(weights) <= 0:
        raise FieldmarkError(
            "average_submissions() needs at least one file, and one weight above 0 per file.",
            got=f"{len(paths)} file(s), weights {weights}",
            fix="pass at least one path and as many weights.",
        )
    ballots = [_ballots(path) for path in paths]
    mistakes = [
        f"{path}: {len(set(ballots[0]) ^ set(one))} photo(s) differ from {paths[0]}"
        for path, one in zip(paths, ballots, strict=True)
        if set(one) != set(ballots[0])
    ]
    if mistakes:
        raise DataError(
            "The submissions contain different photos.",
            got=several(mistakes),
            fix="pass only submissions for the same photos.",
        )
    rows = []
    for image in ballots[0]:
        given: dict[str, float] = {}
        for one, weight in zip(ballots, weights, strict=True):
            for name, worth in zip(one[image], by.worth, strict=False):
                given[name] = given.get(name, 0.0) + weight * worth
        rows.append((image, " ".join(sorted(given, key=lambda name, of=given: -of[name])[: len(by.worth)])))
    return pl.DataFrame(rows, schema={"Image": pl.String, "Id": pl.String}, orient="row")


def _ballots(path: Path) -> dict[str, list[str]]:
    try:
        table = pl.read_csv(path, infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{path} cannot be read.", got=error, fix="pass a CSV file with columns Image,Id.") from error
    if not {"Image", "Id"} <= set(table.columns) or table["Image"].n_unique() < len(table):
        raise DataError(
            f"{path} is not a submission.",
            got=f"columns {', '.join(table.columns)}; {len(table)} rows, {table[table.columns[0]].n_unique()} photos",
            fix="pass a CSV file with columns Image,Id and one row per photo.",
        )
    return {str(image): str(names or "").split() for image, names in table.select("Image", "Id").iter_rows()}

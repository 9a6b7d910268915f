"""Label issues: cells of a run's own table, labels or names, that are perhaps mistakes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from fieldmark.data.collection import Collection


@dataclass(frozen=True)
class LabelIssue:
    """One cell of the table, a photo and a label or an individual's name, that is perhaps a mistake.

    Attributes:
        image: The photo's id.
        label: The label or the name.
        kind: ``missing``: the table lacks it and it is perhaps there; ``wrong``: the table has it, perhaps wrongly;
            ``unknown``: the photo has no name, and perhaps it is this one; ``two names``: it has another.
        proba: What the networks (of names: networks and points) give the label, 0 to 1.
        doubt: How likely the table is wrong there, 0 to 1.
        beside: Of names, the id of the known photo that it agrees with.
    """

    image: str
    label: str
    kind: Literal["missing", "wrong", "stranger", "two names"]
    proba: float
    label_error_proba: float
    beside: str = ""


def write_issues(path: Path, found: Sequence[LabelIssue], known: Collection) -> None:
    """Write issues as a CSV with an empty column ``decision``; filled in, it is a patch.

    Args:
        path: The file.
        found: Label issues about photos of ``known``.
        known: Of the run.
    """
    from fieldmark.quality.patches import export_issues

    row_of = {image: row for row, image in enumerate(known.images)}
    cells = [
        (row_of[one.image], one.label, one.kind, one.kind == "wrong", one.proba, one.label_error_proba, one.beside)
        for one in found
    ]
    schema = {
        "row": pl.Int64,
        "label": pl.String,
        "kind": pl.String,
        "given": pl.Boolean,
        "proba": pl.Float64,
        "label_error_proba": pl.Float64,
        "beside": pl.String,
    }
    export_issues(path, pl.DataFrame(cells, schema=schema, orient="row"), known)

"""Label issues: labels or names in the table of a run that may be mistakes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from fieldmark.data.collection import Collection


@dataclass(frozen=True)
class LabelIssue:
    """One cell of the table (a photo, and a label or an individual's name) that may be a mistake.

    Attributes:
        image: Id of the photo.
        label: The label, or the name of the individual.
        kind: ``missing``: the label is not in the table, but the photo may show it. ``wrong``: the label is in the
            table, but the photo may not show it. ``unknown``: the table has no name for the photo, and this may be
            its name. ``two names``: the table has another name for the photo, and both may be the same individual.
        proba: Predicted probability of the label, 0 to 1. For names it combines networks and keypoint matches.
        label_error_proba: Probability that the table is wrong in this cell, 0 to 1.
        beside: For names, the id of the known photo whose keypoints match; empty for labels.
    """

    image: str
    label: str
    kind: Literal["missing", "wrong", "unknown", "two names"]
    proba: float
    label_error_proba: float
    beside: str = ""


def write_issues(path: Path, found: Sequence[LabelIssue], known: Collection) -> None:
    """Write label issues as a CSV with an empty column ``decision``. The file is a patch once that column is filled.

    Args:
        path: CSV file to write.
        found: Label issues of photos in ``known``.
        known: Known photos of the run.
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

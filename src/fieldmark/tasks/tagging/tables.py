"""Answers of runs of the tagging task as JSON, as a table for people, and as a submission."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import polars as pl

from fieldmark.core.files import write_text
from fieldmark.data.vocabulary import Vocabulary
from fieldmark.reporting.exports import write_answers_csv
from fieldmark.reporting.submissions import label_submission
from fieldmark.tasks.numbers import rounded
from fieldmark.tasks.tagging.results import Tagged

COLUMNS = ("image", "label", "proba", "given")


def as_json(one: Tagged) -> dict[str, Any]:
    """Return the labels of a photo as JSON values. Later versions add keys, but never rename them.

    The keys are ``photo`` (as typed), ``given`` (predicted labels) and ``labels``, the most probable first. Each label
    has ``label``, ``group`` (empty if it has none), ``proba`` (0 to 1) and ``given`` (whether it is predicted).
    """
    return {
        "photo": one.image,
        "given": list(one.answer),
        "labels": [
            {"label": tag.label, "group": tag.group, "proba": rounded(tag.proba), "given": tag.given}
            for tag in one.tags
        ],
    }


def write(
    path: Path, found: Sequence[Tagged], *, form: Literal["submission", "people"], vocabulary: Vocabulary
) -> None:
    """Write the labels of photos as CSV.

    Args:
        path: CSV file to write.
        found: Labels of each photo, in the order of the rows.
        form: ``people``: one row per photo and label, without cells that a spreadsheet would run as formulas.
            ``submission``: the columns ``id`` and ``attribute_ids`` with the numbers of the predicted labels.
        vocabulary: Vocabulary of the run; the number of a label is its index there.

    Source:
        The submission format is that of Kaggle iMet Collection 2019.
    """
    if form == "people":
        write_answers_csv(path, rows_of(found), COLUMNS, for_people=True)
        return
    given = [(one.image, label) for one in found for label in one.answer]
    answers = pl.DataFrame(given, schema={"image": pl.String, "label": pl.String}, orient="row")
    write_text(path, label_submission(answers, images=[one.image for one in found], labels=vocabulary.tags))


def rows_of(found: Sequence[Tagged]) -> list[tuple[Any, ...]]:
    """Return one row per photo and label, with the cells in the order of ``COLUMNS``."""
    return [(one.image, tag.label, rounded(tag.proba), tag.given) for one in found for tag in one.tags]

"""Answers of runs that tag as JSON, as a table for people, in the contest's form."""

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
    """The labels of a photo as JSON values; keys are added in later versions, never renamed.

    ``photo`` (as typed), ``given`` (the labels it is given), and ``labels``, the likeliest first, each with ``label``,
    ``group`` (empty without one), ``proba`` (0 to 1) and ``given``.
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
        path: The file.
        found: The photos, in the order of their rows.
        form: ``people``: one row a photo and label, harmless in a spreadsheet. ``submission``: ``id,attribute_ids``
            with the numbers of the given labels.
        vocabulary: Of the run; a label's number is its place there.

    Source:
        The submission is that of Kaggle iMet Collection 2019.
    """
    if form == "people":
        write_answers_csv(path, rows_of(found), COLUMNS, for_people=True)
        return
    given = [(one.image, label) for one in found for label in one.answer]
    answers = pl.DataFrame(given, schema={"image": pl.String, "label": pl.String}, orient="row")
    write_text(path, label_submission(answers, images=[one.image for one in found], labels=vocabulary.tags))


def rows_of(found: Sequence[Tagged]) -> list[tuple[Any, ...]]:
    """One row a photo and label, its cells in the order of ``COLUMNS``."""
    return [(one.image, tag.label, rounded(tag.proba), tag.given) for one in found for tag in one.tags]

"""Submission files for contests: answers to new photos, with one row per photo, or per photo and question."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from fieldmark.core.errors import DataError, several
from fieldmark.data.vocabulary import Vocabulary

SUBMISSION = "submission.csv"


def ranking_submission(ranking: pl.DataFrame, *, images: Sequence[str]) -> str:
    """Return a CSV in the format of the Humpback contest: ``Image,Id``, with the names best first.

    There is one row per photo, in the order of ``images``.

    Raises:
        DataError: A name contains a blank, so that it would be read as two names.
    """
    if split := with_blanks(ranking):
        raise DataError(
            "The submission format separates names by blanks, but some names contain blanks.",
            got=several(split),
            fix="rename those individuals without blanks, or use `fieldmark predict --format people`.",
        )
    names = ranking.sort("place").group_by("image", maintain_order=True).agg(pl.col("identity").str.join(" "))
    table = pl.DataFrame({"image": images}).join(names, on="image", how="left", maintain_order="left")
    return table.rename({"image": "Image", "identity": "Id"}).write_csv()


def with_blanks(ranking: pl.DataFrame) -> list[str]:
    """Return the names that the submission format would read as several names, or as none."""
    return sorted(name for name in set(ranking["identity"]) if name.split() != [name])


def question_submission(answers: pl.DataFrame, *, vocabulary: Vocabulary) -> str:
    """Return a CSV in the format of the iMaterialist 2017 contest: ``id,predicted``, with ``<image>_<task>`` as id.

    Every pair of photo and question has a row. If questions have the contest's codes, the codes are written instead
    of the names, and questions without a code are left out. Rows are sorted by photo, then by the number of the task.

    Source:
        The format that lijiancheng0614/FGVC2017, file submission.py, writes: ``id,predicted``, 45 rows per photo.
    """
    coded = any(one.code for one in vocabulary.questions)
    questions = [one for one in vocabulary.questions if one.code or not coded]
    questions.sort(key=lambda one: (not one.code.isdigit(), int(one.code) if one.code.isdigit() else 0))
    rows = [
        (one.name, one.code or one.name, place, answer, code)
        for place, one in enumerate(questions)
        for answer, code in zip(one.answers, one.codes or one.answers, strict=True)
    ]
    names = pl.DataFrame(rows, schema=["question", "task", "place", "answer", "predicted"], orient="row")
    found = answers.with_row_index("row").join(names, on=["question", "answer"], how="inner")
    first = pl.col("row").min().over("image")
    return (
        found.with_columns(first.alias("first"))
        .sort("first", "place")
        .select(pl.concat_str("image", pl.lit("_"), "task").alias("id"), "predicted")
        .write_csv()
    )


def label_submission(answers: pl.DataFrame, *, images: Sequence[str], labels: Sequence[str]) -> str:
    """Return a CSV in the format of the iMet contest: ``id,attribute_ids``, with ascending label numbers.

    There is one row per photo, in the order of ``images``.
    """
    numbers = pl.DataFrame(
        {"label": labels, "number": range(len(labels))}, schema={"label": pl.String, "number": pl.Int64}
    )
    given = (
        answers.join(numbers, on="label", how="left")
        .sort("number")
        .group_by("image")
        .agg(pl.col("number").cast(pl.String).str.join(" "))
    )
    table = pl.DataFrame({"image": images}).join(given, on="image", how="left", maintain_order="left")
    return (
        table.rename({"image": "id", "number": "attribute_ids"})
        .with_columns(pl.col("attribute_ids").fill_null(""))
        .write_csv()
    )

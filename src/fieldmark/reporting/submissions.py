"""The files that contests take: answers to new photos, one row a photo or a photo and a question."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from fieldmark.core.errors import DataError, several
from fieldmark.data.vocabulary import Vocabulary

SUBMISSION = "submission.csv"


def ranking_submission(ranking: pl.DataFrame, *, images: Sequence[str]) -> str:
    """The Humpback contest's CSV: ``Image,Id``, best names first, one row a photo, in the order of ``images``.

    Raises:
        DataError: A name has a blank in it, so that it would be read as two.
    """
    if split := with_blanks(ranking):
        raise DataError(
            "The contest's form separates names by blanks, and some names have blanks.",
            got=several(split),
            fix="give those individuals names without blanks, or ask one run with `fieldmark predict --format people`.",
        )
    names = ranking.sort("place").group_by("image", maintain_order=True).agg(pl.col("identity").str.join(" "))
    table = pl.DataFrame({"image": images}).join(names, on="image", how="left", maintain_order="left")
    return table.rename({"image": "Image", "identity": "Id"}).write_csv()


def with_blanks(ranking: pl.DataFrame) -> list[str]:
    """The names among the answers that the contest's form would read as several, or as none."""
    return sorted(name for name in set(ranking["identity"]) if name.split() != [name])


def question_submission(answers: pl.DataFrame, *, vocabulary: Vocabulary) -> str:
    """The iMaterialist 2017 contest's CSV: ``id,predicted`` with ``<image>_<task>`` and a label, every pair answered.

    Questions and answers are called as the contest's files call them (their codes), where they have codes; then
    questions without one are ours alone and are left out. Rows are by photo, and by task in the order of its number.

    Source:
        The form that lijiancheng0614/FGVC2017, file submission.py, writes: ``id,predicted``, 45 rows a photo.
    """
    coded = any(one.code for one in vocabulary.questions)
    asked = [one for one in vocabulary.questions if one.code or not coded]
    asked.sort(key=lambda one: (not one.code.isdigit(), int(one.code) if one.code.isdigit() else 0))
    rows = [
        (one.name, one.code or one.name, place, answer, code)
        for place, one in enumerate(asked)
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
    """The iMet contest's CSV: ``id,attribute_ids``, numbers of labels in ascending order, one row a photo."""
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

"""The verb *answer*: the contest's submission."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import polars as pl

from fieldmark.core.errors import DataError, several
from fieldmark.core.files import write_text
from fieldmark.core.spec import Spec
from fieldmark.data.vocabulary import Vocabulary
from fieldmark.reporting.exports import write_answers_csv
from fieldmark.stages.identity.ranking import RANKING
from fieldmark.stages.job import Job
from fieldmark.stages.labels.cut import ANSWERS
from fieldmark.stages.labels.settle import SETTLED

SUBMISSION = "submission.csv"
RANKED = "answers.csv"


class Answer(Spec):
    """Write what new photos show: ranked names of individuals, labels, or answers to questions.

    Attributes:
        reads_from: The rank, cut or settle stage.
    """

    verb: Literal["answer"] = "answer"
    name: str
    reads_from: str

    def reads(self) -> tuple[str, ...]:
        """The rank, cut or settle stage."""
        return (self.reads_from,)

    def run(self, job: Job, folder: Path) -> str:
        """Write ``submission.csv`` in the contest's form for the new photos, if there are any.

        Names with blanks cannot stand in it: then ``answers.csv`` has a row for each photo and place.
        """
        if job.new is None or not len(job.new):
            return "no new photos to answer"
        place = job.run.stage(self.reads_from)
        if (place / RANKING).exists():
            ranking = pl.read_parquet(place / RANKING).filter(pl.col("part") == "new")
            if with_blanks(ranking):
                table = ranking.sort("image", "place").drop("part")
                write_answers_csv(folder / RANKED, table.iter_rows(), table.columns, for_people=True)
                return f"{len(job.new)} photos answered in {RANKED}; no {SUBMISSION}, as some names have blanks"
            content = submission(ranking, images=job.new.images)
        elif SETTLED in pl.read_parquet_schema(place / ANSWERS):
            answers = pl.read_parquet(place / ANSWERS).filter(pl.col("part") == "new")
            content = question_submission(answers, vocabulary=job.known.vocabulary)
        else:
            answers = pl.read_parquet(place / ANSWERS).filter(pl.col("part") == "new")
            content = label_submission(answers, images=job.new.images, labels=job.known.vocabulary.tags)
        write_text(folder / SUBMISSION, content)
        return f"{len(job.new)} photos answered in {SUBMISSION}"


def submission(ranking: pl.DataFrame, *, images: list[str]) -> str:
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


def label_submission(answers: pl.DataFrame, *, images: list[str], labels: tuple[str, ...]) -> str:
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

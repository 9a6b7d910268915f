"""The verb *answer*: the contest's submission."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import polars as pl

from fieldmark.core.files import write_text
from fieldmark.core.spec import Spec
from fieldmark.stages.cut import ANSWERS
from fieldmark.stages.job import Job
from fieldmark.stages.ranked import RANKING

SUBMISSION = "submission.csv"


class Answer(Spec):
    """Write what new photos show: ranked names of individuals, or labels.

    Attributes:
        reads_from: The rank or cut stage.
    """

    verb: Literal["answer"] = "answer"
    name: str
    reads_from: str

    def reads(self) -> tuple[str, ...]:
        """The rank or cut stage."""
        return (self.reads_from,)

    def run(self, job: Job, folder: Path) -> str:
        """Write ``submission.csv`` in the contest's form for the new photos, if there are any."""
        if job.new is None or not len(job.new):
            return "no new photos to answer"
        place = job.run.stage(self.reads_from)
        if (place / RANKING).exists():
            ranking = pl.read_parquet(place / RANKING).filter(pl.col("part") == "new")
            content = submission(ranking, images=job.new.images)
        else:
            answers = pl.read_parquet(place / ANSWERS).filter(pl.col("part") == "new")
            content = label_submission(answers, images=job.new.images, labels=job.known.vocabulary.tags)
        write_text(folder / SUBMISSION, content)
        return f"{len(job.new)} photos answered in {SUBMISSION}"


def submission(ranking: pl.DataFrame, *, images: list[str]) -> str:
    """The Humpback contest's CSV: ``Image,Id``, best names first, one row a photo, in the order of ``images``."""
    names = ranking.sort("place").group_by("image", maintain_order=True).agg(pl.col("identity").str.join(" "))
    table = pl.DataFrame({"image": images}).join(names, on="image", how="left", maintain_order="left")
    return table.rename({"image": "Image", "identity": "Id"}).write_csv()


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

"""The verb *answer*: the contest's submission and a table for people."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import polars as pl

from fieldmark.core.files import write_text
from fieldmark.core.spec import Spec
from fieldmark.stages.job import Job
from fieldmark.stages.rank import RANKING

SUBMISSION = "submission.csv"


class Answer(Spec):
    """Write the ranked names of the new photos.

    Attributes:
        reads_from: The rank stage.
    """

    verb: Literal["answer"] = "answer"
    name: str
    reads_from: str

    def reads(self) -> tuple[str, ...]:
        """The rank stage."""
        return (self.reads_from,)

    def run(self, job: Job, folder: Path) -> str:
        """Write ``submission.csv`` (Image, Id: names separated by blanks) for the new photos, if there are any."""
        ranking = pl.read_parquet(job.run.stage(self.reads_from) / RANKING).filter(pl.col("part") == "new")
        if job.new is None or ranking.is_empty():
            return "no new photos to answer"
        write_text(folder / SUBMISSION, submission(ranking, images=job.new.images))
        return f"{len(job.new)} photos answered in {SUBMISSION}"


def submission(ranking: pl.DataFrame, *, images: list[str]) -> str:
    """The Humpback contest's CSV: ``Image,Id``, best names first, one row a photo, in the order of ``images``."""
    names = ranking.sort("place").group_by("image", maintain_order=True).agg(pl.col("identity").str.join(" "))
    table = pl.DataFrame({"image": images}).join(names, on="image", how="left", maintain_order="left")
    return table.rename({"image": "Image", "identity": "Id"}).write_csv()

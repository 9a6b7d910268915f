"""The verb *drop*: photos whose labels cannot be right, by networks that have not seen them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from fieldmark.core.spec import Spec
from fieldmark.quality.specs import ErrorMeasure, NoiseRule, Percentile
from fieldmark.stages.job import Job
from fieldmark.stages.scored import DROPPED, known_proba


class Drop(Spec):
    """Leave out of further training the photos whose out-of-fold error is too large.

    They stay in validation: a filter must not choose what it is judged by.

    Attributes:
        judge: A stage with out-of-fold scores.
        by: The error of a photo: mean binary cross-entropy over its labels, or mean |truth - probability|.
        rule: What is too large.
    """

    verb: Literal["drop"] = "drop"
    name: str
    judge: str
    by: ErrorMeasure = "bce"
    rule: NoiseRule = Percentile()

    def reads(self) -> tuple[str, ...]:
        """The stage that judges."""
        return (self.judge,)

    def run(self, job: Job, folder: Path) -> str:
        """Write ``dropped.parquet`` (image, error), the largest error first."""
        from fieldmark.quality.labels.noise import image_error, noisy

        error = image_error(known_proba(job, self.judge), job.known.truth, by=self.by)
        rows = np.flatnonzero(noisy(error, self.rule))
        rows = rows[np.argsort(-error[rows], kind="stable")]
        images = [job.known.images[row] for row in rows]
        pl.DataFrame(
            {"image": images, "error": error[rows]}, schema={"image": pl.String, "error": pl.Float32}
        ).write_parquet(folder / DROPPED)
        return f"{len(rows)} of {len(job.known)} photos dropped" + (
            f", error above {error[rows[-1]]:.4g}" if len(rows) else ""
        )

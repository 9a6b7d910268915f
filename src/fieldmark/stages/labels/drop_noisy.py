"""The kind *drop*: photos whose labels cannot be right, by networks that have not seen them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import numpy as np

from fieldmark.pipeline.artifacts.scores import LabelScores
from fieldmark.pipeline.artifacts.selection import DroppedPhotos
from fieldmark.pipeline.context import Context
from fieldmark.pipeline.stage import Ref, Stage, stage
from fieldmark.quality.specs import ErrorMeasure, NoiseRule, Percentile


@stage
class DropNoisy(Stage):
    """Leave out of further training the photos whose out-of-fold error is too large.

    They stay in validation: a filter must not choose what it is measured by.

    Attributes:
        judge: A stage with out-of-fold scores.
        by: The error of a photo: mean binary cross-entropy over its labels, or mean |truth - probability|.
        rule: What is too large.
    """

    output = DroppedPhotos
    kind: Literal["drop_noisy"] = "drop_noisy"
    judge: Annotated[str, Ref(LabelScores)]
    by: ErrorMeasure = "bce"
    rule: NoiseRule = Percentile()

    def fit(self, context: Context, folder: Path) -> str:
        """Write ids and errors of the photos left out, the largest error first."""
        from fieldmark.quality.labels.noise import image_error, noisy

        known = context.known
        error = image_error(context.artifact(LabelScores, self.judge).known(known), known.truth, by=self.by)
        rows = np.flatnonzero(noisy(error, self.rule))
        rows = rows[np.argsort(-error[rows], kind="stable")]
        DroppedPhotos(folder).write([known.images[row] for row in rows], error[rows])
        return f"{len(rows)} of {len(known)} photos dropped" + (
            f", error above {error[rows[-1]]:.4g}" if len(rows) else ""
        )

"""The stage *drop_noisy*: leaves photos with noisy labels out of training, by their out-of-fold error."""

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
    """Leave photos with a large out-of-fold error out of further training.

    The dropped photos stay in validation. Otherwise the filter would remove the photos that measure its effect.

    Attributes:
        judge: Stage with out-of-fold scores.
        by: Error of a photo: mean binary cross-entropy over its labels, or mean |truth - probability|.
        rule: Rule that decides which errors are too large.
    """

    output = DroppedPhotos
    kind: Literal["drop_noisy"] = "drop_noisy"
    judge: Annotated[str, Ref(LabelScores)]
    by: ErrorMeasure = "bce"
    rule: NoiseRule = Percentile()

    def fit(self, context: Context, folder: Path) -> str:
        """Write the ids and errors of the dropped photos, the largest error first."""
        from fieldmark.quality.labels.noise import image_error, noisy

        known = context.known
        error = image_error(context.artifact(LabelScores, self.judge).known(known), known.truth, by=self.by)
        rows = np.flatnonzero(noisy(error, self.rule))
        rows = rows[np.argsort(-error[rows], kind="stable")]
        DroppedPhotos(folder).write([known.images[row] for row in rows], error[rows])
        return f"{len(rows)} of {len(known)} photos dropped" + (
            f", with errors of at least {error[rows[-1]]:.4g}" if len(rows) else ""
        )

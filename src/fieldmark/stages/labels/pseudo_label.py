"""The stage *pseudo_label*: adds new photos with confident predictions to the training photos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import numpy as np

from fieldmark.pipeline.artifacts.folds import Folds
from fieldmark.pipeline.artifacts.scores import LabelScores
from fieldmark.pipeline.artifacts.selection import LabelPseudoLabels
from fieldmark.pipeline.context import Context
from fieldmark.pipeline.stage import Ref, Stage, stage
from fieldmark.quality.specs import LabelPseudoLabelRule


@stage
class PseudoLabel(Stage):
    """Use confident predictions for new photos as pseudo-labels.

    The pseudo-labels of network k come from the networks of fold k alone, because networks of other folds were trained
    on the validation photos of network k. Pseudo-labelled photos are never used for validation.

    Attributes:
        judge: Stage with scores of the new photos.
        on: Split stage of that stage.
        rule: Confidence that a photo needs, number of photos, and whether the targets are labels or probabilities.
    """

    output = LabelPseudoLabels
    kind: Literal["pseudo_label"] = "pseudo_label"
    judge: Annotated[str, Ref(LabelScores, by_fold=True)]
    on: Annotated[str, Ref(Folds)]
    rule: LabelPseudoLabelRule = LabelPseudoLabelRule()

    def fit(self, context: Context, folder: Path) -> str:
        """Write the rows and targets of the new photos that are added to each fold's training photos."""
        from fieldmark.quality.labels.pseudo import pick

        left, tags = LabelPseudoLabels(folder), context.known.vocabulary.tags
        scored = context.of_new().value(self.judge).mean if context.n_new else None
        counts = []
        for k in range(context.artifact(Folds, self.on).n_folds):
            rows, targets = np.zeros(0, dtype=np.int64), np.zeros((0, len(tags)), np.float32)
            if scored is not None:
                rows, targets = pick(scored.of(tags, k), self.rule)
            left.write(k, rows, targets)
            counts.append(len(rows))
        if scored is None:
            return "no new photos"
        return f"{min(counts)} to {max(counts)} of {context.n_new} new photos added per fold"

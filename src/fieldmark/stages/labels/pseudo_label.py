"""The kind *enlarge*: new photos whose labels the networks are sure of join the training part."""

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
    """Pseudo-labels: pick new photos by the confidence of a stage's scores, and take its answers for their truth.

    What network k learns from is picked by the networks of fold k alone: those of other folds have seen the photos
    that validate network k. Pseudo-labelled photos are never validated on and never in a gallery.

    Attributes:
        judge: A stage with scores of the new photos.
        on: Its split stage.
        rule: How sure it must be, how many are taken, and whether targets are answers or probabilities.
    """

    output = LabelPseudoLabels
    kind: Literal["pseudo_label"] = "pseudo_label"
    judge: Annotated[str, Ref(LabelScores, by_fold=True)]
    on: Annotated[str, Ref(Folds)]
    rule: LabelPseudoLabelRule = LabelPseudoLabelRule()

    def fit(self, context: Context, folder: Path) -> str:
        """Write the rows of the new photos that each fold's network learns from, and their targets."""
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
            return "no new photos to learn from"
        return f"{min(counts)} to {max(counts)} of {context.n_new} new photos joined"

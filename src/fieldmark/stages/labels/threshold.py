"""The stage *threshold*: turns label probabilities into predicted labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import numpy as np

from fieldmark.data.vocabulary import Vocabulary
from fieldmark.decisions.specs import GroupF2, ThresholdRule
from fieldmark.pipeline.application import Ask
from fieldmark.pipeline.artifacts.predictions import LabelAnswers, LabelledPhotos
from fieldmark.pipeline.artifacts.scores import LabelScores, ScoredPhotos
from fieldmark.pipeline.context import Context
from fieldmark.pipeline.stage import Ref, Stage, stage


@stage
class Threshold(Stage):
    """Predict the labels of each photo with fixed thresholds, or with thresholds fitted on out-of-fold scores.

    Attributes:
        reads_from: Stage with label scores.
        rule: Thresholds, or the method that fits them.
    """

    output = LabelAnswers
    kind: Literal["threshold"] = "threshold"
    reads_from: Annotated[str, Ref(LabelScores)]
    rule: ThresholdRule = GroupF2()

    def fit(self, context: Context, folder: Path) -> str:
        """Write the thresholds, and the predicted labels of the known photos."""
        from fieldmark.decisions.label_thresholds import cut, fit_label_thresholds

        known, left = context.known, LabelAnswers(folder)
        groups, names = label_groups(known.vocabulary), list(known.vocabulary.tags)
        proba = context.artifact(LabelScores, self.reads_from).known(known)
        found = fit_label_thresholds(
            self.rule,
            proba,
            known.truth,
            groups=groups,
            names=names,
            seed=context.seed,
            photo_groups=known.groups,
        )
        left.write_thresholds(found)
        given = cut(found, proba, groups=groups, names=names)
        left.write(known.images, LabelledPhotos(proba, given), known.vocabulary)
        return str(found)

    def apply(self, ask: Ask) -> LabelledPhotos:
        """Return the predicted labels of any photos."""
        from fieldmark.decisions.label_thresholds import cut

        vocabulary = ask.context.known.vocabulary
        proba = ask.value(ScoredPhotos, self.reads_from).mean.of(vocabulary.tags)
        found = ask.fitted(LabelAnswers).thresholds
        return LabelledPhotos(proba, cut(found, proba, groups=label_groups(vocabulary), names=list(vocabulary.tags)))


def label_groups(vocabulary: Vocabulary) -> dict[str, np.ndarray]:
    """Return the columns of each label group."""
    return {name: np.array(columns, dtype=np.int64) for name, columns in vocabulary.groups.items()}

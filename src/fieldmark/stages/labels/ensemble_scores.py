"""The stage *ensemble_scores*: the weighted average of the scores of several stages, such as images and texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from jaxtyping import Bool, Float32
from pydantic import Field

from fieldmark.core.files import read_json, write_json
from fieldmark.core.spec import Fraction
from fieldmark.decisions.specs import GeometricMean, ScoreAverage
from fieldmark.pipeline.application import Ask
from fieldmark.pipeline.artifacts.folds import Folds
from fieldmark.pipeline.artifacts.scores import MEAN, LabelScores, MemberScores, ScoredPhotos
from fieldmark.pipeline.context import Context
from fieldmark.pipeline.stage import Ref, Stage, stage
from fieldmark.stages.common.questions import labelled_truth, prior_of

WEIGHTS = "weights.json"


@stage
class EnsembleScores(Stage):
    """Average the scores of several stages.

    A stage without a score for a photo is left out of the average. If no stage has a score for the photo, it gets the
    share of each answer among the known photos.

    Attributes:
        reads_from: Stages with label scores, on the same split.
        on: Split stage.
        by: Averaging method.
        weights: Weight of each stage; empty: the weights with the smallest error on out-of-fold scores.
    """

    output = LabelScores
    kind: Literal["ensemble_scores"] = "ensemble_scores"
    reads_from: Annotated[tuple[str, ...], Ref(LabelScores), Field(min_length=1)]
    on: Annotated[str, Ref(Folds)]
    by: ScoreAverage = GeometricMean()
    weights: tuple[Fraction, ...] = ()

    def predicts_by_fold(self, earlier: Mapping[str, Stage]) -> bool:
        """Return whether all stages that it reads predict by fold."""
        return all(earlier[name].predicts_by_fold(earlier) for name in self.reads_from if name in earlier)

    def check(self, earlier: Mapping[str, Stage]) -> list[str]:
        """Return a mistake if the number of weights is wrong."""
        del earlier
        if len(self.weights) not in {0, len(self.reads_from)}:
            return [f"{self.name}: {len(self.weights)} weights for {len(self.reads_from)} stages"]
        return []

    def fit(self, context: Context, folder: Path) -> str:
        """Write the averaged out-of-fold scores and the weights."""
        from fieldmark.decisions.score_averages import find_weights

        known, fold = context.known, context.artifact(Folds, self.on).fold
        vocabulary, sources = known.vocabulary, [context.artifact(LabelScores, name) for name in self.reads_from]
        parts, absent = [one.known(known) for one in sources], [one.known_absent(known) for one in sources]
        noted: dict[str, Any] = {
            "of": list(self.reads_from),
            "by": self.by.kind,
            "prior": prior_of(known).tolist(),
        }
        if self.weights:
            weights = np.tile(np.array(self.weights)[:, None], (1, len(vocabulary.questions)))
        else:
            found = find_weights(
                parts, labelled_truth(known), vocabulary.question_of, by=self.by, fold=fold, absent=absent
            )
            weights = found.weights
            noted |= {"error": found.error, "crossed_error": found.crossed, "alone": found.alone.tolist()}
        noted["weights"] = weights.tolist()
        write_json(folder / WEIGHTS, noted)
        proba = self._averaged(parts, absent, question_of=vocabulary.question_of, noted=noted)
        LabelScores(folder).write(MEAN, known, labels=vocabulary.tags, fold=fold, proba=proba)
        means = weights.mean(axis=1) / weights.mean(axis=1).sum()
        return ", ".join(f"{name} {weight:.2f}" for name, weight in zip(self.reads_from, means, strict=True))

    def apply(self, ask: Ask) -> ScoredPhotos:
        """Return the average for any photos, fold by fold if all stages predict by fold."""
        vocabulary = ask.context.known.vocabulary
        scored = [ask.value(ScoredPhotos, name) for name in self.reads_from]
        noted, absent = read_json(ask.context.folder(self.name) / WEIGHTS), [one.absent for one in scored]
        n_folds = min(len(one.mean.by_fold) for one in scored)
        folds: list[int | None] = list(range(n_folds)) if n_folds > 1 else [None]
        by_fold = [
            self._averaged(
                [one.mean.of(vocabulary.tags, k) for one in scored],
                absent,
                question_of=vocabulary.question_of,
                noted=noted,
            )
            for k in folds
        ]
        return ScoredPhotos(MemberScores(vocabulary.tags, np.stack(by_fold)), np.all(absent, axis=0))

    def _averaged(
        self,
        parts: Sequence[Float32[np.ndarray, "photo answer"]],
        absent: Sequence[Bool[np.ndarray, " photo"]],
        *,
        question_of: np.ndarray,
        noted: Mapping[str, Any],
    ) -> Float32[np.ndarray, "photo answer"]:
        from fieldmark.decisions.score_averages import average_scores

        weights, prior = np.array(noted["weights"]), np.array(noted["prior"])
        return average_scores(parts, question_of, by=self.by, weights=weights, absent=absent, prior=prior)

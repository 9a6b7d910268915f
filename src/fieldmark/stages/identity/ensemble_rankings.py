"""The stage *ensemble_rankings*: averages several rankings of one plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Float32
from pydantic import Field

from fieldmark.core.errors import PlanError
from fieldmark.core.files import read_json, write_json
from fieldmark.core.spec import Positive
from fieldmark.decisions.ranking import UnknownScore
from fieldmark.decisions.ranking_averages import ScoreScale, average_rankings
from fieldmark.decisions.specs import ByScore, RankingAverage
from fieldmark.pipeline.application import Ask
from fieldmark.pipeline.artifacts.folds import Folds
from fieldmark.pipeline.artifacts.ranking import RankedPhotos, Ranking
from fieldmark.pipeline.context import Context
from fieldmark.pipeline.stage import Ref, Stage, stage
from fieldmark.stages.identity.ranking import RankingStage, Scores

SCALES = "scales.json"


@stage
class EnsembleRankings(RankingStage):
    """Average the scores of several ranking stages of one plan, and fit a new threshold.

    Attributes:
        reads_from: Ranking stages of the same split.
        by: Averaging method: by score (each model on its own scale), by rank, or by vote.
        weights: Weight of each ranking stage, in the same order; empty: equal weights.
    """

    kind: Literal["ensemble_rankings"] = "ensemble_rankings"
    reads_from: Annotated[tuple[str, ...], Ref(Ranking), Field(min_length=2)]
    by: RankingAverage = ByScore()
    weights: tuple[Positive, ...] = ()

    def check(self, earlier: Mapping[str, Stage]) -> list[str]:
        """Return a mistake if the number of weights is wrong."""
        found = super().check(earlier)
        if len(self.weights) not in {0, len(self.reads_from)}:
            found.append(f"{self.name}: {len(self.weights)} weights for {len(self.reads_from)} rankings")
        return found

    def validation(self, context: Context, folder: Path, folds: Folds) -> tuple[Scores, str]:
        """Return the averaged scores of the validation photos, and write the scale of each model into ``folder``."""
        rankings = [context.artifact(Ranking, name) for name in self.reads_from]
        scores = [one.scores for one in rankings]
        if any(len(one) != len(folds.rows) for one in scores):
            raise PlanError(
                f"Stage '{self.name}' averages rankings of different validation photos.",
                got=", ".join(f"{name}: {len(one)}" for name, one in zip(self.reads_from, scores, strict=True)),
                fix=f"name ranking stages with on = '{self.on}' ({len(folds.rows)} validation photos).",
            )
        depth = self.by.depth if isinstance(self.by, ByScore) else 20
        scales = [ScoreScale.of(one, depth=depth) for one in scores]
        write_json(folder / SCALES, [scale.model_dump(mode="json") for scale in scales])
        photos = context.known.take(folds.rows)
        averaged = self.averaged(scores, [one.decision.at(photos) for one in rankings], scales)
        return averaged, f"{len(scores)} rankings averaged by {self.by.kind}"

    def scores(self, ask: Ask) -> Scores:
        """Return the averaged scores of any photos, on the scales found on the validation photos."""
        scores = [ask.value(RankedPhotos, name).scores for name in self.reads_from]
        at = [ask.artifact(Ranking, name).decision.at(ask.photos) for name in self.reads_from]
        return self.averaged(scores, at, scales_of(ask.context.folder(self.name)))

    def averaged(
        self,
        scores: Sequence[Float32[np.ndarray, "photo identity"]],
        unknown_at: Sequence[UnknownScore],
        scales: Sequence[ScoreScale],
    ) -> Scores:
        """Return the average of the scores of several rankings.

        Args:
            scores: Scores of each ranking.
            unknown_at: Threshold of each ranking for unknown individuals.
            scales: Scale of each ranking's scores.
        """
        return average_rankings(scores, by=self.by, weights=self.weights or None, unknown_at=unknown_at, scales=scales)


def scales_of(folder: Path) -> list[ScoreScale]:
    """Return the scales that a finished stage wrote."""
    return [ScoreScale.model_validate(one) for one in read_json(folder / SCALES)]

"""The stage *post_process*: assignment post-processing of the ranking of a whole batch of photos."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Bool, Int64
from pydantic import Field

from fieldmark.core.spec import Count
from fieldmark.data.collection import Collection
from fieldmark.decisions.post_processing import apply_post_processing
from fieldmark.decisions.ranking import rank
from fieldmark.decisions.specs import Fixed, PostProcessingRule, Swap
from fieldmark.decisions.unknown_thresholds import fit_unknown_threshold
from fieldmark.pipeline.application import Ask
from fieldmark.pipeline.artifacts.folds import Folds
from fieldmark.pipeline.artifacts.ranking import Decision, RankedPhotos, Ranking
from fieldmark.pipeline.context import Context
from fieldmark.pipeline.stage import Ref, Stage, stage
from fieldmark.stages.identity.ranking import RankingStage, learnt


@stage
class PostProcess(Stage):
    """Change the ranking of a batch of photos with rules that use all photos of the batch together.

    Examples of rules are the class-balance swap and the transposed ranking of individuals known from one photo. The
    threshold of the ranking does not change. Photos that are predicted one by one later get the ranking that this stage
    reads.

    Attributes:
        reads_from: Ranking stage.
        on: Split stage of the ranking stage.
        rules: Post-processing rules, applied in this order.
        k: Number of candidates per photo.
    """

    output = Ranking
    in_batches_only = True
    kind: Literal["post_process"] = "post_process"
    reads_from: Annotated[str, Ref(Ranking)]
    on: Annotated[str, Ref(Folds)]
    rules: Annotated[tuple[PostProcessingRule, ...], Field(min_length=1)] = (Swap(),)
    k: Count = 5

    def predicts_by_fold(self, earlier: Mapping[str, Stage]) -> bool:
        """Return False: the rules use the whole batch."""
        del earlier
        return False

    def check(self, earlier: Mapping[str, Stage]) -> list[str]:
        """Return a mistake if the ranking uses another split."""
        source = earlier.get(self.reads_from)
        if isinstance(source, RankingStage) and source.on != self.on:
            return [f"{self.name}: '{self.reads_from}' uses another split than '{self.on}'"]
        return []

    def fit(self, context: Context, folder: Path) -> str:
        """Write the changed ranking. Return its validation MAP@k, and the one before."""
        known, source, folds = (
            context.known,
            context.artifact(Ranking, self.reads_from),
            context.artifact(Folds, self.on),
        )
        rows, fold = folds.rows, folds.fold
        before, decision, photos = source.scores, source.decision, known.take(rows)
        at = decision.at(photos)
        after, at_each = before.copy(), np.broadcast_to(-np.inf if at is None else np.asarray(at), len(rows))
        for k in range(folds.n_folds):  # photos of a fold were compared with photos of the other folds
            own, counts = fold[rows] == k, _counts(known, fold != k)
            after[own] = apply_post_processing(before[own], self.rules, unknown_at=at_each[own], n_photos=counts)
        truth = folds.classes(known)[rows]
        has_label = truth >= -1
        same = Fixed(at=decision.threshold.at)
        was, now = (fit_unknown_threshold(same, one[has_label], truth[has_label], k=self.k) for one in (before, after))
        decided = Decision(now, decision.groups, decision.confidence_model)
        Ranking(folder).write(photos, scores=after, decision=decided, k=self.k)
        return f"validation MAP@{self.k} {now.map_at_k:.4f} ({was.map_at_k:.4f} before)"

    def apply(self, ask: Ask) -> RankedPhotos:
        """Return the post-processed scores of a batch of photos."""
        before = ask.value(RankedPhotos, self.reads_from).scores
        known = ask.context.known
        at, counts = ask.fitted(Ranking).decision.at(ask.photos), _counts(known, np.ones(len(known), np.bool_))
        after = apply_post_processing(before, self.rules, unknown_at=at, n_photos=counts) if len(before) else before
        if len(before):
            first = [rank(one, unknown_at=at, k=1)[:, 0] for one in (before, after)]
            changed = int((first[0] != first[1]).sum())
            ask.context.progress.say(f"{self.name}: {changed} new photos have another first candidate")
        return RankedPhotos(after, self.k, learnt=learnt(ask))


def _counts(known: Collection, compared: Bool[np.ndarray, " photo"]) -> Int64[np.ndarray, " identity"]:
    """Return the number of photos of each individual to compare with."""
    there = compared & (known.classes >= 0) & ~known.extra
    return np.bincount(known.classes[there], minlength=len(known.vocabulary.identities))

"""The verb *think_again*: second thoughts about a pile of answers as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Bool, Int64
from pydantic import Field

from fieldmark.core.spec import Count, Spec
from fieldmark.data.collection import Collection
from fieldmark.decisions.afterthoughts import think_again
from fieldmark.decisions.ranking import rank
from fieldmark.decisions.specs import Afterthought, Fixed, Swap
from fieldmark.decisions.thresholds import find
from fieldmark.stages.common.split import judged_classes, read_folds
from fieldmark.stages.identity.ranking import SCORES, Decision, new_scores_of, write_decided
from fieldmark.stages.job import Job


class ThinkAgain(Spec):
    """Spread names over the photos, and let individuals known from one photo choose theirs.

    The threshold stays where the ranking put it. Photos asked about one by one later are answered without second
    thoughts, by the ranking that this stage reads.

    Attributes:
        reads_from: A ranking stage.
        on: Its split stage.
        rules: What is thought of, in this order.
        k: How many answers a photo gets.
    """

    verb: Literal["think_again"] = "think_again"
    name: str
    reads_from: str
    on: str
    rules: Annotated[tuple[Afterthought, ...], Field(min_length=1)] = (Swap(),)
    k: Count = 5

    def reads(self) -> tuple[str, ...]:
        """The ranking stage and the split."""
        return (self.reads_from, self.on)

    def run(self, job: Job, folder: Path) -> str:
        """Write what a rank stage writes; say how many first names changed and what it did to validation."""
        known, place = job.known, job.run.stage(self.reads_from)
        fold = read_folds(job, self.on)
        rows = np.flatnonzero(fold >= 0)
        before, decision = np.load(place / SCORES, allow_pickle=False), Decision.read(place)
        judges = known.take(rows)
        at = decision.at(judges)
        after, at_each = before.copy(), np.broadcast_to(-np.inf if at is None else np.asarray(at), len(rows))
        for k in range(int(fold.max()) + 1):  # each fold's photos were compared with the photos of the others
            mine, counts = fold[rows] == k, _counts(known, fold != k)
            after[mine] = think_again(before[mine], self.rules, unknown_at=at_each[mine], n_photos=counts)
        new_before, new_after = new_scores_of(place, job), None
        changed = 0
        if new_before is not None and job.new is not None:
            of_new, counts = decision.at(job.new), _counts(known, np.ones(len(known), np.bool_))
            new_after = think_again(new_before, self.rules, unknown_at=of_new, n_photos=counts)
            first = [rank(one, unknown_at=of_new, k=1)[:, 0] for one in (new_before, new_after)]
            changed = int((first[0] != first[1]).sum())
        same = Fixed(at=decision.threshold.at)
        truth = judged_classes(job, self.on)[rows]
        told = truth >= -1
        was, now = (find(same, one[told], truth[told], k=self.k) for one in (before, after))
        settled = Decision(now, decision.groups, decision.sureness)
        write_decided(
            folder, job, by=self.name, rows=rows, scores=after, new_scores=new_after, decision=settled, k=self.k
        )
        return (
            f"{changed} first names of new photos changed; validation MAP@{self.k} {now.map_at_k:.4f}, "
            f"{was.map_at_k:.4f} before"
        )


def _counts(known: Collection, compared: Bool[np.ndarray, " photo"]) -> Int64[np.ndarray, " identity"]:
    """How many photos of each individual there are to compare with."""
    there = compared & (known.classes >= 0) & ~known.extra
    return np.bincount(known.classes[there], minlength=len(known.vocabulary.identities))

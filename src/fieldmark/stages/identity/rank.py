"""The verb *rank*: identities in order for each photo, strangers where they belong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Float32
from pydantic import Field

from fieldmark.core.errors import PlanError
from fieldmark.core.spec import Count, Positive, Spec
from fieldmark.decisions.specs import (
    Best,
    Calibration,
    Centroid,
    Logistic,
    MaxMap,
    MeanTop,
    Nearest,
    PerGroup,
    Reciprocal,
    SumAbove,
    UnknownAt,
)
from fieldmark.gallery.store import GalleryStore
from fieldmark.stages.apart import gallery_apart
from fieldmark.stages.common.split import judged_classes, read_folds
from fieldmark.stages.identity.embed import head_proba, new_head_proba
from fieldmark.stages.identity.ranking import Decision, write_ranked
from fieldmark.stages.job import Job


class ByLogits(Spec):
    """The head's own opinion of each identity (mean over views and networks).

    Attributes:
        form: ``proba``: its probability. ``logit``: the logit of that, divided by ``scale``; for a one-vs-rest head
            that is the cosine with the identity's own weights (and a bias), which adds up with cosines of photos.
        scale: What the head multiplies cosines by.
    """

    kind: Literal["logits"] = "logits"
    form: Literal["proba", "logit"] = "proba"
    scale: Positive = 16.0


class Vote(Spec):
    """One way to score identities, and its weight in the sum."""

    by: Annotated[ByLogits | Best | MeanTop | Nearest | SumAbove | Centroid, Field(discriminator="kind")]
    weight: Positive = 1.0


class Rank(Spec):
    """Rank all identities for each photo; "nobody we know" stands where the score falls below a threshold.

    Attributes:
        reads_from: The embed stage.
        on: Its split stage.
        votes: Ways to score an identity; their weighted mean is the score.
        unknown: How the threshold is found on the validation photos.
        k: How many answers a photo gets.
        reciprocal: Count neighbours in common as likeness too, in all votes by photos; None: not.
        per_group: Thresholds for each group of photos (a species); None: one for all.
        sure: How scores become probabilities; None: they do not.
    """

    verb: Literal["rank"] = "rank"
    name: str
    reads_from: str
    on: str
    votes: Annotated[tuple[Vote, ...], Field(min_length=1)] = (Vote(by=Best()),)
    unknown: UnknownAt = MaxMap()
    k: Count = 5
    reciprocal: Reciprocal | None = None
    per_group: PerGroup | None = None
    sure: Calibration | None = Logistic()

    def reads(self) -> tuple[str, ...]:
        """The embed stage and the split."""
        return (self.reads_from, self.on)

    def run(self, job: Job, folder: Path) -> str:
        """Write validation scores, the threshold and both rankings; say where the threshold stands."""
        known, new = job.known, job.new
        place, fold = job.run.stage(self.reads_from), read_folds(job, self.on)
        n_folds = int(fold.max()) + 1
        rows = np.flatnonzero(fold >= 0)
        scores = np.zeros((len(rows), len(known.vocabulary.identities)), dtype=np.float32)
        new_scores = np.zeros((len(new) if new else 0, scores.shape[1]), dtype=np.float32)
        for k in range(n_folds):
            gallery, mine = GalleryStore.open(place / f"gallery{k}"), fold == k
            judged = [known.images[row] for row in np.flatnonzero(mine)]
            scores[mine[rows]] = identity_scores(
                self.votes,
                query=np.load(place / f"validation{k}.npy", allow_pickle=False),
                images=judged,
                proba=head_proba(place, judged),
                gallery=gallery.without(judged),
                n_classes=scores.shape[1],
                reciprocal=self.reciprocal,
            )
            if new is not None and len(new):
                new_scores += self._of_new(job, k=k, gallery=gallery) / np.float32(n_folds)
        decision = write_ranked(
            folder,
            job,
            by=self.name,
            rows=rows,
            truth=judged_classes(job, self.on)[rows],
            scores=scores,
            new_scores=new_scores,
            unknown=self.unknown,
            k=self.k,
            per_group=self.per_group,
            sure=self.sure,
        )
        return said(decision)

    def apart(self, job: Job, *, k: int) -> Float32[np.ndarray, "photo identity"]:
        """Scores of all new photos by network ``k``, against photos that do not judge it."""
        return self._of_new(job, k=k, gallery=gallery_apart(job, self.reads_from, self.on, k=k))

    def _of_new(self, job: Job, *, k: int, gallery: GalleryStore) -> Float32[np.ndarray, "photo identity"]:
        place = job.run.stage(self.reads_from)
        return identity_scores(
            self.votes,
            query=np.load(place / f"new{k}.npy", allow_pickle=False),
            images=[] if job.new is None else job.new.images,
            proba=new_head_proba(place, k=k),
            gallery=gallery,
            n_classes=len(job.known.vocabulary.identities),
            reciprocal=self.reciprocal,
        )


def said(decision: Decision) -> str:
    """A decision in one line."""
    threshold = decision.threshold
    groups = "" if decision.groups is None else f" ({len(decision.groups.groups)} group(s) with one of their own)"
    reached = "" if threshold.map_at_k is None else f"; validation MAP@{threshold.k} {threshold.map_at_k:.4f}"
    return f"unknown below a score of {threshold.at:.4f}{groups}{reached}"


def identity_scores(
    votes: tuple[Vote, ...],
    *,
    query: Float32[np.ndarray, "view query dim"],
    images: Sequence[str],
    proba: Float32[np.ndarray, "query identity"] | None,
    gallery: GalleryStore,
    n_classes: int,
    reciprocal: Reciprocal | None = None,
) -> Float32[np.ndarray, "query identity"]:
    """The weighted mean of the votes: larger is likelier; -inf for an identity without photos in the gallery.

    Raises:
        PlanError: A vote needs the head's probabilities, and the head has none.
    """
    total = np.zeros((len(images), n_classes), dtype=np.float32)
    for vote in votes:
        if not isinstance(vote.by, ByLogits):
            around = None if isinstance(vote.by, Centroid) else reciprocal
            scores = gallery.scores(query, images, n_classes=n_classes, by=vote.by, reciprocal=around)
        elif proba is not None:
            scores = proba if vote.by.form == "proba" else _logit(proba) / np.float32(vote.by.scale)
        else:
            raise PlanError(
                "The network's head gives no probabilities to rank by.",
                got="a vote by logits",
                fix="rank by best, mean_top or centroid, or train with a one_vs_rest head.",
            )
        total += vote.weight * scores
    return total / sum(vote.weight for vote in votes)


def _logit(proba: np.ndarray) -> np.ndarray:
    """The logit, within what float32 probabilities can tell apart."""
    clipped = np.clip(proba, 1e-7, 1 - 1e-7, dtype=np.float64)
    return np.log(clipped / (1 - clipped)).astype(np.float32)

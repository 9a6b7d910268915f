"""The stage *rank*: ranks the known individuals for each photo, and "unknown" by a score threshold."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Float32
from pydantic import Field

from fieldmark.core.errors import PlanError
from fieldmark.core.spec import Positive, Spec
from fieldmark.decisions.specs import Best, Centroid, MeanTop, Nearest, Reciprocal, SumAbove
from fieldmark.gallery.store import GalleryStore
from fieldmark.pipeline.application import Ask
from fieldmark.pipeline.artifacts.embeddings import Embedded, Embeddings
from fieldmark.pipeline.artifacts.folds import Folds
from fieldmark.pipeline.context import Context
from fieldmark.pipeline.stage import Ref, Stage, stage
from fieldmark.stages.common.train import Train
from fieldmark.stages.identity.embed import Embed
from fieldmark.stages.identity.ranking import RankingStage, Scores, gallery_of


class ByLogits(Spec):
    """The head's score of each identity (mean over views and networks).

    Attributes:
        form: ``proba``: the head's probability. ``logit``: the logit of the probability, divided by ``scale``. For a
            one-vs-rest head this is the cosine with the identity's weights (plus a bias), so it can be added to cosines
            of photos.
        scale: Factor by which the head multiplies cosines.
    """

    kind: Literal["logits"] = "logits"
    form: Literal["proba", "logit"] = "proba"
    scale: Positive = 16.0


class Vote(Spec):
    """One way to score identities, and its weight in the mean.

    Attributes:
        by: Scoring method.
        weight: Weight in the weighted mean of all methods.
    """

    by: Annotated[ByLogits | Best | MeanTop | Nearest | SumAbove | Centroid, Field(discriminator="kind")]
    weight: Positive = 1.0


@stage
class Rank(RankingStage):
    """Rank all known individuals for each photo. "Unknown" is ranked above all with a score below the threshold.

    Attributes:
        reads_from: Embed stage.
        votes: Scoring methods; the score of an individual is their weighted mean.
        reciprocal: Re-ranking by reciprocal neighbours, for all methods that compare photos; None: off.
    """

    kind: Literal["rank"] = "rank"
    reads_from: Annotated[str, Ref(Embeddings)]
    votes: Annotated[tuple[Vote, ...], Field(min_length=1)] = (Vote(by=Best()),)
    reciprocal: Reciprocal | None = None

    def check(self, earlier: Mapping[str, Stage]) -> list[str]:
        """Return a mistake if a scoring method needs logits that the head does not have."""
        embed = earlier.get(self.reads_from)
        train = earlier.get(embed.of) if isinstance(embed, Embed) else None
        by_logits = any(isinstance(vote.by, ByLogits) for vote in self.votes)
        if by_logits and isinstance(train, Train) and train.net.head.kind in {"embedding", "pair"}:
            return [f"{self.name}: 'votes' uses logits, but the head of '{train.name}' has none"]
        return []

    def validation(self, context: Context, folder: Path, folds: Folds) -> tuple[Scores, str]:
        """Return the scores of the validation photos, compared with the photos of the other folds."""
        del folder
        known, embeddings = context.known, context.artifact(Embeddings, self.reads_from)
        scores = np.zeros((len(folds.rows), len(known.vocabulary.identities)), dtype=np.float32)
        for k in range(folds.n_folds):
            own = folds.validation(known, k=k)
            scores[folds.fold[folds.rows] == k] = self._scores(
                embeddings.validation(k),
                embeddings.proba(own),
                embeddings.gallery(k).without(own),
                n_classes=scores.shape[1],
            )
        return scores, ""

    def scores(self, ask: Ask) -> Scores:
        """Return the score of each individual, averaged over the networks."""
        embedded, embeddings = ask.value(Embedded, self.reads_from), ask.artifact(Embeddings, self.reads_from)
        n_classes, folds = len(ask.context.known.vocabulary.identities), ask.folds(embeddings.n_folds)
        scores = np.zeros((len(ask.photos), n_classes), dtype=np.float32)
        for k in folds:
            gallery = gallery_of(ask, self.reads_from, self.on, k=k)
            one = self._scores(embedded.embedding[k], embedded.proba_by(k), gallery, n_classes=n_classes)
            scores += one / np.float32(len(folds))
        return scores

    def _scores(
        self,
        query: Float32[np.ndarray, "view query dim"],
        proba: Float32[np.ndarray, "query identity"] | None,
        gallery: GalleryStore,
        *,
        n_classes: int,
    ) -> Float32[np.ndarray, "query identity"]:
        """Return the scores from one network and its gallery. No query is in the gallery."""
        return identity_scores(
            self.votes, query=query, proba=proba, gallery=gallery, n_classes=n_classes, reciprocal=self.reciprocal
        )


def identity_scores(
    votes: tuple[Vote, ...],
    *,
    query: Float32[np.ndarray, "view query dim"],
    proba: Float32[np.ndarray, "query identity"] | None,
    gallery: GalleryStore,
    n_classes: int,
    reciprocal: Reciprocal | None = None,
) -> Float32[np.ndarray, "query identity"]:
    """Return the weighted mean of the scoring methods for each query and identity.

    A larger score means a likelier identity. The score is -inf for an identity without photos in the gallery.

    Raises:
        PlanError: A scoring method needs the head's probabilities, and the head has none.
    """
    total = np.zeros((query.shape[1], n_classes), dtype=np.float32)
    for vote in votes:
        if not isinstance(vote.by, ByLogits):
            around = None if isinstance(vote.by, Centroid) else reciprocal
            scores = gallery.scores(query, None, n_classes=n_classes, by=vote.by, reciprocal=around)
        elif proba is not None:
            scores = proba if vote.by.form == "proba" else _logit(proba) / np.float32(vote.by.scale)
        else:
            raise PlanError(
                "The scoring method 'logits' needs a head with probabilities, and this network's head has none.",
                got="votes with by = logits",
                fix="use best, mean_top or centroid in votes, or train with a one_vs_rest head.",
            )
        total += vote.weight * scores
    return total / sum(vote.weight for vote in votes)


def _logit(proba: np.ndarray) -> np.ndarray:
    """Return the logit, clipped to the resolution of float32 probabilities."""
    clipped = np.clip(proba, 1e-7, 1 - 1e-7, dtype=np.float64)
    return np.log(clipped / (1 - clipped)).astype(np.float32)

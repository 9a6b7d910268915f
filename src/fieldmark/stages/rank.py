"""The verb *rank*: identities in order for each photo, strangers where they belong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import polars as pl
from jaxtyping import Float32
from pydantic import Field

from fieldmark.core.errors import PlanError
from fieldmark.core.files import write_json
from fieldmark.core.spec import Count, Positive, Spec
from fieldmark.data.scores import Scores
from fieldmark.data.vocabulary import Vocabulary
from fieldmark.decide.ranking import candidates
from fieldmark.decide.specs import Best, Centroid, MaxMap, MeanTop, UnknownAt
from fieldmark.decide.thresholds import find
from fieldmark.gallery.store import GalleryStore
from fieldmark.stages.job import Job
from fieldmark.stages.split import read_folds

RANKING = "ranking.parquet"
DECISION = "decision.json"
SCORES = "validation.npy"


class ByLogits(Spec):
    """The head's own probability of each identity (mean over views and networks)."""

    kind: Literal["logits"] = "logits"


class Vote(Spec):
    """One way to score identities, and its weight in the sum."""

    by: Annotated[ByLogits | Best | MeanTop | Centroid, Field(discriminator="kind")]
    weight: Positive = 1.0


class Rank(Spec):
    """Rank all identities for each photo; "nobody we know" stands where the score falls below a threshold.

    Attributes:
        reads_from: The embed stage.
        on: Its split stage.
        votes: Ways to score an identity; their weighted mean is the score.
        unknown: How the threshold is found on the validation photos.
        k: How many answers a photo gets.
    """

    verb: Literal["rank"] = "rank"
    name: str
    reads_from: str
    on: str
    votes: Annotated[tuple[Vote, ...], Field(min_length=1)] = (Vote(by=Best()),)
    unknown: UnknownAt = MaxMap()
    k: Count = 5

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
                proba=_proba(place, judged),
                gallery=gallery.without(judged),
                n_classes=scores.shape[1],
            )
            if new is not None and len(new):
                new_scores += (
                    identity_scores(
                        self.votes,
                        query=np.load(place / f"new{k}.npy", allow_pickle=False),
                        images=new.images,
                        proba=_proba(place, new.images),
                        gallery=gallery,
                        n_classes=scores.shape[1],
                    )
                    / n_folds
                )
        threshold = find(self.unknown, scores, known.classes[rows], k=self.k)
        np.save(folder / SCORES, scores)
        write_json(folder / DECISION, threshold.model_dump(mode="json"))
        judges = [known.images[row] for row in rows]
        parts = [ranking_table("validation", judges, scores, threshold.at, self.k, known.vocabulary)]
        if new is not None and len(new):
            parts.append(ranking_table("new", new.images, new_scores, threshold.at, self.k, known.vocabulary))
        pl.concat(parts).write_parquet(folder / RANKING)
        return f"unknown below a score of {threshold.at:.4f}; validation MAP@{self.k} {threshold.map_at_k:.4f}"


def identity_scores(
    votes: tuple[Vote, ...],
    *,
    query: Float32[np.ndarray, "view query dim"],
    images: Sequence[str],
    proba: Float32[np.ndarray, "query identity"] | None,
    gallery: GalleryStore,
    n_classes: int,
) -> Float32[np.ndarray, "query identity"]:
    """The weighted mean of the votes: larger is likelier; -inf for an identity without photos in the gallery.

    Raises:
        PlanError: A vote needs the head's probabilities, and the head has none.
    """
    total = np.zeros((len(images), n_classes), dtype=np.float32)
    for vote in votes:
        if not isinstance(vote.by, ByLogits):
            scores = gallery.scores(query, images, n_classes=n_classes, by=vote.by)
        elif proba is not None:
            scores = proba
        else:
            raise PlanError(
                "The network's head gives no probabilities to rank by.",
                got="a vote by logits",
                fix="rank by best, mean_top or centroid, or train with a one_vs_rest head.",
            )
        total += vote.weight * scores
    return total / sum(vote.weight for vote in votes)


def ranking_table(
    part: str,
    images: list[str],
    scores: Float32[np.ndarray, "query identity"],
    unknown_at: float,
    k: int,
    vocabulary: Vocabulary,
) -> pl.DataFrame:
    """One row a photo and place: part, image, place (1 is first), identity (by name), score."""
    names = vocabulary.identities
    rows = [
        (part, image, one.place, vocabulary.unknown if one.is_unknown else names[one.identity], one.score)
        for image, answer in zip(images, candidates(scores, unknown_at=unknown_at, k=k), strict=True)
        for one in answer
    ]
    schema = {"part": pl.String, "image": pl.String, "place": pl.Int64, "identity": pl.String, "score": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _proba(place: Path, images: list[str]) -> np.ndarray | None:
    """What the out-of-fold store says of these photos; None if the head gives no probabilities."""
    return Scores.open(place / "scores").rows(images) if (place / "scores").exists() else None

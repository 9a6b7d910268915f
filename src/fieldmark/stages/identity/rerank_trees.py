"""The stage *rerank_trees*: re-ranks the individuals among a photo's nearest neighbours with gradient boosting."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Float32

from fieldmark.core.files import write_json
from fieldmark.decisions.confidence import even_parts
from fieldmark.decisions.specs import Calibration, Isotonic
from fieldmark.gallery.candidates import COLUMNS, CandidateFeatures
from fieldmark.gallery.store import GalleryStore
from fieldmark.pipeline.application import Ask
from fieldmark.pipeline.artifacts.embeddings import Embedded, Embeddings
from fieldmark.pipeline.artifacts.folds import Folds
from fieldmark.pipeline.context import Context
from fieldmark.pipeline.stage import Ref, stage
from fieldmark.stacking.specs import IdentityStacking
from fieldmark.stages.identity.ranking import RankingStage, Scores, gallery_of

TREES = "trees"
IMPORTANCE = "importance.json"
HEAD = ("head", "head's rank")
"""Columns from the head: its probability, and the candidate's rank by it among the candidates."""


@stage
class RerankTrees(RankingStage):
    """Second-level model for identification: gradient-boosted trees score the candidates of each photo.

    The probability of the best candidate is also the score that separates known from unknown individuals. The trees are
    trained on out-of-fold columns of the validation photos only, and each validation photo is scored by trees that were
    not trained on it. Columns of training photos raise an error.

    Attributes:
        reads_from: Embed stage.
        settings: Settings of candidates, columns and trees.
    """

    kind: Literal["rerank_trees"] = "rerank_trees"
    reads_from: Annotated[str, Ref(Embeddings)]
    settings: IdentityStacking = IdentityStacking()
    calibration: Calibration | None = Isotonic()

    def validation(self, context: Context, folder: Path, folds: Folds) -> tuple[Scores, str]:
        """Return the scores of the validation photos. Write the trees and their column importance into ``folder``."""
        from fieldmark.stacking.identity_trees import grow_identity_trees

        known, rows = context.known, folds.rows
        truth, n_classes = folds.classes(known)[rows], len(known.vocabulary.identities)
        described = [self._validation(context, folds, k) for k in range(folds.n_folds)]
        query_rows = [np.flatnonzero(folds.fold == k)[one.query] for k, one in enumerate(described)]
        row, identity = np.concatenate(query_rows), np.concatenate([one.identity for one in described])
        part = np.full(len(known), -1)
        part[rows] = even_parts(truth, known.groups[rows], n_parts=self.settings.n_parts)
        grown = grow_identity_trees(
            np.concatenate([one.table for one in described]),
            known.classes[row] == identity,
            part[row],
            names=described[0].names,
            by=self.settings,
            seed=context.seed,
            n_threads=os.cpu_count() or 1,
        )
        scores = np.full((len(rows), n_classes), -np.inf, np.float32)
        scores[np.searchsorted(rows, row), identity] = grown.proba
        (folder / TREES).mkdir(exist_ok=True)
        grown.trees.save(folder / TREES)
        write_json(folder / IMPORTANCE, [{"column": column, "share": share} for column, share in grown.importance])
        there = truth >= 0
        reached = np.isfinite(scores[there, truth[there]]).mean() if there.any() else 1.0
        return scores, f"{len(row):,} candidates scored; they include {reached:.1%} of the right individuals"

    def scores(self, ask: Ask) -> Scores:
        """Return the scores of any photos, averaged over the networks."""
        from fieldmark.stacking.identity_trees import IdentityTrees

        trees = IdentityTrees.load(ask.context.folder(self.name) / TREES)
        embedded, embeddings = ask.value(Embedded, self.reads_from), ask.artifact(Embeddings, self.reads_from)
        n_threads, n_classes = os.cpu_count() or 1, len(ask.context.known.vocabulary.identities)
        scored = []
        for k in ask.folds(embeddings.n_folds):
            gallery = gallery_of(ask, self.reads_from, self.on, k=k)
            found = candidates_of(
                self.settings,
                gallery,
                embedded.embedding[k],
                None,
                trained_on=gallery.images,
                proba=embedded.proba_by(k),
            )
            proba = trees.judge(found.table, found.names, n_threads=n_threads)
            scored.append(scattered(found, proba, n_classes))
        return mean_of(scored)

    def _validation(self, context: Context, folds: Folds, k: int) -> CandidateFeatures:
        """Return the candidates of the validation photos of network k."""
        known, embeddings = context.known, context.artifact(Embeddings, self.reads_from)
        own = folds.validation(known, k=k)
        return candidates_of(
            self.settings,
            embeddings.gallery(k).without(own),
            embeddings.validation(k),
            own,
            trained_on=folds.training(known, k=k),
            proba=embeddings.proba(own),
        )


def candidates_of(
    settings: IdentityStacking,
    gallery: GalleryStore,
    query: Float32[np.ndarray, "view query dim"],
    images: Sequence[str] | None,
    *,
    trained_on: Sequence[str],
    proba: Float32[np.ndarray, "query identity"] | None,
) -> CandidateFeatures:
    """Return the candidates with the columns of the settings, and the columns of the head if it has probabilities."""
    n_components = 0 if settings.columns == "likeness" else settings.n_components
    found = gallery.candidate_features(
        query, images, trained_on=trained_on, n_photos=settings.n_photos, n_components=n_components
    )
    table, names = found.table, found.names
    if settings.columns == "embedding":
        table, names = table[:, len(COLUMNS) :], names[len(COLUMNS) :]
    elif proba is not None:
        of = proba[found.query, found.identity]
        order = np.lexsort((-of, found.query))
        place = np.empty(len(order), np.float32)
        place[order] = np.arange(len(order)) - np.searchsorted(found.query[order], found.query[order]) + 1
        table, names = np.concatenate([table, of[:, None], place[:, None]], axis=1), (*names, *HEAD)
    table = np.ascontiguousarray(table, np.float32)
    return CandidateFeatures(found.query, found.identity, found.photo, table, names, found.n_queries)


def scattered(
    found: CandidateFeatures, proba: Float32[np.ndarray, " candidate"], n_classes: int
) -> Float32[np.ndarray, "query identity"]:
    """Return the candidates' probabilities as a matrix; -inf for all other individuals."""
    scores = np.full((found.n_queries, n_classes), -np.inf, np.float32)
    scores[found.query, found.identity] = proba
    return scores


def mean_of(scored: Sequence[Float32[np.ndarray, "query identity"]]) -> Float32[np.ndarray, "query identity"]:
    """Return the mean over networks. An individual that is no candidate of a network has probability 0 there."""
    total = np.zeros(scored[0].shape, np.float32)
    there = np.zeros(total.shape, bool)
    for one in scored:
        total += np.where(np.isfinite(one), one, 0) / np.float32(len(scored))
        there |= np.isfinite(one)
    return np.where(there, total, -np.inf).astype(np.float32)

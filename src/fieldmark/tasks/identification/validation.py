"""Validation photos of a finished run of the identification task: scores, truth, threshold and candidates."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import polars as pl

from fieldmark.data.vocabulary import UNLABELLED, Vocabulary
from fieldmark.decisions.confidence import Confidence
from fieldmark.decisions.specs import MaxMap
from fieldmark.gallery.store import GalleryStore
from fieldmark.metrics.measure import Measure
from fieldmark.pipeline.artifacts.embeddings import Embeddings
from fieldmark.pipeline.artifacts.ranking import Ranking, names_of
from fieldmark.pipeline.context import Context
from fieldmark.pipeline.stage import Stage
from fieldmark.stages.identity.ranking import RankingStage
from fieldmark.tasks.identification.measures import measure, measure_decision


class ValidatedPhotos:
    """The labelled validation photos of a finished run, with their scores, truth and candidates.

    Labelled photos have the name of a known individual, or the label of unknown individuals.
    """

    def __init__(self, context: Context) -> None:
        self.final = context.plan.final()
        self.ranking = context.artifact(Ranking, self.final.name)
        self.folds = context.folds(self.final)
        self.known = context.known
        truth = self.folds.classes(self.known)[self.folds.rows]
        has_label = truth > UNLABELLED
        self.rows, self.truth = self.folds.rows[has_label], truth[has_label]
        self.scores: np.ndarray = self.ranking.scores[has_label]
        self.decision = self.ranking.decision
        self.unknown_at = self.decision.threshold.at
        self.at = self.decision.at(self.known.take(self.rows))
        self.k = self.decision.threshold.k
        self.table = self.ranking.table("validation")
        shown = _shown(context, self.final)
        self.embeddings = None if shown is None else context.artifact(Embeddings, shown)
        self.answers: dict[str, list[tuple[str, float]]] = {
            image: list(zip(identity, score, strict=True))
            for image, identity, score in self.table.sort("place")
            .group_by("image", maintain_order=True)
            .agg("identity", "score")
            .iter_rows()
        }

    def measures(self) -> tuple[Measure, ...]:
        """Return the measures of the ranking, followed by cross-fitted measures of its threshold."""
        return self.measured() + self.expected()

    def measured(self) -> tuple[Measure, ...]:
        """Return the measures of the ranking on the photos that the threshold was found on."""
        groups = self.known.take(self.rows).groups
        return measure(self.scores, self.truth, unknown_at=self.at, k=self.k, groups=groups)

    def expected(self) -> tuple[Measure, ...]:
        """Return the cross-fitted measures of the threshold; none if the last stage does not find a threshold."""
        return self.measured_decision() if self.decides else ()

    @property
    def decides(self) -> bool:
        """Return whether the last ranking stage finds a threshold. Post-processing keeps the threshold it reads."""
        return isinstance(self.final, RankingStage)

    def measured_decision(self) -> tuple[Measure, ...]:
        """Return the cross-fitted measures of the threshold and of the probabilities."""
        per_group, photos = getattr(self.final, "per_group", None), self.known.take(self.rows)
        return measure_decision(
            self.scores,
            self.truth,
            unknown=self.final.unknown if isinstance(self.final, RankingStage) else MaxMap(),
            confidence=self._confidence(photos.images),
            groups=photos.groups,
            names=None if per_group is None else names_of(photos, per_group.column),
            per_group=per_group,
            k=self.k,
        )

    def _confidence(self, images: list[str]) -> Confidence | None:
        """Return the cross-fitted probabilities of the answers; None if the ranking table has none."""
        if not {"known_proba", "right_proba"} <= set(self.table.columns):
            return None
        firsts = pl.DataFrame({"image": images}).join(
            self.table.filter(pl.col("place") == 1), on="image", how="left", maintain_order="left"
        )
        known, right = (
            firsts[name].cast(pl.Float64).fill_null(float("nan")).to_numpy() for name in ("known_proba", "right_proba")
        )
        return Confidence(known=known, right=right)

    @cached_property
    def galleries(self) -> list[GalleryStore]:
        """Return, for each fold, the gallery of its training photos; an empty list for rankings without embeddings."""
        if self.embeddings is None:
            return []
        return [self.embeddings.gallery_apart(k, self.folds, self.known) for k in range(self.folds.n_folds)]

    def most_similar(self, row: int, classes: list[int]) -> dict[int, str]:
        """Return the id of the photo of each given individual that is most similar to a validation photo."""
        if not classes or self.embeddings is None:
            return {}
        k, image = int(self.folds.fold[row]), self.known.images[row]
        place = int(np.searchsorted(np.flatnonzero(self.folds.fold == k), row))
        query, gallery = self.embeddings.validation(k, mapped=True)[:, [place]], self.galleries[k]
        rows = gallery.best_photos(query, [image], np.array([classes]))[0][0].tolist()
        return {one: gallery.images[at] for one, at in zip(classes, rows, strict=True)}

    def name(self, truth: int) -> str:
        """Return the name of a class."""
        return class_name(truth, self.known.vocabulary)


def class_name(truth: int, vocabulary: Vocabulary) -> str:
    """Return the name of a class; for -1, the label of unknown individuals."""
    return vocabulary.identities[truth] if truth >= 0 else vocabulary.unknown


def _shown(context: Context, final: Stage) -> str | None:
    """Return the name of the embed stage that finds the most similar photos; None if there is none."""
    final = context.plan.alone(final)
    return final.shown(context.stages) if isinstance(final, RankingStage) else None

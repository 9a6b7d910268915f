"""What all stages that rank individuals have in common: a decision on validation photos, and the ranking they leave."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
from jaxtyping import Bool, Float32, Int64

from fieldmark.core.spec import Count
from fieldmark.data.collection import Collection
from fieldmark.decisions.confidence import Confidence, confidence_model, crossed_confidence
from fieldmark.decisions.grouped import find_by_group
from fieldmark.decisions.specs import Calibration, Logistic, MaxMap, PerGroup, UnknownAt
from fieldmark.decisions.unknown_thresholds import fit_unknown_threshold
from fieldmark.gallery.store import GalleryStore
from fieldmark.pipeline.application import Ask
from fieldmark.pipeline.artifacts.embeddings import Embeddings
from fieldmark.pipeline.artifacts.folds import Folds
from fieldmark.pipeline.artifacts.ranking import Decision, RankedPhotos, Ranking, names_of
from fieldmark.pipeline.artifacts.selection import IdentityPseudoLabels
from fieldmark.pipeline.context import Context
from fieldmark.pipeline.stage import Ref, Stage

Scores = Float32[np.ndarray, "photo identity"]


class RankingStage(Stage):
    """A stage that scores individuals for each photo. A subclass gives the scores of validation and of other photos.

    Attributes:
        on: The split stage.
        unknown: How the threshold is found on the validation photos.
        k: How many candidates a photo gets.
        per_group: Thresholds for each group of photos (a species); None: one for all.
        calibration: How scores become probabilities; None: they do not.
    """

    output = Ranking
    on: Annotated[str, Ref(Folds)]
    unknown: UnknownAt = MaxMap()
    k: Count = 5
    per_group: PerGroup | None = None
    calibration: Calibration | None = Logistic()

    @abstractmethod
    def validation(self, context: Context, folder: Path, folds: Folds) -> tuple[Scores, str]:
        """Scores of the validation photos (``folds.rows``), each by models that have not seen it; and what was done.

        What ``scores`` needs is written into ``folder``.
        """

    @abstractmethod
    def scores(self, ask: Ask) -> Scores:
        """Scores of any photos."""

    def shown(self, earlier: Mapping[str, Stage]) -> str | None:
        """The embed stage by which the most similar photo of each candidate is found; None in a plan with mistakes."""
        names = (name for setting, names in self.named().items() if setting != "on" for name in names)
        for name in names:
            source = earlier.get(name)
            if source is not None and issubclass(source.output, Embeddings):
                return name
            if isinstance(source, RankingStage):
                return source.shown(earlier)
        return None

    def check(self, earlier: Mapping[str, Stage]) -> list[str]:
        """Rankings of other validation photos."""
        others = [
            name
            for names in self.named().values()
            for name in names
            if isinstance(one := earlier.get(name), RankingStage) and one.on != self.on
        ]
        return [f"{self.name}: '{name}' was split by another stage than '{self.on}'" for name in others]

    def predicts_by_fold(self, earlier: Mapping[str, Stage]) -> bool:
        """Where all rankings that it reads do."""
        sources = (earlier.get(name) for name in self.reads())
        return all(
            one.predicts_by_fold(earlier) for one in sources if one is not None and issubclass(one.output, Ranking)
        )

    def usable(self, context: Context) -> None:
        """Read the decision, which another version may have written.

        Raises:
            RunError: It cannot be read.
        """
        context.artifact(Ranking, self.name).decision  # noqa: B018 - read now, and kept by the artifact

    def fit(self, context: Context, folder: Path) -> str:
        """Write scores, threshold and candidates of the validation photos; say where the threshold stands."""
        folds = context.artifact(Folds, self.on)
        scores, did = self.validation(context, folder, folds)
        photos, truth = context.known.take(folds.rows), folds.classes(context.known)[folds.rows]
        decision, confidence = self._decided(photos, truth, scores)
        Ranking(folder).write(photos, scores=scores, decision=decision, k=self.k, confidence=confidence)
        return f"{did}; {stored_decision(decision)}" if did else stored_decision(decision)

    def apply(self, ask: Ask) -> RankedPhotos:
        """Scores of any photos."""
        if not len(ask.photos):
            n_classes = len(ask.context.known.vocabulary.identities)
            return RankedPhotos(np.zeros((0, n_classes), np.float32), self.k)
        return RankedPhotos(self.scores(ask), self.k, learnt=learnt(ask))

    def _decided(
        self, photos: Collection, truth: Int64[np.ndarray, " photo"], scores: Scores
    ) -> tuple[Decision, Confidence | None]:
        """Threshold and calibration found on validation photos, and how sure their own answers are by other photos'."""
        has_label = truth >= -1  # of photos without a name nothing can be learnt
        groups = None
        if self.per_group is not None:
            names = names_of(photos, self.per_group.column)
            some = [names[row] for row in np.flatnonzero(has_label)]
            groups = find_by_group(
                self.unknown, scores[has_label], truth[has_label], some, per=self.per_group, k=self.k
            )
        common = (
            fit_unknown_threshold(self.unknown, scores[has_label], truth[has_label], k=self.k)
            if groups is None
            else groups.common
        )
        if self.calibration is None:
            return Decision(common, groups, None), None
        learnt = confidence_model(scores[has_label], truth[has_label], by=self.calibration)
        found = crossed_confidence(
            scores[has_label], truth[has_label], by=self.calibration, groups=photos.groups[has_label]
        )
        crossed = Confidence(known=_spread(found.known, has_label), right=_spread(found.right, has_label))
        return Decision(common, groups, learnt), crossed


def stored_decision(decision: Decision) -> str:
    """A decision in one line."""
    threshold = decision.threshold
    groups = "" if decision.groups is None else f" ({len(decision.groups.groups)} group(s) with one of their own)"
    reached = "" if threshold.map_at_k is None else f"; validation MAP@{threshold.k} {threshold.map_at_k:.4f}"
    return f"unknown below a score of {threshold.at:.4f}{groups}{reached}"


def gallery_of(ask: Ask, embedded: str, on: str, *, k: int) -> GalleryStore:
    """The photos that network ``k`` compares with: all known ones.

    Where only the models of one fold are heard, those that validate it are left out: a name that a photo gets because
    it is like a validation photo is that photo's own label.
    """
    embeddings = ask.artifact(Embeddings, embedded)
    if ask.fold is None:
        return embeddings.gallery(k)
    return embeddings.gallery_apart(k, ask.artifact(Folds, on), ask.context.known)


def learnt(ask: Ask) -> Bool[np.ndarray, " photo"] | None:
    """Which of the run's new photos some network behind a stage was trained on, with a pseudo-label; None of others."""
    if not ask.application.own:
        return None
    found = np.zeros(len(ask.photos), np.bool_)
    for stage in ask.context.plan.up_to(ask.stage.name).leaving(IdentityPseudoLabels):
        found[ask.artifact(IdentityPseudoLabels, stage.name).any_fold()] = True
    return found


def _spread(values: np.ndarray, at: np.ndarray) -> np.ndarray:
    whole = np.full(len(at), np.nan)
    whole[at] = values
    return whole

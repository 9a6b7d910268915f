"""The base class of all ranking stages: it fits the threshold on validation photos and writes the ranking."""

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
    """A stage that scores individuals for each photo. A subclass computes the scores.

    Attributes:
        on: Split stage.
        unknown: Method that fits the threshold for unknown individuals on the validation photos.
        k: Number of candidates per photo.
        per_group: Settings of separate thresholds per group of photos, such as a species; None: one threshold for all.
        calibration: Method that maps scores to probabilities; None: no probabilities.
    """

    output = Ranking
    on: Annotated[str, Ref(Folds)]
    unknown: UnknownAt = MaxMap()
    k: Count = 5
    per_group: PerGroup | None = None
    calibration: Calibration | None = Logistic()

    @abstractmethod
    def validation(self, context: Context, folder: Path, folds: Folds) -> tuple[Scores, str]:
        """Return out-of-fold scores of the validation photos (``folds.rows``), and a summary in one line.

        Files that ``scores`` reads later are written into ``folder``.
        """

    @abstractmethod
    def scores(self, ask: Ask) -> Scores:
        """Return the scores of any photos."""

    def shown(self, earlier: Mapping[str, Stage]) -> str | None:
        """Return the name of the embed stage that finds the most similar photo of each candidate.

        None if the plan has mistakes.
        """
        names = (name for setting, names in self.named().items() if setting != "on" for name in names)
        for name in names:
            source = earlier.get(name)
            if source is not None and issubclass(source.output, Embeddings):
                return name
            if isinstance(source, RankingStage):
                return source.shown(earlier)
        return None

    def check(self, earlier: Mapping[str, Stage]) -> list[str]:
        """Return mistakes: rankings that use another split."""
        others = [
            name
            for names in self.named().values()
            for name in names
            if isinstance(one := earlier.get(name), RankingStage) and one.on != self.on
        ]
        return [f"{self.name}: '{name}' uses another split than '{self.on}'" for name in others]

    def predicts_by_fold(self, earlier: Mapping[str, Stage]) -> bool:
        """Return whether all rankings that it reads predict by fold."""
        sources = (earlier.get(name) for name in self.reads())
        return all(
            one.predicts_by_fold(earlier) for one in sources if one is not None and issubclass(one.output, Ranking)
        )

    def usable(self, context: Context) -> None:
        """Read the decision, to check that this version can read it.

        Raises:
            RunError: Another version wrote the decision, and it cannot be read.
        """
        context.artifact(Ranking, self.name).decision  # noqa: B018 - read now; the artifact caches it

    def fit(self, context: Context, folder: Path) -> str:
        """Write scores, threshold and candidates of the validation photos. Return the threshold in one line."""
        folds = context.artifact(Folds, self.on)
        scores, summary = self.validation(context, folder, folds)
        photos, truth = context.known.take(folds.rows), folds.classes(context.known)[folds.rows]
        decision, confidence = self._decided(photos, truth, scores)
        Ranking(folder).write(photos, scores=scores, decision=decision, k=self.k, confidence=confidence)
        return f"{summary}; {stored_decision(decision)}" if summary else stored_decision(decision)

    def apply(self, ask: Ask) -> RankedPhotos:
        """Return the scores of any photos."""
        if not len(ask.photos):
            n_classes = len(ask.context.known.vocabulary.identities)
            return RankedPhotos(np.zeros((0, n_classes), np.float32), self.k)
        return RankedPhotos(self.scores(ask), self.k, learnt=learnt(ask))

    def _decided(
        self, photos: Collection, truth: Int64[np.ndarray, " photo"], scores: Scores
    ) -> tuple[Decision, Confidence | None]:
        """Return the threshold and calibration, and the out-of-fold confidence of the validation photos."""
        has_label = truth >= -1  # photos without an identity in the table are left out
        groups = None
        if self.per_group is not None:
            names = names_of(photos, self.per_group.column)
            labelled = [names[row] for row in np.flatnonzero(has_label)]
            groups = find_by_group(
                self.unknown, scores[has_label], truth[has_label], labelled, per=self.per_group, k=self.k
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
    """Return a decision in one line."""
    threshold = decision.threshold
    groups = "" if decision.groups is None else f" ({len(decision.groups.groups)} group(s) with a separate threshold)"
    reached = "" if threshold.map_at_k is None else f"; validation MAP@{threshold.k} {threshold.map_at_k:.4f}"
    return f"answered as unknown below a score of {threshold.at:.4f}{groups}{reached}"


def gallery_of(ask: Ask, embedded: str, on: str, *, k: int) -> GalleryStore:
    """Return the gallery of network ``k``: all known photos.

    If only the models of one fold predict, the validation photos of the fold are left out: a candidate that is found
    through a validation photo would leak the label of that photo.
    """
    embeddings = ask.artifact(Embeddings, embedded)
    if ask.fold is None:
        return embeddings.gallery(k)
    return embeddings.gallery_apart(k, ask.artifact(Folds, on), ask.context.known)


def learnt(ask: Ask) -> Bool[np.ndarray, " photo"] | None:
    """Return which of the run's new photos were training photos of a network behind this stage, by a pseudo-label.

    None for photos that are not the run's new photos.
    """
    if not ask.application.own:
        return None
    found = np.zeros(len(ask.photos), np.bool_)
    for stage in ask.context.plan.up_to(ask.stage.name).leaving(IdentityPseudoLabels):
        found[ask.artifact(IdentityPseudoLabels, stage.name).any_fold()] = True
    return found


def _spread(values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Return an array with ``values`` where ``at`` is true, and NaN elsewhere."""
    whole = np.full(len(at), np.nan)
    whole[at] = values
    return whole

"""The stage *transfer_labels*: averages scores with the labels of the most similar known photos (k-NN)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from fieldmark.core.files import write_text
from fieldmark.core.spec import Spec, read_spec
from fieldmark.pipeline.application import Ask
from fieldmark.pipeline.artifacts.features import Features, PhotoFeatures
from fieldmark.pipeline.artifacts.folds import Folds
from fieldmark.pipeline.artifacts.scores import MEAN, LabelScores, MemberScores, ScoredPhotos
from fieldmark.pipeline.context import Context
from fieldmark.pipeline.stage import Ref, Stage, stage
from fieldmark.stacking.knn import neighbours, relevance
from fieldmark.stacking.label_transfer import choose_transfer, with_neighbours
from fieldmark.stacking.specs import Relevance, TransferSearch

CHOSEN = "chosen.json"


class Chosen(Spec):
    """The best settings of the search.

    Attributes:
        relevance: Number and weighting of the neighbours.
        weight: Weight of the neighbours' labels in the average.
        f2: Mean F2 at each weight tried.
    """

    relevance: Relevance
    weight: float
    f2: tuple[float, ...]


@stage
class TransferLabels(Stage):
    """Average the scores of a stage with the labels of the most similar known photos (k-nearest neighbours).

    The similarity comes from features that do not depend on labels. The neighbours of a known photo are photos of other
    folds, so the average is out-of-fold like the scores. The number of neighbours and their weight are fitted on the
    out-of-fold scores.

    Attributes:
        reads_from: Stage with label scores.
        on: Split stage.
        image_features: ``describe_images`` stage whose features measure similarity.
        settings: Settings to try.

    Source:
        iMet 2019, fourth place (neighbours' labels averaged with the network's); the choice of the weight is ours.
    """

    output = LabelScores
    kind: Literal["transfer_labels"] = "transfer_labels"
    reads_from: Annotated[str, Ref(LabelScores)]
    on: Annotated[str, Ref(Folds)]
    image_features: Annotated[str, Ref(Features)]
    settings: TransferSearch = TransferSearch()

    def predicts_by_fold(self, earlier: Mapping[str, Stage]) -> bool:
        """Return False: new photos get labels from known photos of all folds."""
        del earlier
        return False

    def fit(self, context: Context, folder: Path) -> str:
        """Write the out-of-fold scores and the chosen settings."""
        known, fold = context.known, context.artifact(Folds, self.on).fold
        truth, proba = known.truth > 0, context.artifact(LabelScores, self.reads_from).known(known)
        features = context.artifact(Features, self.image_features).known().unit
        most = max(one.k for one in self.settings.relevance)
        nearest = neighbours(features, features, k=most, groups=(fold, fold))
        settings, weight, f2 = choose_transfer(proba, nearest, truth, self.settings)
        write_text(folder / CHOSEN, Chosen(relevance=settings, weight=weight, f2=f2).model_dump_json(indent=1) + "\n")
        averaged = with_neighbours(proba, relevance(nearest, truth, settings), weight=weight)
        LabelScores(folder).write(MEAN, known, labels=known.vocabulary.tags, fold=fold, proba=averaged)
        return f"weight of the {settings.k} most similar photos {weight:g}, of {self.reads_from} {1 - weight:g}"

    def apply(self, ask: Ask) -> ScoredPhotos:
        """Return the average for any photos, with neighbours among all known photos."""
        tags, known = ask.context.known.vocabulary.tags, ask.artifact(Features, self.image_features).known().unit
        chosen: Chosen = read_spec(Chosen, ask.context.folder(self.name) / CHOSEN)
        nearest = neighbours(ask.value(PhotoFeatures, self.image_features).unit, known, k=chosen.relevance.k)
        transferred = relevance(nearest, ask.context.known.truth > 0, chosen.relevance)
        scored = ask.value(ScoredPhotos, self.reads_from)
        proba = with_neighbours(scored.mean.of(tags), transferred, weight=chosen.weight)
        return ScoredPhotos(MemberScores(tuple(tags), proba[None]), scored.absent)

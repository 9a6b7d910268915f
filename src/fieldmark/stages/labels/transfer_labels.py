"""The kind *lend*: the labels of similar photos averaged with the networks' scores."""

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
    """What was found best: which neighbours are heard, their weight, and the mean F2 at each weight tried."""

    relevance: Relevance
    weight: float
    f2: tuple[float, ...]


@stage
class TransferLabels(Stage):
    """Average a stage's scores with the labels of the most similar photos, by features that no label went into.

    A known photo hears none of its own fold, so the average is out-of-fold as the scores are. Which neighbours are
    heard, and how much, is found on the out-of-fold scores.

    Attributes:
        reads_from: A stage with label scores.
        on: The split stage.
        image_features: A ``describe_images`` stage, whose features say which photos are similar.
        settings: What to try.

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
        """It does not: new photos hear known ones of all folds."""
        del earlier
        return False

    def fit(self, context: Context, folder: Path) -> str:
        """Write out-of-fold scores and what was chosen."""
        known, fold = context.known, context.artifact(Folds, self.on).fold
        truth, proba = known.truth > 0, context.artifact(LabelScores, self.reads_from).known(known)
        seen = context.artifact(Features, self.image_features).known().unit
        widest = max(one.k for one in self.settings.relevance)
        nearest = neighbours(seen, seen, k=widest, groups=(fold, fold))
        settings, weight, f2 = choose_transfer(proba, nearest, truth, self.settings)
        write_text(folder / CHOSEN, Chosen(relevance=settings, weight=weight, f2=f2).model_dump_json(indent=1) + "\n")
        averaged = with_neighbours(proba, relevance(nearest, truth, settings), weight=weight)
        LabelScores(folder).write(MEAN, known, labels=known.vocabulary.tags, fold=fold, proba=averaged)
        return f"the {settings.k} most similar photos weigh {weight:g}, {self.reads_from} {1 - weight:g}"

    def apply(self, ask: Ask) -> ScoredPhotos:
        """The average for any photos, who hear all known ones."""
        tags, known = ask.context.known.vocabulary.tags, ask.artifact(Features, self.image_features).known().unit
        chosen: Chosen = read_spec(Chosen, ask.context.folder(self.name) / CHOSEN)
        nearest = neighbours(ask.value(PhotoFeatures, self.image_features).unit, known, k=chosen.relevance.k)
        lent = relevance(nearest, ask.context.known.truth > 0, chosen.relevance)
        scored = ask.value(ScoredPhotos, self.reads_from)
        proba = with_neighbours(scored.mean.of(tags), lent, weight=chosen.weight)
        return ScoredPhotos(MemberScores(tuple(tags), proba[None]), scored.absent)

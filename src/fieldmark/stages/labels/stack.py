"""The stage *stack*: gradient-boosted trees score each image and label from the scores of all networks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from jaxtyping import Int64
from pydantic import Field

from fieldmark.core.files import write_json
from fieldmark.data.vocabulary import Vocabulary
from fieldmark.pipeline.application import Ask
from fieldmark.pipeline.artifacts.features import Features, PhotoFeatures
from fieldmark.pipeline.artifacts.folds import Folds
from fieldmark.pipeline.artifacts.scores import MEAN, LabelScores, MemberScores, ScoredPhotos
from fieldmark.pipeline.context import Context
from fieldmark.pipeline.stage import Ref, Stage, stage
from fieldmark.stacking.specs import Stacking

if TYPE_CHECKING:
    from fieldmark.stacking.inputs import SecondLevelInputs

IMPORTANCE = "importance.json"
CEILING = "ceiling.json"
TREES = "judge"


@stage
class Stack(Stage):
    """Second-level model: gradient-boosted trees combine the scores of several networks (stacking).

    The trees are trained on out-of-fold scores, and no photo is scored by trees that were trained on it.

    Attributes:
        reads_from: Stages with label scores; each of their members is one column.
        on: Split stage of these stages.
        image_features: ``describe_images`` stage that adds columns of brightness, shape, ImageNet classes and image
            similarity; None: without these columns.
        settings: Settings of candidates, columns and trees.
    """

    output = LabelScores
    kind: Literal["stack"] = "stack"
    reads_from: Annotated[tuple[str, ...], Ref(LabelScores), Field(min_length=1)]
    on: Annotated[str, Ref(Folds)]
    image_features: Annotated[str | None, Ref(Features)] = None
    settings: Stacking = Stacking()

    def predicts_by_fold(self, earlier: Mapping[str, Stage]) -> bool:
        """Return False: the trees are trained on the photos of all folds."""
        del earlier
        return False

    def check(self, earlier: Mapping[str, Stage]) -> list[str]:
        """Return a mistake if there are too few folds for a second level."""
        folds = getattr(earlier.get(self.on), "folds", None)
        if getattr(folds, "n_folds", 3) < 3:
            return [f"{self.name}: stack needs at least three folds, but '{self.on}' has two"]
        return []

    def fit(self, context: Context, folder: Path) -> str:
        """Write the out-of-fold scores, the trees and their column importance."""
        from fieldmark.stacking.second_level import second_level

        known, fold = context.known, context.artifact(Folds, self.on).fold
        truth = known.truth
        features = None if self.image_features is None else context.artifact(Features, self.image_features).known()
        made = second_level(
            second_level_inputs(self._known(context), features),
            truth > 0,
            fold,
            is_labelled=~np.isnan(truth),
            by=available_columns(self.settings, statistics=self.image_features is not None),
            label_groups=group_numbers(known.vocabulary),
            seed=context.seed,
            n_threads=os.cpu_count() or 1,
            scratch=folder,
            progress=context.progress,
        )
        LabelScores(folder).write(MEAN, known, labels=known.vocabulary.tags, fold=fold, proba=made.proba)
        (folder / TREES).mkdir(exist_ok=True)
        made.judge.save(folder / TREES)
        write_json(folder / IMPORTANCE, [{"column": name, "share": share} for name, share in made.importance])
        write_json(folder / CEILING, {"recall_ceiling": made.recall_ceiling, "n_judged": made.n_judged})
        return f"{made.n_judged:,} candidate labels scored; they include {made.recall_ceiling:.1%} of the true labels"

    def apply(self, ask: Ask) -> ScoredPhotos:
        """Return the trees' probabilities for any photos."""
        from fieldmark.stacking.stacked_trees import StackedTrees

        tags = ask.context.known.vocabulary.tags
        scores = {
            f"{name}/{member}": scored.of(tags)
            for name in self.reads_from
            for member, scored in ask.value(ScoredPhotos, name).members_or_mean.items()
        }
        features = None if self.image_features is None else ask.value(PhotoFeatures, self.image_features)
        trees = StackedTrees.load(ask.context.folder(self.name) / TREES)
        proba = trees.judge(second_level_inputs(scores, features), n_threads=os.cpu_count() or 1)
        return ScoredPhotos(MemberScores(tuple(tags), proba[None]), ~ask.photos.present)

    def _known(self, context: Context) -> dict[str, np.ndarray]:
        """Return the out-of-fold scores of each member."""
        return {
            f"{name}/{member}": scores.known(context.known, member)
            for name in self.reads_from
            for scores in (context.artifact(LabelScores, name),)
            for member in scores.members
        }


def second_level_inputs(scores: Mapping[str, np.ndarray], features: PhotoFeatures | None = None) -> SecondLevelInputs:
    """Return the inputs of the trees: the scores of the networks, and image features if there are any."""
    from fieldmark.stacking.inputs import SecondLevelInputs

    if features is None:
        return SecondLevelInputs(scores=scores)
    return SecondLevelInputs(
        scores=scores, statistics=features.statistics, imagenet=features.classes, embeddings=features.unit
    )


def available_columns(settings: Stacking, *, statistics: bool) -> Stacking:
    """Return the settings without the columns that need a ``describe_images`` stage, if the plan has none."""
    if statistics:
        return settings
    features = settings.features.model_copy(update={"statistics": False, "imagenet": "off", "relevance": None})
    return settings.model_copy(update={"features": features})


def group_numbers(vocabulary: Vocabulary) -> Int64[np.ndarray, " label"]:
    """Return the group number of each label."""
    numbers = np.zeros(len(vocabulary.tags), dtype=np.int64)
    for number, columns in enumerate(vocabulary.groups.values()):
        numbers[list(columns)] = number
    return numbers

"""What each stage of a run that tags brought: its score against that of the stage before, photo by photo."""

from __future__ import annotations

import numpy as np

from fieldmark.metrics.intervals import interval
from fieldmark.pipeline.artifacts.scores import LabelScores
from fieldmark.pipeline.context import Context
from fieldmark.pipeline.stage import Stage
from fieldmark.reporting.label_contents import Difference, Rung
from fieldmark.reporting.wording import counted, percent
from fieldmark.stages.common.train import Train
from fieldmark.stages.labels.score import Score
from fieldmark.stages.labels.stack import Stack
from fieldmark.stages.labels.transfer_labels import TransferLabels
from fieldmark.tasks.tagging.validation import OutOfFoldLabels, crossed_f2


def score_ladder(context: Context, judged: OutOfFoldLabels) -> tuple[Rung, ...]:
    """A rung for each stage with scores, in the order of the plan.

    Every rung is measured similar: mean F2 over the known photos, out of fold, with the best threshold of each label group
    found on the photos of other folds. The interval of a change is that of the mean difference of the same photos.
    """
    rungs: list[Rung] = []
    before: np.ndarray | None = None
    heard: tuple[str, ...] = ()
    for stage in context.plan.leaving(LabelScores):
        f2 = crossed_f2(judged, judged.scores(stage.name), context.folds(stage).fold)
        found = interval(f2, trials=len(f2), groups=judged.known.groups)
        news = means_of(stage, context)
        rungs.append(
            Rung(
                name=stage.name,
                value=found.value,
                low=found.low,
                high=found.high,
                change=None if before is None else change_of(f2 - before, judged.known.groups),
                news=tuple(one for one in news if one not in heard),
                said=context.said(stage.name),
            )
        )
        before, heard = f2, news
    return tuple(rungs)


def change_of(differences: np.ndarray, groups: np.ndarray) -> Difference | None:
    """The mean difference with its interval over groups of photos; None where all photos are one group."""
    found = interval(differences, groups=groups)
    return Difference(found.value, found.low, found.high) if found.n_units > 1 else None


def means_of(stage: Stage, context: Context) -> tuple[str, ...]:
    """By which means a stage comes to its scores, each in a few words."""
    earlier = {one.name: one for one in context.plan.stages}
    if isinstance(stage, Stack):
        looks = "" if stage.image_features is None else ", and what was seen of the photos"
        return (f"boosted trees over what the networks of {_listed(stage.reads_from)} say{looks}",)
    if isinstance(stage, TransferLabels):
        return (f"labels of similar photos beside what {stage.reads_from} says",)
    if not isinstance(stage, Score):
        return ()
    trained = [one for name in stage.of if isinstance(one := earlier[name], Train)]
    words = [
        f"{counted(len(trained), 'network')} a fold" + (f" beside those of {_listed(stage.also)}" if stage.also else "")
    ]
    for train in trained:
        words += [one for one in _means_of_training(train, context) if one not in words]
    return tuple(words)


def _means_of_training(train: Train, context: Context) -> list[str]:
    """What sets one training apart from the plainest."""
    words = [f"minimise {' + '.join(loss.kind for loss in train.losses)}"]
    if train.warm is not None:
        words.append("start from trained networks")
    if train.groups:
        words.append(f"answer {_listed(train.groups)} alone")
    if train.trusted is not None:
        words.append(f"without what {train.trusted} left out: {context.said(train.trusted)}")
    if train.enlarged is not None:
        words.append(f"with what {train.enlarged} took in: {context.said(train.enlarged)}")
    if train.filled is not None:
        words.append(f"a label that the table lacks counts {train.fill_times:g} times what {train.filled} says of it")
    if hardest := max((phase.hardest or 0.0 for phase in train.training.phases), default=0.0):
        words.append(f"the hardest {percent(hardest)} of the photos shown once more each epoch")
    return words


def _listed(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"

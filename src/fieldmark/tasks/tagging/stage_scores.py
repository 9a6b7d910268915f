"""Score of each stage of a run of the tagging task, and its difference from the stage before."""

from __future__ import annotations

import numpy as np

from fieldmark.metrics.intervals import interval
from fieldmark.pipeline.artifacts.scores import LabelScores
from fieldmark.pipeline.context import Context
from fieldmark.pipeline.stage import Stage
from fieldmark.reporting.label_contents import Difference, StageScore
from fieldmark.reporting.wording import counted, percent
from fieldmark.stages.common.train import Train
from fieldmark.stages.labels.score import Score
from fieldmark.stages.labels.stack import Stack
from fieldmark.stages.labels.transfer_labels import TransferLabels
from fieldmark.tasks.tagging.validation import OutOfFoldLabels, crossed_f2


def scores_by_stage(context: Context, oof: OutOfFoldLabels) -> tuple[StageScore, ...]:
    """Return the mean F2 of each stage with label scores, in the order of the plan.

    All stages are measured in the same way: mean F2 over the known photos, with out-of-fold scores and the best
    threshold per label group, found on the photos of the other folds. The interval of a change is the interval of the
    mean difference per photo.
    """
    stage_scores: list[StageScore] = []
    before: np.ndarray | None = None
    previous: tuple[str, ...] = ()
    for stage in context.plan.leaving(LabelScores):
        f2 = crossed_f2(oof, oof.scores(stage.name), context.folds(stage).fold)
        found = interval(f2, trials=len(f2), groups=oof.known.groups)
        new_steps = describe_stage(stage, context)
        stage_scores.append(
            StageScore(
                name=stage.name,
                value=found.value,
                low=found.low,
                high=found.high,
                change=None if before is None else change_of(f2 - before, oof.known.groups),
                new_steps=tuple(one for one in new_steps if one not in previous),
                message=context.said(stage.name),
            )
        )
        before, previous = f2, new_steps
    return tuple(stage_scores)


def change_of(differences: np.ndarray, groups: np.ndarray) -> Difference | None:
    """Return the mean difference with its interval over groups of photos; None if all photos are one group."""
    found = interval(differences, groups=groups)
    return Difference(found.value, found.low, found.high) if found.n_units > 1 else None


def describe_stage(stage: Stage, context: Context) -> tuple[str, ...]:
    """Return short phrases that describe how a stage computes its scores."""
    earlier = {one.name: one for one in context.plan.stages}
    if isinstance(stage, Stack):
        image_features = "" if stage.image_features is None else ", and on image features"
        return (f"boosted trees on the scores of {_listed(stage.reads_from)}{image_features}",)
    if isinstance(stage, TransferLabels):
        return (f"scores of {stage.reads_from}, combined with labels of similar photos",)
    if not isinstance(stage, Score):
        return ()
    trained = [one for name in stage.of if isinstance(one := earlier[name], Train)]
    words = [
        f"{counted(len(trained), 'network')} per fold"
        + (f", together with those of {_listed(stage.also)}" if stage.also else "")
    ]
    for train in trained:
        words += [one for one in _describe_training(train, context) if one not in words]
    return tuple(words)


def _describe_training(train: Train, context: Context) -> list[str]:
    """Return short phrases for the settings of a training stage that differ from plain training."""
    words = [f"loss {' + '.join(loss.kind for loss in train.losses)}"]
    if train.warm is not None:
        words.append("starts from trained networks")
    if train.groups:
        words.append(f"predicts only {_listed(train.groups)}")
    if train.trusted is not None:
        words.append(f"without the photos removed by {train.trusted}: {context.said(train.trusted)}")
    if train.enlarged is not None:
        words.append(f"with the photos added by {train.enlarged}: {context.said(train.enlarged)}")
    if train.filled is not None:
        words.append(
            f"target of a label missing in the table: {train.fill_times:g} x its probability in {train.filled}"
        )
    if hardest := max((phase.hardest or 0.0 for phase in train.training.phases), default=0.0):
        words.append(f"the hardest {percent(hardest)} of the photos twice per epoch")
    return words


def _listed(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"

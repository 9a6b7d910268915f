"""Comparison of threshold rules on the out-of-fold scores of a run, with cross-fitting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from fieldmark.core.errors import PlanError, nearest, several
from fieldmark.core.progress import QUIET, Progress
from fieldmark.decisions.specs import (
    CountMatch,
    GlobalF2,
    GroupF2,
    LabelF2,
    LabelThresholds,
    MeanWithInterval,
    Preset,
    Relative,
    ThresholdRule,
)
from fieldmark.pipeline.artifacts.scores import LabelScores
from fieldmark.pipeline.context import Context
from fieldmark.pipeline.plan import Plan
from fieldmark.stages.labels.threshold import Threshold, label_groups
from fieldmark.tasks.tagging.issues import scoring

RuleName = Literal["preset", "global", "group", "group-limits", "label", "relative", "count", "own"]
RULES: tuple[RuleName, ...] = get_args(RuleName)


@dataclass(frozen=True)
class Tuned:
    """One threshold rule with its mean F2.

    Attributes:
        name: Name of the rule, as typed after ``--rule``. ``own`` is the run's rule if it is none of the others.
        rule: The rule with its settings, as in a ``threshold`` stage.
        is_own: Whether the run uses this rule.
        thresholds: Thresholds that the rule finds on all photos.
    """

    name: RuleName
    rule: ThresholdRule
    is_own: bool
    thresholds: LabelThresholds

    @property
    def as_found(self) -> MeanWithInterval:
        """Return the mean F2 on the photos that the thresholds were found on.

        It is too high; the more thresholds, the more so.
        """
        return _measured(self.thresholds.fitted)

    @property
    def honest(self) -> MeanWithInterval:
        """Return the cross-fitted mean F2: the thresholds for each photo were found on the other folds."""
        return _measured(self.thresholds.crossed)


def _measured(found: MeanWithInterval | None) -> MeanWithInterval:
    if found is None:
        raise TypeError("thresholds fitted on ground truth must have measures")
    return found


def tuned_rules(
    context: Context, *, rules: Sequence[RuleName] = (), stage: str | None = None, progress: Progress = QUIET
) -> tuple[Tuned, ...]:
    """Compare threshold rules on the out-of-fold scores of a stage.

    Args:
        context: The run.
        rules: Names of the rules to compare; empty for all rules that fit the labels.
        stage: Name of the stage with the scores; None for the stage that the run's ``threshold`` stage reads.
        progress: Receives the number of finished rules.

    Raises:
        PlanError: The run has no stage of that name with label scores, or a rule does not fit the labels.
        RunError: The stage is not finished.

    Source:
        Ours; Stone 1974, cross-validatory choice: a choice is measured on data that were not used for it.
    """
    from fieldmark.decisions.label_thresholds import fit_label_thresholds

    own = context.plan.only(Threshold)
    name = scoring(context, stage or own.reads_from)
    truth, fold = context.known.truth > 0, context.folds(context.stages[name]).fold
    proba = context.artifact(LabelScores, name).known(context.known)
    vocabulary = context.known.vocabulary
    chosen = _chosen(rules, own.rule, groups=set(vocabulary.groups), mean=float(np.count_nonzero(truth)) / len(truth))
    found = []
    for kind, rule in progress.track(chosen.items(), total=len(chosen), what="rules"):
        thresholds = fit_label_thresholds(
            rule,
            proba,
            truth,
            groups=label_groups(vocabulary),
            names=vocabulary.tags,
            parts=fold,
            seed=context.seed,
            photo_groups=context.known.groups,
        )
        found.append(Tuned(kind, rule, rule == own.rule, thresholds))
    return tuple(found)


def with_rule(plan: Plan, rule: ThresholdRule, *, stage: str | None = None) -> Plan:
    """Return the plan with another rule in its ``threshold`` stage; earlier stages stay the same.

    Args:
        plan: Plan of a run.
        rule: Rule for the last ``threshold`` stage.
        stage: Name of the stage whose scores it reads; None to keep the present one.
    """
    present = plan.only(Threshold)
    other = present.model_copy(update={"rule": rule, "reads_from": stage or present.reads_from})
    stages = tuple(other if one == present else one for one in plan.stages)
    return plan.model_copy(update={"stages": stages}).check()


def _chosen(
    names: Sequence[RuleName], own: ThresholdRule, *, groups: set[str], mean: float
) -> dict[RuleName, ThresholdRule]:
    """Return the rules to compare, by name.

    Args:
        names: Names that the user chose; empty for all.
        own: Rule of the run.
        groups: Names of the label groups.
        mean: Mean number of labels per photo in the table.

    Raises:
        PlanError: A rule does not exist, or does not fit the label groups.
    """
    fitting: dict[RuleName, ThresholdRule] = {
        "preset": Preset(),
        "global": GlobalF2(),
        "group": GroupF2(limits=False),
        "group-limits": GroupF2(),
        "label": LabelF2(),
        "relative": Relative(),
        "count": CountMatch(mean=max(round(mean, 3), 0.001)),
    }
    if groups != set(Preset().groups):
        del fitting["preset"]
    if len(groups) == 1:
        del fitting["group"]
    if own not in fitting.values():
        fitting["own"] = own
    unfit = [name for name in names if name not in fitting]
    if unfit:
        raise PlanError(
            "The option rule names a rule that does not exist or does not fit the label groups of the run.",
            got=several(unfit),
            fix=nearest(unfit[0], fitting),
        )
    return {name: rule for name, rule in fitting.items() if not names or name in names}

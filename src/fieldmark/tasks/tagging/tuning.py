"""What each rule for thresholds is worth on a run's out-of-fold scores, found on some photos and tried on others."""

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
    """One rule for thresholds and what it is worth.

    Attributes:
        name: As typed after ``--rule``; ``own`` is the run's own rule where it is none of the others.
        rule: With its settings, as a cut stage takes it.
        is_own: Whether the run itself cuts by this rule.
        thresholds: What the rule finds on all photos.
    """

    name: RuleName
    rule: ThresholdRule
    is_own: bool
    thresholds: LabelThresholds

    @property
    def as_found(self) -> MeanWithInterval:
        """Mean F2 on the very photos the thresholds were found on: too hopeful, the more thresholds the more."""
        return _measured(self.thresholds.fitted)

    @property
    def honest(self) -> MeanWithInterval:
        """Mean F2 where each photo's thresholds were found on the photos of the other folds."""
        return _measured(self.thresholds.crossed)


def _measured(found: MeanWithInterval | None) -> MeanWithInterval:
    if found is None:
        raise TypeError("thresholds found with truth have figures")
    return found


def tuned_rules(
    context: Context, *, rules: Sequence[RuleName] = (), stage: str | None = None, progress: Progress = QUIET
) -> tuple[Tuned, ...]:
    """Each rule's worth on the out-of-fold scores of a stage.

    Args:
        context: The run.
        rules: Which to try; none named means all that fit the labels.
        stage: Whose scores; None for those that the run's cut stage reads.
        progress: Told as rules are done.

    Raises:
        PlanError: The run has no such stage with scores, or a rule does not fit its labels.
        RunError: The stage is not finished.

    Source:
        Ours; Stone 1974, cross-validatory choice: a choice is judged by what had no part in it.
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
    """The plan with another rule in its cut stage; all stages before it stay as they are.

    Args:
        plan: Of a run.
        rule: For its last cut stage.
        stage: Whose scores it cuts; None for those it cut before.
    """
    cut = plan.only(Threshold)
    other = cut.model_copy(update={"rule": rule, "reads_from": stage or cut.reads_from})
    stages = tuple(other if one == cut else one for one in plan.stages)
    return plan.model_copy(update={"stages": stages}).check()


def _chosen(
    names: Sequence[RuleName], own: ThresholdRule, *, groups: set[str], mean: float
) -> dict[RuleName, ThresholdRule]:
    """The rules to try, by name.

    Args:
        names: As the user chose; none means all.
        own: The run's.
        groups: Of the labels.
        mean: Labels a photo in the table.

    Raises:
        PlanError: One does not exist, or does not fit.
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
    strange = [name for name in names if name not in fitting]
    if strange:
        raise PlanError(
            "There is no such rule, or none for labels of these groups.",
            got=several(strange),
            fix=nearest(strange[0], fitting),
        )
    return {name: rule for name, rule in fitting.items() if not names or name in names}

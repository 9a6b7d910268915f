"""The commands about a run's own table: label issues, thresholds, patches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fieldmark.api.guards import must_be_for, run_of, sensible, vacant
from fieldmark.core.errors import FieldmarkError
from fieldmark.core.progress import Progress, ShowProgress, shown_by

if TYPE_CHECKING:
    from fieldmark.api.photos import Photos
    from fieldmark.quality.patches import Patch
    from fieldmark.tasks.issues import LabelIssue
    from fieldmark.tasks.tagging.tuning import RuleName, Tuned

OF_LABELS = "name a run that tags, such as one of `fieldmark train imet2019 DATA --run RUN`."


def issues(
    run: Path | str,
    *,
    out: Path | str | None = None,
    most: int = 200,
    stage: str | None = None,
    force: bool = False,
    device: str = "auto",
    n_workers: int = 2,
    progress: ShowProgress = None,
) -> list[LabelIssue]:
    """The labels of a run's table that are likeliest wrong or missing, or photos that perhaps show somebody else.

    Labels are judged by networks that have not seen their photos; names by networks and by matching points, which
    are not learnt: photos of unknown individuals who perhaps have a name, and of individuals who perhaps have two.

    Args:
        run: The folder of a run that tells labels (its stages up to the scores must be finished), or of a finished one
            that tells individuals and matches points.
        out: The CSV to write, with a column ``decision`` for add, remove or keep; filled in, it is a patch for
            ``train``. None writes none.
        most: How many to tell.
        stage: Of labels, whose scores to go by; None for the last score stage.
        force: Whether an existing ``out`` may be written over.
        device: Where to compute, of names.
        n_workers: Threads that read photos ahead.
        progress: Show a bar: None in a terminal or notebook only, True always, False never.

    Returns:
        The most doubtful first.

    Raises:
        RunError: No such run, it answers questions, or ``out`` exists.
        PlanError: The run has no such stage with scores, or matches no points.
        FieldmarkError: ``stage`` is given for names.
    """
    progress = shown_by(progress)
    sensible(most=most)
    table = vacant(out, force=force)
    from fieldmark.pipeline.context import Context
    from fieldmark.tasks.identification.issues import identity_issues
    from fieldmark.tasks.issues import write_issues
    from fieldmark.tasks.tagging.issues import label_issues
    from fieldmark.tasks.task import task_of

    context = Context.open(run)
    if task_of(context.plan).name == "identification":
        if stage is not None:
            raise FieldmarkError(
                "Names are doubted by the run's last ranking.", got=f"--stage {stage}", fix="leave out --stage."
            )
        found = identity_issues(context.computing(device=device, n_workers=n_workers, progress=progress), most=most)
    else:
        must_be_for(context, "tagging", instead=OF_LABELS)
        found = label_issues(context, stage=stage, most=most)
    if table is not None:
        write_issues(table, found, context.known)
    return found


def thresholds(
    run: Path | str,
    *,
    rules: Sequence[RuleName] = (),
    stage: str | None = None,
    out: Path | str | None = None,
    force: bool = False,
    progress: ShowProgress = None,
) -> tuple[Tuned, ...]:
    """What each rule for thresholds would be worth on a run's out-of-fold scores; nothing is trained.

    Args:
        run: The folder of a run that tells labels; its stages up to the scores must be finished.
        rules: Which to try; none named means all that fit the labels.
        stage: Whose scores to cut; None for those that the run itself cuts.
        out: A ``.json`` file for the run's plan with the best of these rules in it; trained with ``reuse=run`` it
            costs no training.
        force: Whether an existing ``out`` may be written over.
        progress: Show a bar: None in a terminal or notebook only, True always, False never.

    Raises:
        RunError: No such run, or ``out`` exists.
        PlanError: The run has no such stage, or no such rule fits its labels.
        FieldmarkError: ``out`` is no ``.json`` file.
    """
    progress = shown_by(progress)
    from fieldmark.core.files import write_text
    from fieldmark.tasks.tagging.tuning import tuned_rules, with_rule

    if out is not None and Path(out).suffix != ".json":
        raise FieldmarkError("A plan is written as .json.", got=out, fix=f"use --out {Path(out).with_suffix('.json')}.")
    plan_file = vacant(out, force=force)
    context = run_of(run, "tagging", instead=OF_LABELS)
    found = tuned_rules(context, rules=rules, stage=stage, progress=progress)
    if plan_file is not None:
        best = max(found, key=lambda one: one.honest.value)
        write_text(
            plan_file, with_rule(context.plan, best.rule, stage=stage).with_needs().model_dump_json(indent=2) + "\n"
        )
    return found


def patched(photos: Photos, patch: Patch, *, progress: Progress) -> Photos:
    """The photos with labels added and removed as a patch has it.

    Raises:
        DataError: There are no labels, or the patch names photos or labels that are not there; all are told.
    """
    from fieldmark.quality.patches import apply

    changed = replace(photos, collection=apply(patch, photos.collection))
    progress.say(f"patch: {len(patch.changes):,} decisions of {patch.name}")
    return changed

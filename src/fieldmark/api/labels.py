"""Functions about the labels of a run: issues, thresholds, patches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fieldmark.api.guards import check_counts, check_task, open_run, writable_path
from fieldmark.core.errors import FieldmarkError
from fieldmark.core.progress import Progress, ShowProgress, shown_by

if TYPE_CHECKING:
    from fieldmark.api.photos import Photos
    from fieldmark.quality.patches import Patch
    from fieldmark.tasks.issues import LabelIssue
    from fieldmark.tasks.tagging.tuning import RuleName, Tuned

TAGGING_RUN = "use a run that tags, such as one of `fieldmark train imet2019 DATA --run RUN`."


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
    """List likely label errors: labels that may be wrong or missing, or photos that may show another individual.

    Labels are compared with out-of-fold predictions. Names are compared with the ranking of the networks and with
    keypoint matching: photos of unknown individuals that may have a name, and individuals that may have two names.

    Args:
        run: Folder of a run that tags (finished at least up to its scores), or of a finished run that identifies and
            matches keypoints.
        out: CSV file to write, with a column ``decision`` for add, remove or keep. With your decisions it is a patch
            for ``train``. None: no file.
        most: Maximum number of issues.
        stage: Stage whose scores are used, for labels; None: the last stage with scores.
        force: Whether to overwrite an existing ``out``.
        device: Device for networks, for names: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        n_workers: Number of image-loading threads.
        progress: Whether to show a progress bar; None: only in a terminal or notebook.

    Returns:
        The issues, the most likely errors first.

    Raises:
        RunError: The run does not exist or predicts attributes, or ``out`` exists.
        PlanError: The stage does not exist or has no scores, or the run matches no keypoints.
        FieldmarkError: ``stage`` is given for a run that identifies.
    """
    progress = shown_by(progress)
    check_counts(most=most)
    table = writable_path(out, force=force)
    from fieldmark.pipeline.context import Context
    from fieldmark.tasks.identification.issues import identity_issues
    from fieldmark.tasks.issues import write_issues
    from fieldmark.tasks.tagging.issues import label_issues
    from fieldmark.tasks.task import task_of

    context = Context.open(run)
    if task_of(context.plan).name == "identification":
        if stage is not None:
            raise FieldmarkError(
                "--stage needs a run that tags; issues of names use the last ranking.",
                got=f"--stage {stage}",
                fix="leave out --stage.",
            )
        found = identity_issues(context.computing(device=device, n_workers=n_workers, progress=progress), most=most)
    else:
        check_task(context, "tagging", instead=TAGGING_RUN)
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
    """Compare rules for label thresholds by their F2 score on out-of-fold scores. Nothing is trained.

    Args:
        run: Folder of a run that tags, finished at least up to its scores.
        rules: Names of rules to compare; empty: all that fit the labels.
        stage: Stage whose scores are used; None: that of the run's own thresholds.
        out: ``.json`` file to write: the plan of the run with the best of these rules. ``train`` with ``reuse=run``
            then trains no network.
        force: Whether to overwrite an existing ``out``.
        progress: Whether to show a progress bar; None: only in a terminal or notebook.

    Raises:
        RunError: The run does not exist, or ``out`` exists.
        PlanError: The stage or a rule does not exist, or the rule does not fit the labels.
        FieldmarkError: ``out`` is not a ``.json`` file.
    """
    progress = shown_by(progress)
    from fieldmark.core.files import write_text
    from fieldmark.tasks.tagging.tuning import tuned_rules, with_rule

    if out is not None and Path(out).suffix != ".json":
        raise FieldmarkError("--out must be a .json file.", got=out, fix=f"use --out {Path(out).with_suffix('.json')}.")
    plan_file = writable_path(out, force=force)
    context = open_run(run, "tagging", instead=TAGGING_RUN)
    found = tuned_rules(context, rules=rules, stage=stage, progress=progress)
    if plan_file is not None:
        best = max(found, key=lambda one: one.honest.value)
        write_text(
            plan_file, with_rule(context.plan, best.rule, stage=stage).with_needs().model_dump_json(indent=2) + "\n"
        )
    return found


def patched(photos: Photos, patch: Patch, *, progress: Progress) -> Photos:
    """Return the photos with the labels of a patch added and removed.

    Raises:
        DataError: The photos have no labels, or the patch names unknown photos or labels; the error lists all.
    """
    from fieldmark.quality.patches import apply

    changed = replace(photos, collection=apply(patch, photos.collection))
    progress.say(f"patch: {len(patch.changes):,} changes of {patch.name}")
    return changed

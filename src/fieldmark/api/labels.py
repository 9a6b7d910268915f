"""The verbs' half for runs that tell labels: what is on a photo, what is doubtful in the table, where to cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fieldmark.api.guards import must_tell, need_torch, run_of, sensible, vacant
from fieldmark.api.judges import judging_labels
from fieldmark.api.photos import Photos, gather, of_files
from fieldmark.core.errors import FieldmarkError
from fieldmark.core.progress import QUIET, Progress

if TYPE_CHECKING:
    from fieldmark.quality.patches import Patch
    from fieldmark.stages.engine import Opened
    from fieldmark.tasks.identification.measures import Measure
    from fieldmark.tasks.issues import Doubt
    from fieldmark.tasks.tagging.results import Tagged, Tagger
    from fieldmark.tasks.tagging.tuning import RuleName, Tuned

MOST_TAGS = 15
OF_LABELS = "name a run that tells labels, such as one of `fieldmark train imet2019 DATA --run RUN`."


def tag(
    run: Path | str,
    photos: Path | str | Sequence[Path | str],
    *,
    most: int = MOST_TAGS,
    skip_broken: bool = False,
    device: str = "auto",
    n_workers: int = 2,
    progress: Progress = QUIET,
) -> list[Tagged]:
    """What is on a photo: its labels with probabilities; those that the run's cutoffs give it are marked.

    Args:
        run: The folder of a finished run that tells labels.
        photos: One photo or several.
        most: How many labels a photo to tell, the likeliest first; given ones are always told.
        skip_broken: Leave out photos that cannot be read.
        device: ``auto``, ``cpu``, ``cuda`` ...
        n_workers: Threads that read photos ahead.
        progress: Told what goes on.

    Returns:
        One answer a photo, in the order of ``photos``; a photo named twice is answered once.

    Raises:
        RunError: No finished run lies there, or it tells individuals.
        DataError: There is no such photo, or it cannot be read.
    """
    sensible(most=most)
    collection = of_files(photos)
    opened = run_of(run, "labels")
    tagger = tagger_of(opened, device=device)
    given = gather(
        collection, labelled=False, reading={"skip_broken": skip_broken}, n_workers=n_workers, progress=progress
    )
    return tagged(tagger, given, most=most, n_workers=n_workers, progress=progress)


def doubts(
    run: Path | str,
    *,
    out: Path | str | None = None,
    most: int = 200,
    stage: str | None = None,
    force: bool = False,
    device: str = "auto",
    n_workers: int = 2,
    progress: Progress = QUIET,
) -> list[Doubt]:
    """The labels of a run's table that are likeliest wrong or missing, or photos that perhaps show somebody else.

    Labels are judged by networks that have not seen their photos; names by networks and by matching points, which
    are not learnt: photos of strangers who perhaps have a name, and of individuals who perhaps have two.

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
        progress: Told what goes on.

    Returns:
        The most doubtful first.

    Raises:
        RunError: No such run, it answers questions, or ``out`` exists.
        PlanError: The run has no such stage with scores, or matches no points.
        FieldmarkError: ``stage`` is given for names.
    """
    sensible(most=most)
    table = vacant(out, force=force)
    from fieldmark.stages.engine import open_run
    from fieldmark.tasks.issues import doubtful_cells, doubtful_names, write_doubts

    opened = open_run(Path(run))
    if opened.plan.tells == "individuals":
        if stage is not None:
            raise FieldmarkError(
                "Names are doubted by the run's last ranking.", got=f"--stage {stage}", fix="leave out --stage."
            )
        found = doubtful_names(opened, most=most, device=device, n_workers=n_workers, progress=progress)
    else:
        must_tell(opened, "labels", instead=OF_LABELS)
        found = doubtful_cells(opened, stage=stage, most=most)
    if table is not None:
        write_doubts(table, found, opened.known)
    return found


def tune(
    run: Path | str,
    *,
    rules: Sequence[RuleName] = (),
    stage: str | None = None,
    out: Path | str | None = None,
    force: bool = False,
    progress: Progress = QUIET,
) -> tuple[Tuned, ...]:
    """What each rule for cutoffs would be worth on a run's out-of-fold scores; nothing is trained.

    Args:
        run: The folder of a run that tells labels; its stages up to the scores must be finished.
        rules: Which to try; none named means all that fit the labels.
        stage: Whose scores to cut; None for those that the run itself cuts.
        out: A ``.json`` file for the run's plan with the best of these rules in it; trained with ``reuse=run`` it
            costs no training.
        force: Whether an existing ``out`` may be written over.
        progress: Told as rules are done.

    Raises:
        RunError: No such run, or ``out`` exists.
        PlanError: The run has no such stage, or no such rule fits its labels.
        FieldmarkError: ``out`` is no ``.json`` file.
    """
    from fieldmark.core.files import write_text
    from fieldmark.tasks.tagging.tuning import tuned, with_rule

    if out is not None and Path(out).suffix != ".json":
        raise FieldmarkError("A plan is written as .json.", got=out, fix=f"use --out {Path(out).with_suffix('.json')}.")
    plan_file = vacant(out, force=force)
    opened = run_of(run, "labels", instead=OF_LABELS)
    found = tuned(opened, rules=rules, stage=stage, progress=progress)
    if plan_file is not None:
        best = max(found, key=lambda one: one.honest.value)
        write_text(plan_file, with_rule(opened.plan, best.rule, stage=stage).model_dump_json(indent=2) + "\n")
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


def tagger_of(opened: Opened, *, device: str) -> Tagger:
    """The tagger of a finished run; torch is asked for only after the run was found."""
    need_torch()
    from fieldmark.tasks.tagging.results import Tagger

    return Tagger(opened, device=device)


def tagged(tagger: Tagger, given: Photos, *, most: int, n_workers: int, progress: Progress) -> list[Tagged]:
    """The labels of photos, and which could not be read."""
    given.tell(progress, tagger.opened.plan)
    return tagger.tag(given.collection, most=most, n_workers=n_workers, progress=progress)


def judged(opened: Opened) -> tuple[Measure, ...]:
    """How good a run is on its own photos, each answered by networks that have not seen it."""
    from fieldmark.tasks.tagging.validation import JudgedLabels

    return JudgedLabels(opened).measures()


def judged_by(tagger: Tagger, given: Photos, *, n_workers: int, progress: Progress) -> tuple[Measure, ...]:
    """How good a run is on other photos with labels; those it has learnt from are left out."""
    from fieldmark.tasks.tagging.measures import measure_labels

    given.tell(progress, tagger.opened.plan)
    photos, truth = judging_labels(given.collection, tagger.opened.known, progress=progress)
    answers = tagger.answers(tagger.proba(photos, n_workers=n_workers, progress=progress))
    return measure_labels(answers, truth, groups=tagger.groups, photo_groups=photos.groups)

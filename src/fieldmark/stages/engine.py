"""Run a plan's stages one after the other; skip finished ones, go on with an interrupted one."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path

from fieldmark.core.errors import DataError, PlanError, RunError, nearest, several
from fieldmark.core.files import write_json, write_text
from fieldmark.core.manifest import hardware, versions
from fieldmark.core.progress import QUIET, Progress
from fieldmark.core.run import RunFolder
from fieldmark.core.spec import read
from fieldmark.data.collection import Collection
from fieldmark.data.vocabulary import UNKNOWN
from fieldmark.quality.regions.finding import box_tables, refuse_outside
from fieldmark.stages.common.boxes import Boxes
from fieldmark.stages.common.train import Train
from fieldmark.stages.identity.recheck import Recheck
from fieldmark.stages.job import Job
from fieldmark.stages.labels.cut import Cut
from fieldmark.stages.labels.settle import Settle
from fieldmark.stages.labels.texts import Texts
from fieldmark.stages.plan import Plan, Stage

PLAN = "plan.json"
KNOWN = "collection"
NEW = "new"
METRICS = "metrics.json"
MANIFEST = "manifest.json"
FINDING_S = 24 * 3600.0
"""How long other processes wait while the first looks for subjects."""


@dataclass(frozen=True)
class Opened:
    """A run folder read back: its plan and its photos."""

    run: RunFolder
    plan: Plan
    known: Collection
    new: Collection | None
    seed: int

    def up_to(self, name: str) -> Opened:
        """The run with only the stages that the stage ``name`` is made of, and those that tell where animals are."""
        return replace(self, plan=self.plan.up_to(name))

    def job(self, *, device: str = "auto", n_workers: int = 2, progress: Progress = QUIET) -> Job:
        """What its stages are given: photos with the marks that its boxes stages have found."""
        stages = {stage.name: stage for stage in self.plan.stages}
        job = Job(
            self.run,
            self.known,
            self.new,
            self.seed,
            device=device,
            n_workers=n_workers,
            progress=progress,
            stages=stages,
        )
        for stage in self.plan.stages:
            if isinstance(stage, Boxes):
                job = stage.applied(job)
        return job


def execute(  # noqa: PLR0913 - keywords with defaults
    plan: Plan,
    known: Collection,
    folder: Path,
    *,
    new: Collection | None = None,
    seed: int = 0,
    device: str = "auto",
    n_workers: int = 2,
    progress: Progress = QUIET,
    features: Path | None = None,
    reuse: Path | None = None,
) -> RunFolder:
    """Run ``plan`` on ``known`` in ``folder``, or go on with it there.

    Args:
        plan: Checked.
        known: Photos with identities.
        folder: The run folder; made if absent.
        new: Photos to answer.
        seed: Of everything random.
        device: ``auto``, ``cpu``, ``cuda`` ...
        n_workers: Threads that read photos ahead.
        progress: Told what goes on.
        features: Folder for kept features of frozen stages, which several runs may share; None: one in the run folder,
            gone when the run is finished.
        reuse: Another run of the same photos and seed: its finished stages are copied where settings are equal, and
            those of the stages they read, so that another threshold or ranking costs no training.

    Returns:
        The run, all stages finished.

    Raises:
        RunError: The folder holds another run, or another process works in it.
        PlanError: The photos are not what the plan needs.
        FieldmarkError: A later stage needs packages or weights that are not there; nothing was begun.
    """
    if plan.tells == "answers":
        known = known.answering()
    check_photos(plan, known, new)
    for stage in plan.stages:
        if isinstance(stage, Recheck | Texts | Train) and not RunFolder(folder).done(stage.name):
            stage.ready(known)
            if new is not None and isinstance(stage, Recheck | Train):
                refuse_outside(new, (stage.within,) if isinstance(stage, Recheck) else box_tables(stage.preprocess))
    leads = int(os.environ.get("RANK", "0")) == 0
    run = begin(folder, plan, known, new, seed) if leads else RunFolder(folder)
    kept, by_name = features or folder / ".features", {stage.name: stage for stage in plan.stages}
    job = Job(
        run, known, new, seed, device=device, n_workers=n_workers, progress=progress, features=kept, stages=by_name
    )
    if not leads:
        _follow(job, plan)
        return run
    with run.locked():
        if reuse is not None:
            _copy_equal_stages(open_run(reuse), job, plan)
        for stage in plan.stages:
            _stage(job, stage)
            job = _seen(job, stage)
        if features is None:
            shutil.rmtree(kept, ignore_errors=True)
    return run


def begin(folder: Path, plan: Plan, known: Collection, new: Collection | None, seed: int) -> RunFolder:
    """The folder of a run with its plan and photos in it, or the same one again.

    Raises:
        RunError: The folder holds another run, or another process works in it.
    """
    key: dict[str, object] = {
        "plan": plan.fingerprint(),
        "data": known.fingerprint(),
        "new": new.fingerprint() if new is not None else None,
        "seed": seed,
    }
    run = RunFolder.create(folder, key=key)
    with run.locked():
        if not (folder / PLAN).exists():
            known.write(folder / KNOWN)
            if new is not None:
                new.write(folder / NEW)
            began = dt.datetime.now(tz=dt.UTC).isoformat(timespec="seconds")
            write_json(folder / MANIFEST, {"began": began, **key, "versions": versions(), "hardware": hardware()})
            write_text(folder / PLAN, plan.model_dump_json(indent=2) + "\n")
    return run


def take_over(other: RunFolder, theirs: str, run: RunFolder, mine: str) -> None:
    """Copy a finished stage of another run; what is there already stays.

    Raises:
        RunError: The stage is not finished, or a file is missing or damaged.
    """
    if not run.done(mine):
        shutil.copytree(other.stage(theirs), run.workshop(mine), dirs_exist_ok=True)
        receipt = other.receipt(theirs)
        run.finish(mine, receipt={name: value for name, value in receipt.items() if name != "files"})


def _copy_equal_stages(other: Opened, job: Job, plan: Plan) -> None:
    """Copy the finished stages that both plans have in common and that read nothing but such stages.

    Raises:
        RunError: The other run is of other photos or another seed.
    """
    key = job.run.key
    differ = [name for name in ("data", "new", "seed") if other.run.key.get(name) != key[name]]
    if differ:
        raise RunError(
            "Stages of a run of other photos or another seed cannot be reused.",
            got=f"{other.run.path}: another {', another '.join(differ)}",
            fix="leave out --reuse, or use the same photos, new photos and --seed.",
        )
    theirs = {stage.name: stage for stage in other.plan.stages}
    equal: set[str] = set()
    for mine in plan.stages:
        if isinstance(mine, Boxes) and mine != theirs.get(mine.name):
            return  # whatever comes after sees other boxes
        if mine != theirs.get(mine.name) or not equal.issuperset(mine.reads()) or not other.run.done(mine.name):
            continue
        equal.add(mine.name)
        take_over(other.run, mine.name, job.run, mine.name)


def _stage(job: Job, stage: Stage) -> None:
    """Run one stage unless it is finished."""
    run, progress = job.run, job.progress
    if run.done(stage.name):
        progress.say(f"{stage.name}: finished before ({run.receipt(stage.name)['said']})")
    else:
        progress.say(f"{stage.name}: {stage.verb} ...")
        began = time.monotonic()
        workshop = run.workshop(stage.name, fresh=not isinstance(stage, Train))
        said = stage.run(job, workshop)
        took = round(time.monotonic() - began, 2)
        run.finish(stage.name, receipt={"verb": stage.verb, "said": said, "took_s": took})
        progress.say(f"{stage.name}: {said} ({took:.0f} s)")
    if isinstance(stage, Train):
        _meet(job)


def _seen(job: Job, stage: Stage) -> Job:
    """The job for the stages after this one: they see the boxes that were found."""
    return stage.applied(job) if isinstance(stage, Boxes) else job


def _follow(job: Job, plan: Plan) -> None:
    """What processes other than the first do: train along, leave the rest to the first."""
    for stage in plan.stages:
        if isinstance(stage, Boxes):
            _wait_for(job.run, (stage.name,), wait_s=FINDING_S)
            job = _seen(job, stage)
        if isinstance(stage, Train):
            _wait_for(job.run, stage.reads())
            if not job.run.done(stage.name):
                stage.run(job, job.run.workshop(stage.name, fresh=False))
            _meet(job)


def _meet(job: Job) -> None:
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        from fieldmark.training.ranks import ranks

        ranks(job.device).wait()


def _wait_for(run: RunFolder, names: tuple[str, ...], *, wait_s: float = 600.0) -> None:
    """Wait until the first process has finished the stages ``names``.

    Raises:
        RunError: It has not within ``wait_s``.
    """
    until = time.monotonic() + wait_s
    while not all(run.done(name) for name in names):
        if time.monotonic() > until:
            raise RunError(
                "The first process does not get on.",
                got=f"no {', '.join(names)} after {wait_s:.0f} s",
                fix="look at the first process's messages, then run the same command again.",
            )
        time.sleep(0.1)


def check_photos(plan: Plan, known: Collection, new: Collection | None) -> None:
    """Refuse photos that a plan cannot learn from.

    Raises:
        PlanError: They lack the labels, label groups or individuals that the plan tells, or only teach where all judge.
        DataError: A new photo has the id of a known one.
    """
    if plan.tells == "answers" and not known.vocabulary.questions:
        raise PlanError(
            f"The plan '{plan.name}' answers questions, but these photos have none.",
            got=f"{known.name}: columns {', '.join(known.table.columns)}",
            fix="say which columns are questions: --question COLUMN, or write a questions.toml beside the table.",
        )
    tags = any(
        isinstance(stage, Cut | Settle) or (isinstance(stage, Train) and stage.learns_labels) for stage in plan.stages
    )
    if tags and not known.vocabulary.tags:
        raise PlanError(
            f"The plan '{plan.name}' tells labels, but these photos have none.",
            got=f"{known.name}: columns {', '.join(known.table.columns)}",
            fix="say which column holds the labels: --column labels=NAME.",
        )
    if tags and known.extra.any():
        raise PlanError(
            "Photos that only teach are for plans that tell individuals apart: of labels every photo must be judged.",
            got=f"{known.name}: {int(known.extra.sum())} photos with yes in the column 'extra'",
            fix="leave those photos out, or empty the column.",
        )
    if known.extra.all():
        raise PlanError(
            "Every photo only teaches: none is left to judge by, or to be compared to.",
            got=f"{known.name}: yes in all {len(known)} rows of the column 'extra'",
            fix="add photos of your own, or empty the column.",
        )
    groups = {name for stage in plan.stages if isinstance(stage, Train) for name in stage.groups}
    if unheard := sorted(groups - set(known.vocabulary.groups)):
        raise PlanError(
            f"The plan '{plan.name}' names label groups that these photos do not have.",
            got=several(unheard),
            fix=nearest(unheard[0], [name for name in known.vocabulary.groups if name])
            if any(known.vocabulary.groups)
            else "leave out specialise: these labels have no groups (a group is the text before '::').",
        )
    if not tags and not known.vocabulary.identities and (known.classes == UNKNOWN).any():
        raise PlanError(
            f"The plan '{plan.name}' tells individuals apart, but these photos all show nobody we know.",
            got=f"{known.name}: {len(known):,} photos, none of them named but '{known.vocabulary.unknown}'",
            fix="name the individuals you know, or say which word stands for strangers: --unknown WORD.",
        )
    if not tags and not known.vocabulary.identities:
        raise PlanError(
            f"The plan '{plan.name}' tells individuals apart, but these photos name none.",
            got=f"{known.name}: columns {', '.join(known.table.columns)}",
            fix="say which column holds the individual's name: --column identity=NAME.",
        )
    both = sorted(set(known.images) & set(new.images)) if new is not None else []
    if both:
        raise DataError(
            "Some new photos have the ids of known photos.",
            got=several(both),
            fix="rename them, or leave out the new photos and ask later with `fieldmark predict`, which does not mind.",
        )


def open_run(folder: Path) -> Opened:
    """The run in ``folder``: plan, photos and seed.

    Raises:
        RunError: No run lies there.
    """
    run = RunFolder.open(folder)
    if not (folder / PLAN).exists():
        raise RunError("That run has hardly begun.", got=folder, fix="run the same `fieldmark train` command again.")
    plan: Plan = read(Plan, folder / PLAN)
    new = Collection.open(folder / NEW) if (folder / NEW).exists() else None
    return Opened(run=run, plan=plan, known=Collection.open(folder / KNOWN), new=new, seed=int(run.key["seed"]))

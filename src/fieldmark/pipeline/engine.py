"""The engine: fits the stages of a plan in order, skips finished stages and resumes an interrupted one."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

from fieldmark.core.errors import DataError, RunError, several
from fieldmark.core.files import write_json, write_text
from fieldmark.core.manifest import hardware, versions
from fieldmark.core.progress import QUIET, Progress
from fieldmark.core.run import RunFolder
from fieldmark.data.collection import Collection
from fieldmark.pipeline.context import KNOWN, NEW, PLAN, Context
from fieldmark.pipeline.heartbeat import beating, wait_until
from fieldmark.pipeline.plan import Plan
from fieldmark.pipeline.stage import Stage

METRICS = "metrics.json"
MANIFEST = "manifest.json"


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
    """Run ``plan`` on the photos ``known`` in ``folder``, or resume the run there.

    Args:
        plan: Checked plan.
        known: Known photos for training and validation.
        folder: Run folder; created if it does not exist.
        new: New photos to predict.
        seed: Random seed.
        device: Device, such as ``auto``, ``cpu`` or ``cuda``.
        n_workers: Number of image-loading threads.
        progress: Progress reporter.
        features: Folder that caches features of frozen networks. Several runs can share it. None: a folder in the run,
            deleted when the run is finished.
        reuse: Another run of the same photos and seed. Its finished stages are copied if their settings, and those of
            the stages they read, are equal. A run with another threshold or ranking then needs no training.

    Returns:
        The finished run.

    Raises:
        RunError: The folder has another run, or another process is running in it.
        PlanError: The photos do not fit the plan.
        FieldmarkError: A later stage needs a package or weights that are missing. Nothing has been written.
    """
    refuse_shared_ids(known, new)
    for stage in plan.stages:
        if not RunFolder(folder).done(stage.name):
            stage.ready(known, new)
    leads = int(os.environ.get("RANK", "0")) == 0
    run = begin(folder, plan, known, new, seed) if leads else RunFolder(folder)
    kept = features or folder / ".features"
    context = Context(run, plan, known, new, seed, device=device, n_workers=n_workers, progress=progress, features=kept)
    if not leads:
        if reuse is not None:
            _wait_for_all(context)  # the first process has copied the equal stages
        _follow(context)
        return run
    with run.locked(), beating(folder):
        if reuse is not None:
            _copy_equal_stages(Context.open(reuse), context)
            _wait_for_all(context)
        for stage in plan.stages:
            _fit(context, stage)
            context = context.seen_by(stage) if stage.changes_photos else context
        if features is None:
            shutil.rmtree(kept, ignore_errors=True)
    return run


def begin(folder: Path, plan: Plan, known: Collection, new: Collection | None, seed: int) -> RunFolder:
    """Create the folder of a run and write its plan and photos, or open the same run again.

    Raises:
        RunError: The folder has another run, or another process is running in it.
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
            write_text(folder / PLAN, plan.with_needs().model_dump_json(indent=2) + "\n")
    return run


def refuse_shared_ids(known: Collection, new: Collection | None) -> None:
    """Raise an error if new photos have the ids of known photos.

    Raises:
        DataError: Some ids are shared.
    """
    both = sorted(set(known.images) & set(new.images)) if new is not None else []
    if both:
        raise DataError(
            "Some new photos have the same ids as known photos.",
            got=several(both),
            fix="rename the new photos, or train without them and run `fieldmark predict` later, which allows it.",
        )


def take_over(other: RunFolder, theirs: str, run: RunFolder, mine: str) -> None:
    """Copy a finished stage of another run. A stage that is already finished here is kept.

    Raises:
        RunError: The stage is not finished, or a file is missing or damaged.
    """
    if not run.done(mine):
        shutil.copytree(other.stage(theirs), run.work_directory(mine), dirs_exist_ok=True)
        receipt = other.receipt(theirs)
        run.finish(mine, receipt={name: value for name, value in receipt.items() if name != "files"})


def _copy_equal_stages(other: Context, context: Context) -> None:
    """Copy the finished stages that both plans share and that read only shared stages.

    Raises:
        RunError: The other run has other photos or another seed.
    """
    key = context.run.key
    differ = [name for name in ("data", "new", "seed") if other.run.key.get(name) != key[name]]
    if differ:
        raise RunError(
            "--reuse needs a run with the same photos, new photos and seed.",
            got=f"{other.run.path}: another {', another '.join(differ)}",
            fix="leave out --reuse, or use the same photos, new photos and --seed.",
        )
    theirs: Mapping[str, Stage] = other.stages
    equal: set[str] = set()
    for mine in context.plan.stages:
        if mine.changes_photos and mine != theirs.get(mine.name):
            return  # later stages would read other regions
        if mine != theirs.get(mine.name) or not equal.issuperset(mine.reads()) or not other.run.done(mine.name):
            continue
        equal.add(mine.name)
        take_over(other.run, mine.name, context.run, mine.name)


def _fit(context: Context, stage: Stage) -> None:
    """Fit one stage and apply it to the new photos, unless it is already finished."""
    run, progress = context.run, context.progress
    if run.done(stage.name):
        progress.say(f"{stage.name}: already finished ({context.said(stage.name)})")
    else:
        progress.say(f"{stage.name}: {stage.kind} ...")
        began = time.monotonic()
        summary = fit_in(context, stage, run.work_directory(stage.name, fresh=not stage.resumes))
        took = round(time.monotonic() - began, 2)
        run.finish(stage.name, receipt={"kind": stage.kind, "said": summary, "took_s": took})
        progress.say(f"{stage.name}: {summary} ({took:.0f} s)")
    if stage.distributed:
        _wait_for_all(context)


def fit_in(context: Context, stage: Stage, folder: Path) -> str:
    """Fit a stage in a folder, and write its results for the run's new photos there. Return a summary in one line."""
    working = context.fresh(work={**context.work, stage.name: folder})
    summary = stage.fit(working, folder)
    if stage.output.of_photos and context.new is not None and len(context.new):
        application = working.of_new()
        remark = working.artifact(stage.output, stage.name).keep(application.value(stage.name), working)
        summary += f"; {remark}" if remark else ""
    return summary


def _follow(context: Context) -> None:
    """Run in all processes but the first: fit distributed stages too, and wait for the first to do the others."""
    run = context.run

    def wait_for(names: tuple[str, ...]) -> None:
        wait_until(lambda: all(run.done(name) for name in names), run.path, what=", ".join(names))

    for stage in context.plan.stages:
        if stage.changes_photos:
            wait_for((stage.name,))
            context = context.fresh().seen_by(stage)
        if stage.distributed:
            wait_for(stage.reads())
            if not run.done(stage.name):
                folder = run.work_directory(stage.name, fresh=False)
                stage.fit(context.fresh(work={stage.name: folder}), folder)
            _wait_for_all(context)


def _wait_for_all(context: Context) -> None:
    """Wait until all processes of a training have reached this point."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        from fieldmark.training.ranks import ranks

        ranks(context.device).wait()

"""The learning-rate finder for a train stage of a plan."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from fieldmark.core.errors import PlanError, nearest
from fieldmark.core.progress import QUIET, Progress
from fieldmark.core.run import RunFolder
from fieldmark.core.seeds import hash_seed
from fieldmark.data.collection import Collection
from fieldmark.pipeline.context import Context
from fieldmark.pipeline.plan import Plan
from fieldmark.stages.common.split import Split
from fieldmark.stages.common.train import Train

if TYPE_CHECKING:
    from fieldmark.training.lr_finder import LrCurve


def search_learning_rate(
    plan: Plan,
    known: Collection,
    *,
    stage: str | None = None,
    n_updates: int = 100,
    seed: int = 0,
    device: str = "auto",
    n_workers: int = 2,
    progress: Progress = QUIET,
) -> tuple[Train, LrCurve]:
    """Run the learning-rate finder on the first fold of a train stage. Nothing is written to a run.

    Args:
        plan: Checked plan.
        known: Photos with identities or labels.
        stage: Name of a train stage that reads only a split stage; None for the first one.
        n_updates: Number of learning rates to try.
        seed: Random seed.
        device: Device, such as ``auto``, ``cpu`` or ``cuda``.
        n_workers: Number of image-loading threads.
        progress: Progress reporter.

    Returns:
        The train stage, and the loss at each learning rate.

    Raises:
        PlanError: No train stage has this name, the stage needs networks that are not trained yet, or the photos do not
            fit the plan.
    """
    from fieldmark.models.network import build
    from fieldmark.training.features import FeatureStore
    from fieldmark.training.lr_finder import find_rate
    from fieldmark.training.ranks import ranks
    from fieldmark.training.work_directory import WorkDirectory

    chosen = _chosen(plan, stage)
    split = next(one for one in plan.stages if isinstance(one, Split) and one.name == chosen.on)
    for one in (split, chosen):
        one.ready(known, None)
    with tempfile.TemporaryDirectory(prefix="fieldmark-rates-") as name:
        run = RunFolder.create(Path(name) / "run", key={"seed": seed})
        context = Context(run, plan, known, None, seed, device=device, n_workers=n_workers, progress=progress)
        run.finish(split.name, receipt={"said": split.fit(context, run.work_directory(split.name))})
        network = build(
            chosen.net_for(context), n_classes=chosen.n_classes(context), seed=hash_seed(seed, chosen.name, 0)
        )
        at = WorkDirectory(
            folder=Path(name) / "checkpoints",
            group=ranks(device),
            n_workers=n_workers,
            progress=progress,
            features=FeatureStore(Path(name) / "features"),
        )
        lesson = chosen.lesson(context, k=0)
        order = hash_seed(seed, chosen.name, 0, "order")
        return chosen, find_rate(network, lesson, chosen.fitted(lesson), n_updates=n_updates, at=at, seed=order)


def _chosen(plan: Plan, name: str | None) -> Train:
    """Return the train stage of this name, if it reads only a split stage."""
    training = [stage for stage in plan.stages if isinstance(stage, Train) and stage.training.phases]
    ready = {stage.name: stage for stage in training if stage.reads() == (stage.on,)}
    if not ready:
        raise PlanError(
            f"The plan '{plan.name}' has no train stage that the learning-rate finder can use.",
            got=f"{len(plan.stages)} stages",
            fix="choose another recipe.",
        )
    if name is None:
        return next(iter(ready.values()))
    if name not in ready:
        other = any(stage.name == name for stage in training)
        raise PlanError(
            "The learning-rate finder only runs on train stages that need no other trained stage."
            if other
            else f"The plan '{plan.name}' has no train stage of that name.",
            got=name,
            fix=f"use --stage {next(iter(ready))}." if other else nearest(name, ready),
        )
    return ready[name]

"""Which learning rate a plan's first training stands, found by trying."""

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
    """Train a network of the plan on its first fold while the learning rate grows; nothing is kept.

    Args:
        plan: Checked.
        known: Photos with names or labels.
        stage: A train stage that needs no other training before it; None for the first.
        n_updates: How many rates are tried.
        seed: Of everything random.
        device: Where to compute.
        n_workers: Threads that read photos ahead.
        progress: Told how far it is.

    Returns:
        The stage, and the loss at each rate.

    Raises:
        PlanError: There is no such stage, or it needs networks that are not trained yet; or the photos are
            not what the plan needs.
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
    """The train stage of that name that needs a split and nothing else."""
    training = [stage for stage in plan.stages if isinstance(stage, Train) and stage.training.phases]
    ready = {stage.name: stage for stage in training if stage.reads() == (stage.on,)}
    if not ready:
        raise PlanError(
            f"The plan '{plan.name}' trains nothing.", got=f"{len(plan.stages)} stages", fix="choose another recipe."
        )
    if name is None:
        return next(iter(ready.values()))
    if name not in ready:
        other = any(stage.name == name for stage in training)
        raise PlanError(
            "Rates are tried for stages that need no other training before them."
            if other
            else f"The plan '{plan.name}' has no train stage of that name.",
            got=name,
            fix=f"use --stage {next(iter(ready))}." if other else nearest(name, ready),
        )
    return ready[name]

"""Joining of finished runs to one run: all their stages, an ensemble of their rankings, and optional keypoints."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Container, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from fieldmark.core.errors import RunError
from fieldmark.core.progress import QUIET, Progress
from fieldmark.core.run import RunFolder
from fieldmark.decisions.specs import ByScore, RankingAverage
from fieldmark.images.specs import TableBoxes
from fieldmark.pipeline.artifacts.folds import Folds
from fieldmark.pipeline.context import Context
from fieldmark.pipeline.engine import begin, execute, take_over
from fieldmark.pipeline.plan import Plan, renamed
from fieldmark.pipeline.stage import Stage
from fieldmark.stages.common.write_submission import WriteSubmission
from fieldmark.stages.identity.ensemble_rankings import EnsembleRankings
from fieldmark.stages.identity.keypoints import KEPT
from fieldmark.stages.identity.rerank_keypoints import RerankKeypoints
from fieldmark.tasks.identification.run_ensembles import check_same
from fieldmark.tasks.page_ends import SKIPPED

if TYPE_CHECKING:
    from fieldmark.stages.common.train import Train
    from fieldmark.stages.identity.embed import Embed
    from fieldmark.stages.identity.ranking import RankingStage


def join_runs(
    folders: Sequence[Path],
    folder: Path,
    *,
    by: RankingAverage | None = None,
    weights: Sequence[float] | None = None,
    points: bool = False,
    k: int = 5,
    device: str = "auto",
    n_workers: int = 2,
    progress: Progress = QUIET,
) -> RunFolder:
    """Join several runs to one run that averages their rankings and predicts new photos like any other run.

    The joined run contains all stages of the given runs. Nothing is trained again. If the call is interrupted, repeat
    it: it continues where it stopped.

    Args:
        folders: Finished runs of the identification task with the same photos, seed and split.
        folder: Folder of the joined run.
        by: How to average: by score, by place or by vote.
        weights: One weight per run; None for equal weights.
        points: Whether to match keypoints for the first candidates of the ensemble. If a run has matched keypoints
            already, its ranking before that stage is used: an ensemble after keypoint matching has nothing to add
            (lab book, "With matching points").
        k: Number of candidates per photo.
        device: Device to compute on.
        n_workers: Number of image-loading threads.
        progress: Receives progress messages.

    Raises:
        RunError: A run is not finished, the runs differ in photos, seed or split, two runs are the same, or the
            folder contains another run.
        PlanError: The number of weights is wrong.
        FieldmarkError: OpenCV or network weights for keypoints are missing.
    """
    runs = [_wanted(Context.open(one), points=points) for one in folders]
    check_same(runs)
    if len({one.seed for one in runs}) > 1:
        raise RunError(
            "The runs have different seeds and cannot be joined to one run.",
            got=", ".join(f"{one.run.path}: seed {one.seed}" for one in runs),
            fix="average their answers to new photos instead: --out answers.csv without --run.",
        )
    names, stages = _named(runs)
    plan = _plan(runs, names, stages, by=by or ByScore(), weights=weights, points=points, k=k)
    first = runs[0]
    if points:
        plan.only(RerankKeypoints).ready(first.known, first.new)
    run = begin(folder, plan, first.known, first.new, first.seed)
    with run.locked():
        for one, called in zip(runs, names, strict=True):
            for stage in one.plan.stages:
                take_over(one.run, stage.name, run, called[stage.name])
            if points and (one.run.path / KEPT).is_dir():
                shutil.copytree(one.run.path / KEPT, folder / KEPT, copy_function=_linked, dirs_exist_ok=True)
        if (first.run.path / SKIPPED).exists():
            shutil.copyfile(first.run.path / SKIPPED, folder / SKIPPED)
    return execute(
        plan,
        first.known,
        folder,
        new=first.new,
        seed=first.seed,
        device=device,
        n_workers=n_workers,
        progress=progress,
    )


def _wanted(opened: Context, *, points: bool) -> Context:
    """Return the run with only the stages that its ranking needs; with ``points``, without its own keypoint stage."""
    final = opened.plan.final()
    stages = {stage.name: stage for stage in opened.plan.stages}
    while points and isinstance(final, RerankKeypoints):
        final = stages[final.reads_from]
    wanted = opened.up_to(final.name)
    for stage in wanted.plan.stages:
        opened.run.stage(stage.name)  # raises now if the stage is not finished
    return wanted


def _named(runs: Sequence[Context]) -> tuple[list[dict[str, str]], dict[str, Stage]]:
    """Return the names of each run's stages in the joined run, and the stages of the joined run by name.

    Stages that wrote exactly the same files become one stage.

    Raises:
        RunError: The runs have different splits, or two runs are the same.
    """
    stages: dict[str, Stage] = {}
    left: dict[str, object] = {}
    found: list[dict[str, str]] = []
    for number, opened in enumerate(runs, 1):
        names: dict[str, str] = {}
        for stage in opened.plan.stages:
            files = opened.run.receipt(stage.name)["files"]
            same = (
                one for one in stages if left[one] == files and renamed(stage, names | {stage.name: one}) == stages[one]
            )
            name = names[stage.name] = next(same, None) or _free(stage.name, stages, number)
            stages[name], left[name] = renamed(stage, names), files
        found.append(names)
    finals = [names[one.plan.final().name] for one, names in zip(runs, found, strict=True)]
    if len(set(finals)) < len(finals):
        twice = next(n for n, name in enumerate(finals) if name in finals[:n])
        raise RunError(
            "Two of the runs have the same ranking.",
            got=f"{runs[finals.index(finals[twice])].run.path} and {runs[twice].run.path}",
            fix="leave one of them out, or give it more weight with --weight.",
        )
    splits = {names[_on(one.plan.final())] for one, names in zip(runs, found, strict=True)}
    if len(splits) > 1:
        raise RunError(
            "The runs have different validation photos, so the joined run cannot be validated.",
            got=", ".join(f"{one.run.path}" for one in runs),
            fix="train them with the same --seed and split (reidentify: --set validation=humpback, as the humpback "
            "recipes), or average only their answers: --by vote --out answers.csv without --run.",
        )
    return found, stages


def _plan(
    runs: Sequence[Context],
    names: Sequence[dict[str, str]],
    stages: dict[str, Stage],
    *,
    by: RankingAverage,
    weights: Sequence[float] | None,
    points: bool,
    k: int,
) -> Plan:
    """Return the plan of the joined run: all stages of all runs, the ensemble, and the stages after it."""
    # Stages that find boxes or landmarks come first: later stages of any run may read their regions.
    ordered = sorted(stages.values(), key=lambda stage: not (issubclass(stage.output, Folds) or stage.changes_photos))
    finals = [one.plan.final() for one in runs]
    on = names[0][_on(finals[0])]
    ends: list[EnsembleRankings | RerankKeypoints] = [
        EnsembleRankings(
            name=_free("ensemble", stages),
            reads_from=tuple(called[final.name] for final, called in zip(finals, names, strict=True)),
            on=on,
            by=by,
            weights=tuple(weights or ()),
            k=k,
        )
    ]
    if points:
        first = cast("RankingStage", stages[ends[0].reads_from[0]])
        embedded = cast("Embed", stages[cast("str", first.shown(stages))])
        finders = cast("Train", stages[embedded.of]).preprocess.finders()
        ends.append(
            RerankKeypoints(
                name=_free("points", stages),
                reads_from=ends[0].name,
                embedded=embedded.name,
                on=on,
                within=finders[0] if finders else TableBoxes(),
                k=k,
            )
        )
    answer = WriteSubmission(name=_free("submission", stages), reads_from=ends[-1].name)
    return Plan(name=" + ".join(one.plan.name for one in runs), stages=(*ordered, *ends, answer)).check()


def _on(final: Stage) -> str:
    """Return the name of the split stage that a ranking stage reads."""
    return str(getattr(final, "on", ""))


def _free(name: str, taken: Container[str], number: int = 1) -> str:
    """Return the name, or the name with a number if a stage already has it."""
    tries = itertools.chain(
        [name] if number == 1 else [name, f"{name}-{number}"], (f"{name}-{n}" for n in itertools.count(2))
    )
    return next(one for one in tries if one not in taken)


def _linked(source: str, target: str) -> None:
    """Link a file to another name, or copy it if links are not possible. An existing file is kept."""
    if Path(target).exists():
        return
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)

"""Finished runs joined to one run: the stages of each, a blend of their rankings, and points if asked."""

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
    """Make one run of several: it holds all their stages, blends their rankings, and answers like any other run.

    Nothing is learnt anew. Interrupted, the same call goes on.

    Args:
        folders: Finished runs that tell individuals, of the same photos, seed and split, with or without new ones.
        folder: The run to make.
        by: By score, place or vote.
        weights: One a run; None: all similar.
        points: Match points on the first of the blend. Where a run has matched points already, its ranking before that
            is blended: points in a run leave nothing to a blend after them (lab book, "With matching points").
        k: Answers a photo.
        device: Where to compute.
        n_workers: Threads that read photos ahead.
        progress: Told what goes on.

    Raises:
        RunError: A run is not finished, they are of other photos, seeds or splits, two of them are the same, or the
            folder holds another run.
        PlanError: Weights do not fit.
        FieldmarkError: OpenCV or weights of networks are missing for points.
    """
    runs = [_wanted(Context.open(one), points=points) for one in folders]
    check_same(runs)
    if len({one.seed for one in runs}) > 1:
        raise RunError(
            "Runs of different seeds cannot be joined to one.",
            got=", ".join(f"{one.run.path}: seed {one.seed}" for one in runs),
            fix="blend their answers to new photos instead: --out answers.csv without --run.",
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
    """The run with the stages that its ranking is made of; with points to come, without its own."""
    final = opened.plan.final()
    stages = {stage.name: stage for stage in opened.plan.stages}
    while points and isinstance(final, RerankKeypoints):
        final = stages[final.reads_from]
    wanted = opened.up_to(final.name)
    for stage in wanted.plan.stages:
        opened.run.stage(stage.name)  # finished and whole, or it is told now
    return wanted


def _named(runs: Sequence[Context]) -> tuple[list[dict[str, str]], dict[str, Stage]]:
    """What the stages of each run are called in the joined one, and those; who left the very same files is one stage.

    Raises:
        RunError: They were split otherwise, or two runs are the same.
    """
    stages: dict[str, Stage] = {}
    left: dict[str, object] = {}
    found: list[dict[str, str]] = []
    for number, opened in enumerate(runs, 1):
        names: dict[str, str] = {}
        for stage in opened.plan.stages:
            files = opened.run.receipt(stage.name)["files"]
            similar = (
                one for one in stages if left[one] == files and renamed(stage, names | {stage.name: one}) == stages[one]
            )
            name = names[stage.name] = next(similar, None) or _free(stage.name, stages, number)
            stages[name], left[name] = renamed(stage, names), files
        found.append(names)
    finals = [names[one.plan.final().name] for one, names in zip(runs, found, strict=True)]
    if len(set(finals)) < len(finals):
        twice = next(n for n, name in enumerate(finals) if name in finals[:n])
        raise RunError(
            "Two of these runs are the same.",
            got=f"{runs[finals.index(finals[twice])].run.path} and {runs[twice].run.path} rank similar",
            fix="leave one of them out, or give it more weight with --weight.",
        )
    splits = {names[_on(one.plan.final())] for one, names in zip(runs, found, strict=True)}
    if len(splits) > 1:
        raise RunError(
            "These runs were judged by different validation photos, so none can judge a run joined of them.",
            got=", ".join(f"{one.run.path}" for one in runs),
            fix="train them with one --seed and one way to split (reidentify: --set validation=humpback, as the "
            "whales' recipes), or blend their answers alone: --by vote --out answers.csv without --run.",
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
    """All stages of all runs, the blend, and what comes after it."""
    # What is found on photos stands first: later stages of any run may look into it.
    ordered = sorted(stages.values(), key=lambda stage: not (issubclass(stage.output, Folds) or stage.changes_photos))
    finals = [one.plan.final() for one in runs]
    on = names[0][_on(finals[0])]
    ends: list[EnsembleRankings | RerankKeypoints] = [
        EnsembleRankings(
            name=_free("ensemble_lines", stages),
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
        looks_into = cast("Train", stages[embedded.of]).preprocess.finders()
        ends.append(
            RerankKeypoints(
                name=_free("points", stages),
                reads_from=ends[0].name,
                embedded=embedded.name,
                on=on,
                within=looks_into[0] if looks_into else TableBoxes(),
                k=k,
            )
        )
    answer = WriteSubmission(name=_free("answers", stages), reads_from=ends[-1].name)
    return Plan(name=" + ".join(one.plan.name for one in runs), stages=(*ordered, *ends, answer)).check()


def _on(final: Stage) -> str:
    """The split stage that a ranking stage names."""
    return str(getattr(final, "on", ""))


def _free(name: str, taken: Container[str], number: int = 1) -> str:
    """The name, or the same with a number where a stage has it."""
    tries = itertools.chain(
        [name] if number == 1 else [name, f"{name}-{number}"], (f"{name}-{n}" for n in itertools.count(2))
    )
    return next(one for one in tries if one not in taken)


def _linked(source: str, target: str) -> None:
    """The same file under another name, or a copy where that cannot be; a file that is there stays."""
    if Path(target).exists():
        return
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)

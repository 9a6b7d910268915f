"""The kind *blend*: one answer from several finished runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fieldmark.api.guards import run_of, sensible, vacant
from fieldmark.core.errors import FieldmarkError
from fieldmark.core.progress import ShowProgress, shown_by

if TYPE_CHECKING:
    import polars as pl

    from fieldmark.metrics.measure import Measure
    from fieldmark.pipeline.artifacts.ranking import Decision

By = Literal["score", "rank", "vote"]


@dataclass(frozen=True)
class EnsembleResult:
    """What several runs say together.

    Attributes:
        answers: Of the new photos that all of them answered: ``image``, ``place``, ``identity`` ("nobody we know" among
            them) and their scores.
        unknown: Label of unknown individuals there.
        decision: Below which score nobody is known, and what that is worth where the runs share validation photos.
        measures: Of the run that was made of them; empty where none was asked for.
    """

    answers: pl.DataFrame
    unknown: str
    decision: Decision
    measures: tuple[Measure, ...] = ()

    @property
    def n_photos(self) -> int:
        """Photos that were answered."""
        return self.answers["image"].n_unique()

    @property
    def n_new(self) -> int:
        """Photos whose first answer is nobody we know."""
        first = self.answers.filter(self.answers["place"] == 1)["identity"].to_list()
        return sum(one == self.unknown for one in first)


def ensemble(
    runs: Sequence[Path | str],
    *,
    out: Path | str | None = None,
    run: Path | str | None = None,
    points: bool = False,
    by: By = "score",
    weights: Sequence[float] | None = None,
    k: int = 5,
    force: bool = False,
    device: str = "auto",
    n_workers: int = 2,
    progress: ShowProgress = None,
) -> EnsembleResult:
    """One answer, or one run, from several finished runs that tell individuals; nothing is learnt anew.

    Args:
        runs: Folders of runs of the same photos with the same new ones, of any recipes and sizes; where no run is made
            of them, of any seeds.
        out: The CSV to write, in the contest's form; None writes none.
        run: The folder of a run to make of them all: it ranks by the blend, and can be asked, reported and served as
            any other. The runs must have one seed and split. None makes none.
        points: Match points on the first of the blend; ``run`` must be given.
        by: ``score``: the mean of the scores, each run's on its own scale; ``rank``: the mean place; ``vote``: the
            first places are worth 1, 1/2, 1/3 ...
        weights: One a run; None: all similar.
        k: Places an answer.
        force: Whether an existing ``out`` may be written over.
        device: Where to compute.
        n_workers: Threads that read photos ahead.
        progress: Show a bar: None in a terminal or notebook only, True always, False never.

    Raises:
        RunError: There are fewer than two runs, one is not finished or tells no individuals, two are the same, they are
            of other photos, ``out`` exists, or ``run`` holds another run.
        FieldmarkError: Weights do not fit, ``by`` is no such way, nothing can tell the threshold, as the runs were
            judged by different photos, or points are asked for where no run is made or OpenCV is missing.
    """
    progress = shown_by(progress)
    sensible(k)
    if by not in {"score", "rank", "vote"}:
        raise FieldmarkError("Runs are not blended that way.", got=by, fix="use --by score, rank or vote.")
    if weights is not None and (len(weights) != len(runs) or min(weights, default=1) <= 0):
        raise FieldmarkError(
            "Every run needs its weight, above 0.",
            got=f"{len(runs)} run(s), weights {', '.join(f'{one:g}' for one in weights)}",
            fix="give one --weight for each run, in their order.",
        )
    if points and run is None:
        raise FieldmarkError(
            "Points are matched by a run, which can then be asked about any photo.",
            got="--points without --run",
            fix="name the folder of the run to make: --run runs/together",
        )
    file = vacant(out, force=force)
    opened = [run_of(one, "identification") for one in runs]
    from fieldmark.decisions.specs import ByRank, ByScore, ByVote

    rule = {"score": ByScore(), "rank": ByRank(), "vote": ByVote()}[by]
    folders = [one.run.path for one in opened]
    if run is None:
        from fieldmark.tasks.identification.run_ensembles import ensemble_runs

        answers, decision = ensemble_runs(folders, by=rule, weights=weights, k=k)
        found = EnsembleResult(answers, opened[0].known.vocabulary.unknown, decision)
    else:
        found = _joined(
            folders,
            Path(run),
            by=rule,
            weights=weights,
            points=points,
            k=k,
            device=device,
            n_workers=n_workers,
            progress=progress,
        )
    if file is not None:
        from fieldmark.core.files import write_text
        from fieldmark.reporting.submissions import ranking_submission

        images = found.answers["image"].unique(maintain_order=True).to_list()
        write_text(file, ranking_submission(found.answers, images=images))
    return found


def _joined(folders: Sequence[Path], folder: Path, **how: Any) -> EnsembleResult:
    """The run made of all, reported."""
    from fieldmark.pipeline.artifacts.ranking import Ranking
    from fieldmark.pipeline.context import Context
    from fieldmark.tasks.identification.joining import join_runs
    from fieldmark.tasks.reporting import write_report

    made = join_runs(folders, folder, **how)
    context = Context.open(made.path)
    ranking = context.artifact(Ranking, context.plan.final().name)
    return EnsembleResult(
        ranking.table("new"), context.known.vocabulary.unknown, ranking.decision, write_report(context)
    )

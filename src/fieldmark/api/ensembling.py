"""The function ``ensemble``: averaged predictions of several finished runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fieldmark.api.guards import check_counts, open_run, writable_path
from fieldmark.core.errors import FieldmarkError
from fieldmark.core.progress import ShowProgress, shown_by

if TYPE_CHECKING:
    import polars as pl

    from fieldmark.metrics.measure import Measure
    from fieldmark.pipeline.artifacts.ranking import Decision

By = Literal["score", "rank", "vote"]


@dataclass(frozen=True)
class EnsembleResult:
    """The predictions of an ensemble of runs.

    Attributes:
        answers: Table of the ranked identities of the new photos that all runs predicted, with the columns ``image``,
            ``place``, ``identity`` (unknown individuals included) and the scores.
        unknown: Label of unknown individuals in ``answers``.
        decision: Threshold for unknown individuals, with its error rates if the runs share validation photos.
        measures: Measures of the combined run; empty if none was made.
    """

    answers: pl.DataFrame
    unknown: str
    decision: Decision
    measures: tuple[Measure, ...] = ()

    @property
    def n_photos(self) -> int:
        """Number of predicted photos."""
        return self.answers["image"].n_unique()

    @property
    def n_new(self) -> int:
        """Number of photos whose first candidate is an unknown individual."""
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
    """Average the predictions of several finished runs that identify, or combine the runs into one.

    No network is trained.

    Args:
        runs: Folders of runs on the same photos with the same new photos. Recipes and sizes may differ. Seeds may
            differ if ``run`` is None.
        out: CSV file to write, as a contest submission; None: no file.
        run: Folder of a new run that combines all runs and is used like any other run. The runs must share seed and
            split. None: no run.
        points: Whether to re-rank the first candidates of the ensemble by keypoint matching; needs ``run``.
        by: ``score``: mean score, each run on its own scale. ``rank``: mean rank. ``vote``: the first ranks count 1,
            1/2, 1/3 ...
        weights: Weight of each run; None: equal weights.
        k: Number of candidates per photo.
        force: Whether to overwrite an existing ``out``.
        device: Device for networks: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        n_workers: Number of image-loading threads.
        progress: Whether to show a progress bar; None: only in a terminal or notebook.

    Raises:
        RunError: There are fewer than two runs, a run is not finished or does not identify, two runs are the same, the
            runs have different photos, ``out`` exists, or ``run`` holds another run.
        FieldmarkError: ``weights`` or ``by`` is not valid, the runs have different validation photos so that no
            threshold can be found, ``points`` is given without ``run``, or OpenCV is missing.
    """
    progress = shown_by(progress)
    check_counts(k)
    if by not in {"score", "rank", "vote"}:
        raise FieldmarkError("--by is not a way to average runs.", got=by, fix="use --by score, rank or vote.")
    if weights is not None and (len(weights) != len(runs) or min(weights, default=1) <= 0):
        raise FieldmarkError(
            "--weight must be given once for each run, above 0.",
            got=f"{len(runs)} run(s), weights {', '.join(f'{one:g}' for one in weights)}",
            fix="give one --weight for each run, in their order.",
        )
    if points and run is None:
        raise FieldmarkError(
            "--points needs --run.",
            got="--points without --run",
            fix="add the folder of the new run: --run runs/together",
        )
    file = writable_path(out, force=force)
    opened = [open_run(one, "identification") for one in runs]
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
    """Combine the runs into one, and write its report."""
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

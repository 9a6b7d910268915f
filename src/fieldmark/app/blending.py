"""The verb *blend*: one answer from several finished runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fieldmark.app.guards import run_of, sensible, vacant
from fieldmark.core.errors import FieldmarkError

if TYPE_CHECKING:
    import polars as pl

    from fieldmark.stages.ranked import Decision

By = Literal["score", "rank", "vote"]


@dataclass(frozen=True)
class Blended:
    """What several runs say together of the new photos that all of them answered.

    Attributes:
        answers: ``image``, ``place``, ``identity`` ("nobody we know" among them) and their scores.
        unknown: What nobody we know is called there.
        decision: Below which score nobody is known, and what that is worth where the runs share validation photos.
    """

    answers: pl.DataFrame
    unknown: str | None
    decision: Decision

    @property
    def n_photos(self) -> int:
        """Photos that were answered."""
        return self.answers["image"].n_unique()

    @property
    def n_new(self) -> int:
        """Photos whose first answer is nobody we know."""
        first = self.answers.filter(self.answers["place"] == 1)["identity"].to_list()
        return sum(one == self.unknown for one in first)


def blend(
    runs: Sequence[Path | str],
    *,
    out: Path | str | None = None,
    by: By = "score",
    weights: Sequence[float] | None = None,
    k: int = 5,
    force: bool = False,
) -> Blended:
    """One answer to the new photos from several finished runs, of any recipes, sizes and seeds.

    Args:
        runs: Folders of runs that tell individuals, trained on the same photos with the same new ones.
        out: The CSV to write, in the contest's form; None writes none.
        by: ``score``: the mean of the scores, each run's on its own scale; ``rank``: the mean place; ``vote``: the
            first places are worth 1, 1/2, 1/3 ...
        weights: One a run; None: all alike.
        k: Places an answer.
        force: Whether an existing ``out`` may be written over.

    Raises:
        RunError: There are fewer than two runs, one is not finished or tells no individuals, they are of other photos,
            or ``out`` exists.
        FieldmarkError: Weights do not fit, ``by`` is no such way, or nothing can tell the threshold, as the runs were
            judged by different photos.
    """
    sensible(k)
    if by not in {"score", "rank", "vote"}:
        raise FieldmarkError("Runs are not blended that way.", got=by, fix="use --by score, rank or vote.")
    if weights is not None and (len(weights) != len(runs) or min(weights) <= 0):
        raise FieldmarkError(
            "Every run needs its weight, above 0.",
            got=f"{len(runs)} run(s), weights {', '.join(f'{one:g}' for one in weights)}",
            fix="give one --weight for each run, in their order.",
        )
    file = vacant(out, force=force)
    opened = [run_of(run, "individuals") for run in runs]
    from fieldmark.core.files import write_text
    from fieldmark.decide.specs import ByRank, ByScore, ByVote
    from fieldmark.stages.answer import submission
    from fieldmark.stages.blend import blend_runs

    rules = {"score": ByScore(), "rank": ByRank(), "vote": ByVote()}
    answers, decision = blend_runs([one.run.path for one in opened], by=rules[by], weights=weights, k=k)
    if file is not None:
        write_text(file, submission(answers, images=answers["image"].unique(maintain_order=True).to_list()))
    return Blended(answers, opened[0].known.vocabulary.unknown, decision)

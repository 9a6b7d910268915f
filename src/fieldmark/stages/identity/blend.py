"""The verb *blend*: several rankings to one, within a plan or from finished runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import polars as pl
from jaxtyping import Float32
from pydantic import Field

from fieldmark.core.errors import DataError, FieldmarkError, PlanError, several
from fieldmark.core.files import read_json, write_json
from fieldmark.core.spec import Count, Positive, Spec
from fieldmark.decisions.blending import Scale, blend
from fieldmark.decisions.ranking import UnknownScore
from fieldmark.decisions.specs import BlendRule, ByScore, ByVote, Calibration, Logistic, MaxMap, PerGroup, UnknownAt
from fieldmark.stages.apart import apart
from fieldmark.stages.common.split import judged_classes, read_folds
from fieldmark.stages.identity.rank import said
from fieldmark.stages.identity.ranking import SCORES, Decision, new_scores_of, write_ranked
from fieldmark.stages.job import Job

SCALES = "scales.json"


class Blend(Spec):
    """Blend the scores of several ranking stages of one plan, and decide anew.

    Attributes:
        reads_from: Ranking stages of the same split.
        on: Their split stage.
        by: By score (each model on its own scale), by place, or by vote.
        weights: Of each stage, in their order; empty: all alike.
        unknown: How the threshold is found on the validation photos; places and votes put "nobody we know" at 0.
        k: How many answers a photo gets.
        per_group: Thresholds for each group of photos; None: one for all.
        sure: How scores become probabilities; None: they do not.
    """

    verb: Literal["blend"] = "blend"
    name: str
    reads_from: Annotated[tuple[str, ...], Field(min_length=2)]
    on: str
    by: BlendRule = ByScore()
    weights: tuple[Positive, ...] = ()
    unknown: UnknownAt = MaxMap()
    k: Count = 5
    per_group: PerGroup | None = None
    sure: Calibration | None = Logistic()

    def reads(self) -> tuple[str, ...]:
        """The ranking stages and the split."""
        return (*self.reads_from, self.on)

    def run(self, job: Job, folder: Path) -> str:
        """Write what a rank stage writes, and the scale of each model."""
        rows = np.flatnonzero(read_folds(job, self.on) >= 0)
        places = [job.run.stage(name) for name in self.reads_from]
        scores = [np.load(place / SCORES, allow_pickle=False) for place in places]
        if any(len(one) != len(rows) for one in scores):
            raise PlanError(
                f"{self.name}: the rankings are of other validation photos.",
                got=", ".join(f"{name}: {len(one)}" for name, one in zip(self.reads_from, scores, strict=True)),
                fix=f"blend stages whose split is '{self.on}' ({len(rows)} photos).",
            )
        depth = self.by.depth if isinstance(self.by, ByScore) else 20
        scales = [Scale.of(one, depth=depth) for one in scores]
        write_json(folder / SCALES, [scale.model_dump(mode="json") for scale in scales])
        decisions = [Decision.read(place) for place in places]
        judges = job.known.take(rows)
        mixed = self.mixed(scores, [one.at(judges) for one in decisions], scales)
        new_scores = None
        if job.new is not None and len(job.new):
            of_new = [one for place in places if (one := new_scores_of(place, job)) is not None]
            new_scores = self.mixed(of_new, [one.at(job.new) for one in decisions], scales)
        decision = write_ranked(
            folder,
            job,
            by=self.name,
            rows=rows,
            truth=judged_classes(job, self.on)[rows],
            scores=mixed,
            new_scores=new_scores,
            unknown=self.unknown,
            k=self.k,
            per_group=self.per_group,
            sure=self.sure,
        )
        return f"{len(scores)} rankings by {self.by.kind}; {said(decision)}"

    def apart(self, job: Job, *, k: int) -> Float32[np.ndarray, "photo identity"]:
        """Scores of all new photos by networks ``k``, against photos that do not judge; scales are those of all."""
        scores = [apart(job, name, k=k) for name in self.reads_from]
        at = [0.0 if job.new is None else Decision.read(job.run.stage(name)).at(job.new) for name in self.reads_from]
        return self.mixed(scores, at, self.scales(job.run.stage(self.name)))

    def mixed(
        self,
        scores: Sequence[Float32[np.ndarray, "photo identity"]],
        unknown_at: Sequence[UnknownScore],
        scales: Sequence[Scale],
    ) -> Float32[np.ndarray, "photo identity"]:
        """The blended scores of any photos."""
        return blend(scores, by=self.by, weights=self.weights or None, unknown_at=unknown_at, scales=scales)

    @staticmethod
    def scales(place: Path) -> list[Scale]:
        """The scales that a finished stage found."""
        return [Scale.model_validate(one) for one in read_json(place / SCALES)]


def blend_submissions(
    paths: Sequence[Path], *, by: ByVote | None = None, weights: Sequence[float] | None = None
) -> pl.DataFrame:
    """One submission from several: a vote on names, "nobody we know" being a name like all others.

    For answers whose scores are gone, or made by others. Equal sums go to the name that an earlier file gives, and that
    stands there first.

    Args:
        paths: CSV files ``Image,Id`` of the same photos, names separated by blanks, best first.
        by: What each place is worth; names beyond those places are not counted.
        weights: One a file; None: all alike.

    Returns:
        ``Image`` and ``Id``, photos in the order of the first file, as many names as a place is worth something.

    Raises:
        DataError: A file lacks a column or a photo, or has a photo twice.
        FieldmarkError: There is no file, or not one weight above 0 for each.

    Source:
        Positional votes: Humpback 2018/19, 24th place.
    """
    by, weights = by or ByVote(), list(weights or [1.0] * len(paths))
    if not paths or len(weights) != len(paths) or min(weights) <= 0:
        raise FieldmarkError(
            "blend_submissions() needs files, and one weight above 0 for each.",
            got=f"{len(paths)} file(s), weights {weights}",
            fix="pass at least one path and as many weights.",
        )
    ballots = [_ballots(path) for path in paths]
    mistakes = [
        f"{path}: {len(set(ballots[0]) ^ set(one))} photo(s) differ from {paths[0]}"
        for path, one in zip(paths, ballots, strict=True)
        if set(one) != set(ballots[0])
    ]
    if mistakes:
        raise DataError(
            "The submissions are of different photos.", got=several(mistakes), fix="blend answers to the same photos."
        )
    rows = []
    for image in ballots[0]:
        given: dict[str, float] = {}
        for one, weight in zip(ballots, weights, strict=True):
            for name, worth in zip(one[image], by.worth, strict=False):
                given[name] = given.get(name, 0.0) + weight * worth
        rows.append((image, " ".join(sorted(given, key=lambda name, of=given: -of[name])[: len(by.worth)])))
    return pl.DataFrame(rows, schema={"Image": pl.String, "Id": pl.String}, orient="row")


def _ballots(path: Path) -> dict[str, list[str]]:
    try:
        table = pl.read_csv(path, infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{path} cannot be read.", got=error, fix="give a CSV file with columns Image,Id.") from error
    if not {"Image", "Id"} <= set(table.columns) or table["Image"].n_unique() < len(table):
        raise DataError(
            f"{path} is no submission.",
            got=f"columns {', '.join(table.columns)}; {len(table)} rows, {table[table.columns[0]].n_unique()} photos",
            fix="give a CSV file with columns Image,Id and one row a photo.",
        )
    return {str(image): str(names or "").split() for image, names in table.select("Image", "Id").iter_rows()}


def blend_runs(
    folders: Sequence[Path],
    *,
    by: BlendRule | None = None,
    weights: Sequence[float] | None = None,
    unknown: UnknownAt | None = None,
    k: int = 5,
) -> tuple[pl.DataFrame, Decision]:
    """Blend what finished runs say of the same new photos: their last ranking stages, each on its own scale.

    The runs may be of different recipes, sizes and seeds. Where they were judged by the same validation photos, the
    threshold is found on those; elsewhere it must not look at truth.

    Args:
        folders: Run folders, two or more, of the same known and new photos.
        by: By score, place or vote.
        weights: One a run; None: all alike.
        unknown: The rule of the threshold; None: the best MAP@k where validation is the same, else, for places and
            votes, the vote itself.
        k: Answers a photo.

    Returns:
        The ranking table of the new photos, and the decision.

    Raises:
        RunError: A run is not finished, or they are of other photos.
        FieldmarkError: The rule needs truth and validation differs, or weights do not fit.
    """
    from fieldmark.tasks.identification.blending_runs import blended

    return blended(folders, by=by or ByScore(), weights=weights, unknown=unknown, k=k)

"""Ensembles of the rankings of finished runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from fieldmark.core.errors import FieldmarkError, RunError
from fieldmark.decisions.confidence import confidence_model
from fieldmark.decisions.ranking_averages import ScoreScale, average_rankings
from fieldmark.decisions.specs import ByScore, Fixed, MaxMap, RankingAverage, TargetShare, UnknownAt
from fieldmark.decisions.unknown_thresholds import fit_unknown_threshold
from fieldmark.pipeline.artifacts.ranking import Decision, RankedPhotos, Ranking, ranking_table
from fieldmark.pipeline.context import Context


def ensemble_runs(
    folders: Sequence[Path],
    *,
    by: RankingAverage | None = None,
    weights: Sequence[float] | None = None,
    unknown: UnknownAt | None = None,
    k: int = 5,
) -> tuple[pl.DataFrame, Decision]:
    """Average the last rankings of finished runs for the same new photos. Each ranking keeps its own score scale.

    The runs may use different recipes, sizes and seeds. If they have the same validation photos, the threshold is
    found on these photos. Otherwise the rule of the threshold must not need ground truth.

    Args:
        folders: Two or more run folders with the same known and new photos.
        by: How to average: by score, by place or by vote.
        weights: One weight per run; None for equal weights.
        unknown: Rule of the threshold. None for the best MAP@k if the validation photos are the same; otherwise, with
            places and votes, "unknown" is ranked by its own average.
        k: Number of candidates per photo.

    Returns:
        The ranking table of the new photos, and the decision.

    Raises:
        RunError: A run is not finished, or the runs have different photos.
        FieldmarkError: The rule needs ground truth and the validation photos differ, or the number of weights is wrong.
    """
    by = by or ByScore()
    runs = [Context.open(folder) for folder in folders]
    check_same(runs)
    first = runs[0]
    if first.new is None or not len(first.new):
        raise RunError("The runs have no new photos.", got=first.run.path, fix="train with --new PHOTOS.")
    rankings = [one.artifact(Ranking, one.plan.final().name) for one in runs]
    decisions, scores = [one.decision for one in rankings], [one.scores for one in rankings]
    of_new: list[RankedPhotos] = [ranking.kept(one) for one, ranking in zip(runs, rankings, strict=True)]
    scales = [ScoreScale.of(one, depth=by.depth if isinstance(by, ByScore) else 20) for one in scores]
    averaged = average_rankings(
        [one.scores for one in of_new],
        by=by,
        weights=weights,
        unknown_at=[one.at(first.new) for one in decisions],
        scales=scales,
    )
    folds = [one.folds(one.plan.final()) for one in runs]
    rows = [one.rows for one in folds]
    confidence = None
    if all(np.array_equal(rows[0], other) for other in rows[1:]):
        validation_photos = first.known.take(rows[0])
        truth = folds[0].classes(first.known)[rows[0]]
        at = [one.at(validation_photos) for one in decisions]
        validation = average_rankings(scores, by=by, weights=weights, unknown_at=at, scales=scales)
        threshold = fit_unknown_threshold(unknown or MaxMap(), validation, truth, k=k)
        confidence = confidence_model(validation, truth)
    else:
        rule = unknown or (None if isinstance(by, ByScore) else Fixed(at=0.0))
        if not isinstance(rule, TargetShare | Fixed):
            raise FieldmarkError(
                "The runs have different validation photos, so no threshold can be found for their ensemble.",
                got=", ".join(f"{one.run.path.name}: {len(own)} photos" for one, own in zip(runs, rows, strict=True)),
                fix="use --by vote, or train the runs with the same --seed and split "
                "(reidentify: --set validation=humpback, as the humpback recipes).",
            )
        threshold = fit_unknown_threshold(rule, averaged, k=k)
    decision = Decision(threshold, confidence_model=confidence)
    vocabulary = first.known.vocabulary
    table = ranking_table(
        "new", first.new.images, averaged, threshold.at, k, vocabulary, confidence=decision.confidence(averaged)
    )
    return table, decision


def check_same(runs: Sequence[Context]) -> None:
    """Check that there are at least two runs, and that all have the same photos as the first.

    Raises:
        RunError: There are fewer than two runs, or the photos differ.
    """
    if len(runs) < 2:
        raise RunError(
            "An ensemble needs at least two runs.", got=f"{len(runs)} folder(s)", fix="pass two run folders or more."
        )
    differ = [
        f"{one.run.path}: other {what} photos"
        for one in runs[1:]
        for what in ("known", "new")
        if one.run.key.get("data" if what == "known" else "new")
        != runs[0].run.key.get("data" if what == "known" else "new")
    ]
    if differ:
        raise RunError(
            "The runs have different photos and cannot be combined.",
            got="\n".join(differ),
            fix=f"use only runs with the same photos as {runs[0].run.path}.",
        )

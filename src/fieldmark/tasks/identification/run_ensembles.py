"""Blending the rankings of finished runs."""

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
    """Blend what finished runs say of the same new photos: their last ranking stages, each on its own scale.

    The runs may be of different recipes, sizes and seeds. Where they were judged by the same validation photos, the
    threshold is found on those; elsewhere it must not look at truth.

    Args:
        folders: Run folders, two or more, of the same known and new photos.
        by: By score, place or vote.
        weights: One a run; None: all similar.
        unknown: The rule of the threshold; None: the best MAP@k where validation is the same, else, for places and
            votes, the vote itself.
        k: Answers a photo.

    Returns:
        The ranking table of the new photos, and the decision.

    Raises:
        RunError: A run is not finished, or they are of other photos.
        FieldmarkError: The rule needs truth and validation differs, or weights do not fit.
    """
    by = by or ByScore()
    runs = [Context.open(folder) for folder in folders]
    check_same(runs)
    first = runs[0]
    if first.new is None or not len(first.new):
        raise RunError("These runs answered no new photos.", got=first.run.path, fix="train with --new.")
    rankings = [one.artifact(Ranking, one.plan.final().name) for one in runs]
    decisions, scores = [one.decision for one in rankings], [one.scores for one in rankings]
    of_new: list[RankedPhotos] = [ranking.kept(one) for one, ranking in zip(runs, rankings, strict=True)]
    scales = [ScoreScale.of(one, depth=by.depth if isinstance(by, ByScore) else 20) for one in scores]
    mixed = average_rankings(
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
        judges = first.known.take(rows[0])
        truth = folds[0].classes(first.known)[rows[0]]
        at = [one.at(judges) for one in decisions]
        validation = average_rankings(scores, by=by, weights=weights, unknown_at=at, scales=scales)
        threshold = fit_unknown_threshold(unknown or MaxMap(), validation, truth, k=k)
        confidence = confidence_model(validation, truth)
    else:
        rule = unknown or (None if isinstance(by, ByScore) else Fixed(at=0.0))
        if not isinstance(rule, TargetShare | Fixed):
            raise FieldmarkError(
                "These runs were judged by different validation photos, so none can judge their blend.",
                got=", ".join(f"{one.run.path.name}: {len(own)} photos" for one, own in zip(runs, rows, strict=True)),
                fix="blend with --by vote, or train them with one --seed and one way to split "
                "(reidentify: --set validation=humpback, as the whales' recipes).",
            )
        threshold = fit_unknown_threshold(rule, mixed, k=k)
    decision = Decision(threshold, confidence_model=confidence)
    vocabulary = first.known.vocabulary
    table = ranking_table(
        "new", first.new.images, mixed, threshold.at, k, vocabulary, confidence=decision.confidence(mixed)
    )
    return table, decision


def check_same(runs: Sequence[Context]) -> None:
    """Refuse fewer than two runs, and runs of other photos than the first's.

    Raises:
        RunError: Those it has.
    """
    if len(runs) < 2:
        raise RunError("One run is no blend.", got=f"{len(runs)} folder(s)", fix="give two run folders or more.")
    differ = [
        f"{one.run.path}: other {what} photos"
        for one in runs[1:]
        for what in ("known", "new")
        if one.run.key.get("data" if what == "known" else "new")
        != runs[0].run.key.get("data" if what == "known" else "new")
    ]
    if differ:
        raise RunError(
            "The runs cannot be blended.",
            got="\n".join(differ),
            fix=f"blend runs of the same photos as {runs[0].run.path}.",
        )

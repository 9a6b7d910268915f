"""Blending the rankings of finished runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from fieldmark.core.errors import FieldmarkError, RunError
from fieldmark.decisions.blending import Scale, blend
from fieldmark.decisions.calibrated import sureness
from fieldmark.decisions.specs import BlendRule, ByScore, Fixed, MaxMap, TargetShare, UnknownAt
from fieldmark.decisions.thresholds import find
from fieldmark.stages.engine import Opened, open_run
from fieldmark.stages.plan import ranking_stage
from fieldmark.stages.ranked import SCORES, Decision, new_scores_of, ranking_table
from fieldmark.stages.split import FOLDS, judged_classes


def blended(
    folders: Sequence[Path], *, by: BlendRule, weights: Sequence[float] | None, unknown: UnknownAt | None, k: int
) -> tuple[pl.DataFrame, Decision]:
    """See ``fieldmark.stages.blend.blend_runs``."""
    runs = [open_run(folder) for folder in folders]
    check_same(runs)
    first = runs[0]
    if first.new is None or not len(first.new):
        raise RunError("These runs answered no new photos.", got=first.run.path, fix="train with --new.")
    places = [one.run.stage(ranking_stage(one.plan).name) for one in runs]
    decisions = [Decision.read(place) for place in places]
    scores = [np.load(place / SCORES, allow_pickle=False) for place in places]
    of_new = [
        found for one, place in zip(runs, places, strict=True) if (found := new_scores_of(place, one.job())) is not None
    ]
    scales = [Scale.of(one, depth=by.depth if isinstance(by, ByScore) else 20) for one in scores]
    mixed = blend(of_new, by=by, weights=weights, unknown_at=[one.at(first.new) for one in decisions], scales=scales)
    rows = [_judges(one) for one in runs]
    sure = None
    if all(np.array_equal(rows[0], other) for other in rows[1:]):
        judges = first.known.take(rows[0])
        truth = judged_classes(first.job(), ranking_stage(first.plan).on)[rows[0]]
        at = [one.at(judges) for one in decisions]
        validation = blend(scores, by=by, weights=weights, unknown_at=at, scales=scales)
        threshold = find(unknown or MaxMap(), validation, truth, k=k)
        sure = sureness(validation, truth)
    else:
        rule = unknown or (None if isinstance(by, ByScore) else Fixed(at=0.0))
        if not isinstance(rule, TargetShare | Fixed):
            raise FieldmarkError(
                "These runs were judged by different validation photos, so none can judge their blend.",
                got=", ".join(f"{one.run.path.name}: {len(own)} photos" for one, own in zip(runs, rows, strict=True)),
                fix="blend with --by vote, or train them with one --seed and one way to split "
                "(reidentify: --set validation=humpback, as the whales' recipes).",
            )
        threshold = find(rule, mixed, k=k)
    decision = Decision(threshold, sureness=sure)
    vocabulary = first.known.vocabulary
    table = ranking_table("new", first.new.images, mixed, threshold.at, k, vocabulary, sure=decision.sure(mixed))
    return table, decision


def _judges(opened: Opened) -> np.ndarray:
    """The known photos that judged a run."""
    fold = np.load(opened.run.stage(ranking_stage(opened.plan).on) / FOLDS, allow_pickle=False)
    return np.flatnonzero(fold >= 0)


def check_same(runs: Sequence[Opened]) -> None:
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

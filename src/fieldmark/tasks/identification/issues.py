"""Photos of a run's table that perhaps show another individual than their label says, by matching keypoints."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fieldmark.core.errors import PlanError
from fieldmark.data.collection import Collection
from fieldmark.data.vocabulary import UNKNOWN
from fieldmark.pipeline.application import Application
from fieldmark.pipeline.artifacts.keypoints import KeypointRanking, ShortlistMatches, agreeing, keypoint_pairs
from fieldmark.pipeline.artifacts.ranking import RankedPhotos
from fieldmark.pipeline.context import Context
from fieldmark.pipeline.stage import Stage
from fieldmark.tasks.issues import LabelIssue


def identity_issues(
    context: Context,
    *,
    most: int = 200,
) -> list[LabelIssue]:
    """The photos of a run's table that perhaps show an individual of another name there, the likeliest first.

    Photos that judged the run are told by networks that have not seen them, and by weights learnt from others. Of
    those that taught, unknown individuals are compared here: their networks may have learnt that they are nobody, so what
    speaks for a name is mainly points, which learn nothing. Photos with a name that taught are not doubted.

    Args:
        context: A finished run whose last ranking matches points.
        most: How many.

    Raises:
        PlanError: The run matches no points.
        RunError: A stage is not finished.
    """
    final = _matching(context)
    if final is None:
        raise PlanError(
            "Names are doubted by keypoints, which this run does not match.",
            got=f"{context.run.path}: no recheck stage ranks last",
            fix="train with --set keypoints=xfeat (--reuse this run), or blend runs with --run and --points.",
        )
    found, known = validation_issues(context), context.known
    fold = context.folds(final).fold
    others = np.flatnonzero((fold < 0) & (known.classes == UNKNOWN) & known.present)
    if len(others):
        context = context.with_regions()
        unknown = context.known.take(others)
        ranked: RankedPhotos = Application(context.up_to(final.name), unknown).value(final.name)
        if isinstance(ranked.keypoints, ShortlistMatches):
            table = keypoint_pairs("known", unknown, ranked.keypoints, known)
            found += _named_otherwise(known, others, ranked.scores, agreeing(table))
    return sorted(found, key=lambda one: -one.label_error_proba)[:most]


def validation_issues(context: Context) -> list[LabelIssue]:
    """The issues of photos that validated a run, the likeliest first; none where it matches no keypoints.

    Raises:
        RunError: A stage is not finished.
    """
    final = _matching(context)
    if final is None:
        return []
    ranking = context.artifact(KeypointRanking, final.name)
    found = _named_otherwise(
        context.known, context.folds(final).rows, ranking.scores, agreeing(ranking.matches("validation"))
    )
    return sorted(found, key=lambda one: -one.label_error_proba)


def _matching(context: Context) -> Stage | None:
    """The stage whose keypoints have the last word on single photos."""
    final = context.plan.answering()
    return final if issubclass(final.output, KeypointRanking) else None


def _named_otherwise(
    known: Collection, rows: np.ndarray, scores: np.ndarray, beside: Mapping[tuple[str, str], str]
) -> list[LabelIssue]:
    """For each photo the likeliest name that it does not have and that some point speaks for."""
    images, names = known.images, known.vocabulary.identities
    column = {name: number for number, name in enumerate(names)}
    rivals: dict[str, list[str]] = {}
    for image, name in beside:
        rivals.setdefault(image, []).append(name)
    found = []
    for row, score in zip(rows.tolist(), scores, strict=True):
        given = known.classes[row]
        others = [name for name in rivals.get(images[row], []) if column[name] != given]
        if not others:
            continue
        name = max(others, key=lambda one: score[column[one]])
        proba = float(score[column[name]])
        kind = "two names" if given >= 0 else "stranger"
        found.append(LabelIssue(images[row], name, kind, proba, proba, beside[images[row], name]))
    return found

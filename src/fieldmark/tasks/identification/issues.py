"""Identity issues: photos that may show another individual than the table says, found by matching keypoints."""

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
    """Return the photos of a run's table that may show another individual than the table says, most probable first.

    Validation photos are scored by networks that were not trained on them, with fusion weights from other photos. Of
    the training photos, only those of unknown individuals are compared. Their networks were trained
    to treat these individuals as unknown, so the evidence for a name is mainly keypoint matches, which need no
    training on these photos. Training photos with a name are not checked.

    Args:
        context: A finished run whose last ranking stage matches keypoints.
        most: Maximum number of issues.

    Raises:
        PlanError: The run does not match keypoints.
        RunError: A stage is not finished.
    """
    final = _matching(context)
    if final is None:
        raise PlanError(
            "Identity issues need a run that matches keypoints.",
            got=f"{context.run.path}: the last ranking stage is not a rerank_keypoints stage",
            fix="train with --set keypoints=xfeat (--reuse this run), or use `fieldmark ensemble --run --points`.",
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
    """Return the issues of validation photos, most probable first; an empty list if the run matches no keypoints.

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
    """Return the last ranking stage if it matches keypoints, else None."""
    final = context.plan.answering()
    return final if issubclass(final.output, KeypointRanking) else None


def _named_otherwise(
    known: Collection, rows: np.ndarray, scores: np.ndarray, beside: Mapping[tuple[str, str], str]
) -> list[LabelIssue]:
    """Return, for each photo, the most probable name with matching keypoints that is not its name in the table."""
    images, names = known.images, known.vocabulary.identities
    column = {name: number for number, name in enumerate(names)}
    matched: dict[str, list[str]] = {}
    for image, name in beside:
        matched.setdefault(image, []).append(name)
    found = []
    for row, score in zip(rows.tolist(), scores, strict=True):
        given = known.classes[row]
        others = [name for name in matched.get(images[row], []) if column[name] != given]
        if not others:
            continue
        name = max(others, key=lambda one: score[column[one]])
        proba = float(score[column[name]])
        kind = "two names" if given >= 0 else "unknown"
        found.append(LabelIssue(images[row], name, kind, proba, proba, beside[images[row], name]))
    return found

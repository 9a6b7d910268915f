"""How good ranked identities are: the numbers of metrics.json, of the report and of `fieldmark evaluate`."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int64

from fieldmark.core.errors import FieldmarkError
from fieldmark.decisions.confidence import Confidence
from fieldmark.decisions.grouped import Names, crossed
from fieldmark.decisions.ranking import UnknownScore, rank
from fieldmark.decisions.specs import FalseMatchBudget, PerGroup, UnknownAt
from fieldmark.metrics.calibration import calibration_error
from fieldmark.metrics.measure import Measure, Units
from fieldmark.metrics.open_set import roc_auc
from fieldmark.metrics.ranking import average_precision


def measure(
    scores: Float[np.ndarray, "query identity"],
    truth: Int64[np.ndarray, " query"],
    *,
    unknown_at: UnknownScore,
    k: int = 5,
    groups: Int64[np.ndarray, " query"] | None = None,
) -> tuple[Measure, ...]:
    """All numbers for photos whose identity is known to us (-1: an unknown individual).

    Measures of unknown individuals are left out where there are none, and likewise for the known.

    Args:
        scores: Of each identity; larger is likelier.
        truth: Class of each photo, -1 for unknown individuals.
        unknown_at: The threshold of "nobody we know", one for all or one each.
        k: Places an answer.
        groups: A number that photos of one group share; intervals resample groups. None: photos.
    """
    of = Units.of(groups, len(truth))
    answers = rank(scores, unknown_at=unknown_at, k=k)
    named = rank(scores, unknown_at=None, k=k)
    known = truth >= 0
    first, best = answers[:, 0], scores.max(axis=1)
    rows = [
        of.mean(
            f"MAP@{k}",
            average_precision(answers, truth, k=k),
            "unknown individuals included; 1 if the right answer is always first",
        )
    ]
    if known.any():
        some, right, of_known = named[known], truth[known], of.at(known)
        rows += [
            of_known.share(
                "top-1 of known",
                some[:, 0] == right,
                "share of known individuals whose right name is the first name",
            ),
            of_known.share(
                f"top-{k} of known",
                (some == right[:, None]).any(axis=1),
                f"share of known individuals whose right name is among the first {k} names",
            ),
            of_known.mean(
                f"MAP@{k} of known", average_precision(some, right, k=k), "known individuals only, nobody called new"
            ),
            of_known.share("turned away", first[known] == -1, "share of known individuals called new"),
        ]
    if known.any() and not known.all():
        rows.append(
            of.function(
                "AUC known/new",
                lambda at: roc_auc(best[at], known[at]),
                known,
                "chance that a known one scores above an unknown individual",
            )
        )
    if not known.all():
        rows.append(
            of.at(~known).share(
                "false matches", first[~known] != -1, "share of unknown individuals given somebody's name"
            )
        )
    named_first = first >= 0
    if named_first.any():
        wrong = first[named_first] != truth[named_first]
        rows.append(of.at(named_first).share("wrong names", wrong, "share of the given first names that are wrong"))
    return tuple(rows)


BUDGETS = (0.01, 0.05)
"""False-match budgets whose price is always told."""


def measure_decision(
    scores: Float[np.ndarray, "query identity"],
    truth: Int64[np.ndarray, " query"],
    *,
    unknown: UnknownAt,
    confidence: Confidence | None = None,
    groups: Int64[np.ndarray, " query"] | None = None,
    names: Names | None = None,
    per_group: PerGroup | None = None,
    k: int = 5,
) -> tuple[Measure, ...]:
    """What to expect of the decision with other photos: each photo is judged by a threshold found without it.

    Args:
        scores: Of each identity; larger is likelier.
        truth: Class of each photo, -1 for unknown individuals.
        unknown: The rule of the threshold.
        sure: How sure the answers were, by curves that have not seen the photo.
        groups: Photos of one number are left out together, and resampled together for intervals.
        names: The group of each photo, for thresholds a group.
        per_group: How groups are made.
        k: Places an answer.
    """
    known, rows, of = truth >= 0, [], Units.of(groups, len(truth))
    if known.all() or not known.any():
        return ()

    def thresholds(rule: UnknownAt) -> np.ndarray | None:
        try:
            at = crossed(rule, scores, truth, names=names, per=per_group, groups=groups, k=k)
        except FieldmarkError:  # too few photos to find one on a part of them: nothing is told
            return None
        return None if np.isnan(at).any() else at

    at = thresholds(unknown)
    if at is not None:
        answers = rank(scores, unknown_at=at, k=k)
        meaning = "each photo judged by a threshold found without it"
        rows += [
            of.mean(f"MAP@{k}, crossed", average_precision(answers, truth, k=k), meaning),
            of.at(~known).share("false matches, crossed", answers[~known, 0] != -1, meaning),
            of.at(known).share("turned away, crossed", answers[known, 0] == -1, meaning),
        ]
    for budget in BUDGETS:
        at = thresholds(FalseMatchBudget(budget=budget))
        if at is not None:
            first = rank(scores, unknown_at=at, k=1)[:, 0]
            rule = f"a threshold that kept {budget:.0%} on other photos"
            rows += [
                of.at(~known).share(f"false matches at {budget:.0%}", first[~known] != -1, f"observed with {rule}"),
                of.at(known).share(
                    f"found at {budget:.0%}", first[known] == truth[known], f"known ones rightly named with {rule}"
                ),
            ]
    if confidence is not None:
        right = rank(scores, unknown_at=None, k=1)[:, 0] == truth
        rows += _honesty(of, "known", confidence.known, known) + _honesty(of, "right", confidence.right, right & known)
    return tuple(rows)


def _honesty(of: Units, what: str, proba: np.ndarray, happened: np.ndarray) -> list[Measure]:
    """How far probabilities and shares lie apart, and whether the likelier ones happened."""
    told = ~np.isnan(proba)
    proba, happened, of = proba[told], happened[told], of.at(told)
    if not len(proba) or happened.all() or not happened.any():
        return []
    return [
        of.function(
            f"calibration error, {what}",
            lambda at: calibration_error(proba[at], happened[at], n_bins=10, bins="mass"),
            happened,
            f"how far the probability of being {what} and the true share lie apart, in ten groups of answers",
        ),
        of.function(
            f"AUC of {what}",
            lambda at: roc_auc(proba[at], happened[at]),
            happened,
            f"chance that the probability of being {what} is higher where it is so",
        ),
    ]

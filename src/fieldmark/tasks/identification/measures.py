"""Measures of ranked identities, as in metrics.json, the report and `fieldmark evaluate`."""

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
    """Return the measures of a ranking and its threshold.

    Measures of known individuals are left out if ``truth`` has no known individuals, and likewise for unknown ones.

    Args:
        scores: Score of each identity; a larger score is more probable.
        truth: Class of each photo, -1 for unknown individuals.
        unknown_at: Threshold of the answer "unknown": one number, or one per photo.
        k: Number of candidates per photo.
        groups: Group number of each photo; intervals resample groups. None to resample photos.

    Returns:
        MAP@k; for known individuals top-1, top-k, MAP@k, FNIR (false-negative identification rate) and the false
        rejection rate; for unknown individuals FPIR (false-positive identification rate); AUC; and the false discovery
        rate of the given names.
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
            "mean average precision with unknown individuals; 1 if the right answer is always first",
        )
    ]
    if known.any():
        some, right, of_known = named[known], truth[known], of.at(known)
        rows += [
            of_known.share(
                "top-1 of known",
                some[:, 0] == right,
                "share of known individuals whose right name comes first",
            ),
            of_known.share(
                f"top-{k} of known",
                (some == right[:, None]).any(axis=1),
                f"share of known individuals whose right name is among the first {k} names",
            ),
            of_known.mean(
                f"MAP@{k} of known",
                average_precision(some, right, k=k),
                "mean average precision for known individuals, without the answer “unknown”",
            ),
            of_known.share(
                FNIR,
                first[known] != right,
                "share of known individuals whose first answer is not their name: “unknown” or another name",
            ),
            of_known.share(FALSE_REJECTION, first[known] == -1, "share of known individuals answered as unknown"),
        ]
    if known.any() and not known.all():
        rows.append(
            of.function(
                "AUC known/new",
                lambda at: roc_auc(best[at], known[at]),
                known,
                "probability that a known individual scores higher than an unknown one; 0.5 is chance",
            )
        )
    if not known.all():
        rows.append(of.at(~known).share(FPIR, first[~known] != -1, "share of unknown individuals answered with a name"))
    named_first = first >= 0
    if named_first.any():
        wrong = first[named_first] != truth[named_first]
        meaning = "share of photos with a wrong name, among photos answered with a name"
        rows.append(of.at(named_first).share("false discovery rate", wrong, meaning))
    return tuple(rows)


FNIR, FPIR, FALSE_REJECTION = "FNIR", "FPIR", "false rejection rate"
"""Names of the false-negative and the false-positive identification rate, and of the part of FNIR that is “unknown”."""

FPIR_TARGETS = (0.01, 0.05)
"""Values of FPIR at which TPIR (true-positive identification rate) is always measured."""


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
    """Return cross-fitted measures of a decision: no photo is decided by a threshold that was found on it.

    These are the values to expect on other photos.

    Args:
        scores: Score of each identity; a larger score is more probable.
        truth: Class of each photo, -1 for unknown individuals.
        unknown: Rule that finds the threshold.
        confidence: Cross-fitted probabilities of the answers; None to leave their measures out.
        groups: Group number of each photo. Photos of a group are left out together and resampled together.
        names: Group name of each photo, for thresholds per group.
        per_group: Settings of thresholds per group.
        k: Number of candidates per photo.
    """
    known, rows, of = truth >= 0, [], Units.of(groups, len(truth))
    if known.all() or not known.any():
        return ()

    def thresholds(rule: UnknownAt) -> np.ndarray | None:
        try:
            at = crossed(rule, scores, truth, names=names, per=per_group, groups=groups, k=k)
        except FieldmarkError:  # too few photos to find a threshold on a part of them: no measure
            return None
        return None if np.isnan(at).any() else at

    at = thresholds(unknown)
    if at is not None:
        answers = rank(scores, unknown_at=at, k=k)
        meaning = "the threshold for each photo was found on other photos"
        rows += [
            of.mean(f"MAP@{k}, cross-fitted", average_precision(answers, truth, k=k), meaning),
            of.at(~known).share(f"{FPIR}, cross-fitted", answers[~known, 0] != -1, meaning),
            of.at(known).share(f"{FNIR}, cross-fitted", answers[known, 0] != truth[known], meaning),
            of.at(known).share(f"{FALSE_REJECTION}, cross-fitted", answers[known, 0] == -1, meaning),
        ]
    for target in FPIR_TARGETS:
        at = thresholds(FalseMatchBudget(budget=target))
        if at is not None:
            first, percentage = rank(scores, unknown_at=at, k=1)[:, 0], f"{100 * target:.0f} %"
            rule = f"at a threshold that gave FPIR = {percentage} on other photos"
            rows += [
                of.at(~known).share(f"FPIR, target {percentage}", first[~known] != -1, f"measured FPIR {rule}"),
                of.at(known).share(
                    f"TPIR at FPIR = {percentage}",
                    first[known] == truth[known],
                    f"share of known individuals answered with the right name, {rule}",
                ),
            ]
    if confidence is not None:
        right = rank(scores, unknown_at=None, k=1)[:, 0] == truth
        rows += _calibration(of, "known", confidence.known, known)
        rows += _calibration(of, "right", confidence.right, right & known)
    return tuple(rows)


def _calibration(of: Units, what: str, proba: np.ndarray, happened: np.ndarray) -> list[Measure]:
    """Return the calibration error and the AUC of predicted probabilities."""
    finite = ~np.isnan(proba)
    proba, happened, of = proba[finite], happened[finite], of.at(finite)
    if not len(proba) or happened.all() or not happened.any():
        return []
    event = {"known": "the individual is known", "right": "the first name is right"}[what]
    return [
        of.function(
            f"calibration error, {what}",
            lambda at: calibration_error(proba[at], happened[at], n_bins=10, bins="mass"),
            happened,
            f"mean difference between the probability that {event} and the true share, in ten bins of equal size",
        ),
        of.function(
            f"AUC of {what}",
            lambda at: roc_auc(proba[at], happened[at]),
            happened,
            f"how well the probability that {event} separates photos where it is true from others; 0.5 is chance",
        ),
    ]

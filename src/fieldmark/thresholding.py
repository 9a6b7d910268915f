"""Thresholds for labels (mean F-beta) and for unknown individuals, fitted on labelled photos.

Scores and truth may be lists, numpy arrays, tensors, or columns. Use out-of-fold scores: those of models that
were not trained on these photos.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from fieldmark.core.arrays import takes_arrays
from fieldmark.core.errors import ShapeError
from fieldmark.core.public import exports, kinds_of, named
from fieldmark.decisions.specs import (
    CountMatch,
    FalseMatchBudget,
    Fixed,
    GlobalF2,
    GroupF2,
    LabelF2,
    MaxMap,
    Preset,
    Relative,
    TargetShare,
    ThresholdRule,
    UnknownAt,
)

if TYPE_CHECKING:
    from fieldmark.decisions.specs import LabelThresholds
    from fieldmark.decisions.unknown_thresholds import ThresholdCurve, UnknownThreshold

__all__ = [
    "LabelThresholds",
    "ThresholdCurve",
    "UnknownThreshold",
    "apply_label_thresholds",
    "cross_fitted_unknown_thresholds",
    "find_label_thresholds",
    "find_unknown_threshold",
    "unknown_threshold_curve",
]
LABEL_RULES = kinds_of(Preset, GlobalF2, GroupF2, LabelF2, Relative, CountMatch)
UNKNOWN_RULES = kinds_of(MaxMap, TargetShare, FalseMatchBudget, Fixed)
LabelRule = Literal["preset", "global_f2", "group_f2", "label_f2", "relative", "count_match"]
UnknownRule = Literal["max_map", "target_share", "false_match_budget", "fixed"]


@takes_arrays
def find_label_thresholds(
    proba: Float[np.ndarray, "photo label"],
    truth: Bool[np.ndarray, "photo label"] | None = None,
    *,
    rule: LabelRule | ThresholdRule = "global_f2",
    names: Sequence[str] | None = None,
    label_groups: Sequence[str] | None = None,
    beta: float = 2.0,
    n_parts: int = 5,
    photo_groups: Int[np.ndarray, " photo"] | None = None,
    seed: int = 0,
    **settings: Any,
) -> LabelThresholds:
    """Find the label thresholds with the highest mean F-beta, and measure their quality.

    Args:
        proba: Probability of each label.
        truth: 1 if the photo has the label, else 0. Not needed for ``preset``, ``relative`` and ``count_match``.
        rule: ``global_f2``: one threshold. ``group_f2``: one per label group, with a minimum and maximum number of
            labels per photo. ``label_f2``: one per label, shrunk towards that of its group if photos are few.
            ``relative``: a share of the highest score of the photo. ``count_match``: by the mean number of labels.
            ``preset``: fixed values. Or a setting of a plan, such as ``GroupF2(limits=False)``.
        names: Name of each label; None: the numbers of the columns.
        label_groups: Group of each label, such as ``culture`` or ``tag``; None: one group.
        beta: Weight of recall: a missing label counts ``beta`` squared times as much as a wrong one.
        n_parts: Number of parts of the cross-fitted estimate ``crossed``; 0: no estimate.
        photo_groups: Group number of each photo; a group is resampled as a whole.
        seed: Random seed of the parts and the interval.
        **settings: Settings of the rule, such as ``times=7`` for ``relative``.

    Returns:
        Thresholds for ``apply_label_thresholds``, with the mean F-beta ``fitted`` (on these photos, too optimistic) and
        ``crossed`` (cross-fitted), each with a 95 % interval.

    Raises:
        ShapeError: The shapes of arrays, names or groups differ.
        PlanError: The rule has no setting of that name, or the value is not valid.
        FieldmarkError: A score is not finite, ``truth`` is missing, or an option is not valid.

    Source:
        iMet Collection 2019, 1st, 6th and 22nd place; Fan and Lin 2007; the exact searches are ours.
    """
    from fieldmark.decisions.label_thresholds import fit_label_thresholds

    return fit_label_thresholds(
        named(LABEL_RULES, rule, settings, what="rule"),
        proba,
        truth,
        names=_names(names, proba),
        groups=_groups(label_groups, proba),
        beta=beta,
        parts=min(n_parts, len(proba)) if len(proba) > 1 else 0,
        photo_groups=photo_groups,
        seed=seed,
    )


@takes_arrays
def apply_label_thresholds(
    thresholds: LabelThresholds,
    proba: Float[np.ndarray, "photo label"],
    *,
    names: Sequence[str] | None = None,
    label_groups: Sequence[str] | None = None,
) -> Bool[np.ndarray, "photo label"]:
    """Apply label thresholds: return whether each photo gets each label.

    Args:
        thresholds: Thresholds from ``find_label_thresholds``.
        proba: Probability of each label.
        names: Names of the labels, as in ``find_label_thresholds``.
        label_groups: Groups of the labels, as in ``find_label_thresholds``.

    Raises:
        ShapeError: The shapes of scores, names or groups differ.
        FieldmarkError: A score is not finite, or the thresholds belong to other labels or groups.
    """
    from fieldmark.decisions.label_thresholds import cut

    return cut(thresholds, proba, names=_names(names, proba), groups=_groups(label_groups, proba))


@takes_arrays
def find_unknown_threshold(
    scores: Float[np.ndarray, "query class"],
    truth: Int[np.ndarray, " query"] | None = None,
    *,
    rule: UnknownRule | UnknownAt = "max_map",
    k: int = 5,
    **settings: Any,
) -> UnknownThreshold:
    """Find the score below which an individual is predicted as unknown, and its error rates.

    Args:
        scores: Score of each known individual; larger is more likely, -inf: never.
        truth: Individual (column) of each query, -1 for unknown. Not needed for ``target_share`` and ``fixed``.
        rule: ``max_map``: highest MAP@k (mean average precision of the first k candidates). ``false_match_budget``: an
            FPIR (share of unknown individuals answered with a name) of at most ``budget``. ``target_share``: the share
            ``share`` of the queries is predicted as unknown. ``fixed``: the value ``at``.
        k: Number of candidates per query.
        **settings: Settings of the rule, such as ``budget=0.01``.

    Returns:
        The threshold ``at`` with its MAP@k and error rates on these queries. They are too optimistic; use
        ``cross_fitted_unknown_thresholds`` for an unbiased estimate.

    Raises:
        ShapeError: The shapes of ``scores`` and ``truth`` differ, or they are empty.
        PlanError: The rule has no setting of that name, or the value is not valid.
        FieldmarkError: ``truth`` is missing, there are no unknown individuals, or too few for the confidence.

    Source:
        Humpback Whale Identification 2018/19, first and second place.
    """
    from fieldmark.decisions.unknown_thresholds import fit_unknown_threshold

    return fit_unknown_threshold(named(UNKNOWN_RULES, rule, settings, what="rule"), scores, truth, k=k)


@takes_arrays
def unknown_threshold_curve(
    scores: Float[np.ndarray, "query class"],
    truth: Int[np.ndarray, " query"],
    at: Float[np.ndarray, " threshold"] | None = None,
    *,
    k: int = 5,
) -> ThresholdCurve:
    """Return MAP@k and error rates at many thresholds, for a plot.

    Args:
        scores: Scores, as in ``find_unknown_threshold``.
        truth: Individuals, as in ``find_unknown_threshold``.
        at: Thresholds; None: 201 even steps.
        k: Number of candidates per query.

    Raises:
        ShapeError: The shapes differ, or the arrays are empty.
        FieldmarkError: A value is NaN, or a class is unknown.
    """
    from fieldmark.decisions.unknown_thresholds import curve

    return curve(scores, truth, at, k=k)


@takes_arrays
def cross_fitted_unknown_thresholds(
    scores: Float[np.ndarray, "query class"],
    truth: Int[np.ndarray, " query"],
    *,
    rule: UnknownRule | UnknownAt = "max_map",
    groups: Int[np.ndarray, " query"] | None = None,
    k: int = 5,
    **settings: Any,
) -> Float[np.ndarray, " query"]:
    """Return for each query the threshold found on the other queries, to measure error rates for new photos.

    Args:
        scores: Scores, as in ``find_unknown_threshold``.
        truth: Individuals, as in ``find_unknown_threshold``.
        rule: Rule, as in ``find_unknown_threshold``.
        groups: Group number of each query (copies, an encounter); a group is held out as a whole.
        k: Number of candidates per query.
        **settings: Settings of the rule.

    Returns:
        One threshold per query, for ``fieldmark.assignment.rank(..., unknown_at=...)``; NaN without other queries.

    Raises:
        ShapeError: The shapes differ.
        PlanError: The rule has no setting of that name, or the value is not valid.
        FieldmarkError: The rule does not apply to the other queries, for instance without unknown individuals.
    """
    from fieldmark.decisions.grouped import crossed

    return crossed(named(UNKNOWN_RULES, rule, settings, what="rule"), scores, truth, groups=groups, k=k)


def _names(names: Sequence[str] | None, proba: np.ndarray) -> list[str]:
    return [str(one) for one in (range(proba.shape[1]) if names is None else names)]


def _groups(label_groups: Sequence[str] | None, proba: np.ndarray) -> dict[str, np.ndarray]:
    """Return the columns of each label group."""
    if label_groups is None:
        return {"": np.arange(proba.shape[1])}
    groups = np.array([str(one) for one in label_groups])
    if len(groups) != proba.shape[1]:
        raise ShapeError(
            "label_groups needs the group name of every label.",
            got=f"{len(groups)} groups, {proba.shape[1]} labels",
            fix="pass one group per column of the scores, or leave out label_groups.",
        )
    return {name: np.flatnonzero(groups == name) for name in dict.fromkeys(groups.tolist())}


__getattr__, __dir__ = exports(
    __name__,
    {
        "ThresholdCurve": "fieldmark.decisions.unknown_thresholds",
        "LabelThresholds": "fieldmark.decisions.specs",
        "UnknownThreshold": "fieldmark.decisions.unknown_thresholds",
    },
    own=__all__,
)

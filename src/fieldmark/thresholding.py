"""Thresholds found on photos with ground truth: for labels (mean F-beta), and for unknown individuals.

Scores and truth may be lists, numpy arrays, tensors, or columns. Use out-of-fold scores: of models that were not
trained on these photos.
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
    """The thresholds with the highest mean F-beta, and how good they are.

    Args:
        proba: Probability of each label.
        truth: 1 where a photo has a label, else 0. Not needed for ``preset``, ``relative`` and ``count_match``.
        rule: ``global_f2``: one threshold. ``group_f2``: one per label group, with least and most labels per photo.
            ``label_f2``: one per label, drawn towards its group's where photos are few. ``relative``: a share of the
            photo's highest score. ``count_match``: by the mean number of labels. ``preset``: given ones. Or a setting
            of a plan, such as ``GroupF2(limits=False)``.
        names: Name of each label; None: their numbers.
        label_groups: Group of each label, such as ``culture`` or ``tag``; None: one group.
        beta: A missing label weighs ``beta`` squared times as much as a wrong one.
        n_parts: Parts of the cross-fitted estimate ``crossed``; 0 leaves it out.
        photo_groups: A number that photos of one group share; they are resampled together.
        seed: Random seed of parts and interval.
        **settings: Of the rule, such as ``times=7`` for ``relative``.

    Returns:
        Thresholds for ``apply_label_thresholds``, with ``fitted`` (mean F-beta on these photos, optimistic) and
        ``crossed`` (on photos the thresholds were not found on), each with a 95 % interval.

    Raises:
        ShapeError: The arrays, names or groups do not fit each other.
        PlanError: A setting is not one of the rule's.
        FieldmarkError: A score is not finite, truth is missing, or an option is impossible.

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
    """Which labels each photo is given.

    Args:
        thresholds: From ``find_label_thresholds``.
        proba: Probability of each label.
        names: As when the thresholds were found.
        label_groups: As when the thresholds were found.

    Raises:
        ShapeError: Scores, names and groups do not fit each other.
        FieldmarkError: A score is not finite, or the thresholds are of other labels or groups.
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
    """The score below which an individual is answered as unknown, and what this threshold does.

    Args:
        scores: Score of each known individual, larger is more likely; -inf: never.
        truth: The individual (column) of each query, -1 for unknown. Not needed for ``target_share`` and ``fixed``.
        rule: ``max_map``: highest MAP@k. ``false_match_budget``: at most a share ``budget`` of the unknown are given a
            name. ``target_share``: a share ``share`` of the queries is answered as unknown. ``fixed``: ``at``.
        k: Answers per query.
        **settings: Of the rule, such as ``budget=0.01``.

    Returns:
        The threshold ``at`` with its MAP@k and error rates on these queries, which are optimistic:
        ``cross_fitted_unknown_thresholds`` gives honest ones.

    Raises:
        ShapeError: ``scores`` and ``truth`` do not fit or are empty.
        PlanError: A setting is not one of the rule's.
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
    """MAP@k and error rates at many thresholds, for a plot.

    Args:
        scores: As in ``find_unknown_threshold``.
        truth: As in ``find_unknown_threshold``.
        at: Thresholds; None: 201 even steps.
        k: Answers per query.

    Raises:
        ShapeError: The arrays do not fit or are empty.
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
    """For each query the threshold that is found on the others, to measure error rates to expect of new photos.

    Args:
        scores: As in ``find_unknown_threshold``.
        truth: As in ``find_unknown_threshold``.
        rule: As in ``find_unknown_threshold``.
        groups: A number that queries of one group share (copies, an encounter); they are left out together.
        k: Answers per query.
        **settings: Of the rule.

    Returns:
        One threshold per query, for ``fieldmark.assignment.rank(..., unknown_at=...)``; NaN where there are no others.

    Raises:
        ShapeError: The arrays do not fit.
        PlanError: A setting is not one of the rule's.
        FieldmarkError: The rule cannot be followed on the rest, as without unknown individuals.
    """
    from fieldmark.decisions.grouped import crossed

    return crossed(named(UNKNOWN_RULES, rule, settings, what="rule"), scores, truth, groups=groups, k=k)


def _names(names: Sequence[str] | None, proba: np.ndarray) -> list[str]:
    return [str(one) for one in (range(proba.shape[1]) if names is None else names)]


def _groups(label_groups: Sequence[str] | None, proba: np.ndarray) -> dict[str, np.ndarray]:
    """The columns of each label group."""
    if label_groups is None:
        return {"": np.arange(proba.shape[1])}
    groups = np.array([str(one) for one in label_groups])
    if len(groups) != proba.shape[1]:
        raise ShapeError(
            "Every label needs the name of its group.",
            got=f"{len(groups)} groups, {proba.shape[1]} labels",
            fix="pass one group a column of the scores, or leave out label_groups.",
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

"""Thresholds per group of photos, and cross-fitted thresholds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Float64, Int
from pydantic import Field

from fieldmark.core.errors import ShapeError
from fieldmark.core.spec import Spec
from fieldmark.decisions.confidence import even_parts
from fieldmark.decisions.specs import FalseMatchBudget, MaxMap, PerGroup, UnknownAt
from fieldmark.decisions.unknown_thresholds import UnknownThreshold, fit_unknown_threshold

Names = Sequence[str | None]
"""The group of each query; None where it is not given."""


class GroupThresholds(Spec):
    """Thresholds of the groups that have their own, and the common threshold of all others.

    Attributes:
        column: The column that holds the group names.
        common: Threshold for groups without their own; fitted on all queries.
        groups: Thresholds by group name.
    """

    column: str
    common: UnknownThreshold
    groups: dict[str, UnknownThreshold] = Field(default={})

    def at(self, names: Names) -> Float64[np.ndarray, " query"]:
        """Return the threshold of each query, by the name of its group."""
        own = {name: threshold.at for name, threshold in self.groups.items()}
        return np.array([own.get(name or "", self.common.at) for name in names], np.float64)


def find_by_group(
    spec: UnknownAt,
    scores: Float[np.ndarray, "query class"],
    truth: Int[np.ndarray, " query"],
    names: Names,
    *,
    per: PerGroup,
    k: int = 5,
) -> GroupThresholds:
    """Fit one common threshold, and one for each group with enough queries.

    Species differ in how similar their members look: a score that is a certain match for zebras may be a weak one for
    crows. See ``unknown_thresholds.fit_unknown_threshold`` for one threshold.

    Args:
        spec: The rule; a false-match budget applies to each group separately.
        scores: Larger is more likely; -inf means never.
        truth: The class of each query, -1 for unknown individuals.
        names: The group of each query; None where it is not given.
        per: Minimum number of queries (of unknown individuals, for a false-match budget) per group.
        k: Number of answers per query.

    Raises:
        ShapeError: The number of names differs from the number of queries.
        FieldmarkError: As in ``fit_unknown_threshold``, for all queries together.

    Source:
        Thresholds per species: Happywhale 2022, 6th and 10th place.
    """
    scores, truth = np.asarray(scores), np.asarray(truth)
    if len(names) != len(scores):
        raise ShapeError(
            "Every query needs the name of its group.",
            got=f"{len(names)} names, {len(scores)} queries",
            fix="pass one name per row of scores, None where the group is not known.",
        )
    groups = np.array([name or "" for name in names], dtype=object)
    own = {}
    for name in sorted(set(groups) - {""}):
        members = groups == name
        if _enough(spec, truth[members], least=per.least):
            own[name] = fit_unknown_threshold(spec, scores[members], truth[members], k=k)
    return GroupThresholds(column=per.column, common=fit_unknown_threshold(spec, scores, truth, k=k), groups=own)


def crossed(
    spec: UnknownAt,
    scores: Float[np.ndarray, "query class"],
    truth: Int[np.ndarray, " query"],
    *,
    names: Names | None = None,
    per: PerGroup | None = None,
    groups: Int[np.ndarray, " query"] | None = None,
    k: int = 5,
) -> Float64[np.ndarray, " query"]:
    """Return a cross-fitted threshold for each query: the rule is applied to the other queries.

    Use it to estimate the error rates on new photos. A threshold evaluated on the queries it was fitted on looks too
    good: it meets a budget of 1 % there by construction.

    Args:
        spec: The rule.
        scores: Larger is more likely; -inf means never.
        truth: The class of each query, -1 for unknown individuals.
        names: The group of each query, for thresholds per group.
        per: Settings of the groups; None: one threshold for all.
        groups: Queries with the same number (copies, an encounter) are left out together.
        k: Number of answers per query.

    Returns:
        One threshold per query; NaN where no other queries are left.

    Raises:
        FieldmarkError: The rule does not work on the other queries, for example because they have no unknown
            individuals.
    """
    scores, truth = np.asarray(scores), np.asarray(truth)
    part = even_parts(truth, groups)
    at = np.full(len(truth), np.nan)
    for one in np.unique(part) if part.any() else []:
        held_out = part == one
        if per is None or names is None:
            at[held_out] = fit_unknown_threshold(spec, scores[~held_out], truth[~held_out], k=k).at
            continue
        rest = [names[row] for row in np.flatnonzero(~held_out).tolist()]
        found = find_by_group(spec, scores[~held_out], truth[~held_out], rest, per=per, k=k)
        at[held_out] = found.at([names[row] for row in np.flatnonzero(held_out).tolist()])
    return at


def _enough(spec: UnknownAt, truth: Int[np.ndarray, " query"], *, least: int) -> bool:
    counted: Bool[np.ndarray, " query"] = truth == -1 if isinstance(spec, FalseMatchBudget) else truth >= -1
    if isinstance(spec, MaxMap) and not ((truth == -1).any() and (truth >= 0).any()):
        return False  # without unknown individuals the best threshold would give every query a name
    if isinstance(spec, FalseMatchBudget) and spec.hold == "bound" and spec.budget > 0:
        # The minimum number of queries with which the bound can be proven.
        least = max(least, int(np.ceil(np.log1p(-spec.confidence) / np.log1p(-min(spec.budget, 1 - 1e-9)))))
    return int(counted.sum()) >= least

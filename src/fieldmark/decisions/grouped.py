"""Thresholds a group, and thresholds found without the query that they judge."""

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
"""The group of each query; None where it is not told."""


class GroupThresholds(Spec):
    """The threshold of each group that has one of its own, and the common one of all others.

    Attributes:
        column: The column that names the groups.
        common: For groups without one of their own; found on all queries.
        groups: By the group's name.
    """

    column: str
    common: UnknownThreshold
    groups: dict[str, UnknownThreshold] = Field(default={})

    def at(self, names: Names) -> Float64[np.ndarray, " query"]:
        """The threshold of each query, by the name of its group."""
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
    """One threshold for all, and one for each group with enough queries; see ``thresholds.fit_unknown_threshold``.

    Species differ in how similar their members look; what is a sure match among zebras is none among crows.

    Args:
        spec: The rule; a false-match budget is held by each group.
        scores: Larger is likelier; -inf means never.
        truth: The class of each query, -1 for unknown individuals.
        names: The group of each query; None where it is not told.
        per: How many queries (unknown individuals, for a false-match budget) make a group.
        k: Places an answer.

    Raises:
        ShapeError: There is not one name a query.
        FieldmarkError: As ``find``, for all queries together.

    Source:
        Thresholds a species: Happywhale 2022, 6th and 10th place.
    """
    scores, truth = np.asarray(scores), np.asarray(truth)
    if len(names) != len(scores):
        raise ShapeError(
            "Every query needs the name of its group.",
            got=f"{len(names)} names, {len(scores)} queries",
            fix="pass one name a row of scores, None where it is not told.",
        )
    groups = np.array([name or "" for name in names], dtype=object)
    own = {}
    for name in sorted(set(groups) - {""}):
        mine = groups == name
        if _enough(spec, truth[mine], least=per.least):
            own[name] = fit_unknown_threshold(spec, scores[mine], truth[mine], k=k)
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
    """For each query the threshold that the rule finds on the others: what it did to *these* is what to expect.

    A threshold judged by the queries that chose it flatters: a budget of 1 % is held on them by construction.

    Args:
        spec: The rule.
        scores: Larger is likelier; -inf means never.
        truth: The class of each query, -1 for unknown individuals.
        names: The group of each query, for thresholds a group.
        per: How groups are made; None: one threshold for all.
        groups: Queries of one number (copies, an encounter) are left out together.
        k: Places an answer.

    Returns:
        A threshold a query; NaN where there is nobody else to find one on.

    Raises:
        FieldmarkError: The rule cannot be followed on the rest, as without unknown individuals.
    """
    scores, truth = np.asarray(scores), np.asarray(truth)
    part = even_parts(truth, groups)
    at = np.full(len(truth), np.nan)
    for one in np.unique(part) if part.any() else []:
        mine = part == one
        if per is None or names is None:
            at[mine] = fit_unknown_threshold(spec, scores[~mine], truth[~mine], k=k).at
            continue
        told = [names[row] for row in np.flatnonzero(~mine).tolist()]
        found = find_by_group(spec, scores[~mine], truth[~mine], told, per=per, k=k)
        at[mine] = found.at([names[row] for row in np.flatnonzero(mine).tolist()])
    return at


def _enough(spec: UnknownAt, truth: Int[np.ndarray, " query"], *, least: int) -> bool:
    counted: Bool[np.ndarray, " query"] = truth == -1 if isinstance(spec, FalseMatchBudget) else truth >= -1
    if isinstance(spec, MaxMap) and not ((truth == -1).any() and (truth >= 0).any()):
        return False  # whoever has met no unknown individual would call nobody one
    if isinstance(spec, FalseMatchBudget) and spec.hold == "bound" and spec.budget > 0:
        # As many as a bound can be proven with at all.
        least = max(least, int(np.ceil(np.log1p(-spec.confidence) / np.log1p(-min(spec.budget, 1 - 1e-9)))))
    return int(counted.sum()) >= least

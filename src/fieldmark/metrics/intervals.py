"""95 % confidence intervals: bootstrap for means and other numbers, Wilson for shares; groups are resampled."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int64

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.core.seeds import generator

DRAWN_AT_ONCE = 2**22

Unit = Literal["photo", "group", "individual"]
"""The unit that an interval resamples. Photos of one group (series, encounter, sender) are resampled together."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A measured number with its confidence interval.

    Attributes:
        value: The number, measured on the given queries.
        low: Lower end of the interval.
        high: Upper end of the interval.
        share: Confidence level, 0 to 1: share of the bootstrap draws inside the interval.
        unit: The resampled unit.
        n_units: Number of these units.
    """

    value: float
    low: float
    high: float
    share: float = 0.95
    unit: Unit = "photo"
    n_units: int = 1

    @property
    def over(self) -> str:
        """The number of resampled units, for example ``37 groups``."""
        return over(self.n_units, self.unit)

    def __str__(self) -> str:
        """The value with its interval, for example ``0.412 (0.398 to 0.425)``."""
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


def over(n_units: int, unit: Unit) -> str:
    """A number of units as text: ``37 groups``, ``1 photo``."""
    return f"{n_units:,} {unit}{'' if n_units == 1 else 's'}"


def share_interval(count: float, n: float, *, share: float = 0.95) -> Interval:
    """A share with its Wilson interval, for values of 0 and 1.

    A bootstrap interval fails where all values are equal. Example: none of 8 unknown individuals is answered with a
    name. Any number of draws gives the interval 0 to 0; the Wilson interval is 0 to 0.32.

    Args:
        count: Number of ones, 0 to ``n``; also a sum of numbers between 0 and 1.
        n: Number of values, at least 1.
        share: Confidence level, 0 to 1: how often such intervals contain the true share.

    Raises:
        FieldmarkError: ``count`` is outside 0 ... ``n``, or ``n`` is below 1.

    Source:
        Wilson 1927, J. Am. Stat. Assoc. 22; without continuity correction.
    """
    if n < 1 or not 0 <= count <= n:
        raise FieldmarkError(
            "count must be between 0 and n, and n at least 1.", got=f"{count} of {n}", fix="use 0 <= count <= n."
        )
    z = NormalDist().inv_cdf(0.5 + share / 2)
    value = count / n
    middle = (value + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * math.sqrt(value * (1 - value) / n + z * z / (4 * n * n))
    low, high = min(value, max(0.0, middle - reach)), max(value, min(1.0, middle + reach))
    return Interval(value, low, high, share, n_units=round(n))


def grouped_share_interval(
    yes: Bool[np.ndarray, " query"],
    *,
    groups: Int64[np.ndarray, " query"] | None = None,
    share: float = 0.95,
    unit: Unit = "photo",
) -> Interval:
    """The share of True values with its Wilson interval, corrected for groups of similar queries.

    Forty photos of one encounter contain little more information than one photo, so the interval becomes wider. It is
    computed for the effective number of independent queries that would have the same variance as these groups.

    Args:
        yes: True or False for each query.
        groups: Group number of each query. None, or all different: each query is its own group.
        share: Confidence level, 0 to 1: how often such intervals contain the true share.
        unit: Name of the unit, if no two queries share a group.

    Raises:
        FieldmarkError: There are no queries.
        ShapeError: ``groups`` has another length.

    Source:
        Effective sample size from the design effect, with the t quantile for the number of groups: Korn and Graubard
        1998, Survey Methodology 24; with Wilson's interval: Dean and Pavlou 2015. If all values are equal, each group
        counts as one query.
    """
    member = _members(groups, len(yes))
    if member is None:
        return replace(share_interval(int(yes.sum()), len(yes), share=share), unit=unit)
    value, sizes = float(yes.mean()), np.bincount(member)
    found = share_interval(value, 1, share=share)
    if len(sizes) > 1:
        trials = _independent(yes.astype(np.float64), member, share)
        found = share_interval(value * trials, trials, share=share)
    return Interval(value, min(value, found.low), max(value, found.high), share, unit="group", n_units=len(sizes))


def _independent(yes: np.ndarray, member: np.ndarray, share: float) -> float:
    """Number of independent queries whose mean has the same variance as the mean of ``yes`` over these groups."""
    from scipy.special import stdtrit

    n, value, n_groups = len(yes), float(yes.mean()), int(member.max()) + 1
    if value in {0.0, 1.0}:
        return float(n_groups)
    off = np.bincount(member, weights=yes - value)
    spread = float((off**2).sum()) * n_groups / (n_groups - 1) / n**2
    trials = n if spread * n <= value * (1 - value) else value * (1 - value) / spread
    narrowed = float(stdtrit(n - 1, 0.5 + share / 2) / stdtrit(n_groups - 1, 0.5 + share / 2))
    return max(1.0, trials * narrowed**2)


def _members(groups: np.ndarray | None, n: int) -> np.ndarray | None:
    """The group of each query, numbered from 0; None if no two queries share a group.

    Raises:
        ShapeError: ``groups`` has a wrong length.
    """
    if groups is None:
        return None
    if np.shape(groups) != (n,):
        raise ShapeError(
            "groups must have one number for each query.",
            got=f"groups of shape {np.shape(groups)} for {n} queries",
            fix="pass one number per query, such as Collection.groups, or omit groups.",
        )
    names, member = np.unique(groups, return_inverse=True)
    return None if len(names) == n else member.reshape(-1)


def interval(
    of: Float[np.ndarray, " query"] | Callable[[Int64[np.ndarray, " query"]], float],
    *,
    n_queries: int | None = None,
    n_draws: int = 1000,
    seed: int = 0,
    share: float = 0.95,
    trials: int | None = None,
    groups: Int64[np.ndarray, " query"] | None = None,
    unit: Unit = "photo",
) -> Interval:
    """A number with its bootstrap interval: the number is computed again on queries drawn with replacement.

    Queries of one group are drawn together. Photos of one encounter or of one sender are similar. Drawn one by one,
    they give an interval that is far too narrow for photos of other encounters.

    Args:
        of: One value per query, whose mean is the number (for example from ``average_precision()``). For other numbers
            a function from row numbers to the number: ``lambda rows: roc_auc(score[rows], known[rows])``.
        n_queries: Number of queries, required for a function; not used for values.
        n_draws: Number of bootstrap draws.
        seed: Random seed.
        share: Confidence level, between 0 and 1.
        trials: Number of trials for ``share_interval``, which replaces the bootstrap if all draws are equal (for
            example, if all of ten answers are right). It is valid for numbers from 0 to 1, which never vary more than
            zeros and ones with the same mean. With groups, at most one trial per group counts. None: if all draws are
            equal, the interval has zero width.
        groups: Group number of each query (``Collection.groups``). None, or all different: queries are drawn one by
            one.
        unit: Name of the unit, if queries are drawn one by one.

    Returns:
        The number with its interval (percentiles of the draws). Draws for which the function raises a FieldmarkError
        or returns NaN are left out: a draw without unknown individuals may not have a number.

    Raises:
        ShapeError: There are no values, ``n_queries`` is missing for a function, or ``groups`` has a wrong length.
        FieldmarkError: A value is NaN, an option is invalid, or the function fails for more than half of the draws.

    Source:
        Efron 1979; percentile interval. Groups: the cluster bootstrap, Davison and Hinkley 1997, section 3.8.
    """
    if n_draws < 1 or not 0 < share < 1:
        raise FieldmarkError(
            "n_draws must be at least 1, and share between 0 and 1.",
            got=f"n_draws={n_draws}, share={share}",
            fix="use n_draws=1000 and share=0.95.",
        )
    chance = generator(seed, "interval")
    n = (n_queries or 0) if callable(of) else len(np.atleast_1d(of))
    member = _members(groups, n)
    if callable(of):
        value, drawn = _draws_of_function(of, n_queries, n_draws, chance, member)
    else:
        value, drawn = _draws_of_mean(np.asarray(of, np.float64), n_draws, chance, member)
    low, high = np.quantile(drawn, [(1 - share) / 2, (1 + share) / 2]).tolist()
    unit, n_units = (unit, n) if member is None else ("group", int(member.max()) + 1)
    if trials is not None and low == high:
        trials = min(trials, n_units)
        agreed = share_interval(value * trials, trials, share=share)
        low, high = agreed.low, agreed.high
    return Interval(value, low, high, share, unit=unit, n_units=n_units)


def _draws_of_mean(
    values: np.ndarray, n_draws: int, chance: np.random.Generator, member: np.ndarray | None
) -> tuple[float, np.ndarray]:
    if values.ndim != 1 or not len(values):
        raise ShapeError(
            "interval() needs one value for each query.", got=values.shape, fix="pass a list with at least one value."
        )
    if np.isnan(values).any():
        raise FieldmarkError(
            "Some values are NaN.",
            got=f"{int(np.isnan(values).sum())} NaN of {len(values)}",
            fix="remove the queries without a value, or pass a function of row numbers.",
        )
    n_units = len(values) if member is None else int(member.max()) + 1
    at_once = max(1, DRAWN_AT_ONCE // n_units)
    blocks = [min(at_once, n_draws - start) for start in range(0, n_draws, at_once)]
    chosen = (chance.integers(0, n_units, size=(block, n_units)) for block in blocks)
    if member is None:
        drawn = [values[rows].mean(axis=1) for rows in chosen]
    else:
        sums, sizes = np.bincount(member, weights=values), np.bincount(member)
        drawn = [sums[rows].sum(axis=1) / sizes[rows].sum(axis=1) for rows in chosen]
    return float(values.mean()), np.concatenate(drawn)


def _draws_of_function(
    function: Callable[[np.ndarray], float],
    n_queries: int | None,
    n_draws: int,
    chance: np.random.Generator,
    member: np.ndarray | None,
) -> tuple[float, np.ndarray]:
    if n_queries is None or n_queries < 1:
        raise ShapeError(
            "interval() needs n_queries, the number of queries of the function.",
            got=f"n_queries={n_queries}",
            fix="pass n_queries=len(truth).",
        )
    value = float(function(np.arange(n_queries)))
    drawn = np.full(n_draws, np.nan)
    rows_of = [] if member is None else np.split(np.argsort(member, kind="stable"), np.cumsum(np.bincount(member))[:-1])
    n_units = len(rows_of) or n_queries
    for draw in range(n_draws):
        chosen = chance.integers(0, n_units, size=n_units)
        try:
            drawn[draw] = function(np.concatenate([rows_of[one] for one in chosen]) if rows_of else chosen)
        except FieldmarkError:
            continue  # the number cannot be computed for this draw; it stays NaN
    measured = drawn[~np.isnan(drawn)]
    if len(measured) * 2 < n_draws:
        raise FieldmarkError(
            "The function failed for most of the bootstrap draws.",
            got=f"{n_draws - len(measured)} of {n_draws} draws failed",
            fix="use more queries; one kind (for example unknown individuals) is too rare in these.",
        )
    return value, measured

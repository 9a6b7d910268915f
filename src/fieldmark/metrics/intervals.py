"""95 % intervals: bootstrap for means and other numbers, Wilson's for shares; whole groups of photos are resampled."""

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
"""What an interval resamples. Photos of one group (a series, an encounter, a sender) are resampled together."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A measured number and where it would lie with other queries.

    Attributes:
        value: On the queries at hand.
        low: Lower end of the interval.
        high: Upper end.
        share: Share of the draws within it.
        unit: What is resampled.
        n_units: How many of these there are.
    """

    value: float
    low: float
    high: float
    share: float = 0.95
    unit: Unit = "photo"
    n_units: int = 1

    @property
    def over(self) -> str:
        """The number of resampled units, as ``37 groups``."""
        return over(self.n_units, self.unit)

    def __str__(self) -> str:
        """As ``0.412 (0.398 to 0.425)``."""
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


def over(n_units: int, unit: Unit) -> str:
    """A number of units in words: ``37 groups``, ``1 photo``."""
    return f"{n_units:,} {unit}{'' if n_units == 1 else 's'}"


def share_interval(count: float, n: float, *, share: float = 0.95) -> Interval:
    """A share and its Wilson interval: for yes-or-no numbers, where drawing anew goes blind at the ends.

    Of 8 unknown individuals none was given a name: any number of draws would say 0 to 0. The Wilson interval says 0 to 0.32.

    Args:
        count: How many were a yes, 0 to ``n``; also a sum of numbers between 0 and 1.
        n: Of how many, at least 1.
        share: How often such intervals hold the true share.

    Raises:
        FieldmarkError: ``count`` is outside 0 ... ``n``, or ``n`` is below 1.

    Source:
        Wilson 1927, J. Am. Stat. Assoc. 22; without continuity correction.
    """
    if n < 1 or not 0 <= count <= n:
        raise FieldmarkError(
            "A share needs a count out of a number.", got=f"{count} of {n}", fix="use 0 <= count <= n."
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
    """The share of yes with its Wilson interval, which is wider where queries of one group are similar.

    Forty photos of one encounter say little more than one photo. The interval is that of as many independent queries
    as would vary as much as these groups do.

    Args:
        yes: True or False for each query.
        groups: A number that queries of one group share; None, or all different: each query is a group of its own.
        share: How often such intervals hold the true share.
        unit: What a query is, where no two share a group.

    Raises:
        FieldmarkError: There are no queries.
        ShapeError: ``groups`` has another length.

    Source:
        Effective sample size by the design effect, with the t quantile of the number of groups: Korn and Graubard
        1998, Survey Methodology 24; with Wilson's interval: Dean and Pavlou 2015. Where all answers are equal, a group
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
    """How many independent queries would vary as much as the mean of ``yes`` over groups does."""
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
    """The group of each query as 0, 1, 2 ...; None where no two queries share one.

    Raises:
        ShapeError: The length differs.
    """
    if groups is None:
        return None
    if np.shape(groups) != (n,):
        raise ShapeError(
            "interval() needs the group of each query.",
            got=f"groups of shape {np.shape(groups)} for {n} queries",
            fix="pass one number a query, such as Collection.groups, or leave out groups.",
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
    """A bootstrap interval: the number is measured again on queries drawn with replacement.

    Queries of one group are drawn together. Photos of one encounter, or of one sender, are similar: drawn one by one,
    they give an interval that is far too narrow for photos of other encounters.

    Args:
        of: One value a query, whose mean is the number (as ``average_precision()`` gives); or a function from row
            numbers to the number, for numbers that are no mean (``lambda rows: roc_auc(score[rows], known[rows])``).
        n_queries: How many rows a function may be given; not used for values.
        n_draws: How many times queries are drawn.
        seed: The same seed gives the same interval.
        share: Share of the draws within the interval, between 0 and 1.
        trials: For numbers between 0 and 1: where all draws agree, as with ten queries that are all right, they tell
            nothing, and the interval is that of ``share_interval`` with so many trials (no number between 0 and 1
            varies more than a yes or no of its mean). None: the interval is then a point. With groups at most one
            trial a group is counted.
        groups: A number that queries of one group share (``Collection.groups``); None, or all different: each query is
            drawn by itself.
        unit: What a query is, where they are drawn one by one.

    Returns:
        The number with its interval (percentiles of the draws). Draws on which a function refuses with a
        FieldmarkError or gives NaN, as one without any unknown individual may, are left out.

    Raises:
        ShapeError: There are no values, ``n_queries`` is missing for a function, or ``groups`` has another length.
        FieldmarkError: A value is NaN, an option is impossible, or a function refused more than half of the draws.

    Source:
        Efron 1979; percentile interval. Groups: the cluster bootstrap, Davison and Hinkley 1997, section 3.8.
    """
    if n_draws < 1 or not 0 < share < 1:
        raise FieldmarkError(
            "A bootstrap interval needs draws and a share.",
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
            "interval() needs one value a query.", got=values.shape, fix="pass a list with at least one value."
        )
    if np.isnan(values).any():
        raise FieldmarkError(
            "Some values are not numbers.",
            got=f"{int(np.isnan(values).sum())} NaN of {len(values)}",
            fix="leave out the queries that could not be measured, or pass a function of row numbers.",
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
            "interval() does not know how many queries the function looks at.",
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
            continue  # this draw cannot be measured; it stays NaN
    measured = drawn[~np.isnan(drawn)]
    if len(measured) * 2 < n_draws:
        raise FieldmarkError(
            "The number cannot be measured on most draws.",
            got=f"{n_draws - len(measured)} of {n_draws} draws refused",
            fix="measure on more queries; one side (unknown individuals?) is too rare here.",
        )
    return value, measured

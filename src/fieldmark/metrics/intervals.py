"""How much a number would wobble with other queries of the same kind."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from jaxtyping import Float, Int64

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.core.seeds import generator

DRAWN_AT_ONCE = 2**22


@dataclass(frozen=True, slots=True)
class Interval:
    """A measured number and where it would lie with other queries.

    Attributes:
        value: On the queries at hand.
        low: Lower end of the interval.
        high: Upper end.
        share: Share of the draws within it.
    """

    value: float
    low: float
    high: float
    share: float = 0.95

    def __str__(self) -> str:
        """As ``0.412 (0.398 to 0.425)``."""
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


def share_interval(count: float, n: int, *, share: float = 0.95) -> Interval:
    """A share and its Wilson interval: for yes-or-no numbers, where drawing anew goes blind at the ends.

    Of 8 strangers none was given a name: any number of draws would say 0 to 0. The Wilson interval says 0 to 0.32.

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
    return Interval(value, min(value, max(0.0, middle - reach)), max(value, min(1.0, middle + reach)), share)


def interval(
    of: Float[np.ndarray, " query"] | Callable[[Int64[np.ndarray, " query"]], float],
    *,
    n_queries: int | None = None,
    n_draws: int = 1000,
    seed: int = 0,
    share: float = 0.95,
    trials: int | None = None,
) -> Interval:
    """A bootstrap interval: the number is measured again on queries drawn with replacement.

    Args:
        of: One value a query, whose mean is the number (as ``average_precision()`` gives); or a function from row
            numbers to the number, for numbers that are no mean (``lambda rows: roc_auc(score[rows], known[rows])``).
        n_queries: How many rows a function may be given; not used for values.
        n_draws: How many times queries are drawn.
        seed: The same seed gives the same interval.
        share: Share of the draws within the interval, between 0 and 1.
        trials: For numbers between 0 and 1: where all draws agree, as with ten queries that are all right, they tell
            nothing, and the interval is that of ``share_interval`` with so many trials (no number between 0 and 1
            varies more than a yes or no of its mean). None: the interval is then a point.

    Returns:
        The number with its interval (percentiles of the draws). Draws on which a function refuses with a
        FieldmarkError or gives NaN, as one without any stranger may, are left out.

    Raises:
        ShapeError: There are no values, or ``n_queries`` is missing for a function.
        FieldmarkError: A value is NaN, an option is impossible, or a function refused more than half of the draws.

    Source:
        Efron 1979; percentile interval.
    """
    if n_draws < 1 or not 0 < share < 1:
        raise FieldmarkError(
            "A bootstrap interval needs draws and a share.",
            got=f"n_draws={n_draws}, share={share}",
            fix="use n_draws=1000 and share=0.95.",
        )
    chance = generator(seed, "interval")
    if callable(of):
        value, drawn = _draws_of_function(of, n_queries, n_draws, chance)
    else:
        value, drawn = _draws_of_mean(np.asarray(of, np.float64), n_draws, chance)
    low, high = np.quantile(drawn, [(1 - share) / 2, (1 + share) / 2])
    if trials is not None and low == high:
        return share_interval(value * trials, trials, share=share)
    return Interval(value=value, low=float(low), high=float(high), share=share)


def _draws_of_mean(values: np.ndarray, n_draws: int, chance: np.random.Generator) -> tuple[float, np.ndarray]:
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
    at_once = max(1, DRAWN_AT_ONCE // len(values))
    sizes = [min(at_once, n_draws - start) for start in range(0, n_draws, at_once)]
    drawn = [values[chance.integers(0, len(values), size=(size, len(values)))].mean(axis=1) for size in sizes]
    return float(values.mean()), np.concatenate(drawn)


def _draws_of_function(
    function: Callable[[np.ndarray], float], n_queries: int | None, n_draws: int, chance: np.random.Generator
) -> tuple[float, np.ndarray]:
    if n_queries is None or n_queries < 1:
        raise ShapeError(
            "interval() does not know how many queries the function looks at.",
            got=f"n_queries={n_queries}",
            fix="pass n_queries=len(truth).",
        )
    value = float(function(np.arange(n_queries)))
    drawn = np.full(n_draws, np.nan)
    for draw in range(n_draws):
        try:
            drawn[draw] = function(chance.integers(0, n_queries, size=n_queries))
        except FieldmarkError:
            continue  # this draw cannot be measured; it stays NaN
    measured = drawn[~np.isnan(drawn)]
    if len(measured) * 2 < n_draws:
        raise FieldmarkError(
            "The number cannot be measured on most draws.",
            got=f"{n_draws - len(measured)} of {n_draws} draws refused",
            fix="measure on more queries; one side (strangers?) is too rare here.",
        )
    return value, measured

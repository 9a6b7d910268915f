"""A metric with its value and interval, as in metrics.json, reports and the output of commands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from jaxtyping import Bool, Int64

from fieldmark.core.spec import Spec
from fieldmark.metrics.intervals import Interval, Unit, grouped_share_interval, interval, over


class Measure(Spec):
    """A metric with its value and 95 % interval.

    Attributes:
        name: Short name of the metric, the standard term of the field.
        value: Measured value.
        low: Lower end of the 95 % interval (bootstrap; Wilson for shares).
        high: Upper end of the 95 % interval.
        n: Number of photos in the measurement; for questions, the number of pairs of photo and question.
        meaning: Explanation in plain words.
        unit: Unit that the interval resamples: groups of photos if the table has groups, else photos.
        n_units: Number of these units.
    """

    name: str
    value: float
    low: float
    high: float
    n: int
    meaning: str
    unit: Unit
    n_units: int

    @classmethod
    def of(cls, name: str, found: Interval, *, n: int, meaning: str) -> Self:
        """Create a measure from an interval."""
        ends = {"value": found.value, "low": found.low, "high": found.high}
        return cls(name=name, **ends, n=n, meaning=meaning, unit=found.unit, n_units=found.n_units)

    @property
    def over(self) -> str:
        """The number of resampled units, for example ``37 groups`` or ``210 photos``."""
        return over(self.n_units, self.unit)


@dataclass(frozen=True)
class Units:
    """The units that the intervals of a set of photos resample.

    Attributes:
        groups: Group number of each photo.
        unit: ``group`` if photos of the whole table share groups, else ``photo``.
    """

    groups: Int64[np.ndarray, " query"]
    unit: Unit

    @classmethod
    def of(cls, groups: Int64[np.ndarray, " query"] | None, n: int) -> Self:
        """The units of ``n`` photos; groups None: each photo is its own group."""
        groups = np.arange(n) if groups is None else groups
        return cls(groups, "group" if len(np.unique(groups)) < n else "photo")

    def at(self, rows: Bool[np.ndarray, " query"]) -> Self:
        """The units of the selected photos."""
        return replace(self, groups=self.groups[rows])

    def mean(self, name: str, values: np.ndarray, meaning: str, *, at_most_1: bool = True) -> Measure:
        """The mean of one value per photo; ``at_most_1``: the values lie between 0 and 1."""
        trials = len(values) if at_most_1 else None
        found = interval(values, trials=trials, groups=self.groups, unit=self.unit)
        return Measure.of(name, found, n=len(values), meaning=meaning)

    def share(self, name: str, yes: np.ndarray, meaning: str) -> Measure:
        """The share of photos for which ``yes`` is True."""
        found = grouped_share_interval(yes, groups=self.groups, unit=self.unit)
        return Measure.of(name, found, n=len(yes), meaning=meaning)

    def function(
        self, name: str, function: Callable[[np.ndarray], float], so: Bool[np.ndarray, " query"], meaning: str
    ) -> Measure:
        """A number that compares two kinds of photos (``so`` True and False), such as the ROC AUC.

        If all draws agree, the interval is computed with the number of groups of the rarer kind.
        """
        fewer = min(len(np.unique(self.groups[so])), len(np.unique(self.groups[~so])))
        found = interval(function, n_queries=len(so), n_draws=300, trials=fewer, groups=self.groups, unit=self.unit)
        return Measure.of(name, found, n=len(so), meaning=meaning)

    def ratio(self, part: np.ndarray, whole: np.ndarray, *, trials: int | None) -> Interval:
        """The ratio of two sums over photos; each ``whole`` must be above 0. See ``interval`` for ``trials``."""
        return interval(
            lambda at: float(part[at].sum() / whole[at].sum()),
            n_queries=len(whole),
            n_draws=300,
            trials=trials,
            groups=self.groups,
            unit=self.unit,
        )

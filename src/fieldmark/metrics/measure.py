"""One measured number with its interval, as metrics.json, reports and commands show it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from jaxtyping import Bool, Int64

from fieldmark.core.spec import Spec
from fieldmark.metrics.intervals import Interval, Unit, grouped_share_interval, interval, over


class Measure(Spec):
    """One measured number.

    Attributes:
        name: Short, the field's own term.
        value: Measured.
        low: Lower end of the 95 % interval (bootstrap; Wilson's for shares).
        high: Upper end.
        n: Photos it is measured on; of answers to questions: pairs of photo and question.
        meaning: In plain words.
        unit: What the interval resamples: groups of photos where the table has groups, else photos.
        n_units: How many of these there are.
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
        """A measure with the interval that was found for it."""
        ends = {"value": found.value, "low": found.low, "high": found.high}
        return cls(name=name, **ends, n=n, meaning=meaning, unit=found.unit, n_units=found.n_units)

    @property
    def over(self) -> str:
        """What the interval is over, as ``37 groups`` or ``210 photos``."""
        return over(self.n_units, self.unit)


@dataclass(frozen=True)
class Units:
    """What intervals of some measured photos resample.

    Attributes:
        groups: The group of each photo.
        unit: ``group`` where photos of the whole table share groups, else ``photo``.
    """

    groups: Int64[np.ndarray, " query"]
    unit: Unit

    @classmethod
    def of(cls, groups: Int64[np.ndarray, " query"] | None, n: int) -> Self:
        """The groups of ``n`` photos; None: each photo by itself."""
        groups = np.arange(n) if groups is None else groups
        return cls(groups, "group" if len(np.unique(groups)) < n else "photo")

    def at(self, rows: Bool[np.ndarray, " query"]) -> Self:
        """Some of the photos."""
        return replace(self, groups=self.groups[rows])

    def mean(self, name: str, values: np.ndarray, meaning: str, *, at_most_1: bool = True) -> Measure:
        """A mean of one value a photo; ``at_most_1``: values lie between 0 and 1."""
        trials = len(values) if at_most_1 else None
        found = interval(values, trials=trials, groups=self.groups, unit=self.unit)
        return Measure.of(name, found, n=len(values), meaning=meaning)

    def share(self, name: str, yes: np.ndarray, meaning: str) -> Measure:
        """The share of photos with a yes."""
        found = grouped_share_interval(yes, groups=self.groups, unit=self.unit)
        return Measure.of(name, found, n=len(yes), meaning=meaning)

    def function(
        self, name: str, function: Callable[[np.ndarray], float], so: Bool[np.ndarray, " query"], meaning: str
    ) -> Measure:
        """A number of two kinds of photos; it tells no more than the rarer kind is many."""
        fewer = min(len(np.unique(self.groups[so])), len(np.unique(self.groups[~so])))
        found = interval(function, n_queries=len(so), n_draws=300, trials=fewer, groups=self.groups, unit=self.unit)
        return Measure.of(name, found, n=len(so), meaning=meaning)

    def ratio(self, part: np.ndarray, whole: np.ndarray, *, trials: int | None) -> Interval:
        """A ratio of sums over photos; each ``whole`` is above 0. ``trials`` as for ``interval``."""
        return interval(
            lambda at: float(part[at].sum() / whole[at].sum()),
            n_queries=len(whole),
            n_draws=300,
            trials=trials,
            groups=self.groups,
            unit=self.unit,
        )

"""One measured number with its interval, as metrics.json, reports and commands show it."""

from __future__ import annotations

from typing import Self

from fieldmark.core.spec import Spec
from fieldmark.metrics.intervals import Interval, Unit, over


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

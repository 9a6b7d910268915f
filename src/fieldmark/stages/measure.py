"""How good ranked identities are: the numbers of metrics.json, of the report and of `fieldmark evaluate`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int64

from fieldmark.core.spec import Spec
from fieldmark.decide.ranking import rank
from fieldmark.metrics.intervals import interval, share_interval
from fieldmark.metrics.open_set import roc_auc
from fieldmark.metrics.ranking import average_precision


class Measure(Spec):
    """One measured number.

    Attributes:
        name: Short, the field's own term.
        value: Measured.
        low: Lower end of the 95 % interval over photos (bootstrap; Wilson's for shares).
        high: Upper end.
        n: Photos it is measured on.
        meaning: In plain words.
    """

    name: str
    value: float
    low: float
    high: float
    n: int
    meaning: str


def measure(
    scores: Float[np.ndarray, "query identity"], truth: Int64[np.ndarray, " query"], *, unknown_at: float, k: int = 5
) -> tuple[Measure, ...]:
    """All numbers for photos whose identity is known to us (-1: a stranger).

    Measures of strangers are left out where there are none, and likewise for the known.

    Args:
        scores: Of each identity; larger is likelier.
        truth: Class of each photo, -1 for strangers.
        unknown_at: The threshold of "nobody we know".
        k: Places an answer.
    """
    answers = rank(scores, unknown_at=unknown_at, k=k)
    named = rank(scores, unknown_at=None, k=k)
    known = truth >= 0
    first, best = answers[:, 0], scores.max(axis=1)
    rows = [
        _mean(
            f"MAP@{k}",
            average_precision(answers, truth, k=k),
            "strangers included; 1 if the right answer is always first",
        )
    ]
    if known.any():
        some, right = named[known], truth[known]
        rows += [
            _share(
                "top-1 of known",
                some[:, 0] == right,
                "share of known individuals whose right name is the first name",
            ),
            _share(
                f"top-{k} of known",
                (some == right[:, None]).any(axis=1),
                f"share of known individuals whose right name is among the first {k} names",
            ),
            _mean(
                f"MAP@{k} of known", average_precision(some, right, k=k), "known individuals only, nobody called new"
            ),
            _share("turned away", first[known] == -1, "share of known individuals called new"),
        ]
    if known.any() and not known.all():
        rows.append(
            _function(
                "AUC known/new",
                lambda at: roc_auc(best[at], known[at]),
                len(truth),
                "chance that a known one scores above a stranger",
            )
        )
    if not known.all():
        rows.append(_share("false matches", first[~known] != -1, "share of strangers given somebody's name"))
    named_first = first >= 0
    if named_first.any():
        wrong = first[named_first] != truth[named_first]
        rows.append(_share("wrong names", wrong, "share of the given first names that are wrong"))
    return tuple(rows)


def _mean(name: str, values: np.ndarray, meaning: str) -> Measure:
    found = interval(values)
    return Measure(name=name, value=found.value, low=found.low, high=found.high, n=len(values), meaning=meaning)


def _share(name: str, yes: np.ndarray, meaning: str) -> Measure:
    found = share_interval(int(yes.sum()), len(yes))
    return Measure(name=name, value=found.value, low=found.low, high=found.high, n=len(yes), meaning=meaning)


def _function(name: str, function: Callable[[np.ndarray], float], n: int, meaning: str) -> Measure:
    found = interval(function, n_queries=n, n_draws=300)
    return Measure(name=name, value=found.value, low=found.low, high=found.high, n=n, meaning=meaning)

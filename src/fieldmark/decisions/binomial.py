"""How large a share may be, given how often it was seen."""

from __future__ import annotations

import math

import numpy as np

from fieldmark.core.errors import FieldmarkError


def upper_bound(count: int, n: int, *, confidence: float = 0.95) -> float:
    """The largest share that still fits with ``count`` seen among ``n``.

    If the true share were higher, as few as ``count`` would be seen in less than ``1 - confidence`` of all samples.
    With none seen it is about ``3 / n`` at 95 % (the rule of three).

    Args:
        count: How many of ``n`` had the property.
        n: How many were looked at.
        confidence: One-sided, between 0 and 1.

    Returns:
        A share, 0 to 1; never below ``count / n``.

    Raises:
        FieldmarkError: ``n`` is below 1, ``count`` is not within 0 ... ``n``, or ``confidence`` not within 0 ... 1.

    Example:
        >>> round(upper_bound(0, 100), 4)
        0.0295

    Source:
        Clopper and Pearson 1934, one-sided; found by halving on the exact binomial tail.
    """
    if n < 1 or not 0 <= count <= n or not 0 < confidence < 1:
        raise FieldmarkError(
            "upper_bound() needs a count among at least one.",
            got=f"count {count}, n {n}, confidence {confidence}",
            fix="give 0 <= count <= n, n >= 1 and a confidence such as 0.95.",
        )
    if count == n:
        return 1.0
    ways = _log_ways(count, n)
    low, high = count / n, 1.0
    while high - low > 1e-12:
        middle = (low + high) / 2
        if middle in {low, high}:
            break
        seen = np.arange(count + 1)
        tail = ways + seen * math.log(middle) + (n - seen) * math.log1p(-middle)
        if _log_sum(tail) > math.log1p(-confidence):
            low = middle
        else:
            high = middle
    return high


def _log_ways(count: int, n: int) -> np.ndarray:
    """Log of "n choose i" for i = 0 ... ``count``."""
    i = np.arange(1, count + 1)
    return np.concatenate([[0.0], np.cumsum(np.log(n - i + 1) - np.log(i))])


def _log_sum(logs: np.ndarray) -> float:
    largest = float(logs.max())
    return largest + math.log(float(np.exp(logs - largest).sum()))

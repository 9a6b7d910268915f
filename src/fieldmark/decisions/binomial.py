"""Upper confidence bound of a proportion."""

from __future__ import annotations

from fieldmark.core.errors import FieldmarkError


def upper_bound(count: int, n: int, *, confidence: float = 0.95) -> float:
    """Return the one-sided upper confidence bound of a proportion, from ``count`` among ``n``.

    If the true proportion were higher than the bound, a count this low would occur in less than ``1 - confidence`` of
    all samples. With a count of 0, the bound at 95 % is about ``3 / n`` (the rule of three).

    Args:
        count: Number of items that have the property.
        n: Number of items checked.
        confidence: One-sided confidence level, between 0 and 1.

    Returns:
        A proportion from 0 to 1, at least ``count / n``.

    Raises:
        FieldmarkError: ``n`` is below 1, ``count`` is outside 0 ... ``n``, or ``confidence`` is outside 0 ... 1.

    Example:
        >>> round(upper_bound(0, 100), 4)
        0.0295

    Source:
        Clopper and Pearson 1934, one-sided: a quantile of the beta distribution (``scipy.special``).
    """
    if n < 1 or not 0 <= count <= n or not 0 < confidence < 1:
        raise FieldmarkError(
            "upper_bound() needs 0 <= count <= n, n >= 1 and a confidence between 0 and 1.",
            got=f"count {count}, n {n}, confidence {confidence}",
            fix="pass 0 <= count <= n, n >= 1, and for example confidence=0.95.",
        )
    from scipy.special import betaincinv

    return 1.0 if count == n else max(count / n, float(betaincinv(count + 1, n - count, confidence)))

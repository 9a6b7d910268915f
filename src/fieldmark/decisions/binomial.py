"""How large a share may be, given how often it was seen."""

from __future__ import annotations

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
        Clopper and Pearson 1934, one-sided: a quantile of the beta distribution (``scipy.special``).
    """
    if n < 1 or not 0 <= count <= n or not 0 < confidence < 1:
        raise FieldmarkError(
            "upper_bound() needs a count among at least one.",
            got=f"count {count}, n {n}, confidence {confidence}",
            fix="give 0 <= count <= n, n >= 1 and a confidence such as 0.95.",
        )
    from scipy.special import betaincinv

    return 1.0 if count == n else max(count / n, float(betaincinv(count + 1, n - count, confidence)))

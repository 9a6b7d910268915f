"""Conversion of the numbers of answers for JSON and tables."""

from __future__ import annotations

import math


def finite(value: float | None) -> float | None:
    """Return the value, or None if it is not finite (JSON has no such number)."""
    return value if value is not None and math.isfinite(value) else None


def rounded(value: float | None) -> float | None:
    """Return the value rounded to six decimals, or None if it is not finite."""
    return None if value is None or not math.isfinite(value) else round(value, 6)

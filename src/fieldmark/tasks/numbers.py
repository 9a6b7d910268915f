"""Numbers of answers as JSON and tables hold them."""

from __future__ import annotations

import math


def finite(value: float | None) -> float | None:
    """The value, or None where JSON has no number for it."""
    return value if value is not None and math.isfinite(value) else None


def rounded(value: float | None) -> float | None:
    """The value to six digits, or None where JSON has no number for it."""
    return None if value is None or not math.isfinite(value) else round(value, 6)

"""Formatting of numbers and texts for people."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from fieldmark.reporting.contents import Fact

_UNFIT = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef"
    + "".join(f"{chr(plane + 0xFFFE)}{chr(plane + 0xFFFF)}" for plane in range(0, 0x110000, 0x10000))
    + "]"
)
"""Control characters except tab and line ends, lone surrogates, and code points that are never characters."""


def number(value: float) -> str:
    """Format a number: a score with three decimals, a larger number with fewer, a count with thousands separators.

    Example:
        >>> number(0.61234), number(1234), number(88.0), number(0.000012)
        ('0.612', '1,234', '88', '1.2e-05')
    """
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else ("infinite" if value > 0 else "minus infinite")
    if value == int(value) and abs(value) < 1e15:
        # The float 1.0 is a score, the integer 1 is a count.
        return f"{value:.3f}" if isinstance(value, float) and abs(value) <= 1 else f"{int(value):,}"
    if abs(value) < 0.001:
        return f"{value:.2g}"
    return f"{value:,.3f}" if abs(value) < 10 else f"{value:,.1f}"


def percent(share: float) -> str:
    r"""Format a share (0 to 1) in percent, with a no-break space before the percent sign.

    Example:
        >>> percent(0.6123), percent(0.004), percent(1)
        ('61\xa0%', '0.4\xa0%', '100\xa0%')
    """
    if not math.isfinite(share):
        return number(share)
    places = 1 if 0 < abs(share) < 0.0995 else 0
    return f"{100 * share:.{places}f}\xa0%"


def likelihood(proba: float) -> str:
    r"""Format a probability in percent, but never as 0 % or 100 %.

    Example:
        >>> likelihood(0.6123), likelihood(0.9991), likelihood(0.0)
        ('61\xa0%', '>99\xa0%', '<0.1\xa0%')
    """
    if 0.995 <= proba <= 1:
        return ">99\xa0%"
    return "<0.1\xa0%" if 0 <= proba < 0.0005 else percent(proba)


def duration(seconds: float) -> str:
    """Format a time in its two largest units.

    Example:
        >>> duration(0.31), duration(42), duration(3725), duration(90061)
        ('0.3 s', '42 s', '1 h 2 min', '1 d 1 h')
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    rest = round(seconds)
    if rest < 60:
        return f"{rest} s"
    minutes, seconds_left = divmod(rest, 60)
    if minutes < 60:
        return f"{minutes} min {seconds_left} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"


def counted(count: int, one: str, many: str | None = None) -> str:
    """Format a count with its noun in singular or plural.

    Example:
        >>> counted(1, "photo"), counted(1200, "photo"), counted(2, "identity", "identities")
        ('1 photo', '1,200 photos', '2 identities')
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def ordinal(place: int) -> str:
    """Format a place in a ranking.

    Example:
        >>> ordinal(1), ordinal(2), ordinal(13), ordinal(23)
        ('1st', '2nd', '13th', '23rd')
    """
    ending = "th" if place % 100 in {11, 12, 13} else {1: "st", 2: "nd", 3: "rd"}.get(place % 10, "th")
    return f"{place}{ending}"


def printable(text: str) -> str:
    r"""Replace characters that a page may not contain (control characters, lone surrogates) by U+FFFD.

    Example:
        >>> printable("fluke\x00.jpg")
        'fluke�.jpg'
    """
    return _UNFIT.sub("\ufffd", text)


def no_break(text: str) -> str:
    r"""Put a no-break space between a number and its percent sign.

    Example:
        >>> no_break("61 % of the photos")
        '61\xa0% of the photos'
    """
    return text.replace(" %", "\xa0%")


def grouped(values: Mapping[str, Any]) -> list[tuple[str, list[Fact]]]:
    """Group the values of a manifest under headings: plain values first, then one group per mapping.

    Example:
        >>> [heading for heading, _ in grouped({"versions": {"numpy": "2.4"}, "seed": 7})]
        ['Run', 'Versions']
    """
    alone = {name: value for name, value in values.items() if not isinstance(value, Mapping)}
    groups = [("Run", flattened(alone))]
    for name, value in values.items():
        if isinstance(value, Mapping):
            groups.append((name[:1].upper() + name[1:], flattened(value)))
    return [(heading, facts) for heading, facts in groups if facts]


def flattened(values: Mapping[str, Any], *, prefix: str = "") -> list[Fact]:
    """Return a nested mapping as a flat list of facts, with names joined by a middle dot.

    Example:
        >>> flattened({"seed": 7, "net": {"head": {"scale": 16}}})[1]
        Fact(name='net · head · scale', value='16', note='')
    """
    facts: list[Fact] = []
    for name, value in values.items():
        full = f"{prefix} · {name}" if prefix else str(name)
        if isinstance(value, Mapping):
            facts.extend(flattened(value, prefix=full))
        elif isinstance(value, list | tuple):
            facts.append(Fact(full, ", ".join(str(one) for one in value)))
        else:
            facts.append(Fact(full, "" if value is None else str(value)))
    return facts

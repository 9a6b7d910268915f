"""The page of a leakage audit: how well labels can be predicted without the images, per side feature."""

from __future__ import annotations

from dataclasses import dataclass

from fieldmark.reporting.contents import Fact
from fieldmark.reporting.rendering import rendered


@dataclass(frozen=True, slots=True)
class GainRow:
    """The predictions of one target from one side feature. Shares are 0 to 1.

    ``blind`` is the score of the baseline and ``guessed`` the score of the side feature. ``gain`` is their difference,
    with its interval from ``low`` to ``high``.
    """

    target: str
    side_feature: str
    meaning: str
    share_given: float
    blind: float
    guessed: float
    gain: float
    low: float
    high: float
    verdict: str
    is_leak: bool


@dataclass(frozen=True, slots=True)
class CopyRow:
    """Number of photos whose copies have the same answer, and number whose copies have another answer."""

    kind: str
    target: str
    n_same: int
    n_other: int


@dataclass(frozen=True, slots=True)
class CrossingRow:
    """Number of photos of one part that have a copy in another part."""

    kind: str
    part: str
    other: str
    n_photos: int
    n_copied: int


@dataclass(frozen=True)
class LeaksPage:
    """Content of the page. Empty attributes have no section on the page.

    A side feature is called a leak if its gain is at least ``worth``, or if its score is at least ``worth_times`` the
    score of the baseline.
    """

    title: str
    summary: str
    facts: tuple[Fact, ...]
    worth: float
    worth_times: float
    gains: tuple[GainRow, ...] = ()
    copies: tuple[CopyRow, ...] = ()
    crossings: tuple[CrossingRow, ...] = ()


def leaks_page(page: LeaksPage) -> str:
    """Return the page as one HTML text. It loads nothing, runs no script, and escapes every name."""
    sections = (
        ("facts", "At a glance", True),
        ("gains", "Side features", page.gains),
        ("copies", "Copies", page.copies),
        ("crossings", "Copies across parts", page.crossings),
    )
    return rendered("leaks.html", page=page, sections=sections, aspect=1.0)

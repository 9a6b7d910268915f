"""The page of an audit: what can be guessed without the pictures, from which side feature, and how surely."""

from __future__ import annotations

from dataclasses import dataclass

from fieldmark.reporting.contents import Fact
from fieldmark.reporting.rendering import rendered

SECTIONS = {"gains": "NGramFeatures", "copies": "Copies", "crossings": "Across parts"}


@dataclass(frozen=True, slots=True)
class GainRow:
    """One side feature on one target; shares are 0-1, ``gain`` is ``guessed - blind`` with its interval ``low`` to ``high``."""

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
    """How many photos have the answer that their copies have, and how many another."""

    kind: str
    target: str
    n_same: int
    n_other: int


@dataclass(frozen=True, slots=True)
class CrossingRow:
    """How many of a part's photos lie in another part too."""

    kind: str
    part: str
    other: str
    n_photos: int
    n_copied: int


@dataclass(frozen=True)
class LeaksPage:
    """All that the page shows; what is empty is left out.

    ``worth`` is the least gain that is called a leak, unless guesses are ``worth_times`` as often right as blind ones.
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
    """The page as one HTML text: no network, no script, every name inert."""
    told = [(anchor, words) for anchor, words in SECTIONS.items() if getattr(page, anchor)]
    return rendered("leaks.html", page=page, sections=[("facts", "At a glance"), *told], aspect=1.0)

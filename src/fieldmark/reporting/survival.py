"""A page about how addresses die: what came, what did not and why, host by host and check by check."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from fieldmark.reporting.contents import Fact
from fieldmark.reporting.rendering import rendered

SECTIONS = {"causes": "What is missing", "hosts": "Hosts", "checks": "Over time", "duplicates": "Same pictures"}


@dataclass(frozen=True, slots=True)
class CauseRow:
    """Why photos are missing: the cause, how many, and what it means."""

    name: str
    n: int
    meaning: str


@dataclass(frozen=True, slots=True)
class HostRow:
    """One host: its addresses, those that give their photo, and what the others do, in words."""

    name: str
    n: int
    n_alive: int
    others: str


@dataclass(frozen=True, slots=True)
class CheckRow:
    """One run: when, what it asked for, addresses asked, those that gave a photo, kept photos that no longer came."""

    at: dt.datetime
    again: str
    n_asked: int
    n_alive: int
    n_lost: int


@dataclass(frozen=True)
class SurvivalPage:
    """All that the page shows; what is empty is left out."""

    title: str
    summary: str
    facts: tuple[Fact, ...]
    causes: tuple[CauseRow, ...] = ()
    hosts: tuple[HostRow, ...] = ()
    checks: tuple[CheckRow, ...] = ()
    duplicates: tuple[tuple[str, ...], ...] = ()


def survival_page(page: SurvivalPage) -> str:
    """The page as one HTML text: no network, no script, every name inert."""
    told = [(anchor, words) for anchor, words in SECTIONS.items() if getattr(page, anchor)]
    return rendered("survival.html", page=page, sections=[("facts", "At a glance"), *told], aspect=1.0)

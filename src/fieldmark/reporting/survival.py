"""The page of a download: how many addresses still give their photo, per cause, host and run."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from fieldmark.reporting.contents import Fact
from fieldmark.reporting.rendering import rendered


@dataclass(frozen=True, slots=True)
class CauseRow:
    """One cause of missing photos: its name, the number of photos, and its meaning."""

    name: str
    n: int
    meaning: str


@dataclass(frozen=True, slots=True)
class HostRow:
    """One host: the number of its addresses, the number that give their photo, and the results of the others."""

    name: str
    n: int
    n_alive: int
    others: str


@dataclass(frozen=True, slots=True)
class CheckRow:
    """One run of the download.

    Attributes:
        at: Start of the run.
        again: Which addresses it requested, in words.
        n_asked: Number of requested addresses.
        n_alive: Number of addresses that gave a photo.
        n_lost: Number of photos that are on disk, but that the host no longer gives.
    """

    at: dt.datetime
    again: str
    n_asked: int
    n_alive: int
    n_lost: int


@dataclass(frozen=True)
class SurvivalPage:
    """Content of the page. Empty attributes have no section on the page."""

    title: str
    summary: str
    facts: tuple[Fact, ...]
    causes: tuple[CauseRow, ...] = ()
    hosts: tuple[HostRow, ...] = ()
    checks: tuple[CheckRow, ...] = ()
    duplicates: tuple[tuple[str, ...], ...] = ()


def survival_page(page: SurvivalPage) -> str:
    """Return the page as one HTML text. It loads nothing, runs no script, and escapes every name."""
    sections = (
        ("facts", "At a glance", True),
        ("causes", "Missing photos", page.causes),
        ("hosts", "Hosts", page.hosts),
        ("checks", "Over time", page.checks),
        ("duplicates", "Same pictures", page.duplicates),
    )
    return rendered("survival.html", page=page, sections=sections, aspect=1.0)

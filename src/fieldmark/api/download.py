"""The kind *download*: from a table of addresses to a folder of photos with a journal."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from fieldmark.core.errors import FieldmarkError
from fieldmark.core.progress import ShowProgress, shown_by

if TYPE_CHECKING:
    from aiohttp.abc import AbstractResolver

    from fieldmark.downloads.engine import Tally
    from fieldmark.downloads.results import Holdings, Verdict
    from fieldmark.downloads.specs import Again, Fetching
    from fieldmark.reporting.survival import SurvivalPage

PAGE = "survival.html"


@dataclass(frozen=True)
class Downloaded:
    """What a download left.

    Attributes:
        folder: Where the photos lie.
        table: The photos as a table that ``fieldmark.train`` reads.
        tally: What this run asked and got.
        holdings: What the folder holds now, with all that is missing, and why.
        n_repeats: Rows of the table that named a photo again.
        shards: Tar files made in this run.
        verdict: How the photos stand to the manifest, or None without one.
        page: The page about how addresses die.
    """

    folder: Path
    table: Path
    tally: Tally
    holdings: Holdings
    n_repeats: int
    shards: tuple[Path, ...]
    verdict: Verdict | None
    page: Path


def download(
    table: Path | str,
    *,
    out: Path | str,
    again: Again = "failed",
    urls: Sequence[str] = (),
    columns: Mapping[str, str] | None = None,
    encoding: str = "utf-8",
    manifest: Path | str | None = None,
    fetching: Fetching | None = None,
    resolver: AbstractResolver | None = None,
    progress: ShowProgress = None,
) -> Downloaded:
    """Get the photos that a table names by their addresses, and note what became of each address.

    The same call again asks only for what failed. A kill at any moment loses no photo that was whole.

    Args:
        table: A CSV, TSV, Parquet or JSON file (COCO, iMaterialist) with ids and addresses.
        out: The folder of the download; made if absent.
        again: ``failed`` asks for what is not here and may yet come; ``gone`` also for what is said to be gone for
            good; ``all`` also asks whether the photos that are here are still the same.
        urls: The columns of addresses, the preferred first; by default all that are called url, url2 and so on.
        columns: Which column is the id: ``{"image": "photo_id"}``.
        encoding: How a text table is written.
        manifest: The ``manifest.csv`` of another download: no other pictures than it names are taken.
        fetching: Limits and manners; see ``fieldmark.downloads.specs.Fetching``.
        resolver: Who looks host names up; None for the system.
        progress: Show a bar: None in a terminal or notebook only, True always, False never.

    Raises:
        DataError: There is no such table, or rows lack an id or address; all are told.
        RunError: The folder holds something else, another download works in it, or the disk is full.
        FieldmarkError: The packages of the extra ``download`` are not installed.
    """
    progress = shown_by(progress)
    if find_spec("aiohttp") is None:
        raise FieldmarkError(
            "Downloads need a package that is not installed.",
            got="aiohttp",
            fix='pip install "fieldmark[download]"',
        )
    from fieldmark.core.files import write_text
    from fieldmark.downloads.addresses import also_at
    from fieldmark.downloads.engine import fetch
    from fieldmark.downloads.journal import Journal
    from fieldmark.downloads.results import TABLE, holdings, verify, write_tables
    from fieldmark.downloads.shards import pack
    from fieldmark.downloads.specs import Fetching
    from fieldmark.downloads.wanted import read_manifest, read_wanted
    from fieldmark.reporting.survival import survival_page

    manners, folder = fetching or Fetching(), Path(out)
    wanted = read_wanted(Path(table), urls=urls, columns=columns, encoding=encoding)
    digests = {} if manifest is None else read_manifest(Path(manifest), encoding=encoding)
    with Journal(folder) as journal:
        journal.want({image: also_at(each, manners.mirrors) for image, each in wanted.urls.items()})
        photos = journal.to_ask(again)
        visit = journal.begin(again, at=time.time())
        tally = fetch(photos, journal, manners, visit=visit, wanted=digests, resolver=resolver, progress=progress)
        shards = () if manners.n_a_shard is None else tuple(pack(journal, n_a_shard=manners.n_a_shard))
        verdict = None if manifest is None else verify(journal, digests, progress=progress)
        found = holdings(journal)
        write_tables(journal, wanted.table, found)
    write_text(folder / PAGE, survival_page(_page(found, folder.resolve().name)))
    return Downloaded(folder, folder / TABLE, tally, found, wanted.n_repeats, shards, verdict, folder / PAGE)


def _page(found: Holdings, title: str) -> SurvivalPage:
    """What the page about a download shows."""
    from fieldmark.downloads.causes import CAUSES
    from fieldmark.reporting.contents import Fact
    from fieldmark.reporting.survival import CauseRow, CheckRow, HostRow, SurvivalPage
    from fieldmark.reporting.wording import number, percent

    lives = found.survival
    a_day = "not known yet" if lives.a_day is None else f"{100 * lives.a_day:.3g} %"
    share = percent(found.n_here / found.n_wanted) if found.n_wanted else ""
    return SurvivalPage(
        title=title,
        summary=f"{found.n_here:,} of {found.n_wanted:,} photos are here.",
        facts=(
            Fact("photos here", f"{found.n_here:,}", f"{share} of {found.n_wanted:,}"),
            Fact(
                "lost a day",
                a_day,
                f"{lives.n_lost:,} lost in {number(lives.days_watched)} days, summed over addresses",
            ),
            Fact("other picture at the same address", f"{len(found.changed):,}", "the first one stays the photo"),
            Fact("same picture under several ids", f"{len(found.duplicates):,}", "often a host's picture of nothing"),
        ),
        causes=tuple(CauseRow(name, n, CAUSES[name].meaning) for name, n in found.causes.items()),
        hosts=tuple(
            HostRow(one.host, one.n, one.n_here, ", ".join(f"{n:,} {cause}" for cause, n in one.causes.items()))
            for one in lives.hosts
        ),
        checks=tuple(CheckRow(one.at, one.again, one.n_asked, one.n_alive, one.n_lost) for one in lives.checks),
        duplicates=found.duplicates,
    )

"""The function ``download``: photos from a table of web addresses, with a record of each address."""

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
    """The result of a download.

    Attributes:
        folder: Folder of the photos.
        table: Table of the photos, which ``fieldmark.train`` reads.
        tally: Numbers of requests and photos in this call.
        holdings: Contents of the folder: photos, missing photos, and the causes.
        n_repeats: Number of rows that repeat a photo.
        shards: Tar files written in this call.
        verdict: Comparison of the photos with the manifest; None without a manifest.
        page: HTML page about lost addresses.
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
    """Download the photos of a table of web addresses, and record the result for each address.

    The same call retries only the failed addresses. After a kill at any moment, all complete photos are kept.

    Args:
        table: CSV, TSV, Parquet or JSON file (COCO, iMaterialist) with ids and addresses.
        out: Folder of the download; created if it does not exist.
        again: Addresses to request in an existing folder. ``failed``: missing photos that may still be available.
            ``gone``: also those that the host reports as permanently gone. ``all``: also checks whether the photos in
            the folder have changed.
        urls: Columns of addresses, the preferred first; empty: all columns named url, url2 and so on.
        columns: Name of the id column in the table: ``{"image": "photo_id"}``.
        encoding: Text encoding of the table.
        manifest: ``manifest.csv`` of another download: only the pictures that it lists are accepted.
        fetching: Limits and rules for requests; see ``fieldmark.downloads.specs.Fetching``.
        resolver: Resolver of host names; None: that of the system.
        progress: Whether to show a progress bar; None: only in a terminal or notebook.

    Raises:
        DataError: The table does not exist, or rows lack an id or an address; the error lists all.
        RunError: The folder holds other files, another download is using it, or the disk is full.
        FieldmarkError: The packages of the extra ``download`` are not installed.
    """
    progress = shown_by(progress)
    if find_spec("aiohttp") is None:
        raise FieldmarkError(
            "download needs a package that is not installed.",
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

    limits, folder = fetching or Fetching(), Path(out)
    wanted = read_wanted(Path(table), urls=urls, columns=columns, encoding=encoding)
    digests = {} if manifest is None else read_manifest(Path(manifest), encoding=encoding)
    with Journal(folder) as journal:
        journal.want({image: also_at(each, limits.mirrors) for image, each in wanted.urls.items()})
        photos = journal.to_ask(again)
        visit = journal.begin(again, at=time.time())
        tally = fetch(photos, journal, limits, visit=visit, wanted=digests, resolver=resolver, progress=progress)
        shards = () if limits.n_a_shard is None else tuple(pack(journal, n_a_shard=limits.n_a_shard))
        verdict = None if manifest is None else verify(journal, digests, progress=progress)
        found = holdings(journal)
        write_tables(journal, wanted.table, found)
    write_text(folder / PAGE, survival_page(_page(found, folder.resolve().name)))
    return Downloaded(folder, folder / TABLE, tally, found, wanted.n_repeats, shards, verdict, folder / PAGE)


def _page(found: Holdings, title: str) -> SurvivalPage:
    """Return the contents of the page about a download."""
    from fieldmark.downloads.causes import CAUSES
    from fieldmark.reporting.contents import Fact
    from fieldmark.reporting.survival import CauseRow, CheckRow, HostRow, SurvivalPage
    from fieldmark.reporting.wording import number, percent

    survival = found.survival
    a_day = "not yet known" if survival.a_day is None else f"{100 * survival.a_day:.3g} %"
    share = percent(found.n_here / found.n_wanted) if found.n_wanted else ""
    return SurvivalPage(
        title=title,
        summary=f"{found.n_here:,} of {found.n_wanted:,} photos are downloaded.",
        facts=(
            Fact("photos downloaded", f"{found.n_here:,}", f"{share} of {found.n_wanted:,}"),
            Fact(
                "addresses lost per day",
                a_day,
                f"{survival.n_lost:,} lost in {number(survival.days_watched)} days, summed over addresses",
            ),
            Fact("changed pictures at the same address", f"{len(found.changed):,}", "the first picture is kept"),
            Fact("pictures with several ids", f"{len(found.duplicates):,}", "often a placeholder of the host"),
        ),
        causes=tuple(CauseRow(name, n, CAUSES[name].meaning) for name, n in found.causes.items()),
        hosts=tuple(
            HostRow(one.host, one.n, one.n_here, ", ".join(f"{n:,} {cause}" for cause, n in one.causes.items()))
            for one in survival.hosts
        ),
        checks=tuple(CheckRow(one.at, one.again, one.n_asked, one.n_alive, one.n_lost) for one in survival.checks),
        duplicates=found.duplicates,
    )

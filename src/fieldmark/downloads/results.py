"""What a download has to show: the photos as a table to train on, a manifest, the failures, and how addresses die."""

from __future__ import annotations

import datetime as dt
import io
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from fieldmark.core.files import sha256, write_bytes
from fieldmark.core.progress import QUIET, Progress
from fieldmark.downloads.addresses import without_secrets
from fieldmark.downloads.journal import Journal

TABLE = "collection.parquet"
MANIFEST = "manifest.csv"
FAILURES = "failures.csv"
SURVIVAL = "survival.csv"
DAY_S = 86_400.0


@dataclass(frozen=True)
class HostFate:
    """One host: how many photos were wanted of it, how many of them are here, why others are not."""

    host: str
    n: int
    n_here: int
    causes: Mapping[str, int]


@dataclass(frozen=True)
class Check:
    """One run: when, how many addresses were asked, how many gave their photo, how many kept ones no longer did."""

    at: dt.datetime
    again: str
    n_asked: int
    n_alive: int
    n_lost: int


@dataclass(frozen=True)
class Survival:
    """How addresses die.

    Attributes:
        n_asked: Addresses that were asked at least once.
        n_ever: Of those, that ever gave a photo.
        n_lost: Of those, that no longer did when they were last asked.
        days_watched: The days from first photo to last or to loss, summed over addresses.
        a_day: The share lost a day: losses by days watched; None before an address was asked on another day.
        checks: The runs so far.
        hosts: By host, those with most photos missing first.
    """

    n_asked: int
    n_ever: int
    n_lost: int
    days_watched: float
    a_day: float | None
    checks: tuple[Check, ...]
    hosts: tuple[HostFate, ...]


@dataclass(frozen=True)
class Holdings:
    """All that a download's folder holds, runs before this one included.

    Attributes:
        n_wanted: Photos the table wants.
        n_here: Of those, that are here.
        n_bytes: Of the photos as they came.
        causes: How many photos are missing by the cause that their first address gave.
        changed: Ids whose address later gave another picture; it lies beside the first, which stays the photo.
        near-duplicates: Ids that have the very same picture, each group once.
        survival: How addresses die.
    """

    n_wanted: int
    n_here: int
    n_bytes: int
    causes: Mapping[str, int]
    changed: tuple[str, ...]
    duplicates: tuple[tuple[str, ...], ...]
    survival: Survival


def holdings(journal: Journal) -> Holdings:
    """What the journal says now, of all that its last table wants."""
    here = dict(journal.rows("SELECT image, sum(n_bytes) FROM address WHERE wanted AND state = 'done' GROUP BY image"))
    ((n_wanted,),) = journal.rows("SELECT count(DISTINCT image) FROM address WHERE wanted")
    causes: Counter[str] = Counter()
    question = (
        "SELECT image, coalesce(cause, 'not_asked') FROM address WHERE wanted AND state != 'done' ORDER BY image, place"
    )
    missing: dict[str, str] = {}
    for image, cause in journal.rows(question):
        if image not in here:
            missing.setdefault(image, cause)
    causes.update(missing.values())
    changed = journal.rows("SELECT DISTINCT image FROM version JOIN address USING (key) WHERE wanted ORDER BY image")
    return Holdings(
        n_wanted=n_wanted,
        n_here=len(here),
        n_bytes=sum(here.values()),
        causes=dict(causes.most_common()),
        changed=tuple(image for (image,) in changed),
        duplicates=_duplicates(journal),
        survival=survival(journal),
    )


def _duplicates(journal: Journal) -> tuple[tuple[str, ...], ...]:
    """Groups of ids with the same bytes, the largest first: often a host's picture that says "not available"."""
    groups: dict[str, list[str]] = {}
    question = "SELECT DISTINCT sha256, image FROM address WHERE wanted AND state = 'done' ORDER BY image"
    for digest, image in journal.rows(question):
        groups.setdefault(digest, []).append(image)
    found = [tuple(images) for images in groups.values() if len(images) > 1]
    return tuple(sorted(found, key=lambda images: (-len(images), images)))


def survival(journal: Journal) -> Survival:
    """How addresses die, over all runs.

    The share lost a day is that of a constant risk: losses divided by the days over which addresses were watched.

    Source: ours; the estimate is the maximum-likelihood one of an exponential lifetime with censoring (Epstein and
    Sobel 1953). That addresses of contests die at about 0.1 % a day is told by those who downloaded them late.
    """
    ((n_asked, n_ever, n_lost, days),) = journal.rows(
        "SELECT count(first_at), count(alive_from), count(CASE WHEN alive_from NOT NULL THEN lost_at END), "
        "coalesce(sum(coalesce(lost_at, alive_to) - alive_from), 0) / ? FROM address WHERE wanted",
        (DAY_S,),
    )
    checks = [
        Check(dt.datetime.fromtimestamp(began, tz=dt.UTC), again, asked, alive, lost)
        for began, again, asked, alive, lost in journal.rows(
            "SELECT began, again, asked, alive, lost FROM visit WHERE asked > 0 ORDER BY number"
        )
    ]
    return Survival(
        n_asked=n_asked,
        n_ever=n_ever,
        n_lost=n_lost,
        days_watched=days,
        a_day=n_lost / days if days >= 0.5 else None,
        checks=tuple(checks),
        hosts=_hosts(journal),
    )


def _hosts(journal: Journal) -> tuple[HostFate, ...]:
    """The hosts of the addresses that were asked, each with its answers."""
    found: dict[str, Counter[str]] = {}
    question = (
        "SELECT host, CASE WHEN state = 'done' AND lost_at IS NULL THEN '' ELSE cause END, count(*) FROM address "
        "WHERE wanted AND (state = 'done' OR cause NOT NULL) GROUP BY 1, 2"
    )
    for host, cause, n in journal.rows(question):
        found.setdefault(host, Counter())[cause] += n
    hosts = [
        HostFate(host, counts.total(), counts[""], {cause: n for cause, n in counts.most_common() if cause})
        for host, counts in found.items()
    ]
    return tuple(sorted(hosts, key=lambda one: (one.n_here - one.n, one.host)))


def write_tables(journal: Journal, table: pl.DataFrame, found: Holdings) -> None:
    """Write ``collection.parquet``, ``manifest.csv``, ``failures.csv`` and ``survival.csv`` into the folder.

    ``collection.parquet`` is what ``fieldmark train`` reads: ``image``, ``file``, ``url`` and the columns of ``table``.
    Machine files: nothing in them is altered for spreadsheets, but names and passwords in addresses are left out.

    Args:
        journal: Of the download.
        table: A row a photo, with ``image``.
        found: What the journal says.
    """
    columns = ("image", "url", "file", "sha256", "kept_sha256", "n_bytes", "width", "height")
    rows = journal.rows(
        f"SELECT {', '.join(columns)} FROM address WHERE wanted AND state = 'done' GROUP BY image ORDER BY image"  # noqa: S608 - our own names
    )
    kinds = [pl.String] * 5 + [pl.Int64] * 3
    photos = pl.DataFrame(rows, schema=dict(zip(columns, kinds, strict=True)), orient="row")
    photos = photos.with_columns(url=pl.col("url").map_elements(without_secrets, return_dtype=pl.String))
    _csv(journal.folder / MANIFEST, photos)
    ours = photos.select("image", "file", "url")
    others = table.drop("url", "file", strict=False)
    whole = others.join(ours, on="image", how="inner", maintain_order="left")
    whole = whole.select("image", "file", "url", *(name for name in others.columns if name != "image"))
    buffer = io.BytesIO()
    whole.write_parquet(buffer)
    write_bytes(journal.folder / TABLE, buffer.getvalue())

    columns = ("image", "url", "state", "cause", "status", "detail", "tries")
    rows = journal.rows(
        f"SELECT {', '.join(columns)} FROM address WHERE wanted AND state != 'done' ORDER BY image, place"  # noqa: S608 - our own names
    )
    failures = pl.DataFrame([[str(cell or "") for cell in row] for row in rows], schema=columns, orient="row")
    _csv(
        journal.folder / FAILURES,
        failures.with_columns(pl.col("url").map_elements(without_secrets, return_dtype=pl.String)),
    )
    lives = [
        (c.at.isoformat(timespec="seconds"), c.again, c.n_asked, c.n_alive, c.n_lost) for c in found.survival.checks
    ]
    _csv(
        journal.folder / SURVIVAL,
        pl.DataFrame(lives, schema=["began", "again", "asked", "alive", "lost"], orient="row"),
    )


def _csv(path: Path, table: pl.DataFrame) -> None:
    write_bytes(path, table.write_csv().encode())


@dataclass(frozen=True)
class Verdict:
    """How the photos here stand to a manifest.

    Attributes:
        n_same: Photos whose bytes are the manifest's.
        missing: Ids that are not here.
        other: Ids whose picture is another, or whose file was altered since.
    """

    n_same: int
    missing: tuple[str, ...]
    other: tuple[str, ...]


def verify(journal: Journal, manifest: Mapping[str, str], *, progress: Progress = QUIET) -> Verdict:
    """Hold the photos here against a manifest; every file is read.

    A photo that was made smaller cannot have the manifest's bytes; it is judged by the bytes it was made of, and its
    file by the hash noted then.

    Args:
        journal: Of the download.
        manifest: The SHA-256 of each id.
        progress: Told as files are read.
    """
    noted = {
        image: (file, came, kept)
        for image, file, came, kept in journal.rows(
            "SELECT image, file, sha256, kept_sha256 FROM address WHERE state = 'done'"
        )
    }
    missing, other = [], []
    for image, digest in progress.track(manifest.items(), total=len(manifest), what="verified"):
        if image not in noted:
            missing.append(image)
            continue
        file, came, kept = noted[image]
        path = journal.folder / file
        if came != digest or not path.is_file() or sha256(path) != kept:
            other.append(image)
    n_same = len(manifest) - len(missing) - len(other)
    return Verdict(n_same, tuple(sorted(missing)), tuple(sorted(other)))

"""Results of a download: a table for training, a manifest, the failures, and the loss of URLs over time."""

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
    """Counts of one host: requested photos, stored photos, and causes of missing photos."""

    host: str
    n: int
    n_here: int
    causes: Mapping[str, int]


@dataclass(frozen=True)
class Check:
    """Counts of one run: requests, URLs that returned a photo, and URLs that no longer returned a stored photo."""

    at: dt.datetime
    again: str
    n_asked: int
    n_alive: int
    n_lost: int


@dataclass(frozen=True)
class Survival:
    """Loss of URLs over time.

    Attributes:
        n_asked: Number of URLs with at least one request.
        n_ever: Number of these URLs that ever returned a photo.
        n_lost: Number of the latter that did not return a photo at the last request.
        days_watched: Days from the first photo to the last photo or to the loss, summed over URLs.
        a_day: Share of URLs lost per day: ``n_lost / days_watched``; None if there are less than 0.5 days.
        checks: Runs so far.
        hosts: Counts by host, the hosts with most missing photos first.
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
    """Content of a download folder, including earlier runs.

    Attributes:
        n_wanted: Number of photos in the table.
        n_here: Number of these photos that are stored.
        n_bytes: Total size of the received photos, in bytes.
        causes: Number of missing photos, by the cause at their first URL.
        changed: Ids whose URL later returned a different photo. It is stored next to the first photo, which stays in
            use.
        duplicates: Groups of ids with exactly the same photo.
        survival: Loss of URLs over time.
    """

    n_wanted: int
    n_here: int
    n_bytes: int
    causes: Mapping[str, int]
    changed: tuple[str, ...]
    duplicates: tuple[tuple[str, ...], ...]
    survival: Survival


def holdings(journal: Journal) -> Holdings:
    """Return the current content of a download, for the photos of its last table."""
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
    """Return groups of ids with the same bytes, the largest first: often a picture with the text "not available"."""
    groups: dict[str, list[str]] = {}
    question = "SELECT DISTINCT sha256, image FROM address WHERE wanted AND state = 'done' ORDER BY image"
    for digest, image in journal.rows(question):
        groups.setdefault(digest, []).append(image)
    found = [tuple(images) for images in groups.values() if len(images) > 1]
    return tuple(sorted(found, key=lambda images: (-len(images), images)))


def survival(journal: Journal) -> Survival:
    """Estimate the loss of URLs over all runs.

    The share lost per day assumes a constant risk: the number of lost URLs divided by the observed days.

    Source: ours; the estimate is the maximum-likelihood estimate of an exponential lifetime with censoring (Epstein
    and Sobel 1953). Participants who downloaded contest photos late report a loss of about 0.1 % per day.
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
    """Return the counts of each requested host."""
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

    ``fieldmark train`` reads ``collection.parquet``: ``image``, ``file``, ``url`` and the columns of ``table``. The
    files are written for programs, so formulas are not escaped. User names and passwords in URLs are removed.

    Args:
        journal: Journal of the download.
        table: Table with one row per photo and the column ``image``.
        found: Content of the download.
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
    """Result of comparing the stored photos with a manifest.

    Attributes:
        n_same: Number of photos with the SHA-256 of the manifest.
        missing: Ids without a stored photo.
        other: Ids with a different photo, or whose file was changed later.
    """

    n_same: int
    missing: tuple[str, ...]
    other: tuple[str, ...]


def verify(journal: Journal, manifest: Mapping[str, str], *, progress: Progress = QUIET) -> Verdict:
    """Compare the stored photos with a manifest. Every file is read.

    A resized photo has different bytes from the manifest. For it, the recorded SHA-256 of the received bytes is
    compared with the manifest, and its file with the SHA-256 recorded after resizing.

    Args:
        journal: Journal of the download.
        manifest: SHA-256 of each id.
        progress: Receives the number of files read.
    """
    noted = {
        image: (file, came, kept)
        for image, file, came, kept in journal.rows(
            "SELECT image, file, sha256, kept_sha256 FROM address WHERE state = 'done'"
        )
    }
    missing, other = [], []
    for image, digest in progress.track(manifest.items(), total=len(manifest), what="verifying files"):
        if image not in noted:
            missing.append(image)
            continue
        file, came, kept = noted[image]
        path = journal.folder / file
        if came != digest or not path.is_file() or sha256(path) != kept:
            other.append(image)
    n_same = len(manifest) - len(missing) - len(other)
    return Verdict(n_same, tuple(sorted(missing)), tuple(sorted(other)))

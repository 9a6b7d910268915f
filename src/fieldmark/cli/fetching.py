"""The options of ``fieldmark download``, and their conversion to settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fieldmark.api.recipe_plans import pairs
from fieldmark.cli.options import PATH, Command
from fieldmark.core.errors import FieldmarkError

if TYPE_CHECKING:
    from fieldmark.downloads.specs import Fetching

PHOTOS_PER_SHARD = 1000
"""Photos in one tar file."""

_OPTIONS = (
    click.option("--out", type=PATH, required=True, help="Folder of the download; created if it does not exist."),
    click.option(
        "--again",
        type=click.Choice(["failed", "gone", "all"]),
        default="failed",
        show_default=True,
        help="Addresses to request again in an existing folder: failed ones, also permanently gone ones, or all.",
    ),
    click.option(
        "--urls",
        multiple=True,
        metavar="COLUMN",
        help="Column of addresses (default: all named url, url2 ...). Repeatable.",
    ),
    click.option(
        "--column", multiple=True, metavar="OURS=THEIRS", help="Name of the id column in the table: image=photo_id."
    ),
    click.option("--encoding", metavar="NAME", default="utf-8", show_default=True, help="Text encoding of the table."),
    click.option(
        "--mirror",
        multiple=True,
        metavar="PATTERN=REPLACEMENT",
        help="Rewrite of addresses to a mirror, as a regular expression; tried last. Repeatable.",
    ),
    click.option(
        "--manifest", type=PATH, help="manifest.csv of another download: accept and verify only its pictures."
    ),
    click.option(
        "--resize", type=click.IntRange(min=1), metavar="PX", help="Save JPEGs whose longer side has at most PX pixels."
    ),
    click.option(
        "--tar",
        is_flag=True,
        help=f"Also pack the photos into tar files of {PHOTOS_PER_SHARD:,} photos, as WebDataset reads them.",
    ),
    click.option(
        "--at-once",
        type=click.IntRange(min=1),
        metavar="N",
        default=64,
        show_default=True,
        help="Number of parallel requests.",
    ),
    click.option(
        "--per-host",
        type=click.IntRange(min=1),
        metavar="N",
        default=8,
        show_default=True,
        help="Parallel requests per host.",
    ),
    click.option(
        "--tries",
        type=click.IntRange(min=1),
        metavar="N",
        default=3,
        show_default=True,
        help="Attempts per address in one run.",
    ),
    click.option(
        "--timeout",
        type=(float, float, float),
        metavar="CONNECT READ TOTAL",
        default=(10.0, 15.0, 60.0),
        help="Time limits in seconds: to connect, without any data, per address (default: 10 15 60).",
    ),
    click.option(
        "--max-mb",
        type=click.IntRange(min=1),
        metavar="N",
        default=50,
        show_default=True,
        help="Maximum size of a photo in MB.",
    ),
    click.option("--header", multiple=True, metavar="NAME=VALUE", help="HTTP header to send. Repeatable."),
    click.option("--like-browser", is_flag=True, help="Send the HTTP headers of a web browser."),
    click.option("--ignore-robots", is_flag=True, help="Ignore robots.txt. Only with the permission of the hosts."),
    click.option("--allow-private", is_flag=True, help="Allow addresses of this machine and of private networks."),
)


def fetching(command: Command) -> Command:
    """Add all options of a download."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def settings(
    *,
    mirror: tuple[str, ...],
    resize: int | None,
    tar: bool,
    at_once: int,
    per_host: int,
    tries: int,
    timeout: tuple[float, float, float],
    max_mb: int,
    header: tuple[str, ...],
    like_browser: bool,
    ignore_robots: bool,
    allow_private: bool,
    workers: int,
) -> Fetching:
    """Return the options as settings of a download.

    Raises:
        FieldmarkError: A mirror is no regular expression, a header is not allowed, or a time limit is not above 0.
    """
    from pydantic import ValidationError

    from fieldmark.downloads.specs import Fetching, Mirror

    rules = pairs(mirror, option="--mirror", example="'^http://old[.]org/=https://new.org/'")
    headers = pairs(header, option="--header", example="Referer=https://example.org/")
    connect_s, gap_s, total_s = timeout
    try:
        return Fetching(
            mirrors=tuple(Mirror(pattern=pattern, replacement=new) for pattern, new in rules.items()),
            resize_px=resize,
            n_a_shard=PHOTOS_PER_SHARD if tar else None,
            n_at_once=at_once,
            n_a_host=min(per_host, at_once),
            tries=tries,
            connect_s=connect_s,
            gap_s=gap_s,
            total_s=total_s,
            max_bytes=max_mb * 2**20,
            headers=tuple(headers.items()),
            like_browser=like_browser,
            obey_robots=not ignore_robots,
            allow_private=allow_private,
            n_workers=max(1, workers),
        )
    except ValidationError as error:
        wrong = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}, got {one['input']!r}" for one in error.errors()]
        raise FieldmarkError(
            "The options of the download are not valid.",
            got="\n".join(wrong),
            fix="type them like --timeout 10 15 60, --header Referer=https://example.org/, --mirror '^http:=https:'",
        ) from error


def table_options(
    *, urls: tuple[str, ...], column: tuple[str, ...], encoding: str, manifest: Path | None
) -> dict[str, Any]:
    """Return the options that describe the table, as arguments of ``fieldmark.download``."""
    columns = pairs(column, option="--column", example="image=photo_id")
    return {"urls": urls, "columns": columns, "encoding": encoding, "manifest": manifest}

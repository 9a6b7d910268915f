"""The options of ``fieldmark download`` and the settings they make."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fieldmark.api.recipe_plans import pairs
from fieldmark.cli.options import PATH, Command
from fieldmark.core.errors import FieldmarkError

if TYPE_CHECKING:
    from fieldmark.downloads.specs import Fetching

A_SHARD = 1000

_OPTIONS = (
    click.option("--out", type=PATH, required=True, help="The folder of the download; made if absent."),
    click.option(
        "--again",
        type=click.Choice(["failed", "gone", "all"]),
        default="failed",
        show_default=True,
        help="What to ask for in a folder that exists: what failed, also what is gone for good, or everything.",
    ),
    click.option(
        "--urls",
        multiple=True,
        metavar="COLUMN",
        help="A column of addresses; may be repeated. By default all url, url2 ...",
    ),
    click.option("--column", multiple=True, metavar="OURS=THEIRS", help="Which column is the id: image=photo_id."),
    click.option("--encoding", default="utf-8", show_default=True, help="How a text table is written."),
    click.option(
        "--mirror", multiple=True, metavar="PATTERN=REPLACEMENT", help="Where photos may lie as well; may be repeated."
    ),
    click.option("--manifest", type=PATH, help="A manifest.csv: take no other pictures than it names, and verify all."),
    click.option(
        "--resize", type=click.IntRange(min=1), metavar="PX", help="Keep JPEGs of at most so many pixels a side."
    ),
    click.option(
        "--tar", is_flag=True, help=f"Also pack the photos into tar files of {A_SHARD:,}, as WebDataset reads them."
    ),
    click.option(
        "--at-once", type=click.IntRange(min=1), default=64, show_default=True, help="Addresses asked at once."
    ),
    click.option("--per-host", type=click.IntRange(min=1), default=8, show_default=True, help="Of those, at one host."),
    click.option("--tries", type=click.IntRange(min=1), default=3, show_default=True, help="Tries an address and run."),
    click.option(
        "--timeout",
        type=(float, float, float),
        metavar="CONNECT READ TOTAL",
        default=(10.0, 15.0, 60.0),
        help="Seconds for a connection, without a byte, and for one address in all; 10 15 60 by default.",
    ),
    click.option("--max-mb", type=click.IntRange(min=1), default=50, show_default=True, help="Megabytes of one photo."),
    click.option("--header", multiple=True, metavar="NAME=VALUE", help="A header to send; may be repeated."),
    click.option("--like-browser", is_flag=True, help="Send the headers that a browser sends."),
    click.option("--ignore-robots", is_flag=True, help="Do not look at robots.txt. Have the hosts' leave for that."),
    click.option("--allow-private", is_flag=True, help="Also ask addresses of this machine and of private networks."),
)


def fetching(command: Command) -> Command:
    """All options of a download."""
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
    """What was typed, as settings.

    Raises:
        FieldmarkError: A mirror's pattern is none, a header cannot be sent, or a time is not above zero.
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
            n_a_shard=A_SHARD if tar else None,
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
            "Such a download cannot be.",
            got="\n".join(wrong),
            fix="--timeout 10 15 60, --header Referer=https://example.org/, --mirror '^http:=https:'",
        ) from error


def asked(*, urls: tuple[str, ...], column: tuple[str, ...], encoding: str, manifest: Path | None) -> dict[str, Any]:
    """How to read the table, as ``fieldmark.download`` takes it."""
    columns = pairs(column, option="--column", example="image=photo_id")
    return {"urls": urls, "columns": columns, "encoding": encoding, "manifest": manifest}

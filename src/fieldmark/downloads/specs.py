"""Settings of a download."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator

from fieldmark.core.spec import Count, Natural, Positive, Spec

Again = Literal["failed", "gone", "all"]
"""URLs that a repeated download requests: failed ones, also permanently failed ones, or all including stored photos."""


class Mirror(Spec):
    r"""A rule for further URLs: each URL that matches ``pattern`` gives another one.

    Attributes:
        pattern: Regular expression, searched in the URL.
        replacement: Replacement for the match; ``\1`` is the first group.
    """

    pattern: str
    replacement: str

    @field_validator("pattern")
    @classmethod
    def _is_pattern(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"is not a regular expression: {error}") from error
        return value


class Fetching(Spec):
    """Settings of a download: limits for requests, and the files to store.

    All seconds are wall time. A request ends within a second of its limit. If the computer was too busy at the limit,
    waiting data is read for another half second.

    Attributes:
        n_at_once: Maximum number of simultaneous requests.
        n_a_host: Maximum number of simultaneous requests to one host.
        connect_s: Time limit for opening a connection, in seconds; up to three IP addresses of a host are tried.
        gap_s: Seconds without data after which a request fails.
        total_s: Time limit for one URL with all its redirects, in seconds.
        tries: Maximum number of requests to one URL in one run, after temporary failures.
        wait_s: Seconds before the second try; each further wait is twice as long.
        longest_wait_s: Maximum wait in seconds. A host that requires a longer wait (``Retry-After``) gets no further
            requests in this run.
        max_bytes: Maximum size of one photo in bytes, also after decompression.
        max_pixels: Maximum number of pixels of one photo (width x height).
        max_redirects: Maximum number of redirects from the URL to the photo.
        allow_private: Whether URLs of this computer and of private networks are allowed.
        obey_robots: Whether to obey the ``robots.txt`` of a host.
        like_browser: Whether to send the headers of a browser.
        headers: Names and values of extra headers, which replace the default ones. After a redirect to another origin
            (scheme, host, port), only ``Accept``, ``Accept-Language``, ``Referer`` and ``User-Agent`` of them are sent.
            Requests for ``robots.txt`` never contain them.
        mirrors: Rules for further URLs, tried in this order after the URLs of the table.
        resize_px: Store JPEGs whose longer side has at most this number of pixels; None stores the received bytes.
        quality: Quality of these JPEGs, 1 to 95.
        n_a_shard: Number of photos per tar file for WebDataset; None writes no tar files.
        n_workers: Number of decoding threads. Small JPEGs are decoded without them.
    """

    n_at_once: Count = 64
    n_a_host: Count = 8
    connect_s: Positive = 10.0
    gap_s: Positive = 15.0
    total_s: Positive = 60.0
    tries: Count = 3
    wait_s: Positive = 1.0
    longest_wait_s: Positive = 120.0
    max_bytes: Count = 50 * 2**20
    max_pixels: Count = 89_478_485
    max_redirects: Natural = 5
    allow_private: bool = False
    obey_robots: bool = True
    like_browser: bool = False
    headers: tuple[tuple[str, str], ...] = ()
    mirrors: tuple[Mirror, ...] = ()
    resize_px: Count | None = None
    quality: Annotated[int, Field(ge=1, le=95)] = 90
    n_a_shard: Count | None = None
    n_workers: Count = 2

    @field_validator("headers")
    @classmethod
    def _can_be_sent(cls, value: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
        for name, text in value:
            if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or re.search(r"[\x00-\x08\x0a-\x1f\x7f]", text):
                raise ValueError(f"{name!r} cannot be sent as a header")
        return value

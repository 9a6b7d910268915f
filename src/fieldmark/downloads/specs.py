"""Settings of a download."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator

from fieldmark.core.spec import Count, Natural, Positive, Spec

Again = Literal["failed", "gone", "all"]
"""What a repeated download asks for: what failed, also what is gone for good, or everything, kept photos too."""


class Mirror(Spec):
    r"""Where a photo may lie as well: each address that ``pattern`` is found in gives another one.

    Attributes:
        pattern: A regular expression.
        replacement: What stands in the pattern's place; ``\1`` is its first group.
    """

    pattern: str
    replacement: str

    @field_validator("pattern")
    @classmethod
    def _is_pattern(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"is no regular expression: {error}") from error
        return value


class Fetching(Spec):
    """How addresses are asked and what is taken.

    All seconds are wall time. A request ends within a second of its limit. Where this machine was too busy to listen
    when the limit came, it reads for another half second what arrived meanwhile.

    Attributes:
        n_at_once: Addresses asked at the same time.
        n_a_host: Of those, at one host.
        connect_s: Seconds to open a connection; up to three IP addresses of a host are tried.
        gap_s: Seconds without a byte after which an answer is given up.
        total_s: Seconds for one address with all its redirects, whatever the host sends meanwhile.
        tries: How often one run asks an address that may yet answer.
        wait_s: Seconds before the second try; each further wait is twice as long.
        longest_wait_s: No wait is longer, and who asks us (by ``Retry-After``) for a longer one is left alone in this
            run.
        max_bytes: Of one photo, also when unpacked.
        max_pixels: Width x height.
        max_redirects: Steps from the address to the photo.
        allow_private: Whether addresses of this machine and of private networks may be asked.
        obey_robots: Whether a host's ``robots.txt`` is obeyed.
        like_browser: Send the headers that a browser sends.
        headers: Names and values to send; they win over all others. A redirect to another origin (scheme, host, port)
            gets ``Accept``, ``Accept-Language``, ``Referer`` and ``User-Agent`` of them, and ``robots.txt`` none.
        mirrors: Further addresses, tried in this order after those of the table.
        resize_px: Keep JPEGs whose longer side has at most so many pixels; None keeps the bytes as they came.
        quality: Of those JPEGs, 1-95.
        n_a_shard: Also pack the photos into tar files of so many, as WebDataset reads them; None packs none.
        n_workers: Threads that decode what is not small; a small JPEG is decoded at once.
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

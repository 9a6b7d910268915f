"""Causes of failed downloads: name, meaning, and whether another request can help."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cause:
    """A cause of a failed download.

    Attributes:
        name: Name in tables.
        meaning: Description for people.
        lasting: Whether the failure is permanent. Later runs skip the URL unless ``--again gone`` is given.
        fleeting: Whether another try in the same run may help.
        of_host: Whether the host itself fails. After several such failures in a row, its other URLs are skipped.
    """

    name: str
    meaning: str
    lasting: bool = False
    fleeting: bool = False
    of_host: bool = False


_ALL = (
    Cause("not_found", "the page does not exist (404)", lasting=True),
    Cause("gone", "the page was removed permanently (410)", lasting=True),
    Cause("bad_address", "not a valid http or https address", lasting=True),
    Cause("private_address", "the address is in a private or local network", lasting=True),
    Cause("robots", "not allowed by the robots.txt of the host", lasting=True),
    Cause("forbidden", "access denied by the host (401, 402, 403, 407, 451)"),
    Cause("http_status", "another HTTP error status"),
    Cause("too_busy", "too many requests (429)", fleeting=True),
    Cause("server_error", "internal error of the host (5xx)", fleeting=True),
    Cause("no_host", "the host name has no IP address", fleeting=True, of_host=True),
    Cause("no_connection", "the host refuses connections", fleeting=True, of_host=True),
    Cause("connect_timeout", "no connection within the time limit", fleeting=True, of_host=True),
    Cause("no_trust", "invalid certificate or encryption of the host", of_host=True),
    Cause("hung_up", "the host closed the connection without a response", fleeting=True),
    Cause("bad_answer", "the response is not valid HTTP"),
    Cause("silent", "no data received within the time limit", fleeting=True),
    Cause("too_slow", "not complete within the time limit for one address"),
    Cause("redirect_loop", "a loop of redirects"),
    Cause("too_many_redirects", "more redirects than allowed"),
    Cause("too_large", "more bytes than allowed"),
    Cause("too_many_pixels", "more pixels than allowed"),
    Cause("truncated", "the photo is incomplete", fleeting=True),
    Cause("web_page", "a web page instead of a photo"),
    Cause("not_a_picture", "not a known image format"),
    Cause("damaged", "the photo cannot be decoded"),
    Cause("empty", "the response is empty", fleeting=True),
    Cause("odd_packing", "compressed in an unsupported way"),
    Cause("another_picture", "a different picture from the one in the manifest"),
    Cause("not_asked", "not requested in this run, because the host was down or asked for a long wait"),
)
CAUSES = {cause.name: cause for cause in _ALL}


class Failed(Exception):  # noqa: N818 - a recorded result, not an error for users
    """A URL returned no photo.

    Args:
        cause: Name of a cause in ``CAUSES``.
        detail: Short description of the failure.
        status: HTTP status, if there was one.
        wait_s: Waiting time in seconds requested by the host.
        host: Host that sent the response, if it differs from the host of the URL.
    """

    def __init__(
        self,
        cause: str,
        detail: str = "",
        *,
        status: int | None = None,
        wait_s: float | None = None,
        host: str | None = None,
    ) -> None:
        super().__init__(cause, detail)
        self.cause = CAUSES[cause]
        self.detail = detail[:200]
        self.status = status
        self.wait_s = wait_s
        self.host = host


def of_status(status: int) -> str:
    """Return the name of the cause for an HTTP status.

    Example:
        >>> of_status(404), of_status(503), of_status(418)
        ('not_found', 'server_error', 'http_status')
    """
    known = {404: "not_found", 410: "gone", 429: "too_busy"}
    if status in known:
        return known[status]
    if status in {401, 402, 403, 407, 451}:
        return "forbidden"
    return "server_error" if status >= 500 else "http_status"

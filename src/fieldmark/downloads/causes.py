"""Why an address gave no photo: one word a cause, what it means, and whether asking again can help."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cause:
    """One way in which an address fails.

    Attributes:
        name: As it stands in tables.
        meaning: In words.
        lasting: Asking on another day is in vain; only who says so asks again.
        fleeting: Another try in the same run may help.
        of_host: The host itself is at fault; after several in a row its other addresses are not asked.
    """

    name: str
    meaning: str
    lasting: bool = False
    fleeting: bool = False
    of_host: bool = False


_ALL = (
    Cause("not_found", "the host has no such page (404)", lasting=True),
    Cause("gone", "the host says that it is gone for good (410)", lasting=True),
    Cause("bad_address", "not an address of the web (http or https)", lasting=True),
    Cause("private_address", "leads to a private or local network", lasting=True),
    Cause("robots", "the host's robots.txt asks not to", lasting=True),
    Cause("forbidden", "the host does not let us (401, 402, 403, 407, 451)"),
    Cause("http_status", "another status that is no success"),
    Cause("too_busy", "asked too often (429)", fleeting=True),
    Cause("server_error", "the host failed (5xx)", fleeting=True),
    Cause("no_host", "the host's name leads nowhere", fleeting=True, of_host=True),
    Cause("no_connection", "the host does not take connections", fleeting=True, of_host=True),
    Cause("connect_timeout", "no connection within the time for it", fleeting=True, of_host=True),
    Cause("no_trust", "the host's certificate or encryption does not hold", of_host=True),
    Cause("hung_up", "the host closed the connection without an answer", fleeting=True),
    Cause("bad_answer", "the answer is no proper HTTP"),
    Cause("silent", "no byte came for too long", fleeting=True),
    Cause("too_slow", "not whole within the time for one address"),
    Cause("redirect_loop", "redirects in a circle"),
    Cause("too_many_redirects", "more redirects than allowed"),
    Cause("too_large", "more bytes than allowed"),
    Cause("too_many_pixels", "more pixels than allowed"),
    Cause("truncated", "the photo ends too early", fleeting=True),
    Cause("web_page", "a web page in place of the photo"),
    Cause("not_a_picture", "neither a picture of a known kind nor a web page"),
    Cause("damaged", "a picture that cannot be decoded"),
    Cause("empty", "no bytes at all", fleeting=True),
    Cause("odd_packing", "packed in a way that was not asked for"),
    Cause("another_picture", "not the picture that the manifest names"),
    Cause("not_asked", "not asked in this run: the host was down or asked us to stay away"),
)
CAUSES = {cause.name: cause for cause in _ALL}


class Failed(Exception):  # noqa: N818 - an outcome that is noted, not an error that is told
    """An address gave no photo.

    Args:
        cause: A name of ``CAUSES``.
        detail: What was seen, in short.
        status: The HTTP status, if there was one.
        wait_s: How long the host asks us to wait.
        host: Who answered, where it was not the host first asked.
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
    """The cause that an HTTP status stands for.

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

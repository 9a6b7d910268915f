"""Check URLs before a request: only http and https, and no private networks behind any host name or IP address.

A host name is resolved once, its IP addresses are checked, and the connection uses a checked IP address. A DNS answer
that changes between check and use (DNS rebinding) therefore has no effect.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit, urlunsplit

from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from fieldmark.downloads.causes import Failed
from fieldmark.downloads.specs import Mirror

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
MOST_CHARACTERS = 8000
MAX_NUMBERS = 3
"""Maximum number of IP addresses tried for a host name."""


def address(text: str, *, base: URL | None = None) -> URL:
    """Parse a URL and remove its fragment.

    Args:
        text: URL from a table or a redirect.
        base: URL that sent the redirect. ``text`` may be relative to it, and a password in it is removed.

    Raises:
        Failed: The text is not a URL, or its scheme is neither http nor https.
    """
    try:
        url = URL(text.strip())
        if base is not None:
            url = base.join(url).with_user(None)
        is_sound = url.host and url.port and not re.search(r"[\s\x00-\x1f]", url.host) and len(text) <= MOST_CHARACTERS
        if url.scheme not in {"http", "https"} or not is_sound:
            raise ValueError("only http:// and https:// URLs with a host are allowed")  # noqa: TRY301 - one way out
        return url.with_fragment(None) if url.raw_fragment else url
    except (ValueError, TypeError, UnicodeError) as error:
        raise Failed("bad_address", f"{without_secrets(text)[:120]}: {error}") from error


def without_secrets(url: str) -> str:
    """Return the URL without user name and password, for logs and tables.

    Example:
        >>> without_secrets("https://me:secret@example.org/a.jpg?x=1")
        'https://example.org/a.jpg?x=1'
    """
    if "@" not in url:
        return url
    try:
        parts = urlsplit(url)
    except ValueError:
        return re.sub(r"//[^/]*@", "//", url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def host_of(url: str) -> str:
    """Return the host of a URL in lower case; "" if it has none."""
    try:
        return (urlsplit(url.strip()).hostname or "").lower()
    except ValueError:
        return ""


def also_at(urls: Iterable[str], mirrors: Iterable[Mirror]) -> list[tuple[str, int]]:
    """Return the URLs (rule 0) and the URLs made by mirror rules 1, 2, ..., each once, sorted by rule."""
    given = list(dict.fromkeys(urls))
    found = dict.fromkeys(given, 0)
    for number, mirror in enumerate(mirrors, start=1):
        for url in given:
            if re.search(mirror.pattern, url):
                found.setdefault(re.sub(mirror.pattern, mirror.replacement, url, count=1), number)
    return list(found.items())


def is_public(number: str) -> bool:
    """Whether an IP address is public. IPv4 addresses embedded in IPv6 addresses are also checked.

    Example:
        >>> is_public("93.184.216.34"), is_public("169.254.169.254"), is_public("::ffff:10.0.0.1")
        (True, False, False)
    """
    ip = ipaddress.ip_address(number)
    if isinstance(ip, ipaddress.IPv6Address):
        hidden = [ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ())]
        if ip in _NAT64 or int(ip) >> 32 == 0:
            hidden.append(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF))
        if not all(is_public(str(one)) for one in hidden if one is not None):
            return False
        if ip.ipv4_mapped is not None or ip in _NAT64:
            return True
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified or ip.is_loopback)


def check_number(url: URL) -> None:
    """Reject a URL whose host is a private IP address. Host names are checked when they are resolved.

    Raises:
        Failed: The IP address is private, or written in an unusual form (decimal, octal, short).
    """
    host = url.raw_host or ""
    if ":" not in host and not re.fullmatch(r"[0-9.]+|0[xX][0-9a-fA-F.xX]*", host):
        return
    try:
        public = is_public(host)
    except ValueError:
        public = False
    if not public:
        raise Failed("private_address", host)


class CheckedResolver(AbstractResolver):
    """A DNS resolver that returns only public IP addresses.

    Args:
        inner: The resolver to use.
        allow_private: Whether to return private IP addresses too.
    """

    def __init__(self, inner: AbstractResolver, *, allow_private: bool) -> None:
        self._inner = inner
        self._allow_private = allow_private

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the first allowed IP addresses of a host name, IPv4 first, because IPv6 often does not work.

        Raises:
            Failed: The host name has no allowed IP address.
        """
        try:
            found = await self._inner.resolve(host, port, family)
        except (OSError, UnicodeError) as error:
            raise Failed("no_host", f"{host}: {error}") from error
        allowed = {one["host"]: one for one in found if self._allow_private or is_public(one["host"])}
        if not allowed:
            raise Failed("private_address", f"{host} is {found[0]['host']}") if found else Failed("no_host", host)
        return sorted(allowed.values(), key=lambda one: ":" in one["host"])[:MAX_NUMBERS]

    async def close(self) -> None:
        """Close the inner resolver."""
        await self._inner.close()

"""Which addresses may be asked: the web's, and no way into private networks, whatever name or number they hide behind.

A name is looked up once, the numbers it gives are checked, and the connection goes to a number that was checked; so
an answer that changes between check and use (DNS rebinding) finds nothing to change.
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
"""Of a name, so many are tried."""


def address(text: str, *, base: URL | None = None) -> URL:
    """The web address that a text stands for, without its fragment.

    Args:
        text: As typed in a table or sent in a redirect.
        base: Where a redirect came from; ``text`` may be relative to it, and passwords in it are dropped.

    Raises:
        Failed: It is no address, or of another scheme than http and https.
    """
    try:
        url = URL(text.strip())
        if base is not None:
            url = base.join(url).with_user(None)
        is_sound = url.host and url.port and not re.search(r"[\s\x00-\x1f]", url.host) and len(text) <= MOST_CHARACTERS
        if url.scheme not in {"http", "https"} or not is_sound:
            raise ValueError("only http:// and https:// with a host are asked")  # noqa: TRY301 - one way out
        return url.with_fragment(None) if url.raw_fragment else url
    except (ValueError, TypeError, UnicodeError) as error:
        raise Failed("bad_address", f"{without_secrets(text)[:120]}: {error}") from error


def without_secrets(url: str) -> str:
    """The address without name and password, as it may stand in logs and tables.

    Example:
        >>> shown("https://me:secret@example.org/a.jpg?x=1")
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
    """The host of an address, in lower case; "" where it has none."""
    try:
        return (urlsplit(url.strip()).hostname or "").lower()
    except ValueError:
        return ""


def also_at(urls: Iterable[str], mirrors: Iterable[Mirror]) -> list[tuple[str, int]]:
    """The addresses with what the mirrors make of them, each once: the given ones (0) first, then rule 1, rule 2 ..."""
    given = list(dict.fromkeys(urls))
    found = dict.fromkeys(given, 0)
    for number, mirror in enumerate(mirrors, start=1):
        for url in given:
            if re.search(mirror.pattern, url):
                found.setdefault(re.sub(mirror.pattern, mirror.replacement, url, count=1), number)
    return list(found.items())


def is_public(number: str) -> bool:
    """Whether an IP number belongs to the public net, also where it hides an IPv4 number in an IPv6 one.

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
    """Refuse a host that is itself a number and not a public one; names are checked when they are looked up.

    Raises:
        Failed: The number is private, or written in a form (decimal, octal, short) that only serves to hide it.
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
    """Looks names up and passes on public numbers only.

    Args:
        inner: Who looks them up.
        allow_private: Pass on all.
    """

    def __init__(self, inner: AbstractResolver, *, allow_private: bool) -> None:
        self._inner = inner
        self._allow_private = allow_private

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The first numbers of a name that may be connected to, IPv4 first, as IPv6 often leads nowhere.

        Raises:
            Failed: It has none.
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
        """Close the inner one."""
        await self._inner.close()

"""Words of a web address, as a text about the photo."""

from __future__ import annotations

import re
from urllib.parse import unquote

LONGEST = 4096
"""Maximum number of characters read of an address."""
DECODED = 3
"""Maximum rounds of decoding. Some addresses are escaped again each time they are copied."""
MOST_DIGITS = 4
"""Numbers of up to four digits (a year, a size) may be informative; longer numbers are ids."""
MOST_LETTERS = 32
"""Maximum length of a word; longer strings are parts of keys."""

SCHEME = re.compile(r"^\s*(?:([a-z][a-z0-9+.-]*):)?(//)?", re.IGNORECASE)
UUID = re.compile(r"(?<![0-9a-z])[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?![0-9a-z])", re.IGNORECASE)
ENDING = re.compile(r"\.(?:jpe?g|png|gif|webp|avif|bmp|tiff?|svg|html?|php|aspx?|jsp)$", re.IGNORECASE)
HEX = re.compile(r"[0-9a-f]{8,}", re.IGNORECASE)
PIECE = re.compile(r"[^\W_]+")
WORD = re.compile(r"\d+|[^\W\d_]+")
CASE_CHANGE = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def url_text(url: str) -> str:
    """Return the words of an address's host and path, in lower case, separated by single blanks.

    ``RedDress``, ``red-dress`` and ``red%20dress`` are two words each, ``T20`` is "t 20". Left out are ids (hashes,
    keys, numbers of five digits and more), the scheme, ``www``, the port, the file extension, and possibly private
    parts: user names, passwords, queries.

    Args:
        url: An address, or any other text; it is never requested. Characters beyond 4,096 are ignored.

    Returns:
        The words; empty if there are none, and for ``data:`` addresses, which contain a file instead of its location.

    Example:
        >>> url_text("http://shop.example/im/dresses/Red-Maxi%20Dress10_2d27392cc7d7730e8fee0755fd41d30c.jpg")
        'shop example im dresses red maxi dress 10'

    Source:
        Ours (T41).
    """
    start = SCHEME.match(url[:LONGEST])
    scheme = (start.group(1) or "").lower() if start else ""
    if scheme in {"data", "javascript", "blob"}:
        return ""
    # "shop.example:80/a" looks like a scheme too; only the part before "//" is one.
    whole = url[:LONGEST][start.end() :] if start and start.group(2) else url[:LONGEST].strip()
    place = re.split(r"[?#]", whole, maxsplit=1)[0]
    host, slash, path = place.partition("/")
    host = re.sub(r":\d*$", "", _decoded(host.rpartition("@")[2]))
    host = re.sub(r"^www\d?\.", "", host, flags=re.IGNORECASE)
    path = ENDING.sub("", _decoded(path).rstrip("/"))
    pieces = PIECE.findall(UUID.sub(" ", f"{host}{slash}{path}"))
    words = [word.lower() for piece in pieces if not _is_id(piece) for word in _words(piece)]
    return " ".join(words)


def _decoded(path: str) -> str:
    for _ in range(DECODED):
        plain = unquote(path, errors="replace")
        if plain == path:
            break
        path = plain
    return path


def _is_id(piece: str) -> bool:
    """Return whether a run of letters and digits is a hash, a key or a number instead of a word."""
    digits = sum(one.isdigit() for one in piece)
    changes = len(WORD.findall(piece)) - 1
    return (
        len(piece) > MOST_LETTERS
        or (HEX.fullmatch(piece) is not None and (digits > 0 or len(piece) >= 16))
        or (len(piece) >= 10 and changes >= 4)
        or (digits == len(piece) > MOST_DIGITS)
    )


def _words(piece: str) -> list[str]:
    found = []
    for run in WORD.findall(piece):
        if run[0].isdigit():
            found += [run] if len(run) <= MOST_DIGITS else []
        else:
            found += CASE_CHANGE.split(run)
    return found

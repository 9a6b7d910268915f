"""File names from ids alone: safe on every file system, no two ids the same, nothing of an address in them."""

from __future__ import annotations

import hashlib
import re

SUFFIX = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "TIFF": ".tif", "GIF": ".gif", "BMP": ".bmp"}
"""The ending for each kind of picture, whatever the address ends with."""

_PLAIN = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")
_DEVICES = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?")
PHOTOS = "photos"


def stem(image: str) -> str:
    """The name, without ending, of an id's file.

    A short id of small letters, digits, dots, dashes and underscores is its own name. Any other keeps what it has of
    these and gets a mark made of the whole id, as ``A`` and ``a`` are one file on many disks, and ``../a``, ``con`` or
    a thousand letters would do harm. Names with a mark hold ``~``, which no plain id has, so the two kinds
    never meet.

    Example:
        >>> stem("0042_1"), stem("../IMG 1.jpg")
        ('0042_1', 'img_1.jpg~b6ff8e8ebd95')
    """
    if _PLAIN.fullmatch(image) and not _DEVICES.fullmatch(image):
        return image
    mark = hashlib.sha256(image.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    kept = re.sub(r"[^a-z0-9._-]+", "_", image.lower())[:40].strip("._-")
    kept = f"_{kept}" if _DEVICES.fullmatch(kept) else kept
    return f"{kept}~{mark}"


def place_of(image: str, kind: str, *, version: int = 1) -> str:
    """The file of an id below the folder of a download; one of 256 folders, as no folder likes a million files.

    Args:
        image: The id.
        kind: A key of ``SUFFIX``.
        version: 2 for the second picture that its address gave, and so on.
    """
    shelf = hashlib.sha256(image.encode("utf-8", "surrogatepass")).hexdigest()[:2]
    later = f"~v{version}" if version > 1 else ""
    return f"{PHOTOS}/{shelf}/{stem(image)}{later}{SUFFIX[kind]}"

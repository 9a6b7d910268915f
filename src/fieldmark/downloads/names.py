"""Create file names from image ids: valid on every file system, unique for each id, and without parts of the URL."""

from __future__ import annotations

import hashlib
import re

SUFFIX = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "TIFF": ".tif", "GIF": ".gif", "BMP": ".bmp"}
"""File extension of each image format, independent of the URL."""

_PLAIN = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")
_DEVICES = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?")
PHOTOS = "photos"


def stem(image: str) -> str:
    """Return the file name of an id, without extension.

    A short id of lowercase letters, digits, dots, dashes and underscores is used unchanged. In other ids, other
    characters are replaced and a hash of the whole id is appended. Reasons: ``A`` and ``a`` are the same file on many
    disks, and ``../a``, ``con`` or very long names are unsafe. Names with a hash contain ``~``, which unchanged ids
    do not contain, so two ids never get the same name.

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
    """Return the path of a photo, relative to the folder of a download. Photos are divided into 256 folders.

    Args:
        image: Image id.
        kind: Image format: a key of ``SUFFIX``.
        version: Version of the photo; 2 for the second photo that its URL returned, and so on.
    """
    shelf = hashlib.sha256(image.encode("utf-8", "surrogatepass")).hexdigest()[:2]
    later = f"~v{version}" if version > 1 else ""
    return f"{PHOTOS}/{shelf}/{stem(image)}{later}{SUFFIX[kind]}"

"""What a picture file tells without its picture: bytes, format, size, how it was saved, and notes of the camera.

Whoever took or saved a photo leaves traces in its file, and they may tell who or what is on it: one keeper's camera,
one shop's encoder. No pixel is decoded, and only the first part of a file is read where that is enough. Of the place
where a photo was taken it is told that it is noted, never where.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from fieldmark.core.errors import FieldmarkError, ImageError
from fieldmark.core.progress import QUIET, Progress
from fieldmark.images.containers import TIFF_SIZES, sniff
from fieldmark.images.reading import DEFAULT, Limits, probe

HEAD_BYTES = 2**18
"""The first part of a file; notes and tables of nearly all photos lie in it."""
AT_ONCE = 1024
MOST_TAGS = 256
MOST_LETTERS = 100

MAKE, MODEL, SOFTWARE, CHANGED = 0x010F, 0x0110, 0x0131, 0x0132
CAMERA_PART, TAKEN = 0x8769, 0x9003
"""Where a directory of further tags lies, and in it when the photo was taken."""


@dataclass(frozen=True, slots=True)
class Trace:
    """What one file tells without its picture.

    Attributes:
        n_bytes: Of the file.
        format: Kind of file, then how the pixels are kept: ``JPEG RGB``.
        width: Of the upright picture, in px.
        height: Likewise.
        encoder: 12 hex digits of how the pixels were saved: a JPEG's quantisation tables, its kind of coding and its
            colour sampling. Empty for other kinds.
        camera: Make and model as the camera wrote them, else empty.
        software: The program that wrote the file, else empty.
        taken: When the photo was taken, as ``2019:03:01 10:20:30``, else empty.
        notes: The kinds of notes in the file, and the numbers of EXIF tags in hex; none of their values.
    """

    n_bytes: int
    format: str
    width: int
    height: int
    encoder: str = ""
    camera: str = ""
    software: str = ""
    taken: str = ""
    notes: str = ""


def trace(path: Path, *, limits: Limits = DEFAULT) -> Trace:
    """The traces in one file. Damaged notes are passed over: what can be read of them counts.

    Raises:
        ImageError: The file cannot be opened, or its header cannot be read.
    """
    try:
        n_bytes = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except (OSError, ValueError) as error:
        raise ImageError("The picture cannot be opened.", got=f"{path}: {error}", fix="check the path.") from error
    try:
        about = probe(head, limits=limits)
    except ImageError:
        about = probe(path, limits=limits)  # its header lies further behind, as a TIFF's may; or the error names it
    kind = sniff(head)
    segments = list(_segments(head)) if kind == "JPEG" else []
    exif = _exif(head, segments)
    tags = dict(_tags(exif)) if exif else {}
    camera = " ".join(part for part in (tags.get(MAKE, ""), tags.get(MODEL, "")) if part)
    marks = sorted({f"APP{marker - 0xE0}" for marker, _ in segments if 0xE0 < marker <= 0xEF})
    return Trace(
        n_bytes=n_bytes,
        format=f"{about.format} {about.mode}",
        width=about.width,
        height=about.height,
        encoder=_encoder(segments),
        camera=camera,
        software=tags.get(SOFTWARE, ""),
        taken=tags.get(TAKEN) or tags.get(CHANGED, ""),
        notes=" ".join([*marks, *(f"{tag:04x}" for tag in sorted(tags))]),
    )


def traces(
    paths: Sequence[Path | None], *, n_threads: int = 2, limits: Limits = DEFAULT, progress: Progress = QUIET
) -> list[Trace | None]:
    """The traces of many files; None where there is no file, or it cannot be read.

    Args:
        paths: Picture files; None for a photo without one.
        n_threads: Files read side by side, at least 1; changes nothing but the time.
        limits: What to refuse.
        progress: Told as files are done.

    Raises:
        FieldmarkError: ``n_threads`` is below 1.
    """
    if n_threads < 1:
        raise FieldmarkError("Reading needs a thread.", got=f"n_threads={n_threads}", fix="use n_threads=1 or more.")

    def one(path: Path | None) -> Trace | None:
        try:
            return None if path is None else trace(path, limits=limits)
        except ImageError:
            return None

    with ThreadPoolExecutor(n_threads, thread_name_prefix="fieldmark-traces") as pool:
        # A pool begins all jobs that it is given; few at once bound the memory.
        starts = range(0, len(paths), AT_ONCE)
        each = chain.from_iterable(pool.map(one, paths[start : start + AT_ONCE]) for start in starts)
        return list(progress.track(each, total=len(paths), what="reading headers"))


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and body of each part of a JPEG before its first scan."""
    at = 2
    while (at := data.find(b"\xff", at)) >= 0 and at + 4 <= len(data):
        marker = data[at + 1]
        if marker in {0x00, 0x01, 0xFF} or 0xD0 <= marker <= 0xD8:  # fill bytes and markers without a body
            at += 1 if marker == 0xFF else 2
            continue
        if marker in {0xD9, 0xDA}:  # end of picture, start of scan
            return
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        yield marker, data[at + 4 : end]
        at = max(end, at + 2)


def _encoder(segments: Sequence[tuple[int, bytes]]) -> str:
    """A short digest of quantisation tables, kind of coding and colour sampling; the picture's size is left out."""
    tables = [body for marker, body in segments if marker == 0xDB]
    if not tables:
        return ""
    frames = [
        bytes([marker, *body[:1], *body[5:]])
        for marker, body in segments
        if 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}
    ]
    return hashlib.sha256(b"".join([*tables, *frames[:1]])).hexdigest()[:12]


def _exif(data: bytes, segments: Sequence[tuple[int, bytes]]) -> bytes:
    """The block of EXIF of a JPEG, PNG, WebP or TIFF file; empty where there is none within ``data``."""
    kind = sniff(data)
    if kind == "TIFF":
        return data
    if kind == "JPEG":
        bodies = (body for marker, body in segments if marker == 0xE1 and body.startswith(b"Exif\0\0"))
        return next(bodies, b"")[6:]
    if kind == "PNG":
        return _chunk(data, b"eXIf", start=8, size_first=True)
    if kind == "WEBP":
        return _chunk(data, b"EXIF", start=12, size_first=False).removeprefix(b"Exif\0\0")
    return b""


def _chunk(data: bytes, name: bytes, *, start: int, size_first: bool) -> bytes:
    """The body of the first chunk of that name in a PNG (size, name, body, sum) or a WebP (name, size, body)."""
    at = start
    while at + 8 <= len(data):
        if size_first:
            (size,) = struct.unpack_from(">I", data, at)
            found, step = data[at + 4 : at + 8], 12 + size
        else:
            (size,) = struct.unpack_from("<I", data, at + 4)
            found, step = data[at : at + 4], 8 + size + size % 2
        if found == name:
            return data[at + 8 : at + 8 + size]
        at += step
    return b""


def _tags(exif: bytes) -> Iterator[tuple[int, str]]:
    """Each tag of the first directory and of the camera's, with its text; tags that hold no text come with ""."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None or len(exif) < 8:
        return
    waiting, seen = [struct.unpack_from(order + "I", exif, 4)[0]], set[int]()
    while waiting:
        start = waiting.pop()
        if start in seen or start + 2 > len(exif):
            continue
        seen.add(start)
        (n_tags,) = struct.unpack_from(order + "H", exif, start)
        for at in range(start + 2, min(start + 2 + 12 * min(n_tags, MOST_TAGS), len(exif) - 11), 12):
            tag, kind, count = struct.unpack_from(order + "HHI", exif, at)
            if tag == CAMERA_PART:
                waiting.append(struct.unpack_from(order + "I", exif, at + 8)[0])
            yield tag, _text(exif, at + 8, kind, count, order)


def _text(exif: bytes, at: int, kind: int, count: int, order: str) -> str:
    """A tag's text, shortened; "" for tags of other kinds and for texts that lie outside of the block."""
    if kind != 2 or TIFF_SIZES[kind] * count > len(exif):
        return ""
    start = at if count <= 4 else struct.unpack_from(order + "I", exif, at)[0]
    words = exif[start : start + min(count, MOST_LETTERS)].split(b"\0")[0].decode("utf-8", errors="replace")
    return " ".join(words.split())

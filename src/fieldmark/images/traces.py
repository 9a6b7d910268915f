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
from itertools import chain, islice
from pathlib import Path

from fieldmark.core.errors import FieldmarkError, ImageError
from fieldmark.core.progress import QUIET, Progress
from fieldmark.images.containers import END, EXIF, SCAN, exif_tags, is_jpeg_frame, jpeg_segments, png_chunks, sniff
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
    segments = []
    if sniff(head) == "JPEG":
        segments = [
            (marker, head[at + 4 : end]) for marker, at, end in jpeg_segments(head) if marker not in {END, SCAN}
        ]
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


def _encoder(segments: Sequence[tuple[int, bytes]]) -> str:
    """A short digest of quantisation tables, kind of coding and colour sampling; the picture's size is left out."""
    tables = [body for marker, body in segments if marker == 0xDB]
    if not tables:
        return ""
    frames = [bytes([marker, *body[:1], *body[5:]]) for marker, body in segments if is_jpeg_frame(marker)]
    return hashlib.sha256(b"".join([*tables, *frames[:1]])).hexdigest()[:12]


def _exif(data: bytes, segments: Sequence[tuple[int, bytes]]) -> bytes:
    """The block of EXIF of a JPEG, PNG, WebP or TIFF file; empty where there is none within ``data``."""
    kind = sniff(data)
    if kind == "TIFF":
        return data
    if kind == "JPEG":
        bodies = (body for marker, body in segments if marker == EXIF and body.startswith(b"Exif\0\0"))
        return next(bodies, b"")[6:]
    if kind == "PNG":
        return next((data[at + 8 : end - 4] for name, at, end in png_chunks(data) if name == b"eXIf"), b"")
    if kind == "WEBP":
        return next((data[at:end] for name, at, end in _webp_chunks(data) if name == b"EXIF"), b"").removeprefix(
            b"Exif\0\0"
        )
    return b""


def _webp_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name of each chunk of a WebP, start and end of its body."""
    at = 12
    while at + 8 <= len(data):
        end = at + 8 + int.from_bytes(data[at + 4 : at + 8], "little")
        yield data[at : at + 4], at + 8, end
        at = end + (end - at) % 2


def _tags(exif: bytes) -> Iterator[tuple[int, str]]:
    """Each tag of the first directory and of the camera's, with its text; tags that hold no text come with ""."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2], "")
    waiting: list[int | None] = [None]
    seen = set[int | None]()
    while waiting:
        start = waiting.pop()
        if start in seen:
            continue
        seen.add(start)
        for at, tag, kind, count in islice(exif_tags(exif, start), MOST_TAGS):
            if tag == CAMERA_PART:
                waiting.append(struct.unpack_from(order + "I", exif, at + 8)[0])
            yield tag, _text(exif, at + 8, kind, count, order)


def _text(exif: bytes, at: int, kind: int, count: int, order: str) -> str:
    """A tag's text, shortened; "" for tags of other kinds and for texts that lie outside of the block."""
    if kind != 2 or count > len(exif):
        return ""
    start = at if count <= 4 else struct.unpack_from(order + "I", exif, at)[0]
    words = exif[start : start + min(count, MOST_LETTERS)].split(b"\0")[0].decode("utf-8", errors="replace")
    return " ".join(words.split())

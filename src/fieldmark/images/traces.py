"""Metadata of image files: size in bytes, format, width and height, encoder, and camera notes.

Such metadata can leak the label of a photo, for example if one camera or one program was used for a single identity.
No pixels are decoded, and only the first part of a file is read if that is enough. The presence of a location (GPS) is
reported, but never the location itself.
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
"""Size of the first part of a file; it holds the metadata and tables of nearly all photos."""
AT_ONCE = 1024
MOST_TAGS = 256
MOST_LETTERS = 100

MAKE, MODEL, SOFTWARE, CHANGED = 0x010F, 0x0110, 0x0131, 0x0132
CAMERA_PART, TAKEN = 0x8769, 0x9003
"""EXIF tags: the camera's directory of further tags, and the time of the photo in that directory."""


@dataclass(frozen=True, slots=True)
class Trace:
    """Metadata of one image file.

    Attributes:
        n_bytes: Size of the file, in bytes.
        format: File format and colour mode, for example ``JPEG RGB``.
        width: Width of the upright image, in px.
        height: Height of the upright image, in px.
        encoder: 12 hex digits that identify the encoder of a JPEG: a hash of its quantisation tables, type of coding
            and colour sampling. Empty for other formats.
        camera: Make and model of the camera, else empty.
        software: Program that wrote the file, else empty.
        taken: Time of the photo, as ``2019:03:01 10:20:30``, else empty.
        notes: Types of metadata in the file and EXIF tag numbers in hex, without their values.
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
    """Return the metadata of one file. Damaged parts of the metadata are skipped.

    Raises:
        ImageError: The file cannot be opened, or its header cannot be read.
    """
    try:
        n_bytes = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except (OSError, ValueError) as error:
        raise ImageError("The image cannot be opened.", got=f"{path}: {error}", fix="check the path.") from error
    try:
        about = probe(head, limits=limits)
    except ImageError:
        about = probe(path, limits=limits)  # a TIFF header may lie later in the file; an error names the path
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
    """Return the metadata of many files; None for a missing file or one that cannot be read.

    Args:
        paths: Image files; None for a photo without a file.
        n_threads: Number of threads, at least 1; it affects only the time.
        limits: Largest files and images that are accepted.
        progress: Progress display, updated after each file.

    Raises:
        FieldmarkError: ``n_threads`` is below 1.
    """
    if n_threads < 1:
        raise FieldmarkError(
            "n_threads must be at least 1.", got=f"n_threads={n_threads}", fix="use n_threads=1 or more."
        )

    def one(path: Path | None) -> Trace | None:
        try:
            return None if path is None else trace(path, limits=limits)
        except ImageError:
            return None

    with ThreadPoolExecutor(n_threads, thread_name_prefix="fieldmark-traces") as pool:
        # A pool starts all tasks that it is given; small chunks bound the memory.
        starts = range(0, len(paths), AT_ONCE)
        each = chain.from_iterable(pool.map(one, paths[start : start + AT_ONCE]) for start in starts)
        return list(progress.track(each, total=len(paths), what="reading headers"))


def _encoder(segments: Sequence[tuple[int, bytes]]) -> str:
    """Return a short hash of quantisation tables, type of coding and colour sampling, without the image size."""
    tables = [body for marker, body in segments if marker == 0xDB]
    if not tables:
        return ""
    frames = [bytes([marker, *body[:1], *body[5:]]) for marker, body in segments if is_jpeg_frame(marker)]
    return hashlib.sha256(b"".join([*tables, *frames[:1]])).hexdigest()[:12]


def _exif(data: bytes, segments: Sequence[tuple[int, bytes]]) -> bytes:
    """Return the EXIF block of a JPEG, PNG, WebP or TIFF file; empty if ``data`` has none."""
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
    """Yield the name of each chunk of a WebP, and start and end of its body."""
    at = 12
    while at + 8 <= len(data):
        end = at + 8 + int.from_bytes(data[at + 4 : at + 8], "little")
        yield data[at : at + 4], at + 8, end
        at = end + (end - at) % 2


def _tags(exif: bytes) -> Iterator[tuple[int, str]]:
    """Yield each tag of the first and of the camera's directory with its text; "" for tags without text."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2], "")
    waiting: list[int | None] = [None]
    visited = set[int | None]()
    while waiting:
        start = waiting.pop()
        if start in visited:
            continue
        visited.add(start)
        for at, tag, kind, count in islice(exif_tags(exif, start), MOST_TAGS):
            if tag == CAMERA_PART:
                waiting.append(struct.unpack_from(order + "I", exif, at + 8)[0])
            yield tag, _text(exif, at + 8, kind, count, order)


def _text(exif: bytes, at: int, kind: int, count: int, order: str) -> str:
    """Return the text of a tag, shortened; "" for tags of other types and for text outside the block."""
    if kind != 2 or count > len(exif):
        return ""
    start = at if count <= 4 else struct.unpack_from(order + "I", exif, at)[0]
    words = exif[start : start + min(count, MOST_LETTERS)].split(b"\0")[0].decode("utf-8", errors="replace")
    return " ".join(words.split())

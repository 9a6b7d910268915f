"""Headers of image files: format, size, orientation, and the bytes that a decoder needs.

Metadata (camera notes, colour profiles, comments, thumbnails) is removed from JPEG, PNG and TIFF files before decoding.
Pillow 13 reads metadata first and then refuses files whose pixels are intact. Examples are a PNG with one wrong
checksum in a comment, a comment or profile of some megabytes once unpacked, and a short gAMA chunk. Pillow also does
not count the scans of a JPEG, and its warnings about unusual EXIF pass through filters that all threads share.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Literal

from PIL import Image

Kind = Literal["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP"]

JPEG_KEPT = frozenset({0xE0, 0xEE})  # JFIF, and Adobe's marker of the colour encoding
PNG_KEPT = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
TIFF_KEPT = frozenset(
    {254, 256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323, 324, 325}
    | {332, 338, 339, 347, *range(512, 522), 529, 530, 531, 532}
)
TIFF_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
TIFF_OFFSETS, TIFF_LENGTHS = (273, 324), (279, 325)  # of strips, of tiles
ORIENTATION = 0x0112
DECODER_FAULTS = (
    *(ArithmeticError, AssertionError, AttributeError, BufferError, EOFError, LookupError, MemoryError, OSError),
    *(
        RuntimeError,
        SyntaxError,
        TypeError,
        ValueError,
        Warning,
        struct.error,
        zlib.error,
        Image.DecompressionBombError,
    ),
)
"""Exceptions that decoders raise on damaged or hostile files. Any other exception is a bug and is not caught."""
END, SCAN, EXIF = 0xD9, 0xDA, 0xE1  # markers of a JPEG

_SIGNATURES: tuple[tuple[bytes, Kind], ...] = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"BM", "BMP"),
)


@dataclass(frozen=True)
class Slim:
    """An image file without its metadata.

    Attributes:
        data: Bytes that a decoder needs.
        orientation: EXIF orientation, 1-8; 1 if the file has none or an invalid one.
        notes_bytes: Number of bytes of metadata that were removed.
    """

    data: bytes
    orientation: int = 1
    notes_bytes: int = 0


@dataclass(frozen=True)
class JpegFrame:
    """Size, number of colour channels and number of scans of a JPEG, from its markers.

    The scans are counted because a JPEG of many nearly empty scans is very slow to decode for its size.
    """

    width: int
    height: int
    n_channels: int
    n_scans: int = 1


def sniff(data: bytes) -> Kind | None:
    """Return the format of a file from its first bytes; None if it is not JPEG, PNG, WebP, TIFF, GIF or BMP.

    Example:
        >>> sniff(b"GIF89a..."), sniff(b"<html>")
        ('GIF', None)
    """
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    return next((kind for signature, kind in _SIGNATURES if data.startswith(signature)), None)


def exif_orientation(exif: bytes) -> int:
    """Return the orientation 1-8 in a block of EXIF; 1 if the block is damaged or has no valid orientation.

    Only this tag is read. Other tags are often malformed, and none of them affects the pixels.
    """
    exif = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(exif[:2], "")
    for at, tag, kind, count in exif_tags(exif):
        if tag == ORIENTATION:
            return _sensible(_inline(exif, at + 8, kind, order)) if count == 1 else 1
    return 1


def exif_tags(exif: bytes, start: int | None = None) -> Iterator[tuple[int, int, int, int]]:
    """Yield offset, tag number, type and count of each tag in one directory of an EXIF block.

    The tags of a damaged directory end early.

    Args:
        exif: EXIF block, from its byte order on.
        start: Offset of the directory; None is the first directory, which the header points at.
    """
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None or len(exif) < 8:
        return
    if start is None:
        (start,) = struct.unpack_from(order + "I", exif, 4)
    if start + 2 > len(exif):
        return
    (n_entries,) = struct.unpack_from(order + "H", exif, start)
    for at in range(start + 2, min(start + 2 + 12 * n_entries, len(exif) - 11), 12):
        yield at, *struct.unpack_from(order + "HHI", exif, at)


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield marker, start and end of each segment of a JPEG before its first scan.

    The last segment is the first scan with everything that follows. A segment may end after the end of the file. Stray
    bytes between segments are skipped.
    """
    at = 2
    while (at := data.find(b"\xff", at)) >= 0:
        marker = data[at + 1] if at + 4 <= len(data) else END
        if marker in {0x00, 0x01, 0xFF} or 0xD0 <= marker <= 0xD8:  # fill bytes and markers without a body
            at += 1 if marker == 0xFF else 2
            continue
        if marker in {END, SCAN}:
            yield marker, at, len(data)
            return
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        yield marker, at, end
        at = max(end, at + 2)


def is_jpeg_frame(marker: int) -> bool:
    """Return whether a segment of a JPEG holds its size and coding."""
    return 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start and end of each chunk of a PNG; the last one may end after the end of the file."""
    at = 8
    while at + 8 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        yield data[at + 4 : at + 8], at, end
        at = end


def slim_jpeg(data: bytes) -> tuple[Slim, JpegFrame | None]:
    """Return a JPEG without its metadata, and its frame; the frame is None if the file has no frame marker.

    Only the first image of a multi-picture file is read.
    """
    kept: list[bytes] = [b"\xff\xd8"]
    orientation, frame, is_progressive, notes_bytes = 1, None, False, 0
    for marker, at, end in jpeg_segments(data):
        if marker in {END, SCAN}:
            rest = data[at:]
            in_first_scan = rest[4] if len(rest) > 4 else 0
            if frame is not None and (is_progressive or in_first_scan < frame.n_channels):
                # In the coded part 0xFF is followed by 0 or a restart marker, so these two bytes always begin a scan.
                # If the first scan holds all channels at once, the image ends with it, and scans are not counted.
                frame = replace(frame, n_scans=rest.count(bytes((0xFF, SCAN))))
            kept.append(rest)
            break
        body = data[at + 4 : end]
        if is_jpeg_frame(marker) and len(body) >= 6 and frame is None:
            height, width, n_channels = struct.unpack_from(">HHB", body, 1)
            frame = JpegFrame(width=width, height=height, n_channels=n_channels)
            is_progressive = marker & 0x03 == 0x02
        if marker == EXIF and body.startswith(b"Exif\0\0") and orientation == 1:
            orientation = exif_orientation(body)
        if (0xE0 <= marker <= 0xEF and marker not in JPEG_KEPT) or marker == 0xFE:
            notes_bytes += end - at
        else:
            kept.append(data[at:end])
    slim = data if notes_bytes == 0 else b"".join(kept)
    return Slim(slim, orientation=orientation, notes_bytes=notes_bytes), frame


def slim_png(data: bytes) -> Slim:
    """Return a PNG with only the chunks of its first image."""
    kept: list[bytes] = [data[:8]]
    orientation, notes_bytes = 1, 0
    for name, at, end in png_chunks(data):
        if name in PNG_KEPT:
            kept.append(data[at:end])
        else:
            notes_bytes += min(end, len(data)) - at
        if name == b"eXIf":
            orientation = exif_orientation(data[at + 8 : end - 4])
        if name == b"IEND":
            break
    return Slim(data if notes_bytes == 0 else b"".join(kept), orientation=orientation, notes_bytes=notes_bytes)


def slim_tiff(data: bytes) -> Slim:
    """Return a TIFF with one page, whose directory holds only the tags that the decoder needs.

    Raises:
        ValueError: The directory lies outside the file, or its tags refer to more bytes than the file has. A file that
            refers to one long section thousands of times would otherwise be read thousands of times.
    """
    order = "<" if data[:2] == b"II" else ">"
    is_big = data[2:4] in {b"+\0", b"\0+"}  # BigTIFF: wider counts and offsets
    count_code, word_code, entry_size = ("Q", "Q", 20) if is_big else ("H", "I", 12)
    word_size = struct.calcsize(order + word_code)
    if len(data) < 2 * word_size:
        raise ValueError("truncated: the header is incomplete")
    (start,) = struct.unpack_from(order + word_code, data, 8 if is_big else 4)
    body = start + struct.calcsize(order + count_code)
    n_entries = struct.unpack_from(order + count_code, data, start)[0] if body <= len(data) else 0
    if body + n_entries * entry_size > len(data):
        raise ValueError("truncated: the directory lies after the end of the file")
    kept: list[bytes] = []
    orientation, tag_bytes, notes_bytes = 1, 0, 0
    for at in range(body, body + n_entries * entry_size, entry_size):
        tag, kind, count = struct.unpack_from(order + "HH" + word_code, data, at)
        size = count * TIFF_SIZES.get(kind, 1)
        if tag in TIFF_KEPT:
            kept.append(data[at : at + entry_size])
            tag_bytes += size
        else:
            notes_bytes += min(size, len(data))
        if tag == ORIENTATION and count == 1:
            orientation = _sensible(_inline(data, at + 4 + word_size, kind, order))
    if tag_bytes > len(data):
        raise ValueError("truncated: tags refer to bytes after the end of the file")
    directory = struct.pack(order + count_code, len(kept)) + b"".join(kept) + bytes(word_size)
    directory = directory[: len(data) - start]  # the last word may be missing in a file cut there
    slim = b"".join((data[:start], directory, data[start + len(directory) :]))
    return Slim(slim, orientation=orientation, notes_bytes=notes_bytes)


def is_cut_short(data: bytes, kind: Kind) -> bool:
    """Return whether the end of a file is missing, by the markers of its format. Use it on files that do not decode."""
    if kind == "JPEG":
        return b"\xff\xd9" not in data[-64:]
    if kind == "PNG":
        return b"IEND" not in data[-64:]
    if kind == "GIF":
        return not data.rstrip(b"\0").endswith(b";")
    if kind == "WEBP":
        return int.from_bytes(data[4:8], "little") + 8 > len(data)
    if kind == "BMP":
        return int.from_bytes(data[2:6], "little") > len(data)
    return _tiff_pixels_end(data) > len(data)


def _inline(data: bytes, at: int, kind: int, order: str) -> int:
    """Return the integer value stored in a tag itself; 0 if the type is not an integer."""
    code = {1: "B", 3: "H", 4: "I"}.get(kind)
    return 0 if code is None else int(struct.unpack_from(order + code, data, at)[0])


def _sensible(orientation: int) -> int:
    return orientation if 1 <= orientation <= 8 else 1


def _tiff_pixels_end(data: bytes) -> int:
    """Return the end of the last strip or tile of the first page; an offset after the file if it cannot be found."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    try:
        file = BytesIO(slim_tiff(data).data)
        tags = ImageFileDirectory_v2(file.read(16 if data[2:4] in {b"+\0", b"\0+"} else 8))
        file.seek(tags.next)
        tags.load(file)
        starts, lengths = (
            next((tags[tag] for tag in wanted if tag in tags), ()) for wanted in (TIFF_OFFSETS, TIFF_LENGTHS)
        )
        return max((start + length for start, length in zip(starts, lengths, strict=False)), default=0)
    except DECODER_FAULTS:
        return len(data) + 1

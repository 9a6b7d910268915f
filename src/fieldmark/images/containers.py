"""What a picture file says of itself before anything is decoded: its kind, size, turn, and only the bytes that matter.

Camera notes, colour profiles, comments and thumbnails are never opened. They are cut out of JPEG, PNG and TIFF files
before a decoder sees them, so that a malformed note cannot spoil a good picture and an inflated one costs nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

Kind = Literal["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP"]

JPEG_KEPT = frozenset({0xE0, 0xEE})  # JFIF, and Adobe's word on how the colours are stored
PNG_KEPT = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
TIFF_KEPT = frozenset(
    {254, 256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323, 324, 325}
    | {332, 338, 339, 347, *range(512, 522), 529, 530, 531, 532}
)
TIFF_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
TIFF_OFFSETS, TIFF_LENGTHS = (273, 324), (279, 325)  # of strips, of tiles
ORIENTATION = 0x0112
MOST_FRAMES = 10_000

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
    """A file without its notes.

    Attributes:
        data: The bytes a decoder needs.
        orientation: EXIF's 1-8; 1 where nothing sensible is said.
        n_frames: Pictures in the file, counted up to ``MOST_FRAMES``.
        notes_bytes: How much was cut out.
    """

    data: bytes
    orientation: int = 1
    n_frames: int = 1
    notes_bytes: int = 0


@dataclass(frozen=True)
class JpegFrame:
    """Size, number of colour channels and scans of a JPEG, from its markers.

    A JPEG of many nearly empty scans is slow out of all proportion to its bytes, so its scans are counted.
    """

    width: int
    height: int
    n_channels: int
    n_scans: int = 1


def sniff(data: bytes) -> Kind | None:
    """The kind of a file from its first bytes; None where it is none of JPEG, PNG, WebP, TIFF, GIF, BMP.

    Example:
        >>> sniff(b"GIF89a..."), sniff(b"<html>")
        ('GIF', None)
    """
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    return next((kind for signature, kind in _SIGNATURES if data.startswith(signature)), None)


def exif_orientation(exif: bytes) -> int:
    """The orientation 1-8 in a block of EXIF; 1 where the block is damaged or says nothing sensible.

    Only this tag is read: the others of a camera are often malformed, and none matters for the pixels.
    """
    exif = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None or len(exif) < 8:
        return 1
    (start,) = struct.unpack_from(order + "I", exif, 4)
    if start + 2 > len(exif):
        return 1
    (n_entries,) = struct.unpack_from(order + "H", exif, start)
    for at in range(start + 2, min(start + 2 + 12 * n_entries, len(exif) - 11), 12):
        tag, kind, count = struct.unpack_from(order + "HHI", exif, at)
        if tag == ORIENTATION:
            return _sensible(_inline(exif, at + 8, kind, order)) if count == 1 else 1
    return 1


def slim_jpeg(data: bytes) -> tuple[Slim, JpegFrame | None]:
    """A JPEG without its notes, and its frame; None where the markers end before there is one.

    Only the first picture of a multi-picture file is looked at.
    """
    kept: list[bytes] = [b"\xff\xd8"]
    orientation, frame, is_progressive, notes_bytes, at = 1, None, False, 0, 2
    while (at := data.find(b"\xff", at)) >= 0 and at + 4 <= len(data):
        marker = data[at + 1]
        if marker in {0x00, 0x01, 0xFF} or 0xD0 <= marker <= 0xD8:  # fill bytes and markers without a body
            at += 1 if marker == 0xFF else 2
            continue
        if marker in {0xD9, 0xDA}:  # end of picture, start of scan
            break
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        body = data[at + 4 : end]
        if 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC} and len(body) >= 6 and frame is None:
            height, width, n_channels = struct.unpack_from(">HHB", body, 1)
            frame = JpegFrame(width=width, height=height, n_channels=n_channels)
            is_progressive = marker & 0x03 == 0x02
        if marker == 0xE1 and body.startswith(b"Exif\0\0") and orientation == 1:
            orientation = exif_orientation(body)
        if (0xE0 <= marker <= 0xEF and marker not in JPEG_KEPT) or marker == 0xFE:
            notes_bytes += end - at
        else:
            kept.append(data[at:end])
        at = max(end, at + 2)
    rest = data[at:] if at >= 0 else b""
    in_first_scan = rest[4] if len(rest) > 4 else 0
    if frame is not None and (is_progressive or in_first_scan < frame.n_channels):
        # In the coded part 0xFF is followed by 0 or a restart mark, so that these two bytes always begin a scan.
        # Where the first scan holds all channels at once, the picture ends with it, and others are not looked at.
        frame = replace(frame, n_scans=rest.count(b"\xff\xda"))
    slim = data if notes_bytes == 0 else b"".join((*kept, rest))
    return Slim(slim, orientation=orientation, notes_bytes=notes_bytes), frame


def slim_png(data: bytes) -> Slim:
    """A PNG with only the chunks that make the first picture."""
    kept: list[bytes] = [data[:8]]
    orientation, n_frames, notes_bytes, at = 1, 1, 0, 8
    while at + 8 <= len(data):
        (size,) = struct.unpack_from(">I", data, at)
        name, end = data[at + 4 : at + 8], at + 12 + size
        if name in PNG_KEPT:
            kept.append(data[at:end])
        else:
            notes_bytes += min(end, len(data)) - at
        if name == b"eXIf":
            orientation = exif_orientation(data[at + 8 : end - 4])
        elif name == b"acTL" and size == 8:
            n_frames = min(max(1, struct.unpack_from(">I", data[at + 8 : end].ljust(4, b"\0"))[0]), MOST_FRAMES)
        at = end
        if name == b"IEND":
            break
    slim = data if notes_bytes == 0 else b"".join(kept)
    return Slim(slim, orientation=orientation, n_frames=n_frames, notes_bytes=notes_bytes)


def slim_tiff(data: bytes) -> Slim:
    """A TIFF whose first directory holds only the tags that make its picture, and no further page.

    Raises:
        ValueError: The directory lies outside the file, or its tags point at more bytes than the file has: a file
            that names one long stretch thousands of times would otherwise be read thousands of times.
    """
    tiff = _Directory.first(data)
    kept: list[bytes] = []
    orientation, tag_bytes, notes_bytes = 1, 0, 0
    for at, tag, kind, count in tiff.entries(data):
        size = count * TIFF_SIZES.get(kind, 1)
        if tag in TIFF_KEPT:
            kept.append(data[at : at + tiff.entry_size])
            tag_bytes += size
        else:
            notes_bytes += min(size, len(data))
        if tag == ORIENTATION and count == 1:
            orientation = _sensible(_inline(data, at + 4 + tiff.word_size, kind, tiff.order))
    if tag_bytes > len(data):
        raise ValueError("truncated: tags point behind the end of the file")
    directory = struct.pack(tiff.order + tiff.count_code, len(kept)) + b"".join(kept) + bytes(tiff.word_size)
    directory = directory[: len(data) - tiff.start]  # the last word may be missing in a file cut there
    slim = b"".join((data[: tiff.start], directory, data[tiff.start + len(directory) :]))
    return Slim(slim, orientation=orientation, n_frames=_tiff_pages(data, tiff), notes_bytes=notes_bytes)


def gif_frames(data: bytes) -> int:
    """Pictures in a GIF, counted without decoding and up to ``MOST_FRAMES``; at least 1."""
    n_frames, at = 0, 13
    if len(data) > 10 and data[10] & 0x80:
        at += 3 << ((data[10] & 7) + 1)
    while at < len(data) and n_frames < MOST_FRAMES:
        if data[at] == 0x2C and at + 9 < len(data):
            n_frames += 1
            at += 11 + ((3 << ((data[at + 9] & 7) + 1)) if data[at + 9] & 0x80 else 0)
        elif data[at] == 0x21:
            at += 2
        elif data[at] == 0x3B:
            break
        else:  # stray bytes between blocks do occur
            at += 1
            continue
        while at < len(data) and data[at]:  # blocks of at most 255 bytes, an empty one ends them
            at += data[at] + 1
        at += 1
    return max(1, n_frames)


def is_cut_short(data: bytes, kind: Kind) -> bool:
    """Whether the file's own words say that its end is missing: asked only of files that failed to decode."""
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
    """One small number that lies in a tag itself; 0 for kinds that are no whole number."""
    code = {1: "B", 3: "H", 4: "I"}.get(kind)
    return 0 if code is None else int(struct.unpack_from(order + code, data, at)[0])


def _sensible(orientation: int) -> int:
    return orientation if 1 <= orientation <= 8 else 1


@dataclass(frozen=True)
class _Directory:
    """One directory of a TIFF, or of a BigTIFF, whose counts and offsets are wider."""

    order: str
    count_code: str
    word_code: str
    entry_size: int
    start: int

    @classmethod
    def first(cls, data: bytes) -> _Directory:
        """The one that the file's header points at; ValueError where it is not in the file."""
        order = "<" if data[:2] == b"II" else ">"
        big = data[2:4] in {b"+\0", b"\0+"}
        count_code, word_code, entry_size = ("Q", "Q", 20) if big else ("H", "I", 12)
        if len(data) < (16 if big else 8):
            raise ValueError("truncated: the header is not whole")
        (start,) = struct.unpack_from(order + word_code, data, 8 if big else 4)
        tiff = cls(order, count_code, word_code, entry_size, start)
        if tiff.link(data) > len(data):
            raise ValueError("truncated: the directory lies behind the end of the file")
        return tiff

    @property
    def word_size(self) -> int:
        """Bytes of an offset."""
        return struct.calcsize(self.order + self.word_code)

    @property
    def body(self) -> int:
        """Where the entries begin."""
        return self.start + struct.calcsize(self.order + self.count_code)

    def link(self, data: bytes) -> int:
        """Where the entries end, and the offset of the next directory stands; behind the file if there is none."""
        if self.body > len(data):
            return len(data) + 1
        (n_entries,) = struct.unpack_from(self.order + self.count_code, data, self.start)
        return self.body + n_entries * self.entry_size

    def entries(self, data: bytes) -> Iterator[tuple[int, int, int, int]]:
        """Where each tag stands, its number, its kind and its count."""
        for at in range(self.body, self.link(data), self.entry_size):
            yield at, *struct.unpack_from(self.order + "HH" + self.word_code, data, at)


def _tiff_pages(data: bytes, tiff: _Directory) -> int:
    """Pages of a TIFF, by following the chain of directories; a chain that turns back on itself ends there."""
    seen: set[int] = set()
    while tiff.start and tiff.start not in seen and len(seen) < MOST_FRAMES and tiff.link(data) <= len(data):
        seen.add(tiff.start)
        link = tiff.link(data)
        if link + tiff.word_size > len(data):
            break
        tiff = replace(tiff, start=struct.unpack_from(tiff.order + tiff.word_code, data, link)[0])
    return len(seen)


def _tiff_pixels_end(data: bytes) -> int:
    """Where the last strip or tile of the first page ends; behind the file where that cannot be found."""
    try:
        tiff = _Directory.first(data)
        found: dict[int, tuple[int, ...]] = {}
        for at, tag, kind, count in tiff.entries(data):
            code = {3: "H", 4: "I", 16: "Q"}.get(kind)
            if tag not in {*TIFF_OFFSETS, *TIFF_LENGTHS} or code is None:
                continue
            value_at = at + 4 + tiff.word_size
            if count * TIFF_SIZES[kind] > tiff.word_size:
                (value_at,) = struct.unpack_from(tiff.order + tiff.word_code, data, value_at)
            found[tag] = struct.unpack_from(f"{tiff.order}{min(count, len(data))}{code}", data, value_at)
    except (ValueError, struct.error):
        return len(data) + 1
    starts = [start for tag in TIFF_OFFSETS for start in found.get(tag, ())]
    lengths = [length for tag in TIFF_LENGTHS for length in found.get(tag, ())]
    return max((start + length for start, length in zip(starts, lengths, strict=False)), default=0)

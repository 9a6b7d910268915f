"""From a file to upright pixels: one way in for every kind of picture, one kind of error out.

A JPEG is decoded straight at 1/8, 1/4 or 1/2 of its size where that is enough; that is where the speed comes from.
Everything is a function of the bytes: no setting of Pillow is changed or, for limits, obeyed, so that threads may
read side by side and a host program keeps its own rules. Colour profiles and orientation notes outside EXIF
are not looked at; the first picture of a file is read.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from io import BytesIO
from pathlib import Path

import numpy as np
import simplejpeg
from jaxtyping import UInt8
from PIL import Image, ImageFile

from fieldmark.core.errors import ImageError
from fieldmark.images.containers import (
    DECODER_FAULTS,
    Kind,
    Slim,
    exif_orientation,
    is_cut_short,
    slim_jpeg,
    slim_png,
    slim_tiff,
    sniff,
)
from fieldmark.images.pixels import Colour, eight_bit, upright

Size = tuple[int, int]
"""(height_px, width_px) of the upright picture."""

# Called by name rather than through Image.open(), which obeys and warns by a global limit and tries forty formats.
# Imported with the first file of its kind, as most tables hold only JPEGs and those seldom need Pillow.
_PLUGINS: dict[Kind, tuple[str, str]] = {
    "JPEG": ("PIL.JpegImagePlugin", "JpegImageFile"),
    "PNG": ("PIL.PngImagePlugin", "PngImageFile"),
    "WEBP": ("PIL.WebPImagePlugin", "WebPImageFile"),
    "TIFF": ("PIL.TiffImagePlugin", "TiffImageFile"),
    "GIF": ("PIL.GifImagePlugin", "GifImageFile"),
    "BMP": ("PIL.BmpImagePlugin", "BmpImageFile"),
}
_LOST_PIXELS = ("premature end of data segment", "bad huffman code", "instead of rst")
_LOOK = "check the path, and whether the file may be read."
_MEND = "replace the file, or leave such photos out with --skip-broken."


@dataclass(frozen=True)
class Limits:
    """What is too much for one picture; refused before a pixel is decoded.

    Attributes:
        max_pixels: Width x height. The default is the size at which Pillow warns; reading one peaks below 1 GiB.
        max_bytes: Size of the file.
        max_notes_bytes: Camera notes, profiles and comments of a JPEG, PNG or TIFF.
        max_scans: Passes of a progressive JPEG; cameras and shrinkers write fewer than 30.
    """

    max_pixels: int = 89_478_485
    max_bytes: int = 256 * 2**20
    max_notes_bytes: int = 64 * 2**20
    max_scans: int = 500


DEFAULT = Limits()


@dataclass(frozen=True)
class Probe:
    """What a file's header says.

    Attributes:
        width: Of the upright picture, as ``read`` gives it.
        height: Likewise.
        format: ``JPEG``, ``PNG``, ``WEBP``, ``TIFF``, ``GIF`` or ``BMP``.
        mode: Pillow's word for the colours in the file, e.g. ``L``, ``RGB``, ``CMYK``, ``I;16``.
        orientation: EXIF's 1-8; 1 is upright as stored.
        n_bytes: Size of the file.
    """

    width: int
    height: int
    format: Kind
    mode: str
    orientation: int
    n_bytes: int


@dataclass(frozen=True)
class Photo:
    """A file in memory with its header understood and nothing decoded; ``decode`` makes pixels of it."""

    name: str
    data: bytes
    kind: Kind
    height: int
    width: int
    mode: str
    orientation: int
    n_scans: int = 1


def read_pixels(
    source: Path | bytes, *, at_least: Size | None = None, colour: Colour = "rgb", limits: Limits = DEFAULT
) -> UInt8[np.ndarray, "height width channel"]:
    """The upright pixels of a picture, 0-255.

    Args:
        source: A file, or the bytes of one.
        at_least: (height_px, width_px) that is enough, e.g. the size it will be resized to. A JPEG may then come
            smaller than it is, though neither side below this; None, and every other kind, comes whole.
        colour: ``rgb`` gives three channels, ``grey`` one (the luma of ITU-R 601).
        limits: What to refuse.

    Returns:
        Transparent parts lie over white. 16-bit pictures are scaled by their whole range. Pictures of 32-bit or
        decimal numbers are taken as 0-1, 0-255 or 0-65535, the first that holds them all, else stretched from
        their least to their greatest number; what is no number is 0.

    Raises:
        ImageError: The file is missing, no picture, truncated, damaged or beyond ``limits``; it names the file.

    Source:
        Ours; scaled decoding is that of libjpeg-turbo (a JPEG holds 8 x 8 blocks of frequencies; the high ones are
        left out).
    """
    return decode(opened(source, limits=limits), at_least=at_least, colour=colour)


def probe(source: Path | bytes, *, limits: Limits = DEFAULT) -> Probe:
    """Size, kind and mode of a picture, without decoding it.

    Raises:
        ImageError: The header cannot be read, or promises more than ``limits`` allow.
    """
    name, data = _loaded(source, limits)
    photo = _understood(name, data, limits)
    return Probe(
        width=photo.width,
        height=photo.height,
        format=photo.kind,
        mode=photo.mode,
        orientation=photo.orientation,
        n_bytes=len(data),
    )


def opened(source: Path | bytes, *, limits: Limits = DEFAULT) -> Photo:
    """The file in memory, its header read: for those who must know its size before they say how much is enough.

    Raises:
        ImageError: As ``probe``.
    """
    name, data = _loaded(source, limits)
    return _understood(name, data, limits)


def decode(
    photo: Photo, *, at_least: Size | None = None, colour: Colour = "rgb"
) -> UInt8[np.ndarray, "height width channel"]:
    """The pixels of an opened file; see ``read``.

    Raises:
        ImageError: The file is truncated or damaged.
    """
    height_px, width_px = at_least or (photo.height, photo.width)
    least = (width_px, height_px) if photo.orientation >= 5 else (height_px, width_px)
    with _told(photo.name, photo.data, photo.kind):
        pixels = _jpeg(photo, least, colour) if photo.kind == "JPEG" and photo.mode in {"L", "RGB"} else None
        if pixels is None:
            image = _plugin(photo.kind, photo.data)
            if at_least is not None:
                image.draft(image.mode, least[::-1])
            image.load()
            pixels = eight_bit(image, colour)
        return upright(pixels, photo.orientation)


def _jpeg(photo: Photo, least: Size, colour: Colour) -> np.ndarray | None:
    """Pixels by the quick decoder; None where it complains of something that costs no pixels (Pillow then reads)."""
    stored = (photo.width, photo.height) if photo.orientation >= 5 else (photo.height, photo.width)
    height_px, width_px = _scaled(stored, least)
    try:
        return simplejpeg.decode_jpeg(
            photo.data, "GRAY" if colour == "grey" else "RGB", min_height=height_px, min_width=width_px
        )
    except ValueError as error:
        said = str(error).lower()
        if "premature end" in said or any(words in said for words in _LOST_PIXELS):
            raise
        return None


def _scaled(stored: Size, least: Size) -> Size:
    """The smallest of 1/8, 1/4, 1/2 and the whole of the stored size that is enough.

    The decoder also offers 3/8 or 5/8, but only these four are vectorised: a half decodes quicker than 3/8, and the
    whole quicker than 5/8.
    """
    for share in (8, 4, 2):
        height_px, width_px = -(-stored[0] // share), -(-stored[1] // share)
        if height_px >= least[0] and width_px >= least[1]:
            return height_px, width_px
    return stored


def _loaded(source: Path | bytes, limits: Limits) -> tuple[str, bytes]:
    """The name to be told in errors, and the bytes."""
    if isinstance(source, bytes):
        name, n_bytes = "<bytes>", len(source)
    else:
        name = str(source)
        try:
            about = source.stat()
        except (OSError, ValueError) as error:
            raise ImageError("The picture cannot be opened.", got=f"{name}: {_words(error)}", fix=_LOOK) from error
        if not stat.S_ISREG(about.st_mode):
            raise ImageError(
                "The picture is no ordinary file.", got=name, fix="give the path of a file, not of a folder or a pipe."
            )
        n_bytes = about.st_size
    if n_bytes > limits.max_bytes:
        raise _too_large(name, f"{n_bytes:,} bytes", f"{limits.max_bytes:,} bytes", "max_bytes")
    if n_bytes == 0:
        raise ImageError("The picture is empty.", got=f"{name}, 0 bytes", fix=_MEND)
    try:
        return name, source if isinstance(source, bytes) else source.read_bytes()
    except (OSError, MemoryError) as error:
        raise ImageError("The picture cannot be opened.", got=f"{name}: {_words(error)}", fix=_LOOK) from error


def _understood(name: str, data: bytes, limits: Limits) -> Photo:
    """The header read, and everything that is too much refused."""
    kind = sniff(data)
    if kind is None:
        raise ImageError(
            "The file is no picture of a kind that is read here.",
            got=f"{name}, which begins {data[:12]!r}",
            fix="give JPEG, PNG, WebP, TIFF, GIF or BMP; other kinds must be converted first.",
        )
    with _told(name, data, kind):
        slim, photo = _header(name, data, kind, limits)
    n_pixels = photo.width * photo.height
    if n_pixels > limits.max_pixels:
        size = f"{photo.width:,} x {photo.height:,} = {n_pixels:,} pixels"
        raise _too_large(name, size, f"{limits.max_pixels:,} pixels", "max_pixels")
    if slim.notes_bytes > limits.max_notes_bytes:
        raise _too_large(name, f"{slim.notes_bytes:,} bytes of notes", f"{limits.max_notes_bytes:,}", "max_notes_bytes")
    return photo


def _header(name: str, data: bytes, kind: Kind, limits: Limits) -> tuple[Slim, Photo]:
    n_scans = 1
    if kind == "JPEG":
        slim, frame = slim_jpeg(data)
        if frame is None:
            raise ValueError("there is no picture between its markers")
        if frame.n_scans > limits.max_scans:
            raise _too_large(name, f"{frame.n_scans:,} scans", f"{limits.max_scans:,} scans", "max_scans")
        height, width, mode = frame.height, frame.width, {1: "L", 3: "RGB", 4: "CMYK"}.get(frame.n_channels, "?")
        n_scans = frame.n_scans
    else:
        slim = {"PNG": slim_png, "TIFF": slim_tiff}.get(kind, Slim)(data)
        image = _plugin(kind, slim.data)
        (width, height), mode = image.size, image.mode
        if kind == "WEBP":
            slim = Slim(data, exif_orientation(image.info.get("exif", b"")))
    if width <= 0 or height <= 0:
        raise ValueError(f"its size is {width} x {height}")
    if slim.orientation >= 5:
        height, width = width, height
    photo = Photo(
        name, slim.data, kind, height=height, width=width, mode=mode, orientation=slim.orientation, n_scans=n_scans
    )
    return slim, photo


def _plugin(kind: Kind, data: bytes) -> ImageFile.ImageFile:
    """Pillow's reader of this kind, with only the header read."""
    module, name = _PLUGINS[kind]
    return getattr(import_module(module), name)(BytesIO(data), "")


@contextmanager
def _told(name: str, data: bytes, kind: Kind) -> Iterator[None]:
    """Whatever a decoder raises becomes one ImageError that names the file."""
    try:
        yield
    except DECODER_FAULTS as error:
        said = _words(error)
        got = f"{name} ({kind}, {len(data):,} bytes): {said}"
        if isinstance(error, Image.DecompressionBombError):  # of a frame larger than the header promised
            raise _too_large(name, said, "Pillow allows", "max_pixels") from error
        if isinstance(error, MemoryError):
            problem, fix = "The picture does not fit into memory.", "make it smaller, or give the machine more memory."
        elif is_cut_short(data, kind) or any(word in said.lower() for word in ("truncated", "premature end of jpeg")):
            problem, fix = "The picture is truncated: its file ends too early.", f"copy or download it again; {_MEND}"
        else:
            problem, fix = "The picture is damaged.", _MEND
        raise ImageError(problem, got=got, fix=fix) from error


def _too_large(name: str, size: str, most: str, limit: str) -> ImageError:
    return ImageError(
        "The picture is too large to be read safely.",
        got=f"{name}: {size}, more than {most}",
        fix=f"shrink it; who trusts the file may read it with Limits({limit}=...).",
    )


def _words(error: BaseException) -> str:
    """One line of what a decoder said."""
    return " ".join(str(error).split())[:200] or type(error).__name__

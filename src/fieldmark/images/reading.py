"""Image reading: decode files of every supported format to upright pixels. Every failure is an ``ImageError``.

A JPEG is decoded directly at 1/8, 1/4 or 1/2 of its size if that is enough, which makes reading fast. The result
depends on the bytes of the file only. Global settings of Pillow are not changed, and its global size limit is not used,
so that threads can read in parallel and a host program keeps its own settings. Colour profiles, and orientation outside
EXIF, are ignored. Only the first image of a file is read.
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
"""(height_px, width_px) of the upright image."""

# The classes are used directly, because Image.open() uses a global size limit and tries forty formats. Each module is
# imported with the first file of its format, because most data sets hold only JPEGs, which rarely need Pillow.
_PLUGINS: dict[Kind, tuple[str, str]] = {
    "JPEG": ("PIL.JpegImagePlugin", "JpegImageFile"),
    "PNG": ("PIL.PngImagePlugin", "PngImageFile"),
    "WEBP": ("PIL.WebPImagePlugin", "WebPImageFile"),
    "TIFF": ("PIL.TiffImagePlugin", "TiffImageFile"),
    "GIF": ("PIL.GifImagePlugin", "GifImageFile"),
    "BMP": ("PIL.BmpImagePlugin", "BmpImageFile"),
}
_LOST_PIXELS = ("premature end of data segment", "bad huffman code", "instead of rst")
_CHECK = "check the path and the read permission of the file."
_REPLACE = "replace the file, or skip such photos with --skip-broken."


@dataclass(frozen=True)
class Limits:
    """Size limits for one image. Larger images are rejected before decoding.

    Attributes:
        max_pixels: Largest width x height. The default is the size at which Pillow warns; reading an image of this size
            takes less than 1 GiB of memory.
        max_bytes: Largest file size, in bytes.
        max_notes_bytes: Largest size of the metadata (camera notes, profiles, comments) of a JPEG, PNG or TIFF.
        max_scans: Largest number of scans of a progressive JPEG; cameras and image programs write fewer than 30.
    """

    max_pixels: int = 89_478_485
    max_bytes: int = 256 * 2**20
    max_notes_bytes: int = 64 * 2**20
    max_scans: int = 500


DEFAULT = Limits()


@dataclass(frozen=True)
class Probe:
    """Information from the header of an image file.

    Attributes:
        width: Width of the upright image, in px.
        height: Height of the upright image, in px.
        format: ``JPEG``, ``PNG``, ``WEBP``, ``TIFF``, ``GIF`` or ``BMP``.
        mode: Pillow's name for the colour mode of the file, e.g. ``L``, ``RGB``, ``CMYK``, ``I;16``.
        orientation: EXIF orientation, 1-8; 1 means upright as stored.
        n_bytes: Size of the file, in bytes.
    """

    width: int
    height: int
    format: Kind
    mode: str
    orientation: int
    n_bytes: int


@dataclass(frozen=True)
class Photo:
    """An image file in memory with its header parsed. ``decode`` returns its pixels."""

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
    """Return the upright pixels of an image, 0-255.

    Args:
        source: An image file, or the bytes of one.
        at_least: (height_px, width_px) that is large enough, e.g. the size after a later resize. A JPEG may then be
            decoded at a smaller size, with neither side below this. With None, and in other formats, the full size is
            decoded.
        colour: ``rgb`` returns three channels, ``grey`` one channel (the luma of ITU-R 601).
        limits: Largest files and images that are accepted.

    Returns:
        The pixels, with transparent parts over white. 16-bit images are scaled by their full range. For 32-bit and
        floating-point images, the range is the first of 0-1, 0-255 and 0-65535 that holds all values; otherwise it is
        the minimum to the maximum. NaN becomes 0.

    Raises:
        ImageError: The file is missing, not an image, truncated, damaged or beyond ``limits``; the error names the
            file.

    Source:
        Ours; scaled decoding is that of libjpeg-turbo (a JPEG holds 8 x 8 blocks of frequencies, and the high
        frequencies are left out).
    """
    return decode(opened(source, limits=limits), at_least=at_least, colour=colour)


def probe(source: Path | bytes, *, limits: Limits = DEFAULT) -> Probe:
    """Return size, format and mode of an image from its header, without decoding the pixels.

    Raises:
        ImageError: The header cannot be read, or the image is beyond ``limits``.
    """
    name, data = _loaded(source, limits)
    photo = _parsed(name, data, limits)
    return Probe(
        width=photo.width,
        height=photo.height,
        format=photo.kind,
        mode=photo.mode,
        orientation=photo.orientation,
        n_bytes=len(data),
    )


def opened(source: Path | bytes, *, limits: Limits = DEFAULT) -> Photo:
    """Load an image file and parse its header. Use it if the size of the image must be known before decoding.

    Raises:
        ImageError: As for ``probe``.
    """
    name, data = _loaded(source, limits)
    return _parsed(name, data, limits)


def decode(
    photo: Photo, *, at_least: Size | None = None, colour: Colour = "rgb"
) -> UInt8[np.ndarray, "height width channel"]:
    """Return the pixels of an opened file; see ``read_pixels``.

    Raises:
        ImageError: The file is truncated or damaged.
    """
    height_px, width_px = at_least or (photo.height, photo.width)
    least = (width_px, height_px) if photo.orientation >= 5 else (height_px, width_px)
    with _image_errors(photo.name, photo.data, photo.kind):
        pixels = _jpeg(photo, least, colour) if photo.kind == "JPEG" and photo.mode in {"L", "RGB"} else None
        if pixels is None:
            image = _plugin(photo.kind, photo.data)
            if at_least is not None:
                image.draft(image.mode, least[::-1])
            image.load()
            pixels = eight_bit(image, colour)
        return upright(pixels, photo.orientation)


def _jpeg(photo: Photo, least: Size, colour: Colour) -> np.ndarray | None:
    """Return pixels from the fast JPEG decoder, or None if it fails on intact pixels (Pillow then decodes the file)."""
    stored = (photo.width, photo.height) if photo.orientation >= 5 else (photo.height, photo.width)
    height_px, width_px = _scaled(stored, least)
    try:
        return simplejpeg.decode_jpeg(
            photo.data, "GRAY" if colour == "grey" else "RGB", min_height=height_px, min_width=width_px
        )
    except ValueError as error:
        message = str(error).lower()
        if "premature end" in message or any(words in message for words in _LOST_PIXELS):
            raise
        return None


def _scaled(stored: Size, least: Size) -> Size:
    """Return the smallest of 1/8, 1/4, 1/2 and the full stored size that is large enough.

    The decoder also supports 3/8 and 5/8, but only these four sizes are vectorised: 1/2 decodes faster than 3/8, and
    the full size faster than 5/8.
    """
    for share in (8, 4, 2):
        height_px, width_px = -(-stored[0] // share), -(-stored[1] // share)
        if height_px >= least[0] and width_px >= least[1]:
            return height_px, width_px
    return stored


def _loaded(source: Path | bytes, limits: Limits) -> tuple[str, bytes]:
    """Return the name for error messages, and the bytes."""
    if isinstance(source, bytes):
        name, n_bytes = "<bytes>", len(source)
    else:
        name = str(source)
        try:
            about = source.stat()
        except (OSError, ValueError) as error:
            raise ImageError("The image cannot be opened.", got=f"{name}: {_message(error)}", fix=_CHECK) from error
        if not stat.S_ISREG(about.st_mode):
            raise ImageError(
                "The image is not a regular file.",
                got=name,
                fix="give the path of a file, not of a folder or a pipe.",
            )
        n_bytes = about.st_size
    if n_bytes > limits.max_bytes:
        raise _too_large(name, f"{n_bytes:,} bytes", f"{limits.max_bytes:,} bytes", "max_bytes")
    if n_bytes == 0:
        raise ImageError("The image is empty.", got=f"{name}, 0 bytes", fix=_REPLACE)
    try:
        return name, source if isinstance(source, bytes) else source.read_bytes()
    except (OSError, MemoryError) as error:
        raise ImageError("The image cannot be opened.", got=f"{name}: {_message(error)}", fix=_CHECK) from error


def _parsed(name: str, data: bytes, limits: Limits) -> Photo:
    """Parse the header, and reject files beyond ``limits``."""
    kind = sniff(data)
    if kind is None:
        raise ImageError(
            "The file is not an image of a supported format.",
            got=f"{name}, which begins with {data[:12]!r}",
            fix="give JPEG, PNG, WebP, TIFF, GIF or BMP; convert files of other formats first.",
        )
    with _image_errors(name, data, kind):
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
            raise ValueError("the file has no image data between its markers")
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
    """Open the file with Pillow's plugin for its format. Only the header is read."""
    module, name = _PLUGINS[kind]
    return getattr(import_module(module), name)(BytesIO(data), "")


@contextmanager
def _image_errors(name: str, data: bytes, kind: Kind) -> Iterator[None]:
    """Convert every exception of a decoder to an ImageError that names the file."""
    try:
        yield
    except DECODER_FAULTS as error:
        message = _message(error)
        got = f"{name} ({kind}, {len(data):,} bytes): {message}"
        if isinstance(error, Image.DecompressionBombError):  # a frame is larger than its header says
            raise _too_large(name, message, "Pillow allows", "max_pixels") from error
        if isinstance(error, MemoryError):
            problem, fix = (
                "The image does not fit into memory.",
                "make it smaller, or use a machine with more memory.",
            )
        elif is_cut_short(data, kind) or any(
            word in message.lower() for word in ("truncated", "premature end of jpeg")
        ):
            problem, fix = (
                "The image is truncated: its file ends too early.",
                f"copy or download it again; {_REPLACE}",
            )
        else:
            problem, fix = "The image is damaged.", _REPLACE
        raise ImageError(problem, got=got, fix=fix) from error


def _too_large(name: str, size: str, most: str, limit: str) -> ImageError:
    return ImageError(
        "The image is too large to be read safely.",
        got=f"{name}: {size}, more than {most}",
        fix=f"shrink it; if you trust the file, raise the limit with Limits({limit}=...).",
    )


def _message(error: BaseException) -> str:
    """Return the message of an exception as one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__

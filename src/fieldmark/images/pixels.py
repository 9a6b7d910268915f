"""Conversion of images of any mode to 8-bit RGB or grey, upright and over white. It works in strips to bound memory."""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageCms

Colour = Literal["rgb", "grey"]
WHITE = (255, 255, 255)
STRIP_PIXELS = 2**21
"""Number of pixels converted at once. The copies that a conversion needs stay below some tens of megabytes."""

_BIT_DEPTH, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0


def upright(
    pixels: UInt8[np.ndarray, "height width channel"], orientation: int
) -> UInt8[np.ndarray, "height2 width2 channel"]:
    """Return the image in upright orientation.

    Args:
        pixels: Image as stored.
        orientation: EXIF orientation, 1-8: the sides on which the first stored row and column lie. 5-8 swap width and
            height.

    Source:
        CIPA DC-008 (Exif), tag 274.
    """
    if orientation == 1:
        return pixels
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in {3, 4, 7, 8}:
        pixels = pixels[::-1]
    if orientation in {2, 3, 6, 7}:
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def eight_bit(image: Image.Image, colour: Colour) -> UInt8[np.ndarray, "height width channel"]:
    """Return a loaded Pillow image as 8-bit RGB (3 channels) or grey (1 channel). Transparent parts become white.

    CMYK is converted without a colour profile; LAB is converted to sRGB by littleCMS.
    """
    span = _span(image)
    pixels = np.empty((image.height, image.width, 1 if colour == "grey" else 3), dtype=np.uint8)
    n_rows = max(1, STRIP_PIXELS // image.width)
    for top in range(0, image.height, n_rows):
        bottom = min(top + n_rows, image.height)
        strip = image if bottom - top == image.height else image.crop((0, top, image.width, bottom))
        strip = _over_white(strip) if span is None else _scaled(strip, span)
        flat = np.asarray(strip.convert("L" if colour == "grey" else "RGB"))
        pixels[top:bottom] = flat.reshape(bottom - top, image.width, -1)
    return pixels


def _span(image: Image.Image) -> tuple[float, float] | None:
    """Return the values that become 0 and 255; None for images that are 8-bit already."""
    tags = getattr(image, "tag_v2", {})
    if image.mode.startswith("I;16"):
        full = 4095.0 if tags.get(_BIT_DEPTH) == (12,) else 65535.0
        return (full, 0.0) if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO else (0.0, full)
    if image.mode not in {"I", "F"}:
        return None
    numbers = np.asarray(image)
    finite = numbers[np.isfinite(numbers)] if image.mode == "F" else numbers
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    for full in (1.0, 255.0, 65535.0):
        if low >= 0 and high <= full and (full > 1 or image.mode == "F"):
            return 0.0, full
    return low, high if high > low else low + 1.0


def _scaled(strip: Image.Image, span: tuple[float, float]) -> Image.Image:
    """Scale a grey image of any value range to 8 bits."""
    numbers = np.asarray(strip)
    low, high = span
    shade = np.clip((numbers.astype(np.float64) - low) * (255.0 / (high - low)), 0, 255)
    grey = np.rint(np.nan_to_num(shade, nan=0.0)).astype(np.uint8)
    clear = strip.info.get("transparency")
    if isinstance(clear, int):
        grey[numbers == clear] = 255
    return Image.fromarray(grey)


def _over_white(strip: Image.Image) -> Image.Image:
    """Return an 8-bit image with its transparent parts over white."""
    if strip.mode == "LAB":
        return _from_lab(strip)
    if strip.mode in {"La", "RGBa"}:
        strip = strip.convert({"La": "LA", "RGBa": "RGBA"}[strip.mode])
    if not strip.has_transparency_data:
        return strip
    strip = strip.convert("RGBA")
    paper = Image.new("RGB", strip.size, WHITE)
    paper.paste(strip, mask=strip.getchannel("A"))
    return paper


def _from_lab(strip: Image.Image) -> Image.Image:
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    turned = ImageCms.profileToProfile(strip, lab, srgb, outputMode="RGB")
    return strip.convert("RGB") if turned is None else turned

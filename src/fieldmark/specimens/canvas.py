"""Drawing functions for all subjects: anti-aliased polygons and strokes, noise textures, interpolation, camera effects.

Textures are square tiles that repeat without a seam. Each tile depends only on its name and parameters and is created
once per process. A drawing reads a tile at its own position, which is faster than new random numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import Float32, Num, UInt8
from PIL import Image, ImageDraw, ImageFilter

from fieldmark.core import seeds

TILE_PX = 1024
"""Side of every texture in pixels; a power of two, so that wrapping is a bit mask."""

Plane = Float32[np.ndarray, "height width"]
Light = Float32[np.ndarray, "3 height width"]
"""Red, green and blue: 0 is black, 1 is white, larger values are overexposed. Channels come first for speed."""
Picture = UInt8[np.ndarray, "height width 3"]
Stroke = tuple[Num[np.ndarray, "point 2"], float]
"""A line: its (x, y) points and its width, in pixels."""


def fill_polygon(polygon: Num[np.ndarray, "point 2"], *, size_px: tuple[int, int], finer: int = 3) -> Plane:
    """Return the share of each pixel inside a polygon, 0 to 1: an anti-aliased silhouette.

    Corners (x, y) are in pixels; the centre of the top left pixel is (0.5, 0.5). The polygon is drawn ``finer`` times
    larger in each direction and then averaged.
    """
    large = Image.new("L", (size_px[0] * finer, size_px[1] * finer))
    ImageDraw.Draw(large).polygon((polygon * finer).ravel().tolist(), fill=255)
    return np.asarray(large.reduce(finer), dtype=np.float32) / 255


def strokes(lines: Sequence[Stroke], *, size_px: tuple[int, int], finer: int = 2) -> Plane:
    """Return the share of each pixel covered by any of the lines, 0 to 1.

    A line thinner than a pixel of the ``finer`` grid is drawn fainter instead of thicker.
    """
    large = Image.new("L", (size_px[0] * finer, size_px[1] * finer))
    draw = ImageDraw.Draw(large)
    for points, width_px in sorted(lines, key=lambda line: line[1]):
        fine_px = width_px * finer
        draw.line((points * finer).ravel().tolist(), fill=round(255 * min(1.0, fine_px)), width=max(1, round(fine_px)))
    return np.asarray(large.reduce(finer), dtype=np.float32) / 255


@lru_cache(maxsize=32)
def tile(
    name: str, *, roughness: float, stretch: float = 1.0, widest: float = 0.25
) -> Float32[np.ndarray, "side side"]:
    """Return a square noise texture that repeats without a seam, with mean 0 and standard deviation 1.

    The noise is a sum of waves with random direction and phase. Longer waves are stronger.

    Args:
        name: Name of the texture, which seeds the noise.
        roughness: Decrease of strength with frequency: 0 is grain, 1 is rough rock, 2 is soft cloud.
        stretch: Ratio of width to height of the spots.
        widest: Longest wave, as a share of the tile. Smaller values give spots of more similar size.

    Returns:
        The tile. It is read-only, because all callers share the same array.

    Source:
        Spectral synthesis of 1/f noise (Saupe, in *The Science of Fractal Images*, 1988, chapter 2).
    """
    chance = seeds.generator("tile", name)
    down = np.fft.fftfreq(TILE_PX)[:, None] / stretch
    across = np.fft.rfftfreq(TILE_PX)[None, :] * stretch
    frequency = np.hypot(down, across)
    strength = np.where(frequency * TILE_PX * widest < 1, 0.0, np.maximum(frequency, 1 / TILE_PX) ** -roughness)
    waves = strength * np.exp(2j * np.pi * chance.random(frequency.shape))
    noise = np.fft.irfft2(waves, s=(TILE_PX, TILE_PX))
    noise = ((noise - noise.mean()) / noise.std()).astype(np.float32)
    noise.setflags(write=False)
    return noise


def patch(
    texture: Float32[np.ndarray, "side side"], down: Num[np.ndarray, " height"], across: Num[np.ndarray, " width"]
) -> Plane:
    """Return the part of a repeating tile at these rows and columns, in texels of any sign and size."""
    mask = len(texture) - 1
    return texture[down.astype(np.int64) & mask][:, across.astype(np.int64) & mask]


def texture_values(
    texture: Float32[np.ndarray, "channel rows columns"], x: Plane, y: Plane
) -> Float32[np.ndarray, "channel height width"]:
    """Interpolate a texture bilinearly; positions outside get the nearest border texel.

    ``x`` and ``y`` are the column and row to read for each pixel, in texels; the centre of the first texel is 0.
    """
    columns, rows = texture.shape[2], texture.shape[1]
    x = np.clip(x, 0, columns - 1.001)
    y = np.clip(y, 0, rows - 1.001)
    left, top = x.astype(np.int32), y.astype(np.int32)
    to_right, to_low = x - left, y - top
    corner = top * columns + left
    both = to_right * to_low
    weights = (1 - to_right - to_low + both, to_right - both, to_low - both, both)
    corners = (corner, corner + 1, corner + columns, corner + columns + 1)
    values = np.zeros((len(texture), *x.shape), dtype=np.float32)
    for channel, plane in enumerate(texture.reshape(len(texture), -1)):
        for weight, place in zip(weights, corners, strict=True):
            values[channel] += weight * plane.take(place)
    return values


def soft_step(values: Float32[np.ndarray, "*shape"], low: float, high: float) -> Float32[np.ndarray, "*shape"]:
    """Return a smooth step from 0 at ``low`` to 1 at ``high`` (``3 t^2 - 2 t^3``)."""
    t = np.clip((values - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def photograph(light: Light, *, blur_px: float, grain: float, grey: bool, place: tuple[int, int]) -> Picture:
    """Convert light to an 8-bit picture with the blur and noise of a camera, in colour or grey.

    Args:
        light: Red, green and blue; 0 is black, 1 is white, larger values are overexposed.
        blur_px: Standard deviation of the blur in pixels; values below 0.2 give no blur.
        grain: Standard deviation of the sensor noise, in units of ``light``.
        grey: Whether to remove the colour.
        place: Row and column in the noise tile of the first pixel.

    Returns:
        Red, green and blue, 0 to 255.
    """
    height, width = light.shape[1:]
    specks = grain * patch(tile("grain", roughness=0.25), np.arange(height) + place[0], np.arange(width) + place[1])
    if grey:
        light = (0.299 * light[0] + 0.587 * light[1] + 0.114 * light[2])[None]
    if blur_px >= 0.2:
        light = np.stack([_blurred(plane, blur_px) for plane in light])
    planes = (np.clip(light + specks, 0, 1) * 255 + 0.5).astype(np.uint8)
    return np.stack([*planes] * (3 if grey else 1), axis=-1)


def _blurred(plane: Plane, blur_px: float) -> Plane:
    sharp = Image.fromarray((np.clip(plane, 0, 1) * 255 + 0.5).astype(np.uint8))
    return np.asarray(sharp.filter(ImageFilter.GaussianBlur(blur_px)), dtype=np.float32) / 255

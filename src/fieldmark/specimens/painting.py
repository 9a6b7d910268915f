"""Draw museum objects and garments from coloured polygons, with light, shadow and camera effects."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float64
from numpy.random import Generator
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from fieldmark.specimens.canvas import Light, Picture, Plane, patch, photograph, tile

Colour = tuple[float, float, float]
"""Red, green and blue, 0 to 1."""
Outline = Float64[np.ndarray, "point 2"]
PointList = Sequence[tuple[float, float]] | Outline
Part = tuple[Outline, Colour, float | None]
"""A polygon, its colour, and its height above the background, 0 to 1; None paints it on the existing surface.

The unit of length is the height of the object: x is 0 in its middle, y is 0 at its top and 1 at its bottom.
"""

BLACK: Colour = (0.05, 0.05, 0.06)
FINER = 2
"""Polygons are drawn this many times larger in each direction and then averaged."""
PAPERS: tuple[Colour, ...] = (
    (0.95, 0.95, 0.95), (0.80, 0.80, 0.81), (0.62, 0.62, 0.63), (0.40, 0.41, 0.43), (0.80, 0.76, 0.70),
    (0.66, 0.72, 0.78), (0.22, 0.23, 0.25),
)  # fmt: skip
"""Background colours."""
CONTRAST = 0.16
"""Smallest difference in mean brightness between an object and its background."""


def mixed_colours(one: Colour, other: Colour, share: float) -> Colour:
    """Return the colour at ``share`` of the distance from one colour to the other."""
    return tuple(a + share * (b - a) for a, b in zip(one, other, strict=True))  # type: ignore[return-value]


def box(x0: float, y0: float, x1: float, y1: float) -> Outline:
    """Return a rectangle between two corners."""
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], dtype=float)


def ellipse(x: float, y: float, rx: float, ry: float | None = None, *, n: int = 40, dent: float = 1.0) -> Outline:
    """Return an ellipse around (x, y), or a disc without ``ry``; a ``dent`` below 1 gives a star of ``n // 2`` tips."""
    angle = np.linspace(-np.pi / 2, 1.5 * np.pi, n, endpoint=False)
    far = np.where(np.arange(n) % 2, dent, 1.0)
    return np.stack([x + far * rx * np.cos(angle), y + far * (rx if ry is None else ry) * np.sin(angle)], 1)


def smooth(points: PointList, *, n: int = 8) -> Outline:
    """Return a smooth curve through all points, with ``n`` steps between two points.

    Source:
        Catmull and Rom 1974, *A class of local interpolating splines*.
    """
    knots = np.asarray(points, dtype=float)
    knots = np.concatenate([2 * knots[:1] - knots[1:2], knots, 2 * knots[-1:] - knots[-2:-1]])
    a, b, c, d = (knots[i : len(knots) - 3 + i, None] for i in range(4))
    t = (np.arange(n) / n)[None, :, None]
    curve = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    return np.concatenate([curve.reshape(-1, 2), knots[-2:-1]])


def limb(points: PointList, widths: float | Sequence[float]) -> Outline:
    """Return the outline of a stroke along a line; ``widths`` are spread evenly from its first point to its last."""
    line = np.asarray(points, dtype=float)
    half = np.interp(np.linspace(0, 1, len(line)), np.linspace(0, 1, np.size(widths)), np.atleast_1d(widths)) / 2
    direction = np.gradient(line, axis=0)
    direction /= np.maximum(np.hypot(direction[:, 0], direction[:, 1]), 1e-9)[:, None]
    offset = np.stack([-direction[:, 1], direction[:, 0]], 1) * half[:, None]
    return np.concatenate([line + offset, (line - offset)[::-1]])


def whole(right: PointList) -> Outline:
    """Return a symmetric outline from its right side, given from top to bottom."""
    side = np.asarray(right, dtype=float)
    return np.concatenate([side, side[::-1] * [-1, 1]])


def photo(
    parts: Iterable[Part], chance: Generator, *, shorter_px: int, longest: float = 2.0, **finish: float
) -> Picture:
    """Draw a photo of an object made of parts: red, green and blue, 0 to 255.

    Args:
        parts: Parts of the object, in drawing order.
        chance: Random generator for light, position, rotation, background and camera.
        shorter_px: Shorter side of the picture in pixels; the aspect ratio follows the object.
        longest: Largest ratio of the longer to the shorter side.
        **finish: Material of the object: arguments of ``_lit``.
    """
    parts = list(parts)
    wide = 2 * max(float(np.abs(outline[:, 0]).max()) for outline, _, raised in parts if raised is not None)
    aspect = float(np.clip(wide**0.85 * np.exp(chance.normal(0, 0.1)), 1 / longest, longest))
    size_px = (round(shorter_px * max(1, aspect)), round(shorter_px * max(1, 1 / aspect)))
    scale_px = float(chance.uniform(0.74, 0.9)) * min(size_px[1], size_px[0] / wide)
    turn_rad, light_rad = chance.normal(0, 0.04), chance.uniform(-0.9, -0.5) * np.pi
    cos, sin = np.cos(turn_rad), np.sin(turn_rad)
    free = np.array(size_px) - scale_px * np.array([wide, 1])
    middle = np.array(size_px) / 2 + free * chance.uniform(-0.3, 0.3, 2)
    matrix = scale_px * np.array([[cos, sin], [-sin, cos]])
    placed = [((outline - [0, 0.5]) @ matrix + middle, colour, raised) for outline, colour, raised in parts]
    papers = [one for one in PAPERS if abs(np.mean(one) - np.mean(parts[0][1])) >= CONTRAST]
    paper = papers[int(chance.integers(len(papers)))]
    light = 0.8 * np.array([np.cos(light_rad), np.sin(light_rad)])
    down, across = (int(place) for place in chance.integers(1 << 20, size=2))
    light_rgb = _lit(_layers(placed, size_px), paper, light, scale_px=scale_px, place=(down, across), **finish)
    light_rgb *= np.float32(chance.uniform(0.9, 1.08))
    blur_px, grain = float(chance.uniform(0, 0.004)) * size_px[1], float(chance.uniform(0.003, 0.012))
    return photograph(light_rgb, blur_px=blur_px, grain=grain, grey=False, place=(down, across))


def _lit(
    layers: list[Image.Image], paper: Colour, light: Float64[np.ndarray, " xy"], *, scale_px: float,
    place: tuple[int, int], rough: float = 0.03, gloss: float = 0.2, folds: float = 0.0, bend: float = 0.03,
) -> Light:  # fmt: skip
    """Draw the object and its shadow on the background as light, 0 to about 1.

    Args:
        layers: Colour, height and cover; see ``_layers``.
        paper: Colour of the background.
        light: Direction of the light, x to the right and y down; a longer vector gives a harder light.
        scale_px: Height of the object in pixels.
        place: Row and column in the noise tile.
        rough: Strength of the grain of the material.
        gloss: Strength of the gloss.
        folds: Strength of vertical folds.
        bend: Width of the curved edges, in object heights.
    """
    colour, relief, cover = layers
    width, height = cover.size
    x, y = np.linspace(-1, 1, width, dtype=np.float32), np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    noise = tile("material", roughness=0.8, widest=0.05)
    slope = _slope(relief, bend * scale_px, light) + 0.5 * _slope(relief, 0.006 * scale_px, light)
    shade = 0.98 + slope + rough * patch(noise, np.arange(height) * 2 + place[0], np.arange(width) * 2 + place[1])
    shade += folds * (0.5 + 0.5 * y) * np.sin(15 * x / (1.4 + 0.6 * y) + place[0])
    moved = ImageChops.offset(cover, *(round(part) for part in -0.05 * scale_px * light))
    shadow = np.asarray(moved.filter(ImageFilter.GaussianBlur(0.03 * scale_px)), dtype=np.float32) / 255
    towards = 1 + 0.1 * (light[0] * x + light[1] * y) - 0.05 * (x * x + y * y)
    light_rgb = np.array(paper, dtype=np.float32)[:, None, None] * towards * (1 - 0.45 * shadow)
    own = np.asarray(colour, dtype=np.float32).transpose(2, 0, 1) / 255 * shade
    light_rgb += np.asarray(cover, dtype=np.float32) / 255 * (own + gloss * np.clip(slope - 0.05, 0, 0.4) - light_rgb)
    return light_rgb.astype(np.float32)


def _layers(parts: Iterable[Part], size_px: tuple[int, int]) -> list[Image.Image]:
    """Return colour, height and cover of parts with coordinates in pixels."""
    layers = [Image.new(mode, (size_px[0] * FINER, size_px[1] * FINER)) for mode in ("RGB", "L", "L")]
    pens = [ImageDraw.Draw(layer) for layer in layers]
    for outline, colour, raised in parts:
        corners = (outline * FINER).ravel().tolist()
        pens[0].polygon(corners, fill=tuple(round(255 * channel) for channel in colour))
        if raised is not None:
            pens[1].polygon(corners, fill=round(255 * raised))
            pens[2].polygon(corners, fill=255)
    return [layer.reduce(FINER) for layer in layers]


def _slope(relief: Image.Image, blur_px: float, light: Float64[np.ndarray, " xy"]) -> Plane:
    """Return the change of brightness of each pixel from the slope of the surface towards the light."""
    blur_px = max(0.5, blur_px)
    soft = np.asarray(relief.filter(ImageFilter.GaussianBlur(blur_px)), dtype=np.float32) * np.float32(blur_px / 255)
    down, across = np.gradient(soft)
    return (-2 * (light[0] * across + light[1] * down)).astype(np.float32)

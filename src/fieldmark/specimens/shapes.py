"""Outlines to paint with: every ornament is a list of filled polygons, each with the number of its ink."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float64

Outline = Float64[np.ndarray, "point 2"]
Drawing = tuple[tuple[Outline, int], ...]
"""Polygons in the order in which they are painted, each with an ink: see ``FIGURE``, ``ACCENT`` and ``GROUND``."""

FIGURE, ACCENT, GROUND = 0, 1, 2
"""The three inks of a drawing: of the figure itself, of its details, and of what lies behind it (for cut lines)."""

Points = Sequence[tuple[float, float]]


def ellipse(x: float, y: float, rx: float, ry: float | None = None, *, turn_rad: float = 0.0, n: int = 18) -> Outline:
    """An ellipse (a disc without ``ry``) about (x, y), its longer axis turned by ``turn_rad``."""
    angle = np.linspace(0, 2 * np.pi, n, endpoint=False)
    return turned(np.stack([rx * np.cos(angle), (rx if ry is None else ry) * np.sin(angle)], 1), turn_rad) + np.array(
        [x, y]
    )


def turned(points: Outline, turn_rad: float) -> Outline:
    """The outline turned about (0, 0)."""
    cos, sin = np.cos(turn_rad), np.sin(turn_rad)
    return points @ np.array([[cos, sin], [-sin, cos]])


def smooth(points: Points, *, closed: bool = True, n: int = 5) -> Outline:
    """A round curve through some points (Catmull-Rom), ``n`` steps from each to the next.

    Source:
        Catmull and Rom 1974, *A class of local interpolating splines*.
    """
    knots = np.asarray(points, dtype=float)
    if closed:
        knots = np.concatenate([knots[-1:], knots, knots[:2]])
    else:
        knots = np.concatenate([2 * knots[:1] - knots[1:2], knots, 2 * knots[-1:] - knots[-2:-1]])
    a, b, c, d = (knots[i : len(knots) - 3 + i, None] for i in range(4))
    t = (np.arange(n) / n)[None, :, None]
    curve = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    curve = curve.reshape(-1, 2)
    return curve if closed else np.concatenate([curve, knots[-2:-1]])


def limb(points: Points | Outline, widths: float | Sequence[float], *, round_ends: bool = True) -> Outline:
    """A stroke that swells and tapers along a line: arms, stems, tails.

    Args:
        points: The line, at least two points.
        widths: Its width, one for all or some that are spread evenly along the line.
        round_ends: End in a half circle rather than square.
    """
    line = np.asarray(points, dtype=float)
    along = np.linspace(0, 1, len(line))
    half = np.interp(along, np.linspace(0, 1, np.size(widths)), np.atleast_1d(widths)) / 2
    way = np.gradient(line, axis=0)
    way /= np.maximum(np.hypot(way[:, 0], way[:, 1]), 1e-9)[:, None]
    aside = np.stack([-way[:, 1], way[:, 0]], 1) * half[:, None]
    parts = [line + aside]
    if round_ends:
        parts.append(_cap(line[-1], way[-1], half[-1]))
    parts.append((line - aside)[::-1])
    if round_ends:
        parts.append(_cap(line[0], -way[0], half[0]))
    return np.concatenate(parts)


def _cap(end: Outline, way: Outline, radius: float) -> Outline:
    """A half circle that closes a limb, from its left side to its right one."""
    angle = np.arctan2(way[1], way[0]) + np.linspace(np.pi / 2, -np.pi / 2, 7)[1:-1]
    return end + radius * np.stack([np.cos(angle), np.sin(angle)], 1)


def star(x: float, y: float, radius: float, *, points: int = 8, inner: float = 0.45, turn_rad: float = 0.0) -> Outline:
    """A star with ``points`` tips; its dents lie at the share ``inner`` of the radius."""
    angle = turn_rad + np.pi / 2 + np.arange(2 * points) * np.pi / points
    far = np.where(np.arange(2 * points) % 2, radius * inner, radius)
    return np.stack([x + far * np.cos(angle), y + far * np.sin(angle)], 1)


def lens(start: tuple[float, float], end: tuple[float, float], width: float) -> Outline:
    """A leaf from one point to another, pointed at both ends."""
    first, last = np.array(start), np.array(end)
    way = last - first
    aside = np.array([-way[1], way[0]]) / max(np.hypot(*way), 1e-9)
    t = np.linspace(0, 1, 8)[:, None]
    middle, bulge = first + t * way, 0.5 * width * np.sin(np.pi * t) * aside
    return np.concatenate([middle + bulge, (middle - bulge)[::-1][1:-1]])


def box(x0: float, y0: float, x1: float, y1: float) -> Outline:
    """A rectangle between two corners."""
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])


def bars(points: Points, width: float) -> list[Outline]:
    """A line of upright and level strokes with square corners, one rectangle a stroke."""
    half = width / 2
    return [
        box(min(a[0], b[0]) - half, min(a[1], b[1]) - half, max(a[0], b[0]) + half, max(a[1], b[1]) + half)
        for a, b in pairwise(points)
    ]


@dataclass(frozen=True)
class Stencil:
    """A drawing in one array, quick to move to many places.

    Attributes:
        points: The corners of all polygons in a row.
        spans: For each polygon its first coordinate, the one after its last (two a point), and its ink.
    """

    points: Outline
    spans: tuple[tuple[int, int, int], ...]

    @classmethod
    def of(cls, drawing: Drawing) -> Stencil:
        """The drawing, packed."""
        ends = np.cumsum([0] + [outline.size for outline, _ in drawing]).tolist()
        spans = tuple((first, last, ink) for first, last, (_, ink) in zip(ends[:-1], ends[1:], drawing, strict=True))
        return cls(np.concatenate([outline for outline, _ in drawing]), spans)


def inked(ink: int, *outlines: Outline) -> Drawing:
    """Outlines that are all painted with one ink."""
    return tuple((outline, ink) for outline in outlines)

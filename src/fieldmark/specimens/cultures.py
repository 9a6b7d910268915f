"""How a culture is seen in an object: its colours and the frieze along its borders.

The names are those of real cultures, the looks are shorthand: each is told from the others by its palette and by its
frieze, and an object of two cultures has the colours of the first, the accents of the second and friezes of both.

A frieze is the drawing of one period: s runs along it from 0 to 1, t across it from 0 (outer edge) to 1 (inner edge).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from fieldmark.specimens.shapes import (
    ACCENT,
    FIGURE,
    GROUND,
    Drawing,
    Stencil,
    bars,
    box,
    ellipse,
    inked,
    lens,
    limb,
    smooth,
    star,
)  # fmt: skip

Colour = tuple[float, float, float]


def _meander() -> Drawing:
    key = [(-0.01, 0.84), (-0.01, 0.16), (0.8, 0.16), (0.8, 0.62), (0.42, 0.62), (0.42, 0.4)]
    return inked(FIGURE, *bars(key, 0.13), box(0, 0.775, 1.0, 0.905))


def _lotus() -> Drawing:
    petals = [
        lens((0.5, 0.95), (0.5, 0.06), 0.3),
        lens((0.5, 0.95), (0.24, 0.2), 0.22),
        lens((0.5, 0.95), (0.76, 0.2), 0.22),
    ]
    bud = [lens((0.0, 0.95), (0.0, 0.3), 0.2), lens((1.0, 0.95), (1.0, 0.3), 0.2)]
    return inked(FIGURE, *petals, box(0, 0.9, 1, 1)) + inked(ACCENT, *bud, lens((0.5, 0.8), (0.5, 0.3), 0.12))


def _waves() -> Drawing:
    turn = np.linspace(-0.3, 4.6, 16)
    radius = np.linspace(0.4, 0.1, 16)
    curl = np.stack([0.52 - radius * np.cos(turn), 0.52 - radius * np.sin(turn) * 0.95], 1)
    foot = smooth([(-0.02, 0.98), (0.06, 0.72), (0.12, 0.4), (0.28, 0.62), (0.5, 0.86), (1.02, 0.98)], closed=False)
    return inked(FIGURE, foot, limb(curl, (0.16, 0.1, 0.06))) + inked(ACCENT, ellipse(0.86, 0.2, 0.08))


def _scales() -> Drawing:
    drawn: Drawing = ()
    for x, y in ((0.0, 0.52), (1.0, 0.52), (0.5, 1.02)):
        for radius, ink in ((0.5, FIGURE), (0.41, GROUND), (0.3, FIGURE), (0.2, GROUND), (0.1, ACCENT)):
            arc = np.linspace(np.pi, 2 * np.pi, 12)
            drawn += inked(ink, np.stack([x + radius * np.cos(arc), y + radius * np.sin(arc)], 1))
    return drawn


def _strapwork() -> Drawing:
    straps = [limb([(0, 0.1), (1, 0.9)], 0.08, round_ends=False), limb([(0, 0.9), (1, 0.1)], 0.08, round_ends=False)]
    halves = [star(x, 0.5, 0.2, points=4, inner=0.5) for x in (0.0, 1.0)]
    return (
        inked(FIGURE, *straps, star(0.5, 0.5, 0.38, points=8, inner=0.68))
        + inked(GROUND, star(0.5, 0.5, 0.24, points=8, inner=0.6))
        + inked(ACCENT, ellipse(0.5, 0.5, 0.09), *halves)
    )


def _paisley() -> Drawing:
    drop = smooth(
        [
            (0.52, 0.95),
            (0.24, 0.82),
            (0.22, 0.52),
            (0.44, 0.32),
            (0.56, 0.16),
            (0.42, 0.04),
            (0.74, 0.12),
            (0.82, 0.5),
            (0.76, 0.82),
        ]
    )
    inside = smooth([(0.52, 0.82), (0.36, 0.74), (0.38, 0.56), (0.56, 0.42), (0.66, 0.56), (0.64, 0.76)])
    return inked(FIGURE, drop) + inked(
        ACCENT, inside, ellipse(0.02, 0.5, 0.09), ellipse(0.02, 0.2, 0.05), ellipse(0.02, 0.8, 0.05)
    )


def _garland() -> Drawing:
    t = np.linspace(0, 1, 9)
    swag = np.stack([t, 0.2 + 0.5 * np.sin(np.pi * t)], 1)
    roses = [ellipse(x, y, 0.1, n=12) for x, y in swag[1:-1:2]]
    bow = [lens((0, 0.2), (0.14, 0.02), 0.12), lens((0, 0.2), (-0.14, 0.02), 0.12), lens((0, 0.2), (0.0, 0.62), 0.1)]
    bow += [outline + np.array([1, 0]) for outline in bow]
    return inked(FIGURE, limb(swag, (0.06, 0.14, 0.06)), *bow) + inked(
        ACCENT, *roses, ellipse(0, 0.2, 0.08), ellipse(1, 0.2, 0.08)
    )


def _steps() -> Drawing:
    stairs = np.array(
        [
            (0, 1),
            (0, 0.75),
            (0.17, 0.75),
            (0.17, 0.5),
            (0.34, 0.5),
            (0.34, 0.25),
            (0.52, 0.25),
            (0.52, 0.0),
            (0.64, 0),
            (0.64, 1),
        ]
    )
    hook = bars([(0.82, 0.06), (0.82, 0.62)], 0.16)
    return (
        inked(FIGURE, stairs) + inked(ACCENT, *hook, box(0.9, 0.5, 1.0, 0.7)) + inked(GROUND, box(0.36, 0.6, 0.52, 0.8))
    )


def _laurel() -> Drawing:
    leaves = [lens((x, 0.5), (x + 0.42, 0.5 + side * 0.42), 0.26) for x in (0.0, 0.5) for side in (-1, 1)]
    return inked(FIGURE, *leaves, box(0, 0.46, 1, 0.54)) + inked(ACCENT, ellipse(0.5, 0.5, 0.1), ellipse(0, 0.5, 0.1))


def _knot() -> Drawing:
    t = np.linspace(0, 1, 17)
    waves = [np.stack([t, 0.5 + sign * 0.34 * np.sin(2 * np.pi * t)], 1) for sign in (1, -1)]
    return (
        inked(FIGURE, limb(waves[0], 0.17, round_ends=False))
        + inked(GROUND, limb(waves[1][5:12], 0.3, round_ends=False))
        + inked(FIGURE, limb(waves[1], 0.17, round_ends=False))
        + inked(GROUND, limb(waves[0][:3], 0.3, round_ends=False), limb(waves[0][14:], 0.3, round_ends=False))
        + inked(FIGURE, limb(waves[0][:5], 0.17, round_ends=False), limb(waves[0][12:], 0.17, round_ends=False))
        + inked(ACCENT, ellipse(0.25, 0.5, 0.09), ellipse(0.75, 0.5, 0.09))
    )


def _serrated() -> Drawing:
    def diamond(size: float) -> np.ndarray:
        teeth = [(0, -1), (0.25, -0.75), (0.25, -0.5), (0.5, -0.5), (0.5, -0.25), (0.8, 0)]
        right = [(x, y) for x, y in teeth] + [(x, -y) for x, y in teeth[-2::-1]]
        left = [(-x, y) for x, y in right[::-1]]
        return np.array(right + left) * size * 0.5 + 0.5

    return (
        inked(FIGURE, diamond(0.98))
        + inked(ACCENT, diamond(0.62))
        + inked(FIGURE, diamond(0.26), box(0, 0, 1, 0.05), box(0, 0.95, 1, 1))
    )


def _beads() -> Drawing:
    cross = [box(0.42, 0.16, 0.58, 0.84), box(0.16, 0.42, 0.84, 0.58)]
    pearls = [ellipse(x, y, 0.085, n=10) for x in (0.0, 1.0) for y in (0.2, 0.5, 0.8)]
    return inked(FIGURE, *cross, box(0, 0, 1, 0.05), box(0, 0.95, 1, 1)) + inked(
        ACCENT, ellipse(0.5, 0.5, 0.13), *pearls
    )


def _lines() -> Drawing:
    return inked(FIGURE, box(0, 0.2, 1, 0.32), box(0, 0.68, 1, 0.8))


@dataclass(frozen=True)
class Culture:
    """The looks of a culture.

    Attributes:
        grounds: Colours of the body of an object, of which each object has one.
        figure: Colour in which things are painted on it.
        accent: Colour of the details.
        border: Colour behind the frieze.
        frieze: One period of the border.
    """

    grounds: tuple[Colour, ...]
    figure: Colour
    accent: Colour
    border: Colour
    frieze: Callable[[], Drawing]


CULTURES: dict[str, Culture] = {
    "chinese": Culture(
        ((0.90, 0.92, 0.93), (0.84, 0.89, 0.93)), figure=(0.10, 0.20, 0.55), accent=(0.38, 0.56, 0.82),
        border=(0.90, 0.92, 0.93), frieze=_waves,
    ),
    "french": Culture(
        ((0.95, 0.80, 0.83), (0.62, 0.80, 0.90)), figure=(0.66, 0.48, 0.16), accent=(0.80, 0.28, 0.42),
        border=(0.97, 0.94, 0.88), frieze=_garland,
    ),
    "egyptian": Culture(
        ((0.20, 0.62, 0.62), (0.28, 0.68, 0.60)), figure=(0.07, 0.11, 0.27), accent=(0.88, 0.69, 0.22),
        border=(0.88, 0.69, 0.22), frieze=_lotus,
    ),
    "japanese": Culture(
        ((0.94, 0.87, 0.73), (0.93, 0.90, 0.82)), figure=(0.76, 0.17, 0.12), accent=(0.13, 0.18, 0.36),
        border=(0.93, 0.87, 0.74), frieze=_scales,
    ),
    "greek": Culture(
        ((0.78, 0.41, 0.20), (0.80, 0.46, 0.24)), figure=(0.09, 0.07, 0.07), accent=(0.95, 0.86, 0.70),
        border=(0.80, 0.44, 0.22), frieze=_meander,
    ),
    "islamic": Culture(
        ((0.05, 0.36, 0.34), (0.04, 0.42, 0.34)), figure=(0.93, 0.90, 0.80), accent=(0.84, 0.58, 0.20),
        border=(0.05, 0.24, 0.40), frieze=_strapwork,
    ),
    "indian": Culture(
        ((0.92, 0.60, 0.12), (0.94, 0.66, 0.22)), figure=(0.62, 0.06, 0.26), accent=(0.10, 0.42, 0.22),
        border=(0.95, 0.74, 0.30), frieze=_paisley,
    ),
    "roman": Culture(
        ((0.60, 0.14, 0.11), (0.54, 0.16, 0.12)), figure=(0.93, 0.82, 0.58), accent=(0.22, 0.13, 0.10),
        border=(0.36, 0.10, 0.09), frieze=_laurel,
    ),
    "peruvian": Culture(
        ((0.76, 0.20, 0.40), (0.70, 0.18, 0.42)), figure=(0.97, 0.84, 0.32), accent=(0.13, 0.09, 0.12),
        border=(0.10, 0.44, 0.46), frieze=_steps,
    ),
    "celtic": Culture(
        ((0.30, 0.38, 0.27), (0.34, 0.40, 0.26)), figure=(0.82, 0.73, 0.42), accent=(0.70, 0.34, 0.16),
        border=(0.13, 0.18, 0.13), frieze=_knot,
    ),
    "navajo": Culture(
        ((0.15, 0.14, 0.15), (0.20, 0.18, 0.18)), figure=(0.95, 0.93, 0.88), accent=(0.80, 0.12, 0.12),
        border=(0.52, 0.51, 0.50), frieze=_serrated,
    ),
    "byzantine": Culture(
        ((0.36, 0.11, 0.40), (0.30, 0.10, 0.36)), figure=(0.92, 0.74, 0.25), accent=(0.95, 0.91, 0.82),
        border=(0.20, 0.06, 0.24), frieze=_beads,
    ),
}  # fmt: skip
"""The cultures by name, the most frequent first."""

NOWHERE = Culture(
    ((0.62, 0.56, 0.49), (0.72, 0.69, 0.64), (0.58, 0.50, 0.42), (0.60, 0.59, 0.57)),
    (0.19, 0.15, 0.13), (0.93, 0.90, 0.84), (0.52, 0.46, 0.40), _lines,
)  # fmt: skip
"""Clay, stone, wood and pewter with two plain lines: an object of no known culture."""


class Border(NamedTuple):
    """A frieze in its colours: behind it, of it, of its details; and the drawing of one period."""

    behind: Colour
    figure: Colour
    accent: Colour
    period: Stencil


@dataclass(frozen=True)
class Finery:
    """The colours and friezes of one object.

    Attributes:
        ground: Colour of its body.
        figure: Colour of what is painted on it.
        accent: Colour of the details.
        borders: The frieze of each of its cultures; plain lines where it has none.
    """

    ground: Colour
    figure: Colour
    accent: Colour
    borders: tuple[Border, ...]

    @classmethod
    def of(cls, cultures: tuple[str, ...], chance: Generator) -> Finery:
        """The looks of one object: those of its cultures, a shade lighter or darker, warmer or cooler."""
        looks = [CULTURES[name] for name in cultures] or [NOWHERE]
        fade = float(chance.uniform(0.0, 0.12))

        def aged(colour: Colour) -> Colour:
            return tuple(float(v) for v in np.clip((1 - fade) * np.array(colour) + fade * 0.55 + shift, 0.03, 0.98))  # type: ignore[return-value]

        shift = chance.normal(0, 0.02, 3)
        first = looks[0]
        ground = first.grounds[int(chance.integers(len(first.grounds)))]
        return cls(
            ground=aged(ground),
            figure=aged(first.figure),
            accent=aged(looks[-1].accent),
            borders=tuple(Border(aged(c.border), aged(c.figure), aged(c.accent), frieze(c)) for c in looks),
        )


@lru_cache(maxsize=len(CULTURES) + 1)
def frieze(culture: Culture) -> Stencil:
    """One period of a culture's border; kept, as every photo asks again."""
    return Stencil.of(culture.frieze())

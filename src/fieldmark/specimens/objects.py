"""Draw museum objects with a kind, cultures and motifs. Every label is visible in the picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fieldmark.core import seeds
from fieldmark.specimens.canvas import Picture
from fieldmark.specimens.painting import (
    BLACK,
    Colour,
    Outline,
    Part,
    box,
    ellipse,
    limb,
    mixed_colours,
    photo,
    smooth,
    whole,
)

GOLD: Colour = (0.78, 0.60, 0.26)


class Culture(NamedTuple):
    """Colours of a culture, and one period of its frieze: outlines in a unit square."""

    ground: Colour
    figure: Colour
    accent: Colour
    frieze: tuple[Outline, ...]


CULTURES = {
    "greek": Culture((0.78, 0.42, 0.21), (0.09, 0.07, 0.07), (0.95, 0.86, 0.70), (
        box(0, 0.8, 1, 0.95), box(0, 0.1, 0.16, 0.8), box(0, 0.1, 0.75, 0.25), box(0.6, 0.1, 0.75, 0.65),
    )),
    "chinese": Culture((0.90, 0.92, 0.94), (0.10, 0.20, 0.58), (0.38, 0.56, 0.82), (
        limb(smooth([(0, 0.8), (0.25, 0.25), (0.6, 0.2), (0.7, 0.55), (0.5, 0.6)]), 0.14), box(0, 0.8, 1, 0.94),
    )),
    "egyptian": Culture((0.20, 0.62, 0.62), (0.07, 0.11, 0.27), (0.90, 0.72, 0.22), (
        ellipse(0.5, 0.5, 0.16, 0.45), ellipse(0.12, 0.62, 0.1, 0.36), ellipse(0.88, 0.62, 0.1, 0.36),
    )),
    "islamic": Culture((0.05, 0.38, 0.35), (0.93, 0.90, 0.80), (0.05, 0.22, 0.44), (
        ellipse(0.5, 0.5, 0.45, n=16, dent=0.6),
    )),
    "peruvian": Culture((0.78, 0.22, 0.44), (0.97, 0.84, 0.32), (0.13, 0.30, 0.34), (
        box(0, 0.7, 0.75, 1), box(0.15, 0.4, 0.6, 0.7), box(0.3, 0.1, 0.45, 0.4),
    )),
    "navajo": Culture((0.16, 0.15, 0.16), (0.95, 0.93, 0.88), (0.82, 0.14, 0.12), (ellipse(0.5, 0.5, 0.42, n=4),)),
}  # fmt: skip
"""Cultures by name, the most frequent first. Their patterns are symbols, not descriptions."""
UNKNOWN_CULTURE = Culture((0.62, 0.56, 0.49), (0.19, 0.15, 0.13), (0.93, 0.90, 0.84), (box(0, 0.3, 1, 0.45),))

MOTIFS = {
    "birds": (
        (smooth([(-0.32, -0.12), (-0.2, -0.25), (0, -0.05), (0.48, 0), (0.2, 0.2), (-0.1, 0.22), (-0.32, -0.12)]),
         limb([(-0.02, 0.2), (-0.02, 0.45)], 0.05), limb([(0.1, 0.2), (0.1, 0.45)], 0.05)),
        (ellipse(-0.4, -0.1, 0.12, 0.05, n=4), limb([(0, 0), (0.2, 0.1), (0.42, -0.3)], (0.05, 0.2, 0.03))),
    ),
    "flowers": (
        tuple(ellipse(0.3 * np.sin(a), 0.3 * np.cos(a), 0.17) for a in np.arange(0, 6, np.pi / 3)),
        (ellipse(0, 0, 0.16),),
    ),
    "men": (
        (ellipse(0, -0.36, 0.12), box(-0.13, -0.22, 0.13, 0.12), box(-0.13, 0.1, -0.03, 0.5),
         box(0.03, 0.1, 0.13, 0.5), limb([(-0.12, -0.17), (-0.36, 0.06)], 0.09)),
        (limb([(0.12, -0.17), (0.38, -0.3)], 0.09), limb([(0.38, 0.5), (0.38, -0.5)], 0.05)),
    ),
    "trees": (
        tuple(np.array([(0, y), (x, y + 0.36), (-x, y + 0.36)]) for y, x in ((-0.5, 0.22), (-0.3, 0.32), (-0.1, 0.42))),
        (box(-0.07, 0.26, 0.07, 0.5),),
    ),
    "suns": ((ellipse(0, 0, 0.5, n=24, dent=0.58),), (ellipse(0, 0, 0.2),)),
    "fish": (
        (ellipse(-0.08, 0, 0.38, 0.22), np.array([(0.2, 0), (0.5, -0.24), (0.42, 0), (0.5, 0.24)])),
        (ellipse(-0.28, -0.05, 0.05), limb([(-0.1, -0.17), (-0.02, 0), (-0.1, 0.17)], 0.06)),
    ),
    "boats": (
        (np.array([(-0.5, 0.18), (0.5, 0.18), (0.3, 0.42), (-0.3, 0.42)]), limb([(0, 0.2), (0, -0.5)], 0.05)),
        (np.array([(0.05, -0.45), (0.42, 0.1), (0.05, 0.1)]), np.array([(-0.05, -0.3), (-0.05, 0.1), (-0.32, 0.1)])),
    ),
}  # fmt: skip
"""Motifs by name, the most frequent first: outlines in the figure colour, then in the accent colour, within +-0.5."""


class Kind(NamedTuple):
    """A kind of object: its shape, and the positions of its friezes and motifs.

    Friezes run between two heights, or around a disc (``is_round``) between two radii. The field of the motifs is
    (left, top, right, bottom). A part is (outline, colour as a key of ``_parts``, height). ``finish`` holds arguments
    of ``photo``. A vessel also has the label "vessels".
    """

    outline: Outline
    friezes: tuple[tuple[float, float], ...]
    field: tuple[float, float, float, float]
    parts: tuple[tuple[Outline, str, float], ...]
    finish: dict[str, float]
    is_round: bool = False
    is_vessel: bool = False


GLAZE = {"rough": 0.015, "gloss": 0.7, "bend": 0.1}
_DISC, _PANEL, _RUG = ellipse(0, 0.5, 0.5), box(-0.6, 0, 0.6, 1), box(-0.36, 0.05, 0.36, 0.95)
_VASE = [(0.2, 0.04), (0.13, 0.12), (0.16, 0.22), (0.36, 0.4), (0.38, 0.55), (0.22, 0.85), (0.17, 0.93), (0.22, 1)]
_BOWL = [(0.85, 0.1), (0.83, 0.3), (0.66, 0.68), (0.36, 0.86), (0.33, 0.92), (0.4, 1)]
_CUP = [(0.5, 0.08), (0.5, 0.3), (0.46, 0.7), (0.3, 0.92), (0.26, 0.95), (0.32, 1)]
_FACE = [(0, 0), (0.27, 0.05), (0.37, 0.3), (0.33, 0.62), (0.16, 0.94), (0, 1)]
_HOLES = (ellipse(-0.16, 0.5, 0.09, 0.04), ellipse(0.16, 0.5, 0.09, 0.04), ellipse(0, 0.81, 0.14, 0.035))
_HANDLE = limb(smooth([(0.5, 0.28), (0.72, 0.26), (0.74, 0.6), (0.42, 0.72)]), 0.08)
_FRAME = (box(-0.6, 0, 0.6, 0.08), box(-0.6, 0.92, 0.6, 1), box(-0.6, 0, -0.52, 1), box(0.52, 0, 0.6, 1))
_FRINGES = [box(x, y, x + 0.014, y + 0.05) for x in np.arange(-0.35, 0.35, 0.04) for y in (0.0, 0.95)]
KINDS = {
    "vases": Kind(whole(smooth(_VASE)), ((0.23, 0.33), (0.72, 0.81)), (-0.27, 0.33, 0.27, 0.72), (
        (ellipse(0, 0.04, 0.2, 0.03), "inside", 0.5),), GLAZE, is_vessel=True),
    "plates": Kind(_DISC, ((0.35, 0.46),), (-0.24, 0.26, 0.24, 0.74), (
        (ellipse(0, 0.5, 0.34), "ground", 0.6),), {"rough": 0.01, "gloss": 0.5}, is_round=True),
    "paintings": Kind(_PANEL, ((0.74, 0.86),), (-0.44, 0.14, 0.44, 0.7), (
        (box(-0.52, 0.08, 0.52, 0.64), "pale", 0.7), *((bar, "gold", 1.0) for bar in _FRAME)), {"rough": 0.04}),
    "rugs": Kind(_RUG, ((0.08, 0.19), (0.81, 0.92)), (-0.3, 0.22, 0.3, 0.78), (
        *((fringe, "pale", 0.4) for fringe in _FRINGES),), {"rough": 0.09, "gloss": 0}),
    "bowls": Kind(whole(smooth(_BOWL)), ((0.24, 0.38),), (-0.5, 0.38, 0.5, 0.84), (
        (ellipse(0, 0.1, 0.85, 0.095), "inside", 0.5),), GLAZE, is_vessel=True),
    "masks": Kind(whole(smooth(_FACE)), ((0.02, 0.12),), (-0.24, 0.13, 0.24, 0.43), (
        *((hole, "inside", 0.2) for hole in _HOLES),
        (np.array([(0, 0.48), (0.07, 0.7), (-0.07, 0.7)]), "ground", 1.0)), {"rough": 0.05, "bend": 0.09}),
    "cups": Kind(whole(smooth(_CUP)), ((0.16, 0.28),), (-0.35, 0.28, 0.35, 0.84), (
        (_HANDLE, "figure", 0.7), (ellipse(0, 0.08, 0.5, 0.06), "inside", 0.5)), GLAZE, is_vessel=True),
}  # fmt: skip
"""Kinds of objects by name, the most frequent first."""


@dataclass(frozen=True)
class MuseumObject:
    """One museum object: a kind, up to two cultures, up to three motifs, and a ``key`` that seeds its details."""

    kind: str
    cultures: tuple[str, ...]
    motifs: tuple[str, ...]
    key: int

    @property
    def labels(self) -> tuple[str, ...]:
        """All true labels of the object, in the order of ``LABELS``."""
        tags = [self.kind, *self.motifs, *(["vessels"] if KINDS[self.kind].is_vessel else [])]
        return (*sorted(f"culture::{name}" for name in self.cultures), *sorted(f"tag::{name}" for name in tags))


LABELS = (
    *(f"culture::{name}" for name in sorted(CULTURES)),
    *(f"tag::{name}" for name in sorted([*KINDS, *MOTIFS, "vessels"])),
)
"""All labels, in the order of ``labels.csv``."""


def draw_object(one: MuseumObject, shot: int, *, shorter_px: int = 300) -> Picture:
    """Draw one photo of one object: red, green and blue, 0 to 255; ``shot`` seeds light, position and background.

    Source:
        Ours, modelled on the photos of the iMet Collection contest of 2019.
    """
    kind = KINDS[one.kind]
    return photo(_parts(one), seeds.generator(shot, "camera"), shorter_px=shorter_px, **kind.finish)


def _parts(one: MuseumObject) -> Iterator[Part]:
    """Yield the shape of an object, its friezes, further parts, and its motifs in cells of the field."""
    kind, chance = KINDS[one.kind], seeds.generator(one.key, "build")
    styles = [CULTURES[name] for name in one.cultures] or [UNKNOWN_CULTURE]
    ground = mixed_colours(
        styles[0].ground, (1, 1, 1) if chance.random() < 0.5 else BLACK, float(chance.uniform(0, 0.12))
    )
    colours = {
        "ground": ground, "figure": styles[0].figure, "accent": styles[-1].accent, "gold": GOLD,
        "pale": mixed_colours(ground, (1.0, 0.96, 0.88), 0.55), "inside": mixed_colours(ground, BLACK, 0.75),
    }  # fmt: skip
    yield kind.outline, ground, 0.8
    for place, span in enumerate(kind.friezes):
        half = None if kind.is_round else float(kind.outline[:, 0].max())
        yield from _frieze(styles[-1 - place % len(styles)], *span, half=half)
    yield from ((outline, colours[name], height) for outline, name, height in kind.parts)
    left, top, right, bottom = kind.field
    n = len(one.motifs) + int(0 < len(one.motifs) < 3 and chance.random() < 0.3)
    columns = max(range(1, n + 1), key=lambda n_: min((right - left) / n_, (bottom - top) / -(-n // n_)), default=1)
    wide, high = (right - left) / columns, (bottom - top) / max(1, -(-n // columns))
    for cell in range(n):
        row, column = divmod(cell, columns)
        middle, size = [left + (column + 0.5) * wide, top + (row + 0.5) * high], 0.94 * min(wide, high)
        for outlines, ink in zip(MOTIFS[one.motifs[cell % len(one.motifs)]], ("figure", "accent"), strict=True):
            for outline in outlines:
                yield outline * [-size if column % 2 else size, size] + middle, colours[ink], None


def _frieze(culture: Culture, start: float, end: float, *, half: float | None) -> Iterator[Part]:
    """Yield a frieze between two heights and ``half`` wide on each side; without ``half``, between two radii."""
    depth = end - start
    n = round(np.pi * (start + end) / depth) if half is None else max(4, round(2 * half / depth))

    def placed(period: Outline, at: int) -> Outline:
        along, across = (period[:, 0] + at) / n, period[:, 1] * depth
        if half is not None:
            return np.stack([half * (2 * along - 1), start + across], 1)
        far, turn = end - across, 2 * np.pi * along
        return np.stack([far * np.sin(turn), 0.5 - far * np.cos(turn)], 1)

    lines = ((box(-0.05, -0.12, 1.05, 1.12), culture.figure), (box(-0.05, 0, 1.05, 1), culture.accent))
    for outline, colour in (*lines, *((outline, culture.figure) for outline in culture.frieze)):
        yield from ((placed(outline, at), colour, None) for at in range(n))

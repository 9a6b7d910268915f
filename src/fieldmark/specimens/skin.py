"""Draw the flat tail of a humpback whale from behind: edge, black and white pigment, scars.

The unit of length is half a span. The notch between the two flukes is (0, 0). The tips are near (-1, 0.3) and
(1, 0.3), and the leading edge meets the stem near (0, -0.5). Each fluke (``Half``) has its own coordinates: along the
span (0 at the notch, 1 at the tip) and across it (0 at the trailing edge, 1 at the leading edge). The left fluke is
drawn mirrored. The two halves have different marks, so a horizontal flip shows another individual.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float32, Float64
from numpy.random import Generator

from fieldmark.core import seeds
from fieldmark.specimens.canvas import Plane, Stroke, fill_polygon, patch, soft_step, strokes, tile

Places = Float64[np.ndarray, " place"]
Outline = Float64[np.ndarray, "point 2"]

LEFT, RIGHT, TOP, BOTTOM = -1.06, 1.06, 0.6, -1.25
"""Borders of the drawn area, in half spans."""
ROOT = -0.5
"""Height at which the leading edges meet the stem."""
NECK = 0.1
"""Half the width of the stem at the leading edges."""
PIGMENT_TYPES = (0.16, 0.2, 0.22, 0.2, 0.22)
"""Shares of the five pigment types, from nearly all white (type 1) to nearly all black (type 5)."""


@dataclass(frozen=True)
class Notch:
    """A nick in the trailing edge: position along the span, depth and width, in half spans."""

    place: float
    depth: float
    width: float


@dataclass(frozen=True)
class Scar:
    """A scratch: start (along, across), direction (radians), length, bend and width, in half spans."""

    along: float
    across: float
    angle_rad: float
    length: float
    bend: float
    width: float


@dataclass(frozen=True)
class Ring:
    """A round scar of a barnacle: centre (along, across) and radius, in half spans."""

    along: float
    across: float
    radius: float


@dataclass(frozen=True)
class Half:
    """One of the two flukes of a tail."""

    lift: float  # height of the tip above the notch
    hump: float  # upward bow of the trailing edge
    hook: float  # height of the little hook at the tip
    bow: float  # roundness of the leading edge; larger is fuller
    waves: tuple[float, ...]  # heights of the slow waves of the trailing edge, longest first
    teeth: tuple[float, ...]  # heights of its small teeth, evenly spaced
    notches: tuple[Notch, ...]  # its nicks
    white_from: float  # start of the white along the span; no white above 1
    ragged: float  # irregularity of the border between black and white
    rims: tuple[float, float]  # width of the black rim at the trailing and the leading edge
    speckle: float  # density of small white dots, 0 to 1
    blotch: float  # density of dark blotches in the white, 0 to 1
    place: tuple[int, int]  # row and column in the noise tiles that shape the patches
    scars: tuple[Scar, ...]  # its scratches
    rings: tuple[Ring, ...]  # its barnacle scars


@dataclass(frozen=True)
class Fluke:
    """One individual: two different halves, the notch between them, and the brightness of black and white skin."""

    pigment: int  # type 1 (nearly all white) to 5 (nearly all black)
    left: Half  # the fluke on the left of the picture
    right: Half  # the fluke on the right
    notch_depth: float  # depth of the notch between them, half spans
    notch_width: float  # its width
    black: float  # brightness of the dark skin, 0 to 1
    white: float  # brightness of the white skin

    @classmethod
    def of(cls, seed: int, number: int) -> Fluke:
        """Return individual ``number`` of ``seed``; the same arguments give the same individual."""
        chance = seeds.generator(seed, "fluke", number)
        pigment = int(chance.choice(5, p=PIGMENT_TYPES)) + 1
        build = {
            "lift": chance.uniform(0.08, 0.4),
            "hump": chance.uniform(-0.02, 0.14),
            "bow": chance.uniform(1.2, 2.4),
        }
        return cls(
            pigment=pigment,
            left=_half(chance, pigment, build),
            right=_half(chance, pigment, build),
            notch_depth=float(chance.uniform(0.02, 0.14)),
            notch_width=float(chance.uniform(0.03, 0.1)),
            black=float(chance.uniform(0.05, 0.14)),
            white=float(chance.uniform(0.62, 0.86)),
        )


def _half(chance: Generator, pigment: int, build: dict[str, float]) -> Half:
    """Return one fluke: the shape of both flukes with a random deviation, and its own marks."""
    tooth_height = chance.choice([0.006, 0.015, 0.03], p=[0.35, 0.4, 0.25])
    white_from = (-0.4, 0.08, 0.36, 0.62, 1.3)[pigment - 1] + chance.normal(0, 0.12)
    return Half(
        lift=float(build["lift"] + chance.normal(0, 0.02)),
        hump=float(build["hump"] + chance.normal(0, 0.015)),
        hook=float(max(0.0, chance.normal(0.02, 0.04))),
        bow=float(build["bow"] + chance.normal(0, 0.08)),
        waves=tuple((chance.normal(0, 1, 5) * [0.026, 0.024, 0.018, 0.013, 0.009]).tolist()),
        teeth=tuple((tooth_height * chance.random(44) ** 1.5 * (chance.random(44) < 0.7)).tolist()),
        notches=tuple(
            Notch(float(chance.uniform(0.12, 0.93)), float(depth), float(depth * chance.uniform(0.3, 0.9)))
            for depth in 0.025 + chance.gamma(1.2, 0.03, chance.poisson(2.2)).clip(max=0.14)
        ),
        white_from=float(white_from),
        ragged=float(chance.uniform(0.2, 1.0)),
        rims=(float(chance.uniform(0.012, 0.07)), float(chance.uniform(0.005, 0.06))),
        speckle=float(chance.random() ** 2),
        blotch=float(chance.random() ** 2),
        place=(int(chance.integers(1 << 20)), int(chance.integers(1 << 20))),
        scars=_scars(chance),
        rings=tuple(
            Ring(*(float(value) for value in chance.uniform([0.1, 0.1, 0.012], [0.95, 0.9, 0.034])))
            for _ in range(chance.poisson(1.6) + 5 * (chance.random() < 0.15))
        ),
    )


def _scars(chance: Generator) -> tuple[Scar, ...]:
    """Return single scratches, and sometimes a rake mark: parallel lines from the teeth of a killer whale."""
    scars = [
        Scar(*(float(v) for v in chance.uniform([0.08, 0.1, 0, 0.08, -0.3, 0.005], [0.95, 0.9, 6.3, 0.4, 0.3, 0.016])))
        for _ in range(chance.poisson(2.5))
    ]
    if chance.random() < 0.3:
        along, across, angle_rad, length = chance.uniform([0.2, 0.2, 0, 0.15], [0.8, 0.6, 6.3, 0.35])
        gap = chance.uniform(0.03, 0.055)
        scars += [
            Scar(float(along + gap * i), float(across), float(angle_rad), float(length), 0.05, 0.009)
            for i in range(int(chance.integers(3, 6)))
        ]
    return tuple(scars)


def edges(half: Half, along: Places) -> tuple[Places, Places]:
    """Return the heights of the trailing and the leading edge of one fluke.

    Args:
        half: The fluke, without the notch between both flukes.
        along: Positions along the span, from 0 (notch) to 1 (tip).

    Returns:
        Heights of the trailing and the leading edge. The trailing edge is above the leading edge; they meet at the tip.
    """
    bent = np.pi * np.arange(1, 1 + len(half.waves))[:, None] * along
    trailing = half.lift * along**1.4 + half.hump * np.sin(np.pi * along**0.8) + half.hook * np.exp((along - 1) / 0.06)
    trailing = trailing + np.asarray(half.waves) @ np.sin(bent)
    tapered = np.minimum(1, (1 - along) / 0.05)
    trailing -= tapered * np.interp(along, np.linspace(0.03, 1, len(half.teeth)), half.teeth)
    for notch in half.notches:
        trailing -= tapered * notch.depth * np.maximum(0, 1 - np.abs(along - notch.place) / notch.width)
    tip = half.lift + half.hook
    leading = ROOT + (tip - ROOT) * (1 - np.maximum(0, 1 - along**half.bow) ** 0.42) - 0.1 * np.exp(-along / 0.12)
    return trailing, np.minimum(leading, trailing - 0.012 * (1 - along))


def outline(fluke: Fluke) -> Outline:
    """Return the silhouette as a closed polygon (x, y) in half spans: both flukes and the stem below them."""
    along = np.sin(np.linspace(0, np.pi / 2, 220))
    halves = []
    for half in (fluke.left, fluke.right):
        trailing, leading = edges(half, along)
        trailing -= fluke.notch_depth * np.exp(-along / fluke.notch_width)
        free = along > NECK
        halves.append(np.concatenate([np.stack([along, trailing], 1), np.stack([along[free], leading[free]], 1)[::-1]]))
    stem = np.array([[NECK * 0.85, -0.65], [NECK * 0.95, -0.8], [NECK * 1.25, -0.95], [0.22, BOTTOM - 0.1]])
    return np.concatenate([halves[1], stem, stem[::-1] * [-1, 1], halves[0][::-1] * [-1, 1]])


def _tone(half: Half, along: Float64[np.ndarray, " width"], height: Float64[np.ndarray, " height"]) -> Plane:
    """Return the whiteness of the skin of one fluke without scars, 0 to 1."""
    trailing, leading = (edge.astype(np.float32) for edge in edges(half, np.clip(along, 0, 1)))
    high = height.astype(np.float32)[:, None]
    span = along.astype(np.float32)
    rows, columns = half.place[0] - height * 300, half.place[1] + along * 300

    cloud = patch(tile("pigment", roughness=1.5, widest=0.3), rows, columns)
    streak = patch(tile("streaks", roughness=1.3, stretch=0.3, widest=0.1), rows, columns + span * 90)
    spots = patch(tile("spots", roughness=0.6, widest=0.02), rows, columns)
    begun = (span - half.white_from) / 0.3 - 1.2 * np.exp(-span / 0.07) + half.ragged * (cloud + 0.35 * streak)
    rim = 0.5 + 0.4 * patch(tile("rim", roughness=1.0, widest=0.06), rows, columns)
    inside = np.minimum((trailing - high) / half.rims[0], (high - leading) / half.rims[1]) - 1 - rim
    white = soft_step(np.minimum(begun, inside) + 0.2 * spots, -0.35, 0.4)

    white *= 1 - 0.9 * soft_step(cloud * -0.6 + spots, 2.6 - 1.1 * half.blotch, 2.9 - 1.1 * half.blotch)
    dots = spots + 0.5 * span - rim * 0.4
    return np.maximum(white, 0.8 * soft_step(dots, 3.4 - 1.6 * half.speckle, 3.8 - 1.6 * half.speckle))


def _marks(half: Half, *, side: int, texels: float) -> list[Stroke]:
    """Return the scratches and rings of one fluke as lines in texels; ``side`` is -1 for the left fluke."""

    def at(along: float, across: float) -> Float64[np.ndarray, " xy"]:
        trailing, leading = edges(half, np.array([along]))
        return np.array([along, trailing[0] + across * (leading[0] - trailing[0])])

    lines = []
    step = np.linspace(0, 1, 9)[:, None]
    for scar in half.scars:
        way = np.array([np.cos(scar.angle_rad), np.sin(scar.angle_rad)])
        aside = np.array([-way[1], way[0]]) * scar.bend
        lines.append((at(scar.along, scar.across) + scar.length * (step * way + step * (1 - step) * aside), scar.width))
    turn = np.linspace(0, 2 * np.pi, 17)
    circle = np.stack([np.cos(turn), np.sin(turn)], 1)
    lines += [(at(ring.along, ring.across) + ring.radius * circle, ring.radius * 0.3) for ring in half.rings]
    return [(_to_texels(points * [side, 1], texels), width * texels) for points, width in lines]


def _to_texels(points: Outline, texels: float) -> Outline:
    """Convert half spans (y up) to columns and rows of the texture (y down)."""
    return np.stack([(points[:, 0] - LEFT) * texels, (TOP - points[:, 1]) * texels], axis=1)


@lru_cache(maxsize=8)
def skin(fluke: Fluke, *, texels: int) -> Float32[np.ndarray, "2 rows columns"]:
    """Return the tail as a flat texture with two channels: brightness of the skin, and cover.

    Args:
        fluke: The individual.
        texels: Texture pixels per half span; use about the number of pixels in the photo.

    Returns:
        Two channels, 0 to 1: brightness times cover, and cover. The array is read-only, because it is cached.

    Source:
        Ours; the five pigment types are those of humpback catalogues.
    """
    columns = 2 * round(RIGHT * texels)
    size_px = (columns, round((TOP - BOTTOM) * texels))
    along = (np.arange(columns // 2) + 0.5) / texels
    height = TOP - (np.arange(size_px[1]) + 0.5) / texels
    white = np.concatenate([_tone(fluke.left, along, height)[:, ::-1], _tone(fluke.right, along, height)], axis=1)
    marked = strokes(
        _marks(fluke.left, side=-1, texels=texels) + _marks(fluke.right, side=1, texels=texels), size_px=size_px
    )
    white += 0.85 * marked * (np.where(white > 0.5, 0.0, 1.0) - white)
    mottled = patch(tile("pigment", roughness=1.5, widest=0.3), height * 700 + fluke.left.place[1], np.arange(columns))
    tone = fluke.black * (1 + 0.2 * mottled) + (fluke.white - fluke.black) * white
    cover = fill_polygon(_to_texels(outline(fluke), texels), size_px=size_px)
    texture = np.stack([tone * cover, cover]).astype(np.float32)
    texture.setflags(write=False)
    return texture

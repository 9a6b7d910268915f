"""The water behind and in front of a tail: colour, waves that shrink towards the horizon, foam."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32
from numpy.random import Generator

from fieldmark.specimens.canvas import patch, ramp, tile

Colour = tuple[float, float, float]

WATERS: tuple[tuple[Colour, Colour], ...] = (
    ((0.08, 0.16, 0.28), (0.34, 0.48, 0.64)),
    ((0.14, 0.31, 0.48), (0.44, 0.64, 0.82)),
    ((0.19, 0.23, 0.27), (0.48, 0.53, 0.58)),
    ((0.30, 0.31, 0.32), (0.66, 0.67, 0.68)),
    ((0.55, 0.57, 0.60), (0.86, 0.88, 0.92)),
    ((0.76, 0.77, 0.79), (1.0, 1.0, 1.01)),
    ((0.10, 0.15, 0.18), (0.40, 0.48, 0.52)),
)
"""Colour of the troughs and of the crests: deep blue, bright blue, slate, grey, pale, burnt-out white, dark green."""
WATERS_SHARE = (0.15, 0.14, 0.24, 0.22, 0.11, 0.06, 0.08)


@dataclass(frozen=True)
class Sea:
    """The water of one photo."""

    trough: Colour  # colour of the dark side of the waves
    crest: Colour  # colour of their bright side
    horizon: float  # where the sky begins, as a share of the picture's height; negative is above the frame
    chop: float  # strength of the waves, 0 to 1
    wave_px: float  # length of the waves at the lower border, in texels of the wave tile per picture width
    foam: float  # amount of foam, 0 to 1
    place: tuple[int, int]  # row and column in the noise tiles

    @classmethod
    def of(cls, chance: Generator) -> Sea:
        """A chance day at sea."""
        trough, crest = WATERS[chance.choice(len(WATERS), p=WATERS_SHARE)]
        bright = chance.normal(1.0, 0.07)
        return cls(
            trough=(trough[0] * bright, trough[1] * bright, trough[2] * bright),
            crest=(crest[0] * bright, crest[1] * bright, crest[2] * bright),
            horizon=float(chance.uniform(0.02, 0.3) if chance.random() < 0.22 else -chance.uniform(0.1, 1.5)),
            chop=float(chance.uniform(0.25, 0.85)),
            wave_px=float(chance.uniform(250, 700)),
            foam=float(chance.random()),
            place=(int(chance.integers(1 << 20)), int(chance.integers(1 << 20))),
        )


def planes(colour: Colour) -> Float32[np.ndarray, "3 1 1"]:
    """A colour in the shape that mixes with light, which is kept plane by plane."""
    return np.array(colour, dtype=np.float32)[:, None, None]


def draw_sea(sea: Sea, *, size_px: tuple[int, int]) -> Float32[np.ndarray, "3 height width"]:
    """Sea and sky as light, 0 to about 1.

    Every row lies at a distance of one over its depth below the horizon; the wave tile is laid on the water in that
    perspective, once for the swell and once, smaller, for the ripples.
    """
    width, height = size_px
    below = (np.arange(height, dtype=np.float32) + 0.5) / height - sea.horizon
    near = np.maximum(below, 0.012) / (1 - sea.horizon)
    across = np.linspace(-0.5, 0.5, width, dtype=np.float32) * sea.wave_px / near[:, None]
    down = (np.log(near) * sea.wave_px * 0.45)[:, None]
    water = tile("water", roughness=1.5, stretch=3.2, widest=0.08)
    mask = len(water) - 1

    def waves(finer: float) -> Float32[np.ndarray, "height width"]:
        rows = (down * finer).astype(np.int32) + sea.place[0]
        columns = (across * finer).astype(np.int32) + sea.place[1]
        return water[rows & mask, columns & mask]

    shown = np.minimum(1, near * 6)[:, None]
    swell, ripples = waves(1.0), waves(2.6)
    crests = 0.42 + sea.chop * shown * (0.17 * swell + 0.3 * np.exp(-2.5 * np.abs(ripples + 0.3 * swell)) - 0.1)
    crests -= 0.15 * (near[:, None] - 0.5)
    trough, crest = planes(sea.trough), planes(sea.crest)
    light = trough + np.clip(crests, -0.1, 1.3) * (crest - trough)
    if sea.horizon > 0:
        sky = (0.45 * crest + 0.5) * (1.05 - 0.3 * np.maximum(0, -below)[:, None])
        light += ramp(-below, 0, 0.02)[:, None] * (sky - light)
    return light


def draw_foam(
    sea: Sea, cover: Float32[np.ndarray, "height width"], *, scale_px: float
) -> Float32[np.ndarray, "height width"]:
    """How much white water lies on each pixel, 0 to 1.

    Args:
        sea: The water.
        cover: Where foam may be: 0 never, 1 most.
        scale_px: Half span of the tail in pixels; the bubbles keep to its size.
    """
    height, width = cover.shape
    texels = 170 / scale_px
    froth = tile("froth", roughness=1.35, stretch=1.7, widest=0.12)
    lumps = patch(froth, np.arange(height) * texels + sea.place[1], np.arange(width) * texels + sea.place[0])
    return ramp(0.9 * lumps + 3.0 * cover - 2.2, -0.8, 1.2) * np.minimum(1, 2 * cover)

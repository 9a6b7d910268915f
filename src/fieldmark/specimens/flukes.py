"""Draw photos of whale flukes: one individual (``Fluke``) in one photo (``View``).

Each subject module has a frozen class for the individual, a frozen class for the photo, and a drawing function. Both
objects depend only on a seed and a number, so each photo can be drawn independently.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32
from numpy.random import Generator

from fieldmark.core import seeds
from fieldmark.specimens import skin as plane
from fieldmark.specimens.canvas import Light, Picture, Plane, patch, photograph, soft_step, texture_values, tile
from fieldmark.specimens.skin import Fluke, skin

__all__ = ["Fluke", "Pose", "View", "draw_fluke"]

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
"""Colours of wave troughs and crests: deep blue, bright blue, slate, grey, pale, overexposed white, dark green."""
WATERS_SHARE = (0.15, 0.14, 0.24, 0.22, 0.11, 0.06, 0.08)


@dataclass(frozen=True)
class Sea:
    """The water of one photo."""

    trough: Colour  # colour of the dark side of the waves
    crest: Colour  # colour of their bright side
    horizon: float  # height of the horizon, as a share of the picture height; negative is above the picture
    chop: float  # strength of the waves, 0 to 1
    wave_px: float  # length of the waves at the lower border, in texels of the wave tile per picture width
    foam: float  # amount of foam, 0 to 1
    place: tuple[int, int]  # row and column in the noise tiles

    @classmethod
    def of(cls, chance: Generator) -> Sea:
        """Return a random sea."""
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
    """Return a colour in a shape that broadcasts with light, whose channels come first."""
    return np.array(colour, dtype=np.float32)[:, None, None]


def draw_sea(sea: Sea, *, size_px: tuple[int, int]) -> Light:
    """Draw sea and sky as light, 0 to about 1.

    The distance of a row is the inverse of its depth below the horizon. The wave tile is drawn in this perspective,
    once for the swell and once, at a smaller scale, for the ripples.
    """
    width, height = size_px
    below = (np.arange(height, dtype=np.float32) + 0.5) / height - sea.horizon
    near = np.maximum(below, 0.012) / (1 - sea.horizon)
    across = np.linspace(-0.5, 0.5, width, dtype=np.float32) * sea.wave_px / near[:, None]
    down = (np.log(near) * sea.wave_px * 0.45)[:, None]
    water = tile("water", roughness=1.5, stretch=3.2, widest=0.08)
    mask = len(water) - 1

    def waves(finer: float) -> Plane:
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
        light += soft_step(-below, 0, 0.02)[:, None] * (sky - light)
    return light


def draw_foam(sea: Sea, cover: Plane, *, scale_px: float) -> Plane:
    """Return the amount of foam in each pixel, 0 to 1.

    Args:
        sea: The water.
        cover: Density of foam: 0 for none, 1 for the most.
        scale_px: Half span of the tail in pixels, which sets the size of the bubbles.
    """
    height, width = cover.shape
    texels = 170 / scale_px
    froth = tile("froth", roughness=1.35, stretch=1.7, widest=0.12)
    lumps = patch(froth, np.arange(height) * texels + sea.place[1], np.arange(width) * texels + sea.place[0])
    return soft_step(0.9 * lumps + 3.0 * cover - 2.2, -0.8, 1.2) * np.minimum(1, 2 * cover)


@dataclass(frozen=True)
class Pose:
    """Position of the tail in front of the camera; pairs are left and right fluke."""

    scale: float  # half span as a share of the picture's width
    centre: tuple[float, float]  # middle of the tail, as shares of width and height
    roll_rad: float  # rotation in the plane of the picture
    yaw: float  # perspective of a tail rotated about its stem; the positive half is nearer
    reach: tuple[float, float]  # visible share of the length of each fluke
    rise: float  # visible share of the height of the tail; small for a low camera
    curl: tuple[float, float]  # upward bend of each tip
    lean: tuple[float, float]  # upward tilt of each fluke
    water: float  # height of the water line on the tail, half spans

    @classmethod
    def of(cls, chance: Generator) -> Pose:
        """Return a random pose during a dive, usually close and from behind."""
        turn_rad = chance.normal(0, 0.2)
        fold_rad = chance.uniform(0.0, 0.35)
        far = chance.random() < 0.06
        lean, curl = chance.normal(0.02, 0.05), chance.normal(0.02, 0.04)
        return cls(
            scale=float(chance.uniform(0.14, 0.26) if far else chance.uniform(0.38, 0.47)),
            centre=(float(chance.normal(0.5, 0.03)), float(chance.normal(0.5, 0.04))),
            roll_rad=float(chance.normal(0, 0.04)),
            yaw=float(0.4 * np.sin(turn_rad)),
            reach=(float(max(0.35, np.cos(fold_rad + turn_rad))), float(max(0.35, np.cos(fold_rad - turn_rad)))),
            rise=float(chance.triangular(0.5, 0.9, 1.05)),
            curl=(float(curl + chance.normal(0, 0.025)), float(curl + chance.normal(0, 0.025))),
            lean=(float(lean + chance.normal(0, 0.025)), float(lean + chance.normal(0, 0.025))),
            water=float(chance.choice([-0.35, -0.55, -0.9], p=[0.2, 0.6, 0.2]) + chance.uniform(-0.1, 0.1)),
        )


@dataclass(frozen=True)
class View:
    """One photo: the pose, the light, the sea and the camera."""

    pose: Pose  # position of the tail
    light: tuple[float, float]  # brightness of the left and the right fluke
    gloss: float  # strength of the sheen of wet skin
    haze: float  # share of the colour of the air in the tail, 0 to 1
    contrast: float  # contrast of the picture; 1 means unchanged
    exposure: float  # brightness of the picture; 1 means unchanged
    sea: Sea  # the water
    spray: float  # amount of water in the air, 0 to 1
    blur: float  # standard deviation of the blur, as a share of the picture width
    grain: float  # standard deviation of the sensor noise, 0 to 1
    grey: bool  # whether the photo is grey
    jpeg_quality: int  # JPEG quality for saving, 1 to 95
    place: tuple[int, int]  # row and column in the noise tiles

    @classmethod
    def of(cls, seed: int, number: int) -> View:
        """Return view ``number`` of ``seed``; the same arguments give the same view."""
        chance = seeds.generator(seed, "view", number)
        day = chance.choice([0.6, 0.85, 1.1], p=[0.1, 0.45, 0.45])
        return cls(
            pose=Pose.of(chance),
            light=(float(day * chance.uniform(0.85, 1.15)), float(day * chance.uniform(0.85, 1.15))),
            gloss=float(chance.uniform(0, 0.14)),
            haze=float(chance.random() ** 3 * 0.4),
            contrast=float(chance.uniform(0.85, 1.12)),
            exposure=float(chance.uniform(0.88, 1.12)),
            sea=Sea.of(chance),
            spray=float(max(0.0, chance.uniform(-1, 1))),
            blur=float(chance.uniform(0, 0.0022) + 0.004 * (chance.random() < 0.08)),
            grain=float(chance.uniform(0.003, 0.018)),
            grey=bool(chance.random() < 0.35),
            jpeg_quality=int(chance.integers(55, 93)),
            place=(int(chance.integers(1 << 20)), int(chance.integers(1 << 20))),
        )


def draw_fluke(individual: Fluke, view: View, *, size_px: tuple[int, int] = (320, 160)) -> Picture:
    """Draw one photo of one individual: red, green and blue, 0 to 255.

    The tail is a flat texture (``fieldmark.specimens.skin.skin``). For each pixel, the pose is inverted to find the
    visible point of the tail. Points below the water line are hidden.

    Args:
        individual: The individual.
        view: The view.
        size_px: Width and height of the picture.

    Returns:
        The picture; the same arguments give the same bytes.

    Source:
        Ours, modelled on the photos of the Humpback Whale Identification contests.
    """
    width, height = size_px
    pose = view.pose
    scale_px = pose.scale * width
    x, y = _place_on_tail(pose, size_px)
    skin_light, tail = _skin_at(individual, scale_px, x, y)
    light = draw_sea(view.sea, size_px=size_px)

    rows = np.arange(height, dtype=np.float32)[:, None]
    depth = (rows - _water_line(view, scale_px, size_px)) / scale_px
    dry = np.clip(0.5 - depth * min(scale_px, 80), 0, 1)
    light *= 1 - 0.3 * tail * (1 - dry) * np.exp(-np.maximum(0, depth) / 0.15)
    shade = _shade(view, x, y)
    lit = (skin_light + 0.4 * view.gloss * tail) * shade * (1 - view.haze)
    air = 0.6 * planes(view.sea.crest) + 0.25
    light = light * (1 - tail * dry) + dry * (lit + air * view.haze * tail)

    light = _splash(view, light, depth, tail)
    light = ((light - 0.45) * view.contrast + 0.45) * view.exposure
    return photograph(light, blur_px=view.blur * width, grain=view.grain, grey=view.grey, place=view.place)


def _middle(pose: Pose) -> float:
    """Return the height of the middle of the visible tail, in half spans after the pose."""
    top = 0.28 * pose.rise + max(pose.lean) + max(pose.curl)
    return (max(top, 0.1) + pose.water * pose.rise) / 2


def _place_on_tail(pose: Pose, size_px: tuple[int, int]) -> tuple[Plane, Plane]:
    """Return the point of the flat tail (x, y in half spans) for each pixel, by inverting the pose."""
    width, height = size_px
    scale_px = pose.scale * width
    column = (np.arange(width, dtype=np.float32) + 0.5 - pose.centre[0] * width)[None, :] / scale_px
    row = (pose.centre[1] * height - np.arange(height, dtype=np.float32) - 0.5)[:, None] / scale_px + _middle(pose)
    cos, sin = np.cos(pose.roll_rad), np.sin(pose.roll_rad)
    x, y = cos * column + sin * row, cos * row - sin * column
    depth = np.maximum(0.2, 1 - pose.yaw * x)
    x, y = x / depth, y / depth
    right = x > 0
    x = x / np.where(right, pose.reach[1], pose.reach[0])
    out = np.abs(x)
    y = y - out * np.where(right, pose.lean[1], pose.lean[0]) - out**2 * np.where(right, pose.curl[1], pose.curl[0])
    return x.astype(np.float32), (y / pose.rise).astype(np.float32)


def _skin_at(individual: Fluke, scale_px: float, x: Plane, y: Plane) -> Float32[np.ndarray, "2 height width"]:
    """Return brightness and cover at points of the tail; small tails use a smaller texture to avoid aliasing."""
    texels = round(max(24, 2 ** (round(2 * np.log2(scale_px * 1.1)) / 2)))
    texture = skin(individual, texels=texels)
    return texture_values(texture, (x - plane.LEFT) * texels - 0.5, (plane.TOP - y) * texels - 0.5)


def _water_line(view: View, scale_px: float, size_px: tuple[int, int]) -> Float32[np.ndarray, " width"]:
    """Return the row of the water surface in front of the tail, for each column."""
    pose, (width, height) = view.pose, size_px
    level = pose.centre[1] * height + (_middle(pose) - pose.water * pose.rise) * scale_px
    swell = tile("water", roughness=1.5, stretch=3.2, widest=0.08)
    ripple = patch(swell, np.array([view.place[0]]), np.arange(width) * (200 / scale_px) + view.place[1])[0]
    return (level + 0.03 * scale_px * view.sea.chop * ripple).astype(np.float32)


def _shade(view: View, x: Plane, y: Plane) -> Plane:
    """Return the light on the skin: different on each fluke, darker towards the stem, brighter in the middle."""
    side = np.clip(x / 0.15, -1, 1) * 0.5 + 0.5
    light = view.light[0] + (view.light[1] - view.light[0]) * side
    return light * (1 + 0.35 * y + 0.1 * np.exp(-((x / 0.05) ** 2)))


def _splash(view: View, light: Light, depth: Plane, tail: Plane) -> Light:
    """Add foam at the water line and spray above it; ``depth`` is the depth below the surface, in half spans."""
    width = light.shape[2]
    scale_px = view.pose.scale * width
    offset = (np.arange(width, dtype=np.float32) - view.pose.centre[0] * width) / scale_px
    near = np.exp(-((offset / 0.7) ** 2)) * np.exp(-np.abs(depth - 0.03) / np.where(depth > 0.03, 0.12, 0.05))
    cut = tail * np.exp(-((depth / 0.035) ** 2))
    foam = draw_foam(view.sea, near * (0.2 + 0.8 * view.sea.foam) + 0.55 * cut, scale_px=scale_px)
    if view.spray > 0:
        mist = np.exp(-((offset / 0.9) ** 2)) * np.exp(-np.maximum(0, -depth) / 0.3) * (depth < 0.1)
        foam = np.maximum(foam, 0.75 * draw_foam(view.sea, mist * 0.75 * view.spray, scale_px=scale_px * 0.35))
    white = np.maximum(0.82, planes(view.sea.crest))
    return light + foam * (white - light)

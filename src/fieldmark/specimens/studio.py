"""The photographer of a museum: background, shadow, light, the colour card beside the object, the camera."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image, ImageDraw, ImageFilter

from fieldmark.core import seeds
from fieldmark.specimens.canvas import photograph
from fieldmark.specimens.cultures import Colour

PAPERS: tuple[Colour, ...] = (
    (0.62, 0.62, 0.63), (0.80, 0.80, 0.81), (0.94, 0.94, 0.94), (0.40, 0.41, 0.43),
    (0.06, 0.06, 0.07), (0.78, 0.75, 0.70), (0.55, 0.60, 0.66),
)  # fmt: skip
"""Backgrounds: greys, white, black, warm and cool."""
PAPERS_SHARE = (0.26, 0.22, 0.18, 0.12, 0.1, 0.07, 0.05)
CARD: tuple[Colour, ...] = (
    (0.45, 0.32, 0.27), (0.76, 0.58, 0.51), (0.38, 0.48, 0.62), (0.34, 0.42, 0.26), (0.86, 0.48, 0.18),
    (0.29, 0.36, 0.65), (0.95, 0.95, 0.95), (0.60, 0.60, 0.60), (0.10, 0.10, 0.10),
)  # fmt: skip
"""The fields of a colour card."""


@dataclass(frozen=True)
class Shot:
    """One photograph of an object.

    Attributes:
        crop: Shape of the picture relative to that of the object; 1 follows it.
        fill: Share of the picture that the object fills.
        centre: Where it lies, as shares of the free border: (0, 0) is the middle.
        roll_rad: Turn in the picture's plane, of things that lie or hang.
        skew: Perspective of those, across and down; 0 is straight from above.
        spin: Turn of things that stand, in half turns.
        light: Where the light comes from, x to the right and y down.
        paper: Colour of the background.
        falloff: How much darker the background is on its far side.
        shadow: Strength of the shadow, 0 to 1.
        exposure: Brightness of the whole; 1 leaves it as it is.
        warmth: Warmer above 0, cooler below.
        blur: Deviation of the blur as a share of the shorter side.
        grain: Deviation of the sensor noise, 0 to 1.
        grey: Whether the photo has no colour.
        aid: What lies beside the object: "", "card" or "scale".
        jpeg_quality: Quality for whoever saves it, 1 to 95.
        place: Row and column in the noise tile.
    """

    crop: float
    fill: float
    centre: tuple[float, float]
    roll_rad: float
    skew: tuple[float, float]
    spin: float
    light: tuple[float, float]
    paper: Colour
    falloff: float
    shadow: float
    exposure: float
    warmth: float
    blur: float
    grain: float
    grey: bool
    aid: str
    jpeg_quality: int
    place: tuple[int, int]

    @classmethod
    def of(cls, seed: int, number: int) -> Shot:
        """Photo ``number`` of the museum ``seed``: always the same one."""
        chance = seeds.generator(seed, "shot", number)

        def about(low: float, high: float) -> float:
            return float(chance.uniform(low, high))

        angle = np.pi * (-0.5 + about(-0.3, 0.3) - 0.1)
        hard = about(0.55, 1.0)
        return cls(
            crop=float(np.exp(np.clip(chance.normal(0, 0.13), -0.3, 0.3))),
            fill=about(0.72, 0.93),
            centre=(about(-0.6, 0.6), about(-0.6, 0.6)),
            roll_rad=float(np.clip(chance.normal(0, 0.03), -0.1, 0.1)),
            skew=(about(-0.08, 0.08), about(-0.06, 0.06)),
            spin=about(-0.07, 0.07),
            light=(hard * float(np.cos(angle)), hard * float(np.sin(angle))),
            paper=PAPERS[int(chance.choice(len(PAPERS), p=PAPERS_SHARE))],
            falloff=about(0.05, 0.4),
            shadow=about(0.25, 0.6),
            exposure=about(0.88, 1.1),
            warmth=float(chance.normal(0, 0.025)),
            blur=about(0.0, 0.0022) + 0.003 * (chance.random() < 0.08),
            grain=about(0.003, 0.014),
            grey=bool(chance.random() < 0.02),
            aid=str(chance.choice(["", "card", "scale"], p=[0.86, 0.07, 0.07])),
            jpeg_quality=int(chance.integers(75, 95)),
            place=(int(chance.integers(1 << 20)), int(chance.integers(1 << 20))),
        )


def photographed(
    piece: Image.Image, shot: Shot, *, size_px: tuple[int, int], stands: bool
) -> UInt8[np.ndarray, "height width 3"]:
    """Set an object before the paper, light it, and take the photo.

    Args:
        piece: The object with transparency, as large as it shall be.
        shot: The photo.
        size_px: Width and height of the picture.
        stands: Whether it stands on the paper or lies on it.

    Returns:
        Red, green and blue, 0 to 255.

    Source:
        Ours.
    """
    width, height = size_px
    free = (width - piece.width, height - piece.height)
    left = round(free[0] / 2 * (1 + shot.centre[0] * 0.8))
    top = round(free[1] / 2 * (1 + (0.5 if stands else shot.centre[1] * 0.8)))
    whole = Image.new("RGBa", size_px)
    whole.paste(piece.convert("RGBa"), (left, top))
    if not stands:
        whole = whole.transform(size_px, Image.Transform.PERSPECTIVE, _bent(shot, size_px), Image.Resampling.BILINEAR)
    layers = np.asarray(whole)
    cover = np.ascontiguousarray(layers[..., 3])
    light = _paper(shot, size_px, floor=(top + 0.9 * piece.height) / height if stands else None)
    foot = (left, top, piece.width, piece.height) if stands else None
    free_of_it = (1 - shot.shadow * _shadow(Image.fromarray(cover), shot, foot=foot)) * (
        1 - cover * np.float32(1 / 255)
    )
    light *= free_of_it
    for channel in range(3):
        light[channel] += layers[..., channel] * np.float32(1 / 255)
        light[channel] *= np.float32(shot.exposure * (1 + (1 - channel) * shot.warmth))
    if shot.aid:
        _lay_aid(light, shot)
    _blur(light, shot.blur * min(size_px))
    return photograph(light, blur_px=0.0, grain=shot.grain, grey=shot.grey, place=shot.place)


def _blur(light: Float32[np.ndarray, "3 height width"], blur_px: float) -> None:
    """Blur in place: neighbours are mixed in some times, which at such small blurs is quicker than any filter."""
    if blur_px < 0.2:
        return
    times = math.ceil(2 * blur_px**2)
    share = np.float32(blur_px**2 / times / 2)
    inner = slice(1, -1)
    for _ in range(times):
        sides = light[:, :, :-2] + light[:, :, 2:]
        light[:, :, inner] += share * (sides - 2 * light[:, :, inner])
        sides = light[:, :-2] + light[:, 2:]
        light[:, inner] += share * (sides - 2 * light[:, inner])


def _paper(shot: Shot, size_px: tuple[int, int], *, floor: float | None) -> Float32[np.ndarray, "3 height width"]:
    """The background: bright towards the light; behind a standing thing it bends up into a wall."""
    width, height = size_px
    x, y = np.linspace(-1, 1, width, dtype=np.float32), np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    towards = 1 + shot.falloff * 0.5 * (shot.light[0] * x + shot.light[1] * y)
    if floor is not None:
        towards = towards * (1 - 0.13 / (1 + np.exp(-((y + 1) / 2 - floor + 0.12) * 14)) + 0.05 * y)
    towards = towards - 0.1 * shot.falloff * (x * x + y * y)
    return np.stack([channel * towards for channel in shot.paper]).astype(np.float32)


def _shadow(
    cover: Image.Image, shot: Shot, *, foot: tuple[int, int, int, int] | None
) -> Float32[np.ndarray, "height width"]:
    """Where the object keeps the light off: its outline moved away from the light, and a dark line where it stands."""
    width, height = cover.size
    small = (max(8, width // 4), max(8, height // 4))
    grey = cover.resize(small, Image.Resampling.BOX)
    side = min(small)
    if foot is None:
        far = 0.045 * side
        moved = grey.transform(
            small,
            Image.Transform.AFFINE,
            (1, 0, far * shot.light[0], 0, 1, far * shot.light[1]),
            Image.Resampling.BILINEAR,
        )
        soft = moved.filter(ImageFilter.GaussianBlur(0.03 * side))
    else:
        left, top, wide, tall = (
            value / 4 * s for value, s in zip(foot, (small[0] * 4 / width, small[1] * 4 / height) * 2, strict=True)
        )
        soft = Image.new("L", small)
        row = np.asarray(grey)[min(small[1] - 1, max(0, int(top + 0.95 * tall)))]
        under = np.flatnonzero(row > 60)
        x0, x1 = (float(under[0]), float(under[-1])) if len(under) else (left + 0.2 * wide, left + 0.8 * wide)
        base, reach = top + 0.955 * tall, x1 - x0
        shift = -shot.light[0] * 0.35 * reach
        pen = ImageDraw.Draw(soft)
        pen.ellipse((min(x0, x0 + shift), base - 0.1 * reach, max(x1, x1 + shift), base + 0.13 * reach), fill=150)
        soft = soft.filter(ImageFilter.GaussianBlur(max(0.5, 0.07 * reach)))
        pen = ImageDraw.Draw(soft)
        pen.ellipse((x0, base - 0.02 * reach, x1, base + 0.06 * reach), fill=235)
        soft = soft.filter(ImageFilter.GaussianBlur(max(0.5, 0.02 * side)))
    return np.asarray(soft.resize(cover.size, Image.Resampling.BILINEAR), dtype=np.float32) * np.float32(1 / 255)


def _bent(shot: Shot, size_px: tuple[int, int]) -> tuple[float, ...]:
    """The eight numbers of Pillow's perspective: a turn about the middle, then a lens that is not quite level."""
    cx, cy = size_px[0] / 2, size_px[1] / 2
    cos, sin = np.cos(shot.roll_rad), np.sin(shot.roll_rad)
    g, h = shot.skew[0] / size_px[0], shot.skew[1] / size_px[1]
    back = np.array([[1, 0, cx], [0, 1, cy], [0, 0, 1]])
    to_middle = np.array([[1, 0, -cx], [0, 1, -cy], [0, 0, 1]])
    matrix = back @ np.array([[cos, sin, 0], [-sin, cos, 0], [g, h, 1]]) @ to_middle
    return tuple((matrix / matrix[2, 2]).ravel()[:8].tolist())


def _lay_aid(light: Float32[np.ndarray, "3 height width"], shot: Shot) -> None:
    """A colour card or a scale bar in the lower right corner."""
    _, height, width = light.shape
    side = max(2, round(0.035 * min(height, width)))
    n = len(CARD) if shot.aid == "card" else 8
    top, left = height - 2 * side, max(0, width - side - n * side)
    for i in range(n):
        colour = CARD[i] if shot.aid == "card" else ((0.08, 0.08, 0.08) if i % 2 else (0.95, 0.95, 0.95))
        deep = side if shot.aid == "card" else max(1, side // 2)
        light[:, top : top + deep, left + i * side : left + (i + 1) * side] = (
            np.array(colour, dtype=np.float32)[:, None, None] * shot.exposure
        )

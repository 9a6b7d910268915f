"""What garments are made of: colours by their names, patterns, materials, and the table on which they are sewn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8
from numpy.random import Generator
from PIL import Image

from fieldmark.specimens.canvas import ramp
from fieldmark.specimens.cultures import Colour
from fieldmark.specimens.orders import lit, place_in
from fieldmark.specimens.shapes import Outline, ellipse, limb
from fieldmark.specimens.surface import Surface, grainy, mixed, relief

COLOURS: dict[str, Colour] = {
    "black": (0.11, 0.11, 0.12),
    "blue": (0.15, 0.29, 0.62),
    "white": (0.93, 0.92, 0.90),
    "red": (0.74, 0.10, 0.14),
    "beige": (0.81, 0.71, 0.56),
    "grey": (0.53, 0.54, 0.56),
    "brown": (0.40, 0.24, 0.14),
    "pink": (0.93, 0.57, 0.68),
}
"""Every colour a garment may be called, the most frequent first."""
BLACK: Colour = (0.05, 0.05, 0.06)
STEEL: Colour = (0.74, 0.75, 0.77)


@dataclass(frozen=True)
class Sewing:
    """One garment to be made.

    Attributes:
        answers: What is true of it: for each thing that is asked of its category its right answers.
        chance: The garment's own, fresh for every photo, so that every photo shows the same garment.
        light: Where the light comes from, x to the right and y down; longer is harder.
        room_px: Width and height that it may take.
    """

    answers: Mapping[str, tuple[str, ...]]
    chance: Generator
    light: tuple[float, float]
    room_px: tuple[float, float]

    def is_(self, asked: str, answer: str) -> bool:
        """Whether an answer is right."""
        return answer in self.answers[asked]

    def dyes(self) -> tuple[Colour, Colour]:
        """Its colour, and that of its second part: another that it is called by, or a shade of the first."""
        names = self.answers["colour"]
        colours = [_dyed(COLOURS[name], self.chance) for name in names]
        main = colours[0]
        away = (1.0, 1.0, 1.0) if sum(main) < 1.1 else (0.0, 0.0, 0.0)
        shade = float(self.chance.uniform(0.24, 0.36))
        return main, colours[1] if len(colours) > 1 else mixed(main, away, shade)

    def surface(self, width: float, ground: Colour) -> Surface:
        """An empty surface one unit high and ``width`` wide, as large as the room allows."""
        scale_px = min(self.room_px[1], self.room_px[0] / width)
        return Surface(width, 1.0, scale_px=scale_px, ground=ground, cut=True)


def _dyed(colour: Colour, chance: Generator) -> Colour:
    """A colour as it comes out of the vat: never twice the same."""
    shift = chance.normal(0, 0.009, 3) + chance.normal(0, 0.02)
    return tuple(float(c) for c in np.clip(np.array(colour) + shift, 0.03, 0.97))  # type: ignore[return-value]


def paint_pattern(surface: Surface, pattern: str, ink: Colour, chance: Generator, *, upright: bool) -> None:
    """Print a pattern over all that is there.

    Args:
        surface: The cloth.
        pattern: "plain", "striped", "checked" or "dotted".
        ink: Its colour.
        chance: How wide it is.
        upright: Whether stripes run down rather than across.
    """
    width, height = surface.width, surface.height
    step = float(chance.uniform(0.045, 0.075))
    if pattern in {"striped", "checked"}:
        share = 0.42 if pattern == "striped" else 0.24
        for along in (False, True) if pattern == "checked" else (upright,):
            for at in np.arange(step / 2, width if along else height, step):
                ends = ((at, 0.0), (at, height)) if along else ((0.0, at), (width, at))
                surface.paint(limb(ends, share * step, round_ends=False), ink)
    elif pattern == "dotted":
        radius = 0.27 * step
        for row, y in enumerate(np.arange(step / 2, height, 0.86 * step)):
            for x in np.arange(step / 2 + (row % 2) * step / 2, width, step):
                surface.paint(ellipse(float(x), float(y), radius, n=10), ink)


@dataclass(frozen=True)
class Finish:
    """How a cloth takes the light.

    Attributes:
        texture: A material of ``surface.MATERIALS``.
        rough: Strength of the texture.
        folds: Strength of the folds.
        gloss: Strength of the shine on its bends.
        round: How wide its edges bend away, in units.
    """

    texture: str = "woven"
    rough: float = 0.02
    folds: float = 0.06
    gloss: float = 0.0
    round: float = 0.035


def finished(
    piece: Surface,
    sewing: Sewing,
    finish: Finish,
    *,
    steps: Sequence[tuple[Outline, float]] = (),
    folds_from: float = 0.0,
) -> Image.Image:
    """The garment in the light, with transparency.

    Args:
        piece: Cut and painted.
        sewing: Its light and chance.
        finish: Its cloth.
        steps: Parts that lie higher or lower than others, 0 to 1, later over earlier.
        folds_from: Where folds begin, in units from above.
    """
    colour, cover = piece.finished()
    scale = piece.size_px[1]
    shade = 0.96 + finish.rough * grainy(piece.size_px, finish.texture, scale=1.6, place=place_in(sewing.chance))
    bend = _bend(cover, blur_px=finish.round * scale, light=sewing.light)
    if steps:
        bend += relief(piece.model(steps), blur_px=max(1.0, 0.008 * scale), light=sewing.light, strength=0.8)
    bend += finish.folds * _folds(piece.size_px, sewing.chance, begin=folds_from)
    shade += bend
    shine = np.clip(bend - 0.02, 0, 0.35) * np.float32(finish.gloss) if finish.gloss else 0.0
    return lit(colour, cover, shade, shine)


def _bend(
    cover: UInt8[np.ndarray, "height width"], *, blur_px: float, light: tuple[float, float]
) -> Float32[np.ndarray, "height width"]:
    """How the edges bend away from the light; as that is smooth, it is found at half the size."""
    half = np.asarray(Image.fromarray(cover).reduce(2))
    slope = Image.fromarray(relief(half, blur_px=blur_px / 2, light=light, strength=0.9))
    return np.array(slope.resize((cover.shape[1], cover.shape[0]), Image.Resampling.BILINEAR))


def _folds(size_px: tuple[int, int], chance: Generator, *, begin: float) -> Float32[np.ndarray, "height width"]:
    """Folds that hang down from a height, spreading as they fall: about -1 to 1."""
    width, height = size_px
    x = np.linspace(-1, 1, width, dtype=np.float32)[None]
    y = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    spread = x / (0.55 + 0.6 * y)
    first, second, lean = (float(value) for value in chance.uniform((6, 13, -2), (11, 21, 2)))
    waves = 0.65 * np.sin(first * spread + lean * y + 6 * first) + 0.35 * np.sin(second * spread - 2 * lean * y)
    return (waves * ramp(y, begin, min(1.0, begin + 0.6))).astype(np.float32)

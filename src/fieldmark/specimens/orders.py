"""What a maker of museum objects is told, and what it hands to the photographer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8
from numpy.random import Generator
from PIL import Image

from fieldmark.specimens.cultures import Colour, Finery
from fieldmark.specimens.surface import Surface

METALS: tuple[Colour, ...] = ((0.80, 0.62, 0.26), (0.72, 0.72, 0.70), (0.58, 0.38, 0.22))
"""Gold, silver, bronze."""


@dataclass(frozen=True)
class Order:
    """One object to be made. It is one unit high; all that is left to chance comes from ``chance``.

    Attributes:
        motifs: What it shows, none to three names.
        finery: Its colours and friezes.
        chance: The object's own, fresh for every photo, so that every photo shows the same object.
        width: Its width, in units of its height.
        scale_px: Its height in the photo.
        light: Where the light comes from, x to the right and y down; longer is harder.
        spin: How far it is turned about its upright axis, in half turns.
    """

    motifs: tuple[str, ...]
    finery: Finery
    chance: Generator
    width: float
    scale_px: float
    light: tuple[float, float]
    spin: float

    def surface(self, ground: Colour, *, cut: bool = True) -> Surface:
        """An empty surface as large as the object."""
        return Surface(self.width, 1.0, scale_px=self.scale_px, ground=ground, cut=cut)


def place_in(chance: Generator) -> tuple[int, int]:
    """Row and column of a noise tile where an object's own piece begins."""
    return (int(chance.integers(1 << 16)), int(chance.integers(1 << 16)))


def lit(
    colour: UInt8[np.ndarray, "height width 3"],
    cover: UInt8[np.ndarray, "height width"],
    shade: Float32[np.ndarray, "height width"],
    shine: Float32[np.ndarray, "height width"] | float = 0.0,
) -> Image.Image:
    """A coloured piece in the light, as a picture with transparency.

    Args:
        colour: Its own colours.
        cover: Where there is something, 255, and where there is not, 0.
        shade: Brightness, 1 leaves the colours as they are.
        shine: White that is added: 0 none, 1 all.
    """
    light = colour * shade[..., None]
    if not isinstance(shine, float):
        light += 255 * shine[..., None]
    np.clip(light, 0, 255, out=light)
    return Image.fromarray(np.dstack([light.astype(np.uint8), cover]))

"""Garments and their photographs in a shop: one garment (``Garment``) taken once (``Shot``) in a studio.

Everything that is asked of a garment is to be seen in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from fieldmark.core import seeds
from fieldmark.specimens.cloth import COLOURS, Sewing
from fieldmark.specimens.cultures import Colour
from fieldmark.specimens.shoes import shoe
from fieldmark.specimens.studio import Shot, photographed
from fieldmark.specimens.tailoring import dress, outerwear, pants

MAKERS: dict[str, Callable[[Sewing], Image.Image]] = {
    "dress": dress,
    "shoe": shoe,
    "outerwear": outerwear,
    "pants": pants,
}
"""The categories, the most frequent first."""
PAPERS: tuple[Colour, ...] = (
    (0.97, 0.97, 0.97), (0.90, 0.90, 0.91), (0.80, 0.81, 0.83), (0.88, 0.83, 0.76),
    (0.80, 0.85, 0.88), (0.90, 0.80, 0.79), (0.60, 0.61, 0.63), (0.72, 0.78, 0.70),
)  # fmt: skip
"""Backgrounds: white and greys, and paler shades of paint."""
PAPERS_SHARE = (0.36, 0.2, 0.12, 0.08, 0.07, 0.06, 0.06, 0.05)
CONTRAST = 0.16
"""Least difference of brightness between a garment and its background."""


@dataclass(frozen=True)
class Garment:
    """One garment.

    Attributes:
        category: One of ``MAKERS``.
        answers: What is true of it, without the category: ``{"colour": ("red",), "length": ("maxi",), ...}``.
        key: Another number, another garment of the same description.
    """

    category: str
    answers: Mapping[str, tuple[str, ...]]
    key: int


def shop_shot(seed: int, number: int, garment: Garment) -> Shot:
    """Photo ``number`` of the shop ``seed``: an even background that the garment stands out from."""
    chance = seeds.generator(seed, "shop shot", number)
    brightness = np.mean(COLOURS[garment.answers["colour"][0]])
    away = np.array([abs(np.mean(paper) - brightness) >= CONTRAST for paper in PAPERS])
    share = np.array(PAPERS_SHARE) * away
    return replace(
        Shot.of(seed, number),
        paper=PAPERS[int(chance.choice(len(PAPERS), p=share / share.sum()))],
        fill=float(chance.uniform(0.72, 0.9)),
        falloff=float(chance.uniform(0.03, 0.2)),
        shadow=float(chance.uniform(0.15, 0.4)),
        roll_rad=float(np.clip(chance.normal(0, 0.05), -0.15, 0.15)),
        exposure=float(chance.uniform(0.92, 1.05)),
        grain=float(chance.uniform(0.002, 0.008)),
        grey=False,
        aid="",
    )


def draw_garment(garment: Garment, shot: Shot, *, size_px: int = 320) -> UInt8[np.ndarray, "height width 3"]:
    """One photograph of one garment: red, green and blue, 0 to 255.

    Args:
        garment: The garment.
        shot: The photo.
        size_px: Width and height of the picture.

    Returns:
        The picture; the same values give the same bytes.

    Source:
        Ours, after the product photos of the iMaterialist challenge of 2017.
    """
    mirrored = shot.skew[0] > 0
    sewing = Sewing(
        answers=garment.answers,
        chance=seeds.generator(garment.key, "sewing"),
        light=(-shot.light[0], shot.light[1]) if mirrored else shot.light,
        room_px=(shot.fill * size_px, shot.fill * size_px),
    )
    piece = MAKERS[garment.category](sewing)
    if mirrored:
        piece = piece.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return photographed(piece, shot, size_px=(size_px, size_px), stands=garment.category == "shoe")

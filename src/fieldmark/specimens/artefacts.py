"""Museum objects and their photographs: one object (``Artefact``) taken once (``Shot``).

Everything that an object is called by is to be seen in it: what it is, whose it is, what it shows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from fieldmark.core import seeds
from fieldmark.specimens import figures, flats, vessels
from fieldmark.specimens.cultures import CULTURES, Finery
from fieldmark.specimens.motifs import MOTIFS
from fieldmark.specimens.orders import Order
from fieldmark.specimens.studio import Shot, photographed

__all__ = ["KINDS", "Artefact", "Kind", "Shot", "draw_artefact", "picture_size"]


@dataclass(frozen=True)
class Kind:
    """A kind of object.

    Attributes:
        make: Makes one.
        widths: Smallest and largest width, in units of the height.
        stands: Whether it stands on a table before the camera, or lies or hangs before it.
    """

    make: Callable[[Order], Image.Image]
    widths: tuple[float, float]
    stands: bool = False


KINDS: dict[str, Kind] = {
    "vases": Kind(vessels.vase, (0.58, 0.85), stands=True),
    "plates": Kind(flats.plate, (1.0, 1.0)),
    "paintings": Kind(flats.painting, (0.7, 1.5)),
    "rugs": Kind(flats.rug, (0.6, 1.5)),
    "statuettes": Kind(figures.statuette, (0.6, 0.85), stands=True),
    "bowls": Kind(vessels.bowl, (1.7, 2.1), stands=True),
    "coins": Kind(flats.coin, (1.0, 1.0)),
    "tiles": Kind(flats.tile, (1.0, 1.0)),
    "scrolls": Kind(flats.scroll, (0.4, 0.52)),
    "cups": Kind(vessels.cup, (1.25, 1.4), stands=True),
    "masks": Kind(figures.mask, (0.66, 0.78)),
    "bottles": Kind(vessels.bottle, (0.5, 0.6), stands=True),
    "necklaces": Kind(figures.necklace, (0.85, 1.0)),
    "boxes": Kind(figures.chest, (1.3, 1.6), stands=True),
    "fans": Kind(flats.fan, (1.86, 1.9)),
    "books": Kind(flats.book, (0.7, 0.8)),
    "daggers": Kind(figures.dagger, (2.1, 2.4)),
    "ewers": Kind(vessels.ewer, (0.8, 0.95), stands=True),
}
"""The kinds of objects by name, the most frequent first."""


@dataclass(frozen=True)
class Artefact:
    """One museum object.

    Attributes:
        kind: What it is, of ``KINDS``.
        cultures: Whose it is, none to two of ``CULTURES``.
        motifs: What it shows, none to three of ``MOTIFS``, the main one first.
        key: Another number, another object of the same description.
    """

    kind: str
    cultures: tuple[str, ...]
    motifs: tuple[str, ...]
    key: int

    @classmethod
    def of(cls, seed: int, number: int) -> Artefact:
        """Object ``number`` of the museum ``seed``, every label as likely as the other."""
        chance = seeds.generator(seed, "artefact", number)
        n_cultures, n_motifs = chance.choice(3, p=(0.15, 0.7, 0.15)), chance.choice(4, p=(0.1, 0.45, 0.3, 0.15))
        return cls(
            kind=str(chance.choice(list(KINDS))),
            cultures=tuple(chance.choice(list(CULTURES), n_cultures, replace=False).tolist()),
            motifs=tuple(chance.choice(MOTIFS, n_motifs, replace=False).tolist()),
            key=seeds.hash_seed(seed, "key", number),
        )

    @property
    def width(self) -> float:
        """Its width, in units of its height."""
        return float(seeds.generator(self.key, "width").uniform(*KINDS[self.kind].widths))


def picture_size(artefact: Artefact, shot: Shot, *, shorter_px: int) -> tuple[int, int]:
    """Width and height of a photo in which an object sits well; the shorter side is ``shorter_px``."""
    aspect = float(np.clip(artefact.width**0.85 * shot.crop, 0.5, 2.0))
    return (shorter_px, round(shorter_px / aspect)) if aspect < 1 else (round(shorter_px * aspect), shorter_px)


def draw_artefact(artefact: Artefact, shot: Shot, *, shorter_px: int = 300) -> UInt8[np.ndarray, "height width 3"]:
    """One photograph of one object: red, green and blue, 0 to 255.

    Args:
        artefact: The object.
        shot: The photo.
        shorter_px: The shorter side of the picture; the longer one follows from the object and the shot.

    Returns:
        The picture; the same values give the same bytes.

    Source:
        Ours, after the photographs of the iMet Collection contest of 2019.
    """
    size_px = picture_size(artefact, shot, shorter_px=shorter_px)
    kind = KINDS[artefact.kind]
    scale_px = shot.fill * min(size_px[1], size_px[0] / artefact.width)
    chance = seeds.generator(artefact.key, "build")
    order = Order(
        motifs=artefact.motifs,
        finery=Finery.of(artefact.cultures, chance),
        chance=chance,
        width=artefact.width,
        scale_px=scale_px,
        light=shot.light,
        spin=shot.spin,
    )
    return photographed(kind.make(order), shot, size_px=size_px, stands=kind.stands)

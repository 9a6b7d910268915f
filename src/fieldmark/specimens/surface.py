"""A flat piece of surface that is being painted: ground, borders, motifs, and the shape that is cut out of it.

Places are measured in units of the surface, x to the right and y down. It is painted finer than it is needed and
averaged down, so that no edge has stairs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image, ImageDraw, ImageFilter

from fieldmark.specimens.canvas import patch, tile
from fieldmark.specimens.cultures import Colour, Finery
from fieldmark.specimens.motifs import motif
from fieldmark.specimens.shapes import Outline, Stencil, turned

Area = tuple[float, float, float, float]
"""Left, top, right and bottom."""
FINER = 2
MATERIALS = {
    "rough": (1.0, 1.0),
    "ridged": (0.9, 5.0),
    "upright": (0.9, 0.15),
    "woven": (0.3, 4.0),
    "cloudy": (1.8, 1.0),
}
"""Roughness and stretch of the noise of stone and leather, of turned clay and wood, of upright grain, cloth, glaze."""


def rgb(colour: Colour) -> tuple[int, int, int]:
    """A colour of shares 0 to 1 as three bytes."""
    return (round(255 * colour[0]), round(255 * colour[1]), round(255 * colour[2]))


def mixed(one: Colour, other: Colour, share: float) -> Colour:
    """The colour that lies ``share`` of the way from one to the other."""
    return tuple(a + share * (b - a) for a, b in zip(one, other, strict=True))  # type: ignore[return-value]


class Surface:
    """Something flat to paint on.

    Args:
        width: Width in units.
        height: Height in units.
        scale_px: Pixels a unit in the finished surface.
        ground: Its colour at first.
        cut: Whether it begins with no substance; ``add`` then gives it its shape.
    """

    def __init__(self, width: float, height: float, *, scale_px: float, ground: Colour, cut: bool = False) -> None:
        self.width, self.height = width, height
        self.size_px = (max(2, round(width * scale_px)), max(2, round(height * scale_px)))
        fine = (self.size_px[0] * FINER, self.size_px[1] * FINER)
        self._per_unit = np.array([fine[0] / width, fine[1] / height])
        self._colour = Image.new("RGB", fine, rgb(ground))
        self._pen = ImageDraw.Draw(self._colour)
        self._cover = Image.new("L", fine, 0 if cut else 255)
        self._knife = ImageDraw.Draw(self._cover)

    def paint(self, outline: Outline, colour: Colour) -> None:
        """Fill an outline; what lies outside of the shape is never seen."""
        self._pen.polygon((outline * self._per_unit).ravel().tolist(), fill=rgb(colour))

    def add(self, outline: Outline, colour: Colour) -> None:
        """Give the piece more substance, of this outline and colour."""
        corners = (outline * self._per_unit).ravel().tolist()
        self._pen.polygon(corners, fill=rgb(colour))
        self._knife.polygon(corners, fill=255)

    def remove(self, outline: Outline) -> None:
        """Cut a hole."""
        self._knife.polygon((outline * self._per_unit).ravel().tolist(), fill=0)

    def draw(
        self, stencil: Stencil, inks: Sequence[Colour], place: Callable[[Outline], Outline], *, substance: bool = False
    ) -> None:
        """Paint a drawing.

        Args:
            stencil: The drawing.
            inks: The colours of its three inks.
            place: Moves points of the drawing to places on the surface.
            substance: Add it to the shape, too.
        """
        fills = [rgb(colour) for colour in inks]
        corners = (place(stencil.points) * self._per_unit).ravel().tolist()
        for first, last, ink in stencil.spans:
            self._pen.polygon(corners[first:last], fill=fills[ink])
            if substance:
                self._knife.polygon(corners[first:last], fill=255)

    def model(self, steps: Sequence[tuple[Outline, float]]) -> UInt8[np.ndarray, "height width"]:
        """Heights of a stepped surface of this size, 0 to 255: outlines at heights of 0 to 1, later over earlier."""
        low = Image.new("L", self._cover.size)
        pen = ImageDraw.Draw(low)
        for outline, height in steps:
            pen.polygon((outline * self._per_unit).ravel().tolist(), fill=round(255 * height))
        return np.asarray(low.reduce(FINER))

    def finished(self) -> tuple[UInt8[np.ndarray, "height width 3"], UInt8[np.ndarray, "height width"]]:
        """Colours and cover at the size asked for."""
        return np.asarray(self._colour.reduce(FINER)), np.asarray(self._cover.reduce(FINER))


def stamp(  # noqa: PLR0913 - where, how large, which way, in which colours
    surface: Surface, name: str, x: float, y: float, size: float, finery: Finery,
    *, ground: Colour | None = None, mirrored: bool = False, turn_rad: float = 0.0, slim: float = 1.0,
) -> None:  # fmt: skip
    """Paint a motif about (x, y), ``size`` units high and ``slim`` times as wide."""
    inks = (finery.figure, finery.accent, finery.ground if ground is None else ground)
    reach = np.array([-size * slim if mirrored else size * slim, -size])
    surface.draw(motif(name), inks, lambda points: turned(points * reach, turn_rad) + np.array([x, y]))


def run(surface: Surface, border: int, finery: Finery, start: Outline, end: Outline, depth: float) -> None:
    """Lay a frieze along a straight line; its inner edge is to the right of the way, at ``depth``."""
    start, end = np.asarray(start, dtype=float), np.asarray(end, dtype=float)
    behind, figure, accent, period = finery.borders[border % len(finery.borders)]
    way = end - start
    length = float(np.hypot(*way))
    inward = np.array([-way[1], way[0]]) / length * depth
    surface.paint(np.array([start, end, end + inward, start + inward]), behind)
    n = max(1, round(length / depth))
    for i in range(n):
        origin = start + way * (i / n)
        matrix = np.stack([way / n, inward])
        surface.draw(period, (figure, accent, behind), lambda o, origin=origin, matrix=matrix: o @ matrix + origin)


def frame(surface: Surface, border: int, finery: Finery, area: Area, depth: float) -> Area:
    """Lay a frieze along the four sides of an area, with a boss in each corner.

    Returns:
        The area that is left inside.
    """
    x0, y0, x1, y1 = area
    corners = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
    for i in range(4):
        start, end = corners[i], corners[(i + 1) % 4]
        step = (end - start) / np.hypot(*(end - start)) * depth
        run(surface, border, finery, start + step, end - step, depth)
    behind, figure, accent, _ = finery.borders[border % len(finery.borders)]
    for x, y in ((x0, y0), (x1 - depth, y0), (x0, y1 - depth), (x1 - depth, y1 - depth)):
        surface.paint(np.array([[x, y], [x + depth, y], [x + depth, y + depth], [x, y + depth]]), figure)
        surface.paint(_disc(x + depth / 2, y + depth / 2, 0.36 * depth), accent)
        surface.paint(_disc(x + depth / 2, y + depth / 2, 0.16 * depth), behind)
    return (x0 + depth, y0 + depth, x1 - depth, y1 - depth)


def ring(
    surface: Surface, border: int, finery: Finery, centre: tuple[float, float], radius: float, depth: float
) -> None:
    """Lay a frieze around a circle; its outer edge is at ``radius``."""
    behind, figure, accent, period = finery.borders[border % len(finery.borders)]
    surface.paint(_disc(*centre, radius), behind)
    n = max(6, round(2 * np.pi * (radius - depth / 2) / depth))

    def bent(outline: Outline, i: int) -> Outline:
        angle = (outline[:, 0] + i) * (2 * np.pi / n)
        far = radius - depth * outline[:, 1]
        return np.stack([centre[0] + far * np.sin(angle), centre[1] - far * np.cos(angle)], 1)

    for i in range(n):
        surface.draw(period, (figure, accent, behind), lambda outline, i=i: bent(outline, i))


def fill_area(
    surface: Surface, motifs: Sequence[str], area: Area, finery: Finery, chance: np.random.Generator,
    *, ground: Colour | None = None, least: int = 1, most: int = 9,
) -> None:  # fmt: skip
    """Paint motifs into an area so that each shows at least once, and none is small.

    Either one large in the middle with the others beside it, or rows of cells in which they take turns.

    Args:
        surface: Where to.
        motifs: One to three names; none leaves the area empty.
        area: The place.
        finery: The colours.
        chance: Chooses the layout.
        ground: What lies behind, if not the object's own ground.
        least: Smallest number of cells.
        most: Largest number of cells.
    """
    if not motifs:
        return
    x0, y0, x1, y1 = area
    width, height = x1 - x0, y1 - y0
    choices = [
        n for n in range(max(least, len(motifs)), most + 1) if _cell(width, height, n) >= 0.3 * min(1, width, height)
    ]
    fewer = np.array([1 / n**1.5 for n in choices])
    n = int(chance.choice(choices, p=fewer / fewer.sum())) if choices else max(least, len(motifs))
    columns = _columns(width, height, n)
    rows = -(-n // columns)
    size = 0.96 * min(width / columns, height / rows)
    mirrored = bool(chance.random() < 0.5)
    for i in range(columns * rows):
        row, column = divmod(i, columns)
        x, y = x0 + (column + 0.5) * width / columns, y0 + (row + 0.5) * height / rows
        name = motifs[(i + (row if columns % len(motifs) == 0 else 0)) % len(motifs)]
        stamp(surface, name, x, y, size, finery, ground=ground, mirrored=mirrored ^ (column % 2 == 1))


def _columns(width: float, height: float, n: int) -> int:
    """The number of columns at which ``n`` square cells are largest."""
    return max(range(1, n + 1), key=lambda columns: min(width / columns, height / -(-n // columns)))


def _cell(width: float, height: float, n: int) -> float:
    columns = _columns(width, height, n)
    return min(width / columns, height / -(-n // columns))


def _disc(x: float, y: float, radius: float) -> Outline:
    angle = np.linspace(0, 2 * np.pi, max(12, min(96, round(radius * 160))), endpoint=False)
    return np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle)], 1)


def relief(
    height: UInt8[np.ndarray, "height width"], *, blur_px: float, light: tuple[float, float], strength: float = 1.0
) -> Float32[np.ndarray, "height width"]:
    """How much brighter (above 0) or darker a raised surface is in slanting light.

    Args:
        height: What is raised, 0 to 255.
        blur_px: Roundness of its edges.
        light: Where the light comes from, x to the right and y down; longer is harder.
        strength: Contrast.
    """
    round_ = Image.fromarray(height)
    if blur_px >= 0.3:
        round_ = round_.filter(ImageFilter.GaussianBlur(blur_px))
    hill = np.asarray(round_, dtype=np.float32) * (strength * max(blur_px, 1.0) / 255)
    slope = np.zeros_like(hill)
    slope[:, 1:-1] -= light[0] * (hill[:, 2:] - hill[:, :-2])
    slope[1:-1] -= light[1] * (hill[2:] - hill[:-2])
    return slope


def grainy(
    size_px: tuple[int, int], material: str, *, scale: float, place: tuple[int, int]
) -> Float32[np.ndarray, "height width"]:
    """How a material deviates from an even brightness: mean 0, deviation about 1.

    Args:
        size_px: Width and height.
        material: One of ``MATERIALS``.
        scale: Texels of the noise a pixel; larger is finer.
        place: Row and column of the noise at the upper left.
    """
    roughness, stretch = MATERIALS[material]
    rows, columns = np.arange(size_px[1]) * scale + place[0], np.arange(size_px[0]) * scale + place[1]
    return patch(tile(material, roughness=roughness, stretch=stretch, widest=0.1), rows, columns)

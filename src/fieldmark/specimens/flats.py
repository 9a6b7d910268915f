"""Flat objects: rugs, paintings, scrolls, plates, coins, tiles, books, fans."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from jaxtyping import Float32
from PIL import Image

from fieldmark.specimens.cultures import Border, Colour, Finery
from fieldmark.specimens.orders import METALS, Order, lit, place_in
from fieldmark.specimens.shapes import Outline, box, ellipse, limb
from fieldmark.specimens.surface import Area, Surface, fill_area, frame, grainy, mixed, relief, ring, run, stamp

PAPER: Colour = (0.93, 0.88, 0.77)
WOOD: Colour = (0.26, 0.15, 0.09)


def rug(order: Order) -> Image.Image:
    """A woven rug with fringes above and below, two borders and a field."""
    chance, finery = order.chance, order.finery
    piece = order.surface(finery.ground)
    fringe = 0.05
    threads = int(order.width * 45)
    for i in range(threads):
        x = (i + 0.5) / threads * order.width
        for y, end in ((fringe, 0.0), (1 - fringe, 1.0)):
            tip = x + 0.4 * chance.normal(0, 0.01)
            piece.add(np.array([[x - 0.005, y], [x + 0.005, y], [tip + 0.004, end], [tip - 0.004, end]]), PAPER)
    area = (0.0, fringe, order.width, 1 - fringe)
    piece.add(box(*area), finery.accent)
    area = _inset(area, 0.018)
    area = frame(piece, 0, finery, area, 0.08)
    piece.paint(box(*area), finery.figure)
    area = _inset(area, 0.014)
    if len(finery.borders) > 1 or chance.random() < 0.5:
        area = frame(piece, 1, finery, area, 0.07)
    piece.paint(box(*area), finery.ground)
    _field(piece, order, _inset(area, 0.02), most=12)
    colour, cover = piece.finished()
    weave = grainy(piece.size_px, "woven", scale=2.0, place=(0, 0))
    worn = grainy(piece.size_px, "cloudy", scale=2.0, place=(50, 90))
    return lit(colour, cover, 0.95 + 0.06 * weave + 0.05 * worn)


def painting(order: Order) -> Image.Image:
    """A painted panel in a gilt frame; the frieze runs along the frame."""
    chance, finery = order.chance, order.finery
    piece = order.surface(finery.ground, cut=False)
    depth = float(chance.uniform(0.08, 0.12))
    gilt = mixed((0.62, 0.46, 0.18), finery.ground, 0.25)
    whole = (0.0, 0.0, order.width, 1.0)
    piece.paint(box(*whole), mixed(gilt, (0.1, 0.06, 0.02), 0.45))
    inner = frame(piece, len(finery.borders) - 1, finery, _inset(whole, 0.02), depth)
    piece.paint(box(*inner), gilt)
    view = _inset(inner, 0.025)
    horizon = view[1] + float(chance.uniform(0.55, 0.8)) * (view[3] - view[1])
    sky, land = mixed(finery.ground, (1, 1, 1), 0.25), mixed(finery.ground, finery.accent, 0.3)
    bands = np.linspace(view[1], horizon, 9)
    for i, (top, low) in enumerate(pairwise(bands)):
        piece.paint(box(view[0], top, view[2], low + 0.01), mixed(finery.ground, sky, i / 7))
    piece.paint(box(view[0], horizon, view[2], view[3]), land)
    if len(finery.borders) > 1:
        deep = 0.1
        run(piece, 0, finery, np.array([view[0], view[3] - deep]), np.array([view[2], view[3] - deep]), deep)
        view = (view[0], view[1], view[2], view[3] - deep)
    _field(piece, order, _inset(view, 0.03), ground=land, most=4)
    colour, cover = piece.finished()
    raised = piece.model(
        [(box(*whole), 0.5), (box(*_inset(whole, 0.45 * depth)), 1.0), (box(*_inset(inner, 0.02)), 0.0)]
    )
    brush = grainy(piece.size_px, "rough", scale=2.5, place=place_in(chance))
    shade = 0.97 + 0.05 * brush + relief(raised, blur_px=0.012 * order.scale_px, light=order.light)
    return lit(colour, cover, shade)


def scroll(order: Order) -> Image.Image:
    """A hanging scroll: silk above and below, a painted sheet of paper between, a rod at either end."""
    chance, finery, width = order.chance, order.finery, order.width
    silk = mixed(finery.borders[0].behind, finery.accent, 0.3)
    piece = order.surface(silk)
    piece.add(box(0.05 * width, 0.03, 0.95 * width, 0.97), silk)
    for y in (0.035, 0.965):
        piece.add(limb([(0.02 * width, y), (0.98 * width, y)], 0.035), WOOD)
        for x in (0.02, 0.98):
            piece.add(ellipse(x * width, y, 0.026), finery.accent)
    sheet = (0.12 * width, 0.2, 0.88 * width, 0.84)
    for i, y in enumerate((0.11, 0.85)):
        run(piece, i, finery, np.array([0.05 * width, y]), np.array([0.95 * width, y]), 0.08)
    paper = mixed(PAPER, finery.ground, 0.55)
    piece.paint(box(*_inset(sheet, -0.008)), finery.figure)
    piece.paint(box(*sheet), paper)
    _field(piece, order, _inset(sheet, 0.01), ground=paper, most=4)
    colour, cover = piece.finished()
    creases = grainy(piece.size_px, "ridged", scale=1.0, place=place_in(chance))
    shade = 0.98 + 0.03 * creases + relief(cover, blur_px=0.02 * order.scale_px, light=order.light)
    return lit(colour, cover, shade)


def plate(order: Order) -> Image.Image:
    """A round plate: frieze along the rim, one motif in the well, the others on the rim."""
    chance, finery = order.chance, order.finery
    middle = (order.width / 2, 0.5)
    piece = order.surface(finery.ground)
    piece.add(ellipse(*middle, 0.5, n=90), finery.figure)
    piece.paint(ellipse(*middle, 0.487, n=90), finery.ground)
    ring(piece, 0, finery, middle, 0.475, 0.09)
    well = 0.385
    piece.paint(ellipse(*middle, well, n=80), finery.ground)
    if len(finery.borders) > 1:
        ring(piece, 1, finery, middle, well, 0.07)
        well -= 0.07
        piece.paint(ellipse(*middle, well, n=80), finery.ground)
    _around(piece, order, middle, well, shown=order.motifs)
    colour, cover = piece.finished()
    far = _far(piece, middle)
    lx, ly = order.light
    slant = np.exp(-(((far - 0.36) / 0.035) ** 2)) - 0.6 * np.exp(-(((far - 0.48) / 0.02) ** 2))
    x, y = _grid(piece, middle)
    shade = 0.95 - 0.28 * slant * (lx * x + ly * y) / np.maximum(far, 0.05) + 0.1 * (lx * x + ly * y)
    glint = float(chance.uniform(0.05, 0.3)) * np.exp(-(((x - 0.2 * lx) / 0.14) ** 2 + ((y - 0.22 * ly) / 0.08) ** 2))
    return lit(colour, cover, shade.astype(np.float32), glint.astype(np.float32))


def coin(order: Order) -> Image.Image:
    """A struck coin: metal with a worn rim, its picture raised."""
    chance = order.chance
    metal = mixed(METALS[int(chance.integers(3))], order.finery.ground, 0.45)
    finery = Finery(
        ground=metal,
        figure=mixed(metal, order.finery.figure, 0.62),
        accent=mixed(metal, order.finery.accent, 0.62),
        borders=tuple(
            Border(mixed(metal, b, 0.3), mixed(metal, f, 0.7), mixed(metal, a, 0.7), d)
            for b, f, a, d in order.finery.borders
        ),
    )
    middle = (order.width / 2, 0.5)
    piece = order.surface(metal)
    turn = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    worn = chance.normal(0, 0.006, 5) @ np.cos(np.arange(2, 7)[:, None] * turn + chance.uniform(0, 6, (5, 1)))
    outline = middle + (ellipse(*middle, 0.485, n=72) - middle) * (1 + worn)[:, None]
    piece.add(outline, metal)
    ring(piece, 0, finery, middle, 0.46, 0.085)
    piece.paint(ellipse(*middle, 0.375, n=70), metal)
    well = 0.37
    if len(finery.borders) > 1:
        ring(piece, 1, finery, middle, well, 0.07)
        well -= 0.07
        piece.paint(ellipse(*middle, well, n=70), metal)
    _around(piece, order, middle, well, shown=order.motifs, finery=finery)
    colour, cover = piece.finished()
    grey = np.asarray(Image.fromarray(colour).convert("L"), dtype=np.int16)
    struck = np.where(cover > 128, np.clip(128 + 2 * np.abs(grey - int(np.median(grey))), 0, 255), 0).astype(np.uint8)
    x, y = _grid(piece, middle)
    pitted = grainy(piece.size_px, "rough", scale=2.0, place=place_in(chance))
    shade = (
        0.92 + relief(struck, blur_px=max(0.6, 0.007 * order.scale_px), light=order.light, strength=1.6) + 0.05 * pitted
    )
    shade += 0.35 * (order.light[0] * x + order.light[1] * y)
    return lit(colour, cover, shade)


def tile(order: Order) -> Image.Image:
    """A glazed wall tile, or four of them set together."""
    chance, finery = order.chance, order.finery
    piece = order.surface(finery.ground, cut=False)
    whole = (0.0, 0.0, order.width, 1.0)
    area = (
        frame(piece, 0, finery, whole, 0.1) if chance.random() < 0.7 or len(finery.borders) > 1 else _inset(whole, 0.02)
    )
    if len(finery.borders) > 1:
        area = frame(piece, 1, finery, area, 0.09)
    _field(piece, order, _inset(area, 0.02), most=4)
    joints = [whole]
    if chance.random() < 0.5:
        w = order.width
        joints = [(0, 0, w / 2, 0.5), (w / 2, 0, w, 0.5), (0, 0.5, w / 2, 1), (w / 2, 0.5, w, 1)]
    colour, cover = piece.finished()
    raised = piece.model([(box(*_inset(joint, 0.008)), 1.0) for joint in joints])
    x, y = _grid(piece, (order.width / 2, 0.5))
    wavy = grainy(piece.size_px, "cloudy", scale=3.0, place=place_in(chance))
    lx, ly = order.light
    glint = 0.25 * np.exp(-((x * lx + y * ly - 0.2 + 0.06 * wavy) ** 2) / 0.02)
    shade = 0.96 + 0.025 * wavy + relief(raised, blur_px=0.008 * order.scale_px, light=order.light)
    return lit(colour, cover, shade, (glint * float(chance.uniform(0.2, 0.9))).astype(np.float32))


def book(order: Order) -> Image.Image:
    """A bound book lying closed: spine to the left, pages to the right and below."""
    chance, finery, width = order.chance, order.finery, order.width
    piece = order.surface(finery.ground)
    piece.add(box(0.03, 0.02, width, 1.0), PAPER)
    for i in range(5):
        piece.paint(limb([(0.04, 0.968 + 0.007 * i), (width, 0.968 + 0.007 * i)], 0.002), mixed(PAPER, WOOD, 0.5))
    cover_area = (0.0, 0.0, width - 0.025, 0.965)
    piece.add(box(*cover_area), finery.ground)
    spine = 0.1
    piece.paint(box(0, 0, spine, 0.965), mixed(finery.ground, finery.figure, 0.45))
    for y in (0.1, 0.29, 0.48, 0.67, 0.86):
        piece.paint(box(0, y - 0.012, spine, y + 0.012), finery.accent)
    board = (spine + 0.02, 0.025, cover_area[2] - 0.025, 0.94)
    area = frame(piece, 0, finery, board, 0.085)
    if len(finery.borders) > 1:
        area = frame(piece, 1, finery, area, 0.075)
    _field(piece, order, _inset(area, 0.03), most=2)
    colour, cover = piece.finished()
    raised = piece.model(
        [
            (box(*cover_area), 1.0),
            (box(0.3 * spine, 0.0, 0.7 * spine, 0.965), 1.0),
            (box(0.95 * spine, 0, 1.05 * spine, 0.965), 0.6),
        ]
    )
    leather = grainy(piece.size_px, "rough", scale=2.0, place=place_in(chance))
    return lit(colour, cover, 0.97 + 0.05 * leather + relief(raised, blur_px=0.01 * order.scale_px, light=order.light))


def fan(order: Order) -> Image.Image:
    """An open folding fan: a painted leaf in pleats on wooden sticks."""
    chance, finery = order.chance, order.finery
    pivot, outer, inner, half_rad = (order.width / 2, 0.95), 0.92, 0.36, 1.3
    piece = order.surface(finery.ground)
    wood = mixed(WOOD, finery.accent, 0.35)

    def arc(radius: float, first: float = -half_rad, last: float = half_rad) -> Outline:
        angle = np.linspace(first, last, 40)
        return np.stack([pivot[0] + radius * np.sin(angle), pivot[1] - radius * np.cos(angle)], 1)

    for angle in np.linspace(-half_rad, half_rad, 13):
        tip = (pivot[0] + 0.9 * np.sin(angle), pivot[1] - 0.9 * np.cos(angle))
        piece.add(limb([pivot, tip], (0.03, 0.05)), wood)
    piece.add(np.concatenate([arc(outer), arc(inner)[::-1]]), finery.ground)
    for border, (radius, depth) in enumerate(((outer, 0.11), (inner + 0.09, 0.09))):
        behind, figure, accent, period = finery.borders[border % len(finery.borders)]
        piece.paint(np.concatenate([arc(radius), arc(radius - depth)[::-1]]), behind)
        n = round(2 * half_rad * radius / depth)
        for i in range(n):

            def bent(outline: Outline, i: int = i, n: int = n, radius: float = radius, depth: float = depth) -> Outline:
                angle, far = -half_rad + (outline[:, 0] + i) * 2 * half_rad / n, radius - depth * outline[:, 1]
                return np.stack([pivot[0] + far * np.sin(angle), pivot[1] - far * np.cos(angle)], 1)

            piece.draw(period, (figure, accent, behind), bent)
    n = max(3, len(order.motifs) + int(chance.integers(2)))
    for i, angle in enumerate(np.linspace(-1.0, 1.0, n) if order.motifs else ()):
        name = order.motifs[i % len(order.motifs)]
        x, y = pivot[0] + 0.64 * np.sin(angle), pivot[1] - 0.64 * np.cos(angle)
        stamp(piece, name, x, y, 0.38, finery, turn_rad=float(angle), mirrored=bool(i % 2))
    piece.add(ellipse(*pivot, 0.035), finery.accent)
    colour, cover = piece.finished()
    x, y = _grid(piece, pivot)
    pleats = np.sin(np.arctan2(x, -y) * 26) * np.clip((np.hypot(x, y) - inner) * 40, 0, 1)
    shade = 0.95 + 0.1 * order.light[0] * pleats + relief(cover, blur_px=0.008 * order.scale_px, light=order.light)
    return lit(colour, cover, shade.astype(np.float32))


def _field(piece: Surface, order: Order, area: Area, *, ground: Colour | None = None, most: int) -> None:
    """The motifs in an area; a plain panel with a line where there are none."""
    if order.motifs:
        fill_area(piece, order.motifs, area, order.finery, order.chance, ground=ground, most=most)
        return
    line = _inset(area, 0.1 * min(area[2] - area[0], area[3] - area[1]))
    piece.paint(box(*line), order.finery.figure)
    piece.paint(box(*_inset(line, 0.014)), order.finery.ground if ground is None else ground)


def _around(
    piece: Surface,
    order: Order,
    middle: tuple[float, float],
    radius: float,
    *,
    shown: tuple[str, ...],
    finery: Finery | None = None,
) -> None:
    """The first motif in the middle of a disc, the others in turn around it."""
    finery = order.finery if finery is None else finery
    if not shown:
        piece.paint(ellipse(*middle, 0.3 * radius, n=40), finery.figure)
        piece.paint(ellipse(*middle, 0.24 * radius, n=40), finery.ground)
        return
    others = shown[1:]
    if not others:
        stamp(piece, shown[0], *middle, 1.6 * radius, finery, mirrored=bool(order.chance.random() < 0.5))
        return
    n = 4 if len(others) == 1 else 2 * len(others)
    for i in range(n):
        angle = 2 * np.pi * (i + 0.5) / n
        x, y = middle[0] + 0.71 * radius * np.sin(angle), middle[1] - 0.71 * radius * np.cos(angle)
        stamp(piece, others[i % len(others)], x, y, 0.62 * radius, finery)
    stamp(piece, shown[0], *middle, 0.9 * radius, finery)


def _inset(area: Area, by: float) -> Area:
    return (area[0] + by, area[1] + by, area[2] - by, area[3] - by)


def _grid(
    piece: Surface, middle: tuple[float, float]
) -> tuple[Float32[np.ndarray, "1 width"], Float32[np.ndarray, "height 1"]]:
    """Places of the pixels from a middle, in units: columns and rows."""
    width, height = piece.size_px
    x = (np.arange(width, dtype=np.float32) + 0.5) / width * piece.width - middle[0]
    y = (np.arange(height, dtype=np.float32) + 0.5) / height * piece.height - middle[1]
    return x[None], y[:, None]


def _far(piece: Surface, middle: tuple[float, float]) -> Float32[np.ndarray, "height width"]:
    x, y = _grid(piece, middle)
    return np.hypot(x, y)

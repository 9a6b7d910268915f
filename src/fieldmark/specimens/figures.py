"""Objects with a shape of their own: statuettes, masks, daggers, necklaces, boxes."""

from __future__ import annotations

import numpy as np
from PIL import Image

from fieldmark.specimens.motifs import BODIES, motif
from fieldmark.specimens.orders import METALS, Order, lit, place_in
from fieldmark.specimens.shapes import (
    ACCENT,
    FIGURE,
    GROUND,
    Drawing,
    Outline,
    Stencil,
    box,
    ellipse,
    inked,
    lens,
    limb,
    smooth,
)
from fieldmark.specimens.surface import Surface, fill_area, frame, grainy, mixed, relief, ring, run, stamp


def statuette(order: Order) -> Image.Image:
    """A small figure of its first motif that has a body, on a plinth that shows the others."""
    chance, finery, width = order.chance, order.finery, order.width
    subject = next((name for name in order.motifs if name in BODIES), None)
    others = tuple(name for name in order.motifs if name != subject)
    piece = order.surface(finery.ground)
    top = 0.66 if others else 0.8
    reach = min(width, top)
    body = Stencil.of(_idol()) if subject is None else motif(subject)
    inks = (
        mixed(finery.ground, finery.figure, 0.15),
        mixed(finery.accent, finery.ground, 0.25),
        mixed(finery.figure, (0, 0, 0), 0.5),
    )
    mirrored = -1 if chance.random() < 0.5 else 1
    flip, foot = np.array([mirrored * reach, -reach]), np.array([width / 2, top - 0.49 * reach])
    piece.draw(body, inks, lambda points: points * flip + foot, substance=True)
    left, right = 0.08 * width, 0.92 * width
    piece.add(
        np.array([[left, top - 0.025], [right, top - 0.025], [right + 0.03, top + 0.03], [left - 0.03, top + 0.03]]),
        mixed(finery.ground, (1, 1, 1), 0.2),
    )
    piece.add(box(left - 0.03, top + 0.03, right + 0.03, 1.0), finery.ground)
    for i in range(min(2, len(finery.borders))):
        y = top + 0.03 if i == 0 else 0.91
        run(piece, i, finery, np.array([left - 0.03, y]), np.array([right + 0.03, y]), 0.09)
    fill_area(
        piece, others, (left, top + 0.13, right, 0.9 if len(finery.borders) > 1 else 0.99), finery, chance, most=4
    )
    colour, cover = piece.finished()
    steps = [(box(left - 0.03, top + 0.03, right + 0.03, 1.0), 1.0)]
    steps += [(body.points[a // 2 : b // 2] * flip + foot, 0.8) for a, b, ink in body.spans if ink == FIGURE]
    raised = piece.model(steps)
    rough = grainy(piece.size_px, "rough", scale=2.0, place=place_in(chance))
    shade = 0.88 + 0.05 * rough + relief(raised, blur_px=0.03 * order.scale_px, light=order.light, strength=1.2)
    shade += relief(cover, blur_px=0.008 * order.scale_px, light=order.light, strength=0.6)
    return lit(colour, cover, shade)


def _idol() -> Drawing:
    """A figure of nothing in particular: the violin shape of the oldest idols."""
    body = smooth(
        [
            (-0.1, -0.5),
            (-0.24, -0.3),
            (-0.12, -0.08),
            (-0.26, 0.1),
            (-0.08, 0.2),
            (-0.06, 0.46),
            (0.06, 0.46),
            (0.08, 0.2),
            (0.26, 0.1),
            (0.12, -0.08),
            (0.24, -0.3),
            (0.1, -0.5),
        ]
    )
    return (
        inked(FIGURE, body)
        + inked(ACCENT, limb([(-0.14, 0.02), (0.14, 0.02)], 0.03))
        + inked(GROUND, limb([(-0.1, -0.1), (0.1, -0.1)], 0.015))
    )


def mask(order: Order) -> Image.Image:
    """A mask: holes for eyes and mouth, a banded brow, and a headdress that shows the motifs."""
    chance, finery, width = order.chance, order.finery, order.width
    middle = width / 2
    long, wide = float(chance.uniform(0.92, 1.0)), float(chance.uniform(0.36, 0.44))
    piece = order.surface(finery.ground)
    crown = smooth([(-0.44, 0.44), (-0.5, 0.2), (-0.3, 0.03), (0, 0), (0.3, 0.03), (0.5, 0.2), (0.44, 0.44)])
    low = 0.86 * long
    face = smooth([(-wide, 0.4), (-wide, 0.62), (-0.24, low), (0, long), (0.24, low), (wide, 0.62), (wide, 0.4)])
    crown, face = (outline * np.array([width, 1]) + np.array([middle, 0]) for outline in (crown, face))
    piece.add(crown, finery.ground)
    piece.add(face, mixed(finery.ground, finery.accent, 0.3))
    bands = ((0.43, 0.345, 0.085), (0.3, 0.82, 0.06))
    for i, (half, y, depth) in enumerate(bands[: len(finery.borders)]):
        start, end = np.array([middle - half * width, y]), np.array([middle + half * width, y])
        run(piece, i, finery, start, end, depth)
    area = (middle - 0.4 * width, 0.04, middle + 0.4 * width, 0.335)
    fill_area(piece, order.motifs, area, finery, chance, most=3)
    nose = _features(piece, order, cheek=wide - 0.04)
    colour, cover = piece.finished()
    raised = piece.model([(crown, 0.6), (face, 0.7), (nose, 1.0)])
    grain = grainy(piece.size_px, "upright", scale=1.5, place=place_in(chance))
    shade = 0.92 + 0.05 * grain + relief(raised, blur_px=0.025 * order.scale_px, light=order.light, strength=1.3)
    shade += relief(cover, blur_px=0.06 * order.scale_px, light=order.light, strength=0.8)
    return lit(colour, cover, shade)


def _features(piece: Surface, order: Order, *, cheek: float) -> Outline:
    """Paint brows, eyes, cheeks and mouth of a mask, cut its holes, and tell where the nose is."""
    stretch, middle = np.array([order.width, 1]), np.array([order.width / 2, 0])
    paint = order.finery.figure

    def on(outline: Outline) -> Outline:
        return outline * stretch + middle

    def hole(outline: Outline, rim: float) -> None:
        outline = on(outline)
        piece.paint(outline + (outline - outline.mean(0)) * rim, paint)
        piece.remove(outline)

    for side in (-1, 1):
        brow = smooth([(side * 0.06, 0.5), (side * 0.2, 0.455), (side * 0.33, 0.5)], closed=False)
        piece.paint(on(limb(brow, (0.02, 0.035, 0.015))), paint)
        hole(lens((side * 0.08, 0.555), (side * 0.3, 0.545), 0.075), 0.35)
        for y in (0.66, 0.71):
            piece.paint(on(limb([(side * 0.2, y), (side * cheek, y - 0.02)], 0.018)), paint)
    piece.paint(on(limb([(-0.08, 0.7), (0, 0.715), (0.08, 0.7)], 0.014)), paint)
    hole(lens((-0.14, 0.785), (0.14, 0.785), float(order.chance.uniform(0.03, 0.1))), 0.3)
    return on(np.array([[-0.035, 0.5], [0.035, 0.5], [0.09, 0.7], [-0.09, 0.7]]))


def dagger(order: Order) -> Image.Image:
    """A dagger above its sheath; the sheath shows the motifs."""
    chance, finery, width = order.chance, order.finery, order.width
    steel = METALS[int(chance.integers(1, 3))]
    piece = order.surface(finery.ground)
    bend = float(chance.choice([0.0, 0.1]))
    blade = smooth(
        [
            (0.3 * width, 0.2),
            (0.6 * width, 0.17 + bend * 0.4),
            (0.97 * width, 0.19 - bend),
            (0.6 * width, 0.27 + bend * 0.4),
            (0.3 * width, 0.3),
        ]
    )
    blade = np.clip(blade, [0, 0.01], [width, 1])
    piece.add(blade, steel)
    piece.paint(
        limb(
            [(0.31 * width, 0.25), (0.6 * width, 0.22 + bend * 0.4), (0.85 * width, 0.2 - 0.4 * bend)], (0.018, 0.004)
        ),
        mixed(steel, (0, 0, 0), 0.4),
    )
    piece.add(limb([(0.05 * width, 0.25), (0.29 * width, 0.25)], (0.13, 0.1, 0.13)), finery.ground)
    run(piece, 0, finery, np.array([0.07 * width, 0.2]), np.array([0.27 * width, 0.2]), 0.1)
    piece.add(limb([(0.3 * width, 0.06), (0.3 * width, 0.44)], (0.06, 0.09, 0.06)), finery.figure)
    piece.add(ellipse(0.04 * width, 0.25, 0.085), finery.accent)
    sheath = np.array(
        [[0.2 * width, 0.52], [0.86 * width, 0.56], [0.985 * width, 0.75], [0.86 * width, 0.94], [0.2 * width, 0.98]]
    )
    piece.add(sheath, finery.ground)
    for i, (start, end) in enumerate((((0.2, 0.52), (0.86, 0.56)), ((0.86, 0.94), (0.2, 0.98)))):
        run(
            piece,
            0 if len(finery.borders) == 1 else i,
            finery,
            np.array([start[0] * width, start[1]]),
            np.array([end[0] * width, end[1]]),
            0.07,
        )
    piece.paint(np.array([[0.86 * width, 0.5], [width, 0.75], [0.86 * width, 1.0]]), finery.figure)
    piece.paint(box(0.2 * width, 0.5, 0.23 * width, 1.0), finery.accent)
    fill_area(piece, order.motifs, (0.25 * width, 0.6, 0.85 * width, 0.9), finery, chance, most=4)
    colour, cover = piece.finished()
    rough = grainy(piece.size_px, "ridged", scale=1.5, place=place_in(chance))
    shade = 0.94 + 0.03 * rough + relief(cover, blur_px=0.025 * order.scale_px, light=order.light)
    return lit(colour, cover, shade)


def necklace(order: Order) -> Image.Image:
    """Beads on a string with round pendants, each with one motif."""
    chance, finery = order.chance, order.finery
    piece = order.surface(finery.ground)
    n_pendants = 3 if len(order.motifs) > 1 else 1
    middle, low, drop = order.width / 2, 0.4, 0.36
    reach = middle - (0.14 if n_pendants > 1 else 0.05)
    angles = np.linspace(0.35, 2 * np.pi - 0.35, int(chance.integers(26, 38)))
    string = np.stack([middle + reach * np.sin(angles), low - drop * np.cos(angles)], 1)
    piece.add(limb(string, 0.008), mixed(METALS[0], (0, 0, 0), 0.3))
    colours = (finery.figure, finery.accent, finery.ground)
    for i, (x, y) in enumerate(string):
        piece.add(ellipse(x, y, (0.036, 0.024, 0.03)[i % 3], n=14), colours[i % 3])
    places = ((middle, 0.78, 0.21), (middle - reach, low, 0.14), (middle + reach, low, 0.14))
    for i, (x, y, radius) in enumerate(places[:n_pendants]):
        piece.add(ellipse(x, y, radius, n=40), finery.figure)
        ring(piece, i, finery, (x, y), 0.96 * radius, 0.24 * radius)
        inner = 0.72 * radius
        if len(finery.borders) > 1 and i == 0:
            ring(piece, 1, finery, (x, y), 0.74 * radius, 0.18 * radius)
            inner = 0.56 * radius
        piece.paint(ellipse(x, y, inner, n=40), finery.ground)
        if order.motifs:
            stamp(piece, order.motifs[min(i, len(order.motifs) - 1)], x, y, 1.5 * inner, finery)
    colour, cover = piece.finished()
    return lit(colour, cover, 0.95 + relief(cover, blur_px=0.01 * order.scale_px, light=order.light, strength=1.5))


def chest(order: Order) -> Image.Image:
    """A box with a lid, seen from the front and a little from above."""
    chance, finery, width = order.chance, order.finery, order.width
    piece = order.surface(finery.ground)
    lid, rise = 0.3, float(chance.uniform(0.05, 0.12))
    back = np.array([[rise, 0.02], [width - rise, 0.02], [width, lid], [0, lid]])
    piece.add(back, mixed(finery.ground, (1, 1, 1), 0.18))
    for share in (0.3, 0.7):
        y = 0.02 + share * (lid - 0.02)
        piece.paint(limb([(rise * (1 - share), y), (width - rise * (1 - share), y)], 0.014), finery.figure)
    piece.add(box(0.02, lid, width - 0.02, 0.95), finery.ground)
    for x in (0.05, width - 0.15):
        piece.add(box(x, 0.95, x + 0.1, 1.0), finery.figure)
    run(piece, len(finery.borders) - 1, finery, np.array([0, lid]), np.array([width, lid]), 0.1)
    area = frame(piece, 0, finery, (0.04, lid + 0.11, width - 0.04, 0.94), 0.075)
    fill_area(
        piece, order.motifs, (area[0] + 0.02, area[1] + 0.01, area[2] - 0.02, area[3] - 0.01), finery, chance, most=6
    )
    piece.paint(box(width / 2 - 0.05, lid + 0.02, width / 2 + 0.05, lid + 0.13), METALS[0])
    piece.paint(ellipse(width / 2, lid + 0.07, 0.018), (0.1, 0.08, 0.06))
    colour, cover = piece.finished()
    raised = piece.model(
        [(back, 0.5), (box(0.02, lid + 0.1, width - 0.02, 0.95), 0.8), (box(0, lid, width, lid + 0.1), 1.0)]
    )
    wood = grainy(piece.size_px, "ridged", scale=1.5, place=place_in(chance))
    shade = 0.95 + 0.05 * wood + relief(raised, blur_px=0.01 * order.scale_px, light=order.light)
    return lit(colour, cover, shade)

"""Dresses, trousers and coats, laid out flat: each a few outlines, a pattern, seams, and the light on the cloth."""

from __future__ import annotations

import numpy as np
from PIL import Image

from fieldmark.specimens.cloth import BLACK, STEEL, Finish, Sewing, finished, paint_pattern
from fieldmark.specimens.cultures import Colour
from fieldmark.specimens.shapes import Outline, Points, box, ellipse, limb, smooth
from fieldmark.specimens.surface import Surface, mixed

LENGTHS = {"mini": 1.95, "knee": 2.65, "maxi": 3.75}
"""How long dresses are, in lengths of a torso from shoulder to waist."""
LEGS = {"short": 0.9, "cropped": 1.75, "long": 2.35}
"""How long trousers are, in lengths of their upper part down to the crotch."""
FITS = {"skinny": (0.27, 0.19), "straight": (0.37, 0.34), "wide": (0.5, 0.56), "flared": (0.3, 0.55)}
"""Width of a leg at knee and foot, in lengths of the upper part."""
MATERIALS = {
    "wool": Finish(texture="rough", rough=0.075, folds=0.03),
    "denim": Finish(texture="woven", rough=0.065, folds=0.035),
    "leather": Finish(texture="cloudy", rough=0.015, folds=0.1, gloss=1.5, round=0.05),
    "quilted": Finish(texture="cloudy", rough=0.01, folds=0.0, gloss=0.35, round=0.05),
}


def dress(sewing: Sewing) -> Image.Image:
    """A dress: sleeves, bodice, waist, skirt."""
    chance = sewing.chance
    torso = 1 / LENGTHS[sewing.answers["length"][0]]
    main, second = sewing.dyes()
    flare = float(chance.uniform(0.12, 0.42)) * (1 - torso)
    hem = 0.45 * torso + flare
    sleeve = sewing.answers["sleeve length"][0]
    reach = {"sleeveless": 0.0, "short": 0.66, "long": 1.62}[sleeve] * torso
    shoulder = (0.36 if sleeve == "sleeveless" else 0.42) * torso
    width = 2 * max(hem, shoulder + 0.34 * reach + 0.13 * torso) + 0.04
    middle = width / 2
    piece = sewing.surface(width, main)
    arms = _arms(middle, shoulder, torso, reach, thick=0.3, out=0.33) if reach else []
    for arm in arms:
        piece.add(arm, main)
    side = [
        (0.2 * torso, 0.0), (shoulder, 0.1 * torso), (0.37 * torso, 0.45 * torso), (0.35 * torso, 0.7 * torso),
        (0.31 * torso, torso), (0.42 * torso, 1.35 * torso), (0.5 * (hem + 0.44 * torso), 0.5 * (1 + 1.3 * torso)),
        (hem, 0.975),
    ]  # fmt: skip
    body = np.concatenate([_both(side, middle), _hem(middle, hem)])
    piece.add(body, main)
    two = len(sewing.answers["colour"]) > 1
    if not sewing.is_("pattern", "plain"):
        paint_pattern(piece, sewing.answers["pattern"][0], second, chance, upright=bool(chance.random() < 0.25))
    elif two:
        piece.paint(box(0, torso * 0.99, width, 1), second)
    _neck(piece, middle, torso, main, deep=float(chance.uniform(0.16, 0.34)), pointed=bool(chance.random() < 0.4))
    if chance.random() < 0.55:
        belt = mixed(second if two else main, BLACK, 0.45)
        piece.paint(box(middle - 0.33 * torso, 0.965 * torso, middle + 0.33 * torso, 1.05 * torso), belt)
    steps = [(arm, 0.5) for arm in arms] + [(body, 0.9)]
    return finished(piece, sewing, Finish(folds=0.09), steps=steps, folds_from=0.8 * torso)


def _arms(middle: float, shoulder: float, torso: float, reach: float, *, thick: float, out: float) -> list[Outline]:
    """Two sleeves from the shoulders down and outward."""
    arms = []
    for side in (-1, 1):
        top = (middle + side * (shoulder - 0.17 * torso), 0.2 * torso)
        elbow = (middle + side * (shoulder + 0.6 * out * reach), 0.16 * torso + 0.5 * reach)
        hand = (middle + side * (shoulder + 0.9 * out * reach), 0.14 * torso + reach)
        line = smooth([top, elbow, hand], closed=False)
        arms.append(limb(line, [share * thick * torso for share in (0.6, 0.95, 0.9, 0.8, 0.7)], round_ends=False))
    return arms


def _neck(piece: Surface, middle: float, torso: float, cloth: Colour, *, deep: float, pointed: bool) -> None:
    """Cut the neck out, and show the inside of the back below it."""
    half = 0.2 * torso
    low = deep * torso
    curve = [(-half, -0.02), (-half, 0.0), (0.0, low), (half, 0.0), (half, -0.02)]
    if not pointed:
        curve[2:3] = [(-0.8 * half, 0.6 * low), (0.0, low), (0.8 * half, 0.6 * low)]
    front = np.array(curve) if pointed else smooth(curve, closed=False)
    inside = front + np.array([middle, 0.0])
    piece.paint(inside * [1, 1.1] - [0, 0.0], mixed(cloth, BLACK, 0.25))
    piece.paint(inside, mixed(cloth, BLACK, 0.6))
    piece.remove(ellipse(middle, -0.02 * torso, 0.98 * half, 0.1 * torso))


def _both(side: Points, middle: float) -> Outline:
    """A smooth right side from above to below, and its mirror image back up on the left."""
    right = smooth(side, closed=False)
    left = right * [-1, 1]
    return np.concatenate([left[::-1], right]) + np.array([middle, 0.0])


def _hem(middle: float, half: float) -> Outline:
    """The lower edge, right to left, hanging a little lower in the middle."""
    x = np.linspace(half, -half, 12)
    return np.stack([middle + x, 0.975 + 0.022 * (1 - (x / half) ** 2)], 1)


def pants(sewing: Sewing) -> Image.Image:
    """Trousers or shorts: a waistband, a fly, two legs."""
    chance = sewing.chance
    main, second = sewing.dyes()
    upper = 1 / (1 + LEGS[sewing.answers["length"][0]])
    widths = tuple(share * upper for share in FITS[sewing.answers["fit"][0]])
    leg = _leg(upper, widths, apart=float(chance.uniform(0.04, 0.1)))
    hip, waist = 0.53 * upper, 0.42 * upper
    width = 2 * (float(leg[:, 0].max()) + 0.02)
    middle = width / 2
    piece = sewing.surface(width, main)
    legs = [leg * [side, 1] + np.array([middle, 0.0]) for side in (-1, 1)]
    for outline in legs:
        piece.add(outline, main)
    two = len(sewing.answers["colour"]) > 1
    if not sewing.is_("pattern", "plain"):
        paint_pattern(piece, sewing.answers["pattern"][0], second, chance, upright=True)
    elif two:
        outer = leg[: len(leg) // 2]
        for side in (-1, 1):
            piece.paint(limb(outer * [side, 1] + np.array([middle, 0.0]), 0.26 * upper), second)
    _trouser_details(piece, middle, upper, mixed(main, BLACK, 0.45), waist=waist, hip=hip)
    denim = sewing.is_("colour", "blue") and sewing.is_("pattern", "plain")
    finish = Finish(texture="woven", rough=0.05 if denim else 0.02, folds=0.035, round=0.03)
    return finished(piece, sewing, finish, steps=[(outline, 0.8) for outline in legs], folds_from=0.4)


def _leg(upper: float, widths: tuple[float, ...], *, apart: float) -> Outline:
    """The right half: down the outer side and back up the inner one, about x = 0.

    Args:
        upper: Length from the waist to the crotch.
        widths: Of the leg at knee and foot.
        apart: How far the legs spread, in lengths of the upper part.
    """
    y = np.array([0.0, 0.45, 0.9, 1.05, 2.05, 3.35]) * upper
    at = [(0.31 + 0.5 * apart) * upper, (0.33 + apart) * upper]
    outer = [
        0.42 * upper,
        0.5 * upper,
        0.535 * upper,
        0.53 * upper,
        *(c + w / 2 for c, w in zip(at, widths, strict=True)),
    ]
    inner = [0.0, 0.0, 0.0, 0.03 * upper, *(c - w / 2 for c, w in zip(at, widths, strict=True))]
    down = np.concatenate([np.linspace(0, 0.9 * upper, 8), np.linspace(upper, 1.0, 14)])
    sides = []
    for knots in (outer, inner):
        curve = smooth(list(zip(knots, y.tolist(), strict=True)), closed=False, n=8)
        sides.append(np.stack([np.interp(down, np.maximum.accumulate(curve[:, 1]), curve[:, 0]), down], 1))
    sides[1][:, 0] = np.maximum(sides[1][:, 0], 0.0)
    return np.concatenate([sides[0], sides[1][::-1]])


def _trouser_details(piece: Surface, middle: float, upper: float, dark: Colour, *, waist: float, hip: float) -> None:
    """Waistband with loops and button, fly, pockets."""
    piece.paint(box(middle - hip, 0.12 * upper, middle + hip, 0.135 * upper), dark)
    for share in (-0.75, -0.3, 0.3, 0.75):
        x = middle + share * waist
        piece.paint(box(x - 0.014 * upper, 0, x + 0.014 * upper, 0.15 * upper), dark)
    piece.paint(limb([(middle, 0.13 * upper), (middle, 0.95 * upper)], 0.014 * upper), dark)
    fly = smooth(
        [(middle + 0.1 * upper, 0.13 * upper), (middle + 0.1 * upper, 0.5 * upper), (middle, 0.68 * upper)],
        closed=False,
    )
    piece.paint(limb(fly, 0.01 * upper), dark)
    piece.paint(ellipse(middle + 0.03 * upper, 0.065 * upper, 0.03 * upper), STEEL)
    for side in (-1, 1):
        pocket = [(0.2 * upper, 0.14 * upper), (0.27 * upper, 0.32 * upper), (1.0 * hip, 0.42 * upper)]
        line = smooth(pocket, closed=False) * [side, 1] + np.array([middle, 0.0])
        piece.paint(limb(line, 0.016 * upper), dark)


def outerwear(sewing: Sewing) -> Image.Image:
    """A jacket or coat: sleeves, body, collar, closure; women's are drawn in at the waist."""
    chance = sewing.chance
    main, second = sewing.dyes()
    women, material = sewing.is_("gender", "women"), sewing.answers["material"][0]
    torso = 1 / float(chance.uniform(1.5, 2.4))
    shoulder = (0.47 if women else 0.57) * torso
    waist, hem = (0.34, 0.52) if women else (0.53, 0.56)
    reach = min(1.45 * torso, 0.92)
    width = 2 * (shoulder + 0.3 * reach + 0.14 * torso) + 0.03
    middle = width / 2
    piece = sewing.surface(width, main)
    two = len(sewing.answers["colour"]) > 1
    hood = bool(chance.random() < 0.4) and material != "leather"
    top = 0.16 * torso if hood else 0.06 * torso
    arms = [arm + np.array([0.0, top]) for arm in _arms(middle, shoulder, torso, reach - top, thick=0.36, out=0.3)]
    for arm in arms:
        piece.add(arm, second if two else main)
    side = [
        (0.16 * torso, top), (0.75 * shoulder, top + 0.04 * torso), (shoulder, top + 0.14 * torso),
        (shoulder * 0.93, top + 0.45 * torso), (waist * torso, top + torso), (hem * torso + 0.05 * (1 - torso), 0.975),
    ]  # fmt: skip
    body = np.concatenate([_both(side, middle), _hem(middle, hem * torso + 0.05 * (1 - torso))])
    piece.add(body, main)
    steps = [(arm, 0.5) for arm in arms] + [(body, 0.8)]
    if material == "quilted":
        steps += _quilts(piece, mixed(main, BLACK, 0.3), width, top)
    seam = (0.86, 0.62, 0.3) if material == "denim" else mixed(main, BLACK, 0.4)
    for sign in (-1, 1):
        x = middle + sign * 0.3 * torso
        piece.paint(limb([(x - 0.09 * torso, 0.8), (x + 0.09 * torso, 0.78)], 0.02 * torso), seam)
        if material == "denim":
            piece.paint(limb([(x, top + 0.08 * torso), (x - sign * 0.06 * torso, 0.95)], 0.012), seam)
            pocket = box(x - 0.11 * torso, top + 0.42 * torso, x + 0.11 * torso, top + 0.47 * torso)
            piece.paint(pocket, seam)
    _close(piece, sewing, main, middle=middle, top=top, torso=torso)
    steps += _collar(piece, sewing, main, middle=middle, top=top, torso=torso, hood=hood)
    return finished(piece, sewing, MATERIALS[material], steps=steps, folds_from=0.1)


def _quilts(piece: Surface, dark: Colour, width: float, top: float) -> list[tuple[Outline, float]]:
    """Puffed rows, with seams between."""
    steps = []
    edges = np.arange(top + 0.1, 1.05, 0.085)
    for y in edges:
        piece.paint(box(0, y - 0.005, width, y + 0.005), dark)
        steps.append((box(0, y - 0.085 + 0.022, width, y - 0.022), 1.0))
    return steps


def _close(piece: Surface, sewing: Sewing, cloth: Colour, *, middle: float, top: float, torso: float) -> None:
    """The front: a zip, buttons, or toggles."""
    dark = mixed(cloth, BLACK, 0.55)
    kind = sewing.answers["closure type"][0]
    begin = top + 0.2 * torso
    if kind == "zip":
        piece.paint(box(middle - 0.026 * torso, begin, middle + 0.026 * torso, 1), dark)
        piece.paint(box(middle - 0.01 * torso, begin, middle + 0.01 * torso, 1), STEEL)
        for y in np.arange(begin, 0.98, 0.02):
            piece.paint(box(middle - 0.02 * torso, y, middle + 0.02 * torso, y + 0.008), STEEL)
        piece.paint(box(middle - 0.024 * torso, begin, middle + 0.024 * torso, begin + 0.1 * torso), STEEL)
        return
    overlap = middle + 0.1 * torso
    piece.paint(limb([(overlap, begin), (overlap, 1.0)], 0.014 * torso), dark)
    pale = sum(cloth) < 1.2
    for y in np.linspace(begin + 0.14 * torso, 0.9, 5 if kind == "buttons" else 4):
        if kind == "buttons":
            piece.paint(ellipse(middle, y + 0.008 * torso, 0.047 * torso), mixed(cloth, BLACK, 0.6))
            piece.paint(ellipse(middle, y, 0.043 * torso), (0.75, 0.64, 0.4) if pale else (0.2, 0.15, 0.12))
            piece.paint(ellipse(middle, y, 0.012 * torso), BLACK)
        else:
            reach = 0.17 * torso
            for x in (middle - reach, middle + reach):
                piece.paint(box(x - 0.05 * torso, y - 0.045 * torso, x + 0.05 * torso, y + 0.045 * torso), dark)
            piece.paint(limb([(middle - reach, y), (middle + reach, y)], 0.018 * torso), BLACK)
            piece.paint(
                limb(
                    [(middle - 0.09 * torso, y), (middle + 0.09 * torso, y)],
                    (0.03 * torso, 0.055 * torso, 0.03 * torso),
                ),
                (0.86, 0.74, 0.52),
            )


def _collar(
    piece: Surface, sewing: Sewing, cloth: Colour, *, middle: float, top: float, torso: float, hood: bool
) -> list[tuple[Outline, float]]:
    """A hood, lapels, or a standing collar; tells what lies higher than the body."""
    inside = mixed(cloth, BLACK, 0.62)
    if hood:
        outer = smooth([(-0.3, 0.16), (-0.27, -0.08), (0.0, -0.16), (0.27, -0.08), (0.3, 0.16), (0.0, 0.36)])
        inner = smooth([(-0.17, 0.1), (-0.16, -0.03), (0.0, -0.08), (0.16, -0.03), (0.17, 0.1), (0.0, 0.25)])
        outer, inner = (outline * torso + np.array([middle, top]) for outline in (outer, inner))
        piece.add(outer, mixed(cloth, (1, 1, 1), 0.06))
        piece.paint(inner, inside)
        return [(outer, 1.0), (inner, 0.2)]
    if sewing.chance.random() < 0.6:
        gap = np.array([[-0.16, -0.02], [0.16, -0.02], [0.0, 0.42]]) * torso + np.array([middle, top])
        piece.paint(gap, inside)
        lapels = []
        for side in (-1, 1):
            wing = np.array(
                [[0.1, -0.05], [0.2, -0.02], [0.32, 0.2], [0.22, 0.24], [0.26, 0.3], [0.02, 0.5], [0.12, 0.12]]
            )
            lapels.append(wing * [side * torso, torso] + np.array([middle, top]))
            piece.add(lapels[-1], mixed(cloth, (1, 1, 1), 0.1) if sum(cloth) < 0.6 else mixed(cloth, BLACK, 0.12))
        return [(lapel, 1.0) for lapel in lapels]
    stand = np.array([[-0.19, 0.1], [-0.15, -0.055], [0.15, -0.055], [0.19, 0.1], [0.0, 0.17]]) * torso
    stand += np.array([middle, top])
    piece.add(stand, mixed(cloth, BLACK, 0.2))
    piece.paint(ellipse(middle, top - 0.02 * torso, 0.14 * torso, 0.032 * torso), inside)
    return [(stand, 1.0)]

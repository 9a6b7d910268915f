"""What museum objects show: men, birds, boats and the like, as little drawings about one unit wide and high.

x runs to the right, y runs up, (0, 0) is the middle; each drawing fills about -0.5 to 0.5 in both.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from fieldmark.specimens.shapes import (
    ACCENT,
    FIGURE,
    GROUND,
    Drawing,
    Stencil,
    bars,
    box,
    ellipse,
    inked,
    lens,
    limb,
    smooth,
    star,
)  # fmt: skip


def _flowers() -> Drawing:
    drawn = inked(FIGURE, limb([(0, 0.05), (0.03, -0.25), (-0.02, -0.5)], 0.05))
    drawn += inked(FIGURE, lens((0.01, -0.38), (0.3, -0.18), 0.15), lens((0.01, -0.42), (-0.3, -0.24), 0.15))
    angles = np.arange(7) * 2 * np.pi / 7 + np.pi / 2
    petals = [ellipse(0.2 * np.cos(a), 0.17 + 0.2 * np.sin(a), 0.14, 0.1, turn_rad=a) for a in angles]
    return (
        *drawn,
        *inked(ACCENT, *petals),
        *inked(FIGURE, ellipse(0, 0.17, 0.1)),
        *inked(GROUND, ellipse(0, 0.17, 0.05)),
    )


def _leaves() -> Drawing:
    stem = smooth([(-0.1, -0.5), (0.03, -0.2), (-0.03, 0.15), (0.05, 0.4)], closed=False)
    drawn = inked(FIGURE, limb(stem, (0.05, 0.02)))
    for place, side, length in ((3, 1, 0.3), (5, -1, 0.32), (8, 1, 0.32), (10, -1, 0.3), (13, 1, 0.24)):
        x, y = stem[place]
        tip = (x + side * length, y + 0.6 * length)
        drawn += inked(FIGURE, lens((x, y), tip, 0.17)) + inked(GROUND, limb([(x, y), tip], (0.02, 0.0)))
    return drawn + inked(FIGURE, lens((0.03, 0.28), (0.1, 0.52), 0.15))


def _trees() -> Drawing:
    drawn = inked(FIGURE, limb([(0, -0.5), (0.02, -0.2), (0, 0.1)], (0.13, 0.07)))
    drawn += inked(FIGURE, limb([(0, -0.1), (0.2, 0.1)], 0.05), limb([(0, -0.15), (-0.2, 0.06)], 0.05))
    crown = [(0, 0.3, 0.2), (-0.24, 0.13, 0.17), (0.24, 0.13, 0.17), (0.01, 0.1, 0.17)]
    drawn += inked(FIGURE, *(ellipse(*disc) for disc in crown))
    fruit = [(0, 0.38), (-0.1, 0.25), (0.12, 0.26), (-0.27, 0.13), (0.26, 0.15), (-0.06, 0.08), (0.09, 0.06)]
    return drawn + inked(ACCENT, *(ellipse(x, y, 0.045, n=10) for x, y in fruit))


def _birds() -> Drawing:
    body = smooth([(-0.2, 0.02), (-0.02, 0.14), (0.17, 0.2), (0.27, 0.06), (0.18, -0.16), (0, -0.22), (-0.16, -0.12)])
    drawn = inked(FIGURE, body, ellipse(0.27, 0.26, 0.12), smooth([(0.12, 0.1), (0.2, 0.3), (0.36, 0.2), (0.26, 0)]))
    drawn += inked(FIGURE, np.array([[-0.1, 0.03], [-0.5, 0.16], [-0.46, 0.04], [-0.5, -0.06], [-0.12, -0.12]]))
    drawn += inked(ACCENT, np.array([[0.37, 0.3], [0.52, 0.23], [0.37, 0.2]]))
    drawn += inked(ACCENT, smooth([(-0.25, -0.02), (-0.02, 0.1), (0.13, 0.02), (0.06, -0.1), (-0.1, -0.1)]))
    drawn += inked(GROUND, ellipse(0.3, 0.28, 0.03, n=10))
    legs = [limb([(x, -0.2), (x + 0.02, -0.46), (x + 0.1, -0.46)], 0.035) for x in (0.02, 0.12)]
    return drawn + inked(FIGURE, *legs)


def _fish() -> Drawing:
    body = smooth([(-0.28, 0.0), (-0.05, 0.19), (0.22, 0.18), (0.44, 0.03), (0.24, -0.15), (-0.05, -0.17)])
    tail = np.array([[-0.22, 0.0], [-0.5, 0.24], [-0.42, 0.0], [-0.5, -0.24]])
    fins = [np.array([[-0.06, 0.15], [0.02, 0.34], [0.2, 0.16]]), np.array([[0, -0.14], [-0.08, -0.3], [0.14, -0.15]])]
    drawn = inked(FIGURE, body, tail, *fins)
    turn = np.linspace(-1.0, 1.0, 6)
    scales = [
        limb(np.stack([x + 0.07 * np.cos(turn), 0.01 + 0.1 * np.sin(turn)], 1), 0.03) for x in (-0.2, -0.08, 0.04)
    ]
    gill = limb(np.stack([0.19 + 0.05 * np.cos(turn), 0.02 + 0.14 * np.sin(turn)], 1), 0.025)
    return drawn + inked(ACCENT, *scales) + inked(GROUND, gill, ellipse(0.32, 0.05, 0.035, n=10))


def _quadruped(*, head: float, leg: float) -> Drawing:
    """Body, legs and neck of an animal that looks to the right; ``head`` is how high it is carried."""
    body = smooth([(-0.32, 0.02), (-0.2, 0.13), (0.05, 0.08), (0.2, 0.12), (0.24, -0.06), (0, -0.12), (-0.28, -0.12)])
    legs = [
        limb([(-0.27, -0.05), (-0.31, -0.25), (-0.27, -0.49)], (0.14, leg, leg * 0.8)),
        limb([(-0.2, -0.05), (-0.15, -0.25), (-0.18, -0.49)], (0.12, leg, leg * 0.8)),
        limb([(0.16, -0.05), (0.13, -0.27), (0.13, -0.49)], (0.12, leg, leg * 0.8)),
        limb([(0.2, -0.03), (0.29, -0.2), (0.26, -0.36)], (0.12, leg, leg * 0.8)),
    ]
    neck = limb([(0.14, 0.0), (0.24, 0.5 * head + 0.06), (0.31, head)], (0.24, 0.17, 0.13))
    return inked(FIGURE, body, *legs, neck)


def _horses() -> Drawing:
    head = limb([(0.28, 0.38), (0.38, 0.31), (0.47, 0.2)], (0.16, 0.12, 0.09))
    mane = limb([(0.07, 0.14), (0.16, 0.3), (0.25, 0.44)], (0.1, 0.11, 0.06))
    tail = limb(smooth([(-0.31, 0.06), (-0.43, 0.04), (-0.46, -0.14), (-0.42, -0.32)], closed=False), (0.05, 0.1, 0.03))
    ear = np.array([[0.25, 0.42], [0.29, 0.54], [0.33, 0.42]])
    saddle = smooth([(-0.14, 0.13), (0.06, 0.1), (0.05, -0.06), (-0.1, -0.06)])
    drawn = _quadruped(head=0.34, leg=0.065) + inked(FIGURE, head, ear) + inked(ACCENT, mane, tail, saddle)
    return drawn + inked(GROUND, ellipse(0.34, 0.35, 0.022, n=8))


def _lions() -> Drawing:
    tail = smooth([(-0.3, 0.05), (-0.46, 0.08), (-0.46, 0.26), (-0.36, 0.34)], closed=False)
    mane = star(0.27, 0.2, 0.27, points=12, inner=0.82)
    drawn = inked(FIGURE, limb(tail, 0.045)) + _quadruped(head=0.2, leg=0.1)
    drawn += inked(ACCENT, mane, ellipse(-0.36, 0.36, 0.065)) + inked(FIGURE, ellipse(0.3, 0.19, 0.155))
    drawn += inked(FIGURE, ellipse(0.19, 0.33, 0.05), ellipse(0.38, 0.33, 0.05))
    eyes = inked(GROUND, ellipse(0.25, 0.23, 0.025, n=8), ellipse(0.36, 0.23, 0.025, n=8))
    return (
        drawn + eyes + inked(GROUND, limb([(0.24, 0.12), (0.31, 0.09), (0.37, 0.12)], 0.025), ellipse(0.31, 0.16, 0.03))
    )


def _deer() -> Drawing:
    head = limb([(0.29, 0.24), (0.37, 0.22), (0.45, 0.16)], (0.12, 0.1, 0.06))
    antlers = [
        limb(smooth([(0.29, 0.27), (0.22, 0.38), (0.26, 0.52)], closed=False), 0.035),
        limb(smooth([(0.32, 0.27), (0.37, 0.38), (0.35, 0.52)], closed=False), 0.035),
        limb([(0.23, 0.38), (0.13, 0.46)], 0.03),
        limb([(0.37, 0.38), (0.46, 0.45)], 0.03),
    ]
    spots = [ellipse(x, y, 0.028, n=8) for x, y in ((-0.2, 0.05), (-0.1, 0.0), (0, 0.04), (0.09, -0.02), (-0.2, -0.06))]
    drawn = _quadruped(head=0.22, leg=0.05) + inked(FIGURE, head, limb([(-0.32, 0.04), (-0.4, 0.1)], 0.06))
    return drawn + inked(ACCENT, *antlers, *spots)


def _men() -> Drawing:
    legs = [
        limb([(-0.05, -0.1), (-0.12, -0.3), (-0.13, -0.48)], (0.13, 0.08)),
        limb([(0.05, -0.1), (0.1, -0.3), (0.14, -0.48)], (0.13, 0.08)),
    ]
    feet = [limb([(-0.13, -0.47), (-0.05, -0.48)], 0.05), limb([(0.14, -0.47), (0.22, -0.48)], 0.05)]
    torso = smooth([(-0.15, 0.22), (0.15, 0.22), (0.1, 0), (0.11, -0.14), (-0.11, -0.14), (-0.1, 0)])
    arms = [
        limb([(0.12, 0.18), (0.24, 0.08), (0.32, 0.2)], (0.09, 0.06)),
        limb([(-0.12, 0.18), (-0.23, 0.03), (-0.16, -0.1)], (0.09, 0.06)),
    ]
    spear = limb([(0.33, -0.48), (0.33, 0.42)], 0.028)
    drawn = inked(ACCENT, spear, lens((0.33, 0.36), (0.33, 0.54), 0.1)) + inked(FIGURE, *legs, *feet, torso, *arms)
    drawn += inked(FIGURE, ellipse(0, 0.35, 0.1, 0.115), limb([(0, 0.18), (0, 0.3)], 0.08))
    kilt = np.array([[-0.12, 0.0], [0.12, 0.0], [0.18, -0.22], [-0.18, -0.22]])
    hat = np.array([[-0.12, 0.4], [-0.07, 0.5], [0.07, 0.5], [0.12, 0.4]])
    return drawn + inked(ACCENT, kilt, hat)


def _women() -> Drawing:
    skirt = smooth([(-0.08, 0.04), (0.08, 0.04), (0.17, -0.2), (0.28, -0.49), (0, -0.5), (-0.28, -0.49), (-0.17, -0.2)])
    arms = [
        limb([(0.1, 0.18), (0.2, 0.06), (0.09, -0.02)], (0.08, 0.055)),
        limb([(-0.1, 0.18), (-0.26, 0.22), (-0.3, 0.38)], (0.08, 0.05)),
    ]
    torso = smooth([(-0.13, 0.21), (0.13, 0.21), (0.07, 0.02), (-0.07, 0.02)])
    hair = smooth(
        [(-0.14, 0.3), (-0.13, 0.46), (0, 0.52), (0.13, 0.46), (0.14, 0.3), (0.2, 0.14), (0, 0.26), (-0.2, 0.14)]
    )
    drawn = inked(ACCENT, hair, skirt) + inked(FIGURE, torso, *arms, ellipse(0, 0.35, 0.09, 0.11))
    folds = [limb([(0.03 * i, -0.05), (0.08 * i, -0.46)], 0.022) for i in (-2, 0, 2)]
    return drawn + inked(FIGURE, *folds, box(-0.09, 0.0, 0.09, 0.05), limb([(-0.25, -0.46), (0.25, -0.46)], 0.04))


def _dragons() -> Drawing:
    t = np.linspace(0, 1, 26)
    spine = np.stack([-0.46 + 0.84 * t, 0.2 * np.sin(7.2 * t + 2.6) * (1.1 - 0.3 * t) - 0.02 + 0.12 * t], 1)
    drawn = inked(FIGURE, limb(spine, (0.02, 0.1, 0.15, 0.15, 0.12)))
    way = np.gradient(spine, axis=0)
    up = np.stack([-way[:, 1], way[:, 0]], 1) / np.hypot(way[:, 0], way[:, 1])[:, None]
    for i in range(4, 24, 2):
        tip = spine[i] + 0.15 * up[i] - 0.03 * way[i]
        drawn += inked(ACCENT, np.array([spine[i - 1] + 0.05 * up[i], tip, spine[i + 1] + 0.05 * up[i]]))
    for i, side in ((8, -1), (16, -1)):
        x, y = spine[i]
        drawn += inked(FIGURE, limb([(x, y), (x + 0.05, y + side * 0.14), (x - 0.02, y + side * 0.24)], (0.07, 0.04)))
        drawn += inked(ACCENT, star(x - 0.02, y + side * 0.26, 0.07, points=4, inner=0.3))
    x, y = spine[-1]
    head = smooth(
        [
            (x - 0.1, y + 0.1),
            (x + 0.04, y + 0.13),
            (x + 0.15, y + 0.04),
            (x + 0.06, y),
            (x + 0.13, y - 0.08),
            (x - 0.06, y - 0.1),
        ]
    )
    horns = [
        limb([(x - 0.04, y + 0.1), (x - 0.16, y + 0.26)], (0.05, 0.02)),
        limb([(x + 0.03, y + 0.1), (x - 0.02, y + 0.28)], (0.05, 0.02)),
    ]
    flame = limb(
        smooth([(x + 0.1, y - 0.02), (x + 0.14, y - 0.16), (x + 0.08, y - 0.28)], closed=False), (0.03, 0.06, 0.01)
    )
    return (
        drawn + inked(FIGURE, head, *horns) + inked(ACCENT, flame) + inked(GROUND, ellipse(x + 0.01, y + 0.06, 0.028))
    )


def _snakes() -> Drawing:
    t = np.linspace(0, 1, 40)
    coil = np.stack([0.34 * np.sin(4 * np.pi * t + 0.3), -0.46 + 0.78 * t], 1)
    drawn = inked(FIGURE, limb(coil, (0.02, 0.12, 0.12, 0.11, 0.09)))
    bands = [ellipse(x, y, 0.035, n=8) for x, y in coil[5:37:4]]
    x, y = coil[-1]
    head = smooth([(x - 0.09, y - 0.02), (x - 0.06, y + 0.1), (x, y + 0.16), (x + 0.06, y + 0.1), (x + 0.09, y - 0.02)])
    tongue = [limb([(x, y + 0.14), (x - 0.04, y + 0.25)], 0.02), limb([(x, y + 0.14), (x + 0.04, y + 0.25)], 0.02)]
    eyes = inked(GROUND, ellipse(x - 0.035, y + 0.06, 0.018, n=8), ellipse(x + 0.035, y + 0.06, 0.018, n=8))
    return drawn + inked(ACCENT, *bands, *tongue) + inked(FIGURE, head) + eyes


def _boats() -> Drawing:
    hull = smooth(
        [
            (-0.48, -0.1),
            (-0.3, -0.17),
            (0.3, -0.17),
            (0.5, -0.04),
            (0.38, -0.3),
            (0.2, -0.37),
            (-0.25, -0.37),
            (-0.4, -0.28),
        ]
    )
    sail = smooth([(-0.01, 0.44), (0.3, 0.34), (0.38, 0.1), (0.3, -0.08), (-0.01, -0.04)])
    jib = np.array([[-0.06, 0.4], [-0.06, -0.06], [-0.36, -0.04]])
    mast = limb([(-0.03, -0.18), (-0.03, 0.5)], 0.04)
    oars = [limb([(x, -0.22), (x - 0.08, -0.46)], 0.025) for x in (-0.2, 0.0, 0.2)]
    t = np.linspace(-0.5, 0.5, 21)
    wave = limb(np.stack([t, -0.44 + 0.025 * np.sin(t * 25)], 1), 0.035)
    stripes = [limb([(0.02, y), (0.33 - abs(y - 0.15) * 0.2, y - 0.02)], 0.03) for y in (0.08, 0.23)]
    return inked(FIGURE, hull, mast, *oars) + inked(ACCENT, sail, jib) + inked(FIGURE, *stripes, wave)


def _stars() -> Drawing:
    small = [
        star(x, y, 0.13, points=5, inner=0.42) for x, y in ((-0.37, 0.36), (0.37, 0.36), (-0.37, -0.36), (0.37, -0.36))
    ]
    return (
        inked(ACCENT, *small)
        + inked(FIGURE, star(0, 0, 0.44, points=8, inner=0.42))
        + inked(GROUND, star(0, 0, 0.16, points=8, inner=0.5))
    )


def _suns() -> Drawing:
    rays = []
    for i in range(12):
        a = i * np.pi / 6
        ray = lens((0.22 * np.cos(a), 0.22 * np.sin(a)), (0.5 * np.cos(a), 0.5 * np.sin(a)), 0.1 if i % 2 else 0.06)
        rays.append(ray)
    face = [
        limb([(-0.1, -0.08), (0, -0.13), (0.1, -0.08)], 0.035),
        ellipse(-0.09, 0.06, 0.035),
        ellipse(0.09, 0.06, 0.035),
    ]
    return (
        inked(ACCENT, *rays)
        + inked(FIGURE, ellipse(0, 0, 0.26, n=28))
        + inked(GROUND, *face, limb([(0, 0.05), (0, -0.03)], 0.03))
    )


def _butterflies() -> Drawing:
    drawn: Drawing = ()
    for side in (-1, 1):
        upper = smooth([(0, 0.06), (side * 0.16, 0.36), (side * 0.46, 0.42), (side * 0.44, 0.12), (side * 0.1, -0.02)])
        lower = smooth([(0, 0.0), (side * 0.3, -0.02), (side * 0.38, -0.24), (side * 0.22, -0.42), (side * 0.06, -0.2)])
        drawn += inked(FIGURE, upper, lower)
        drawn += inked(ACCENT, ellipse(side * 0.3, 0.26, 0.09), ellipse(side * 0.23, -0.2, 0.075))
        drawn += inked(GROUND, ellipse(side * 0.3, 0.26, 0.035))
        drawn += inked(FIGURE, limb(smooth([(0, 0.2), (side * 0.05, 0.4), (side * 0.13, 0.5)], closed=False), 0.022))
    return drawn + inked(ACCENT, limb([(0, 0.24), (0, -0.32)], (0.06, 0.08, 0.03)))


def _crosses() -> Drawing:
    arm = np.array([[-0.06, 0.04], [-0.17, 0.48], [0.17, 0.48], [0.06, 0.04]])
    arms = [arm @ turn for turn in ([[1, 0], [0, 1]], [[0, 1], [-1, 0]], [[-1, 0], [0, -1]], [[0, -1], [1, 0]])]
    gems = [ellipse(x, y, 0.05, n=12) for x, y in ((0, 0.36), (0.36, 0), (0, -0.36), (-0.36, 0))]
    corners = [ellipse(x, y, 0.05, n=12) for x in (-0.27, 0.27) for y in (-0.27, 0.27)]
    return inked(FIGURE, *arms, ellipse(0, 0, 0.12)) + inked(ACCENT, *gems, ellipse(0, 0, 0.07), *corners)


def _inscriptions() -> Drawing:
    glyphs = (
        ((0, 1), (0, 0), (1, 0)), ((0, 0), (0, 1), (1, 1), (1, 0)), ((0, 0.5), (1, 0.5), (1, 1)), ((0.5, 0), (0.5, 1)),
        ((0, 1), (1, 1), (1, 0.5), (0, 0.5), (0, 0)), ((0, 0), (1, 0), (1, 1)), ((0, 1), (0, 0.5), (1, 0.5), (1, 0)),
    )  # fmt: skip
    drawn: Drawing = ()
    for row in range(4):
        for column in range(5):
            x, y = -0.46 + 0.195 * column, 0.29 - 0.245 * row
            glyph = glyphs[(row * 5 + column * 3 + row * column) % len(glyphs)]
            drawn += inked(FIGURE, *bars([(x + 0.12 * a, y + 0.15 * b) for a, b in glyph], 0.035))
        drawn += inked(ACCENT, box(-0.5, 0.225 - 0.245 * row, 0.5, 0.243 - 0.245 * row))
    return drawn


def _geometric() -> Drawing:
    def diamond(r: float) -> np.ndarray:
        return np.array([[0, r], [r, 0], [0, -r], [-r, 0]])

    corners = [np.array([[x, y], [x * 0.45, y], [x, y * 0.45]]) for x in (-0.5, 0.5) for y in (-0.5, 0.5)]
    drawn = (
        inked(ACCENT, *corners)
        + inked(FIGURE, diamond(0.5))
        + inked(GROUND, diamond(0.38))
        + inked(ACCENT, diamond(0.3))
    )
    checks = [box(x - 0.06, y - 0.06, x + 0.06, y + 0.06) for x, y in ((0, 0.12), (0.12, 0), (0, -0.12), (-0.12, 0))]
    return drawn + inked(FIGURE, diamond(0.2)) + inked(GROUND, diamond(0.11)) + inked(GROUND, *checks)


def _portraits() -> Drawing:
    bust = smooth(
        [
            (-0.38, -0.5),
            (-0.32, -0.3),
            (-0.1, -0.2),
            (-0.08, -0.02),
            (0.1, -0.08),
            (0.14, -0.24),
            (0.34, -0.34),
            (0.4, -0.5),
        ]
    )
    face = smooth([
        (-0.14, 0.4), (0.08, 0.43), (0.19, 0.32), (0.2, 0.24), (0.3, 0.12),
            (0.21, 0.09), (0.22, 0.02), (0.19, -0.08), (0.06, -0.12), (-0.12, -0.05), (-0.2, 0.15),
    ])  # fmt: skip
    hair = smooth(
        [
            (-0.02, 0.5),
            (0.16, 0.44),
            (0.16, 0.34),
            (0, 0.3),
            (-0.03, 0.14),
            (-0.14, 0.0),
            (-0.3, 0.02),
            (-0.3, 0.3),
            (-0.2, 0.45),
        ]
    )
    collar = limb([(-0.3, -0.3), (-0.02, -0.28), (0.3, -0.36)], 0.06)
    drawn = inked(FIGURE, bust, face) + inked(ACCENT, hair, collar)
    return drawn + inked(GROUND, ellipse(0.13, 0.2, 0.03, 0.02), limb([(0.13, 0.01), (0.21, 0.025)], 0.02))


_DRAWN: dict[str, Callable[[], Drawing]] = {
    "flowers": _flowers, "men": _men, "geometric patterns": _geometric, "birds": _birds, "leaves": _leaves,
    "women": _women, "horses": _horses, "inscriptions": _inscriptions, "trees": _trees, "lions": _lions,
    "fish": _fish, "stars": _stars, "dragons": _dragons, "boats": _boats, "portraits": _portraits,
    "butterflies": _butterflies, "suns": _suns, "snakes": _snakes, "crosses": _crosses, "deer": _deer,
}  # fmt: skip

MOTIFS = tuple(_DRAWN)
"""Names of the motifs, the most frequent first."""
BODIES = ("men", "birds", "women", "horses", "lions", "fish", "dragons", "snakes", "deer")
"""The motifs of which a statuette can be made."""


@lru_cache(maxsize=len(MOTIFS))
def motif(name: str) -> Stencil:
    """The drawing of a motif of ``MOTIFS``; kept, as every photo asks again."""
    return Stencil.of(_DRAWN[name]())

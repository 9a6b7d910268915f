"""Shoes from the side: heel, sole, upper, closure. Places are in lengths of the shoe, y up from the floor."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

from fieldmark.specimens.cloth import BLACK, STEEL, Finish, Sewing, finished
from fieldmark.specimens.cultures import Colour
from fieldmark.specimens.shapes import Outline, Points, ellipse, limb, smooth
from fieldmark.specimens.surface import Surface, mixed

HEELS = {"flat": (0.05, 0.08), "block": (0.2, 0.3), "stiletto": (0.34, 0.45), "wedge": (0.24, 0.36)}
"""How high heels are, from least to most."""
TOES: dict[str, Points] = {
    "round": ((0.975, 0.075), (0.955, 0.13), (0.88, 0.175)),
    "pointed": ((1.0, 0.05), (0.92, 0.1), (0.82, 0.145)),
    "open": ((0.87, 0.045), (0.855, 0.12), (0.8, 0.185)),
}
"""The outline of the tip, from the sole up and back."""
LEATHER = Finish(texture="cloudy", rough=0.012, folds=0.0, gloss=1.1, round=0.05)
SUEDE = Finish(texture="rough", rough=0.05, folds=0.0, round=0.05)
SOLES: tuple[Colour, ...] = ((0.2, 0.15, 0.12), (0.86, 0.83, 0.78), (0.55, 0.38, 0.22))

Place = Callable[[Outline], Outline]


def shoe(sewing: Sewing) -> Image.Image:
    """One shoe, its toe to the right: low for women, laced for men, or a boot."""
    chance = sewing.chance
    main, second = sewing.dyes()
    heel, toe = sewing.answers["heel type"][0], sewing.answers["toe shape"][0]
    men, two = sewing.is_("gender", "men"), len(sewing.answers["colour"]) > 1
    rise = float(chance.uniform(*HEELS[heel])) * (0.55 if men and heel != "flat" else 1.0)
    boot = float(chance.uniform(0.5, 0.7)) if not men and toe != "open" and chance.random() < 0.3 else 0.0
    neck = boot or (0.35 if men else 0.26)
    tall = rise + neck + 0.05
    piece = sewing.surface(1.08 / tall, main)

    def on(points: Outline) -> Outline:
        return (np.asarray(points, dtype=float) * [1, -1] + np.array([0.035, tall - 0.015])) / tall

    tip = 0.97 if toe != "pointed" else 1.0
    bed = smooth(
        [(0.0, rise + 0.02), (0.2, rise), (0.42, 0.5 * rise + 0.03), (0.68, 0.05), (0.85, 0.04), (tip, 0.05)],
        closed=False,
    )
    sole = second if two and heel != "flat" else SOLES[int(chance.choice(3, p=(0.5, 0.2, 0.3)))]
    soles = _soles(heel, rise, bed)
    for part in soles:
        piece.add(on(part), sole)
    dark = mixed(main, BLACK, 0.6)
    for part in _lining(rise, neck, low=not boot and not men):
        piece.add(on(part), dark)
    uppers = _uppers(bed, toe, rise, neck, form="boot" if boot else "laced" if men else "low")
    for part in uppers:
        piece.add(on(part), main)
    if two:
        counter = uppers[-1][uppers[-1][:, 0] < 0.22]
        piece.paint(on(counter), second)
        cap = uppers[0][uppers[0][:, 0] > 0.8]
        piece.paint(on(cap), second)
    _details(piece, on, sewing, dark, rise=rise, neck=neck, boot=bool(boot), men=men)
    steps = [(on(part), 0.35) for part in soles] + [(on(part), 1.0) for part in uppers]
    return finished(piece, sewing, LEATHER if chance.random() < 0.65 else SUEDE, steps=steps)


def _soles(heel: str, rise: float, bed: Outline) -> list[Outline]:
    """The sole, and the heel below it."""
    above = bed + np.array([0, 0.012])
    thin = np.concatenate([above, (bed - np.array([0, 0.035]))[::-1]])
    thin[:, 1] = np.maximum(thin[:, 1], 0)
    if heel == "flat":
        return [np.concatenate([above, [[bed[-1, 0] - 0.015, 0.0], [0.01, 0.0]]])]
    if heel == "wedge":
        front = bed[bed[:, 0] < 0.76]
        return [np.concatenate([front, [[0.76, 0.0], [0.02, 0.0], [-0.005, 0.5 * rise]]]), thin]
    if heel == "block":
        return [np.array([[-0.005, rise], [0.29, 0.86 * rise], [0.26, 0.0], [0.02, 0.0]]), thin]
    curve = [(0.2, 0.97 * rise), (0.1, 0.72 * rise), (0.075, 0.3 * rise), (0.07, 0.0)]
    back = [(0.035, 0.0), (0.02, 0.4 * rise), (-0.01, rise)]
    return [np.concatenate([smooth(curve, closed=False), np.array(back)]), thin]


def _lining(rise: float, neck: float, *, low: bool) -> list[Outline]:
    """What is seen of the inside over the edge of the near side."""
    if low:
        far = [(0.02, rise + neck), (0.2, rise + 0.19), (0.45, 0.55 * rise + 0.2), (0.7, 0.2)]
        near = [(0.7, 0.1), (0.45, 0.55 * rise + 0.1), (0.05, rise + 0.1)]
        return [np.concatenate([smooth(far, closed=False), np.array(near)])]
    return [ellipse(0.205, rise + neck - 0.012, 0.19, 0.03, turn_rad=-0.06, n=24)]


def _uppers(bed: Outline, toe: str, rise: float, neck: float, *, form: str) -> list[Outline]:
    """The upper, from the toe back; of open shoes a band in front and a counter behind."""
    top, back = rise + neck, [(-0.005, rise + 0.16), (-0.012, rise + 0.06)]
    tops = {
        "low": [(0.7, 0.205), (0.64, 0.185), (0.45, 0.55 * rise + 0.125), (0.22, rise + 0.125), (0.02, top)],
        "laced": [(0.68, 0.23), (0.52, 0.3 + 0.4 * rise), (0.4, top), (0.2, top - 0.05), (0.01, top)],
        "boot": [(0.7, 0.22), (0.52, 0.3 + 0.45 * rise), (0.415, rise + 0.32), (0.4, top), (0.0, top)],
    }  # fmt: skip
    if toe != "open":
        return [np.concatenate([bed, smooth([*TOES[toe], *tops[form], *back], closed=False)])]
    under = bed[(bed[:, 0] > 0.56) & (bed[:, 0] < 0.875)]
    band = np.concatenate([under, smooth([*TOES["open"], (0.7, 0.235), (0.6, 0.235), (0.55, 0.16)], closed=False)])
    heel = bed[bed[:, 0] < 0.3]
    counter = smooth([(0.3, rise + 0.01), (0.22, rise + 0.13), (0.09, rise + 0.2), (0.03, top), *back], closed=False)
    return [band, np.concatenate([heel, counter])]


def _details(
    piece: Surface, on: Place, sewing: Sewing, dark: Colour, *, rise: float, neck: float, boot: bool, men: bool
) -> None:
    """Laces, a zip, or a strap with its buckle."""
    chance = sewing.chance
    if men:
        start, end = np.array([0.66, 0.22]), np.array([0.42, rise + neck - 0.04])
        piece.paint(on(limb(np.stack([start, end]), 0.045)), dark)
        for share in np.linspace(0.12, 0.92, 5):
            at = start + share * (end - start)
            lace = at + np.array([[-0.045, -0.04], [0.02, 0.03]])
            piece.paint(on(limb(lace, 0.018)), (0.9, 0.88, 0.84))
        piece.paint(
            on(limb(smooth([(0.3, rise + 0.02), (0.4, 0.2 + 0.6 * rise), (0.62, 0.2)], closed=False), 0.012)), dark
        )
    elif boot:
        x = 0.12 if chance.random() < 0.5 else 0.3
        piece.paint(on(limb(np.array([[x, rise + 0.1], [x, rise + neck - 0.02]]), 0.018)), dark)
        piece.paint(on(limb(np.array([[x, rise + 0.1], [x, rise + neck - 0.02]]), 0.007)), STEEL)
    elif sewing.is_("toe shape", "open"):
        high = rise + neck - 0.035
        angle = np.linspace(0, 2 * np.pi, 24)
        ring = np.stack([0.17 + 0.165 * np.cos(angle), high + 0.035 * np.sin(angle)], 1)
        piece.add(on(limb(ring, 0.026)), mixed(dark, (1, 1, 1), 0.12))
        piece.add(on(ellipse(0.24, high - 0.034, 0.024)), STEEL)
    elif chance.random() < 0.35:
        low = 0.55 * rise + 0.1
        strap = smooth([(0.46, low), (0.465, low + 0.07), (0.5, low + 0.1)], closed=False)
        piece.add(on(limb(strap, 0.036)), mixed(dark, (1, 1, 1), 0.12))
        piece.add(on(ellipse(0.46, low + 0.02, 0.022)), STEEL)
    else:
        for turn in (-0.5, 0.5):
            bow = ellipse(0.71 + 0.025 * np.sign(turn), 0.205, 0.035, 0.018, turn_rad=turn)
            piece.add(on(bow), dark)

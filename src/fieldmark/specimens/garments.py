"""Draw garments of three categories, with questions about each. Every answer is visible in the picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from fieldmark.core import seeds
from fieldmark.specimens.canvas import Picture
from fieldmark.specimens.painting import (
    BLACK,
    Colour,
    Outline,
    Part,
    box,
    ellipse,
    limb,
    mixed_colours,
    photo,
    smooth,
    whole,
)

COLOURS: dict[str, Colour] = {
    "black": (0.11, 0.11, 0.12), "blue": (0.15, 0.29, 0.62), "white": (0.93, 0.92, 0.90), "red": (0.74, 0.10, 0.14),
    "beige": (0.81, 0.71, 0.56), "grey": (0.53, 0.54, 0.56), "brown": (0.40, 0.24, 0.14), "pink": (0.93, 0.57, 0.68),
}  # fmt: skip
QUESTIONS: dict[str, dict[str, tuple[str, ...]]] = {
    "dress": {
        "colour": tuple(COLOURS), "pattern": ("plain", "dotted", "striped", "checked"),
        "length": ("knee", "maxi", "mini"), "sleeve length": ("short", "sleeveless", "long"),
    },
    "shoe": {
        "colour": tuple(COLOURS), "gender": ("women", "men"),
        "heel type": ("flat", "block", "stiletto", "wedge"), "toe shape": ("round", "pointed", "open"),
    },
    "pants": {
        "colour": tuple(COLOURS), "pattern": ("plain", "striped", "checked"),
        "fit": ("straight", "skinny", "wide", "flared"), "length": ("long", "short", "cropped"),
    },
}  # fmt: skip
"""Questions of each category with their answers; categories and answers are in order of frequency."""
FINISHES = {
    "dress": {"folds": 0.07}, "shoe": {"rough": 0.015, "gloss": 0.9, "bend": 0.06}, "pants": {"folds": 0.03},
}  # fmt: skip
"""Arguments of ``photo`` for each category."""
STEEL: Colour = (0.74, 0.75, 0.77)
Dyes = tuple[Colour, Colour]
"""Main colour of a garment, and its second colour or a shade of the main colour."""
Answers = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Garment:
    """One garment: its category, the true answers to its questions, and a ``key`` that seeds its details."""

    category: str
    answers: Answers
    key: int


def draw_garment(garment: Garment, shot: int, *, size_px: int = 320) -> Picture:
    """Draw one photo of one garment: red, green and blue, 0 to 255; ``shot`` seeds light, position and background.

    Source:
        Ours, modelled on the product photos of the iMaterialist challenge of 2017.
    """
    chance, answers = seeds.generator(garment.key, "build"), garment.answers
    dyes = [mixed_colours(COLOURS[name], BLACK, float(chance.uniform(0, 0.1))) for name in answers["colour"]]
    dyes.append(mixed_colours(dyes[0], (1, 1, 1) if sum(dyes[0]) < 1.1 else BLACK, 0.3))
    parts = MAKERS[garment.category](answers, (dyes[0], dyes[1]), chance)
    camera = seeds.generator(shot, "camera")
    return photo(parts, camera, shorter_px=size_px, longest=1.0, **FINISHES[garment.category])


def _mirrored(outline: Outline) -> tuple[Outline, Outline]:
    return outline, outline * [-1, 1]


def _print(answers: Answers, dyes: Dyes, *, level: bool, panel: list[Outline]) -> Iterator[Part]:
    """Yield the pattern of a garment: ``level`` stripes are horizontal; plain ones of two colours have a panel."""
    (pattern,), step = answers["pattern"], 0.07
    if pattern == "plain" and len(answers["colour"]) > 1:
        yield from ((outline, dyes[1], None) for outline in panel)
    for at in np.arange(-1, 1, step):
        if pattern == "checked" or (pattern == "striped" and level):
            yield box(-2, at, 2, at + 0.4 * step), dyes[1], None
        if pattern == "checked" or (pattern == "striped" and not level):
            yield box(at, 0, at + 0.4 * step, 1), dyes[1], None
        for row, y in enumerate(np.arange(step / 2, 1, step) if pattern == "dotted" else ()):
            yield ellipse(at + row % 2 * step / 2, y, 0.3 * step, n=12), dyes[1], None


def _dress(answers: Answers, dyes: Dyes, chance: Generator) -> Iterator[Part]:
    """Yield bodice, skirt and sleeves; ``torso`` is the height of the waist."""
    main, torso = dyes[0], {"mini": 0.5, "knee": 0.37, "maxi": 0.26}[answers["length"][0]]
    hem = 0.45 * torso + float(chance.uniform(0.15, 0.4)) * (1 - torso)
    reach = {"sleeveless": 0.0, "short": 0.7, "long": 1.7}[answers["sleeve length"][0]] * torso
    for arm in _mirrored(limb([(0.3 * torso, 0.15 * torso), (0.38 * torso + 0.35 * reach, reach)], 0.26 * torso)):
        if reach:
            yield arm, main, 0.5
    side = [(0.2 * torso, 0), (0.4 * torso, 0.1 * torso), (0.36 * torso, 0.5 * torso), (0.3 * torso, torso)]
    yield whole(smooth([*side, (0.6 * hem + 0.1 * torso, 0.5 + 0.5 * torso), (hem, 1)])), main, 0.8
    yield from _print(answers, dyes, level=True, panel=[box(-2, torso, 2, 1)])
    yield box(-0.32 * torso, 0.96 * torso, 0.32 * torso, 1.05 * torso), mixed_colours(dyes[1], BLACK, 0.4), None
    yield ellipse(0, 0, 0.2 * torso, float(chance.uniform(0.15, 0.32)) * torso), mixed_colours(main, BLACK, 0.6), None


def _pants(answers: Answers, dyes: Dyes, chance: Generator) -> Iterator[Part]:
    """Yield both trouser tubes, waistband, fly and pockets; ``upper`` is the height of the crotch."""
    dark, upper = (
        mixed_colours(dyes[0], BLACK, 0.5),
        {"short": 0.55, "cropped": 0.36, "long": 0.29}[answers["length"][0]],
    )
    widths = {"skinny": (0.27, 0.19), "straight": (0.37, 0.34), "wide": (0.5, 0.6), "flared": (0.3, 0.6)}
    knee, foot = widths[answers["fit"][0]]
    spread, y = float(chance.uniform(0.3, 0.38)), np.array([0, 0.45, 0.95, 2.05, 3.4]) * upper
    middle, half = np.array([0.21, 0.25, 0.28, spread, 1.15 * spread]), np.array([0.21, 0.25, 0.26, knee / 2, foot / 2])
    down = np.linspace(0, 1, 40)
    outer, inner = (np.stack([np.interp(down, y, (middle + s * half) * upper), down], 1) for s in (1, -1))
    yield from ((tube, dyes[0], 0.8) for tube in _mirrored(np.concatenate([outer, inner[::-1]])))
    yield from _print(answers, dyes, level=False, panel=list(_mirrored(limb(outer, 0.26 * upper))))
    yield box(-1, 0.11 * upper, 1, 0.14 * upper), dark, None
    yield box(-0.012 * upper, 0.12 * upper, 0.012 * upper, 0.95 * upper), dark, None
    yield ellipse(0.03 * upper, 0.06 * upper, 0.03 * upper), STEEL, None
    for pocket in _mirrored(limb([(0.2 * upper, 0.14 * upper), (0.5 * upper, 0.45 * upper)], 0.02 * upper)):
        yield pocket, dark, None


def _shoe(answers: Answers, dyes: Dyes, chance: Generator) -> Iterator[Part]:
    """Yield heel, sole and upper of a shoe with its toe to the right. The unit is the shoe length; y points up."""
    heel, toe, men = answers["heel type"][0], answers["toe shape"][0], "men" in answers["gender"]
    rise = {"flat": 0.05, "block": 0.22, "stiletto": 0.38, "wedge": 0.28}[heel] * float(chance.uniform(0.9, 1.1))
    neck, tip = rise + (0.36 if men else 0.25), {"round": 0.97, "pointed": 1.08, "open": 0.9}[toe]

    def placed(points: Outline) -> Outline:
        return (points * [1, -1] + [-0.54, neck + 0.02]) / (neck + 0.03)

    two = len(answers["colour"]) > 1
    sole = dyes[1] if two else (0.24, 0.17, 0.13)
    bed = smooth([(0, rise), (0.2, rise), (0.42, 0.5 * rise + 0.03), (0.7, 0.05), (tip, 0.05)])
    under = {
        "flat": [(0.98, 0), (0, 0)], "block": [(0.28, 0.8 * rise), (0.26, 0), (0.02, 0)],
        "stiletto": [(0.2, 0.9 * rise), (0.08, 0.5 * rise), (0.07, 0), (0.03, 0)], "wedge": [(0.76, 0), (0.02, 0)],
    }[heel]  # fmt: skip
    front = {"round": [(0.98, 0.09), (0.9, 0.15)], "pointed": [(1.06, 0.065), (0.86, 0.15)],
             "open": [(0.86, 0.06), (0.8, 0.17)]}[toe]  # fmt: skip
    back = [(0.46, 0.36 + 0.4 * rise), (0.4, neck)] if men else [(0.5, 0.5 * rise + 0.1), (0.2, rise + 0.11)]
    top = smooth([*front, (0.68, 0.23 if men else 0.17), *back, (0.02, neck), (-0.01, rise)])
    yield placed(np.concatenate([bed, top])), dyes[0], 0.8
    yield placed(np.concatenate([bed[bed[:, 0] <= max(0.3, under[0][0])], under])), sole, 0.4
    yield placed(limb(bed, 0.04)), sole, 0.4
    for x in (0.46, 0.53, 0.6) if men else ():
        yield placed(limb([(x - 0.03, 0.2), (x + 0.02, 0.3 + rise * (0.7 - x))], 0.025)), (0.9, 0.88, 0.84), None
    if toe == "open":
        yield placed(ellipse(0.9, 0.09, 0.07, 0.035)), (0.85, 0.66, 0.55), 0.5
    if two:
        yield placed(box(-0.1, rise + 0.02, 0.18, 1)), dyes[1], None


MAKERS: dict[str, Callable[[Answers, Dyes, Generator], Iterator[Part]]] = {
    "dress": _dress, "shoe": _shoe, "pants": _pants,
}  # fmt: skip

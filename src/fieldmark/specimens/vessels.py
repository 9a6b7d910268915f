"""Vases, bowls, cups, bottles and ewers: bodies turned on a wheel, with painted walls, handles and spouts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32
from PIL import Image

from fieldmark.specimens.canvas import look_up
from fieldmark.specimens.cultures import Colour
from fieldmark.specimens.orders import Order, lit
from fieldmark.specimens.shapes import Outline, limb, smooth
from fieldmark.specimens.surface import Surface, fill_area, grainy, mixed, relief, run

Spans = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Form:
    """The form of a vessel, from its rim (0) to its foot (1).

    Attributes:
        profile: Places and radii there; radius 1 is the widest.
        friezes: Where friezes run around it: from, to.
        field: Where the motifs are: from, to.
    """

    profile: Spans
    friezes: Spans
    field: tuple[float, float]


VASES = (
    Form(
        ((0, 0.62), (0.06, 0.5), (0.2, 0.4), (0.36, 0.82), (0.52, 1.0), (0.75, 0.72), (0.93, 0.36), (1, 0.46)),
        ((0.27, 0.36), (0.82, 0.89)),
        (0.375, 0.81),
    ),
    Form(
        ((0, 0.4), (0.05, 0.32), (0.12, 0.36), (0.24, 0.92), (0.36, 1.0), (0.6, 0.8), (0.85, 0.52), (1, 0.55)),
        ((0.14, 0.23), (0.84, 0.93)),
        (0.245, 0.8),
    ),
    Form(
        ((0, 0.78), (0.07, 0.62), (0.26, 0.5), (0.45, 0.78), (0.66, 1.0), (0.88, 0.78), (0.95, 0.55), (1, 0.62)),
        ((0.27, 0.37), (0.87, 0.94)),
        (0.39, 0.86),
    ),
    Form(
        ((0, 1.0), (0.1, 0.86), (0.35, 0.78), (0.7, 0.78), (0.9, 0.86), (0.96, 0.7), (1, 0.74)),
        ((0.05, 0.14), (0.84, 0.92)),
        (0.16, 0.83),
    ),
)
BOTTLE = Form(
    ((0, 0.26), (0.03, 0.2), (0.2, 0.15), (0.38, 0.2), (0.55, 0.82), (0.72, 1), (0.9, 0.72), (0.96, 0.5), (1, 0.56)),
    ((0.42, 0.52), (0.88, 0.95)),
    (0.53, 0.88),
)
BOWL = Form(
    ((0, 1.0), (0.2, 0.97), (0.5, 0.8), (0.75, 0.52), (0.86, 0.34), (0.93, 0.33), (1, 0.4)),
    ((0.03, 0.14), (0.68, 0.8)),
    (0.15, 0.67),
)
CUP = Form(
    ((0, 1.0), (0.3, 0.95), (0.65, 0.86), (0.84, 0.62), (0.92, 0.46), (1, 0.56)),
    ((0.04, 0.15), (0.74, 0.85)),
    (0.17, 0.73),
)
EWER = Form(
    ((0, 0.46), (0.05, 0.36), (0.22, 0.32), (0.42, 0.78), (0.6, 1.0), (0.82, 0.74), (0.92, 0.42), (1, 0.56)),
    ((0.3, 0.39), (0.84, 0.91)),
    (0.4, 0.83),
)


def vase(order: Order) -> Image.Image:
    """A vase; some have two handles."""
    form = VASES[int(order.chance.integers(len(VASES)))]
    handled = order.chance.random() < 0.45
    radius = order.width / 2 * (0.8 if handled else 1.0)
    middle = order.width / 2
    handles: list[Outline] = []
    if handled:
        neck, belly = form.profile[2][1] * radius, 0.9 * radius
        for side in (-1, 1):
            bow = [(middle + side * neck, 0.12), (middle + side * 1.15 * radius, 0.14), (middle + side * belly, 0.42)]
            handles.append(limb(smooth(bow, closed=False), (0.035, 0.05, 0.035)))
    return _thrown(order, form, radius=radius, tilt=0.16, handles=handles)


def bottle(order: Order) -> Image.Image:
    """A bottle with a long neck."""
    return _thrown(order, BOTTLE, radius=order.width / 2, tilt=0.14)


def bowl(order: Order) -> Image.Image:
    """A wide bowl, seen a little from above."""
    return _thrown(order, BOWL, radius=order.width / 2, tilt=0.16 + 0.06 * order.chance.random())


def cup(order: Order) -> Image.Image:
    """A cup with one handle on the right."""
    radius = order.width * 0.38
    x = radius * 1.9
    bow = [(x - 0.02, 0.3), (x + 0.2 * order.width, 0.26), (x + 0.21 * order.width, 0.62), (x - 0.06, 0.74)]
    handles = [limb(smooth(bow, closed=False), (0.07, 0.1, 0.07))]
    return _thrown(order, CUP, radius=radius, centre=radius, tilt=0.2, handles=handles)


def ewer(order: Order) -> Image.Image:
    """A jug with a curved spout on the left and a large handle on the right."""
    radius, middle = order.width * 0.33, order.width * 0.52
    spout = [(middle - 0.8 * radius, 0.66), (middle - 1.2 * radius, 0.42), (0.04, 0.16)]
    bow = [
        (middle + 0.3 * radius, 0.1),
        (order.width - 0.07, 0.12),
        (order.width - 0.05, 0.4),
        (middle + 0.8 * radius, 0.64),
    ]
    handles = [
        limb(smooth(spout, closed=False), (0.13, 0.07, 0.055)),
        limb(smooth(bow, closed=False), (0.035, 0.055, 0.035)),
    ]
    return _thrown(order, EWER, radius=radius, centre=middle, tilt=0.14, handles=handles)


def _thrown(
    order: Order, form: Form,
    *, radius: float, tilt: float, centre: float | None = None, handles: list[Outline] | None = None,
) -> Image.Image:  # fmt: skip
    """Turn, paint and light one vessel; handles are set behind its body."""
    gloss = float(order.chance.uniform(0.1, 0.5))
    rough = float(order.chance.uniform(0.004, 0.02))
    knots = np.array(form.profile)
    above = tilt * knots[0, 1] * radius
    tall = 1 - above - tilt * knots[-1, 1] * radius
    wall = _painted(order, form, tall=tall, radius=radius)
    body = _turned(
        order,
        knots,
        wall,
        frame=(order.width / 2 if centre is None else centre, above, tall, radius, tilt),
        looks=(gloss, rough),
    )
    if not handles:
        return body
    piece = order.surface(mixed(order.finery.ground, order.finery.figure, 0.25))
    for outline in handles:
        piece.add(outline, mixed(order.finery.ground, order.finery.figure, 0.25))
    colour, cover = piece.finished()
    light = 1 + relief(cover, blur_px=0.016 * order.scale_px, light=order.light, strength=1.1)
    below = lit(colour, cover, light)
    below.alpha_composite(body)
    return below


def _painted(order: Order, form: Form, *, tall: float, radius: float) -> Float32[np.ndarray, "3 rows columns"]:
    """The wall that is seen, unrolled: half a turn wide, from rim to foot."""
    finery = order.finery
    around = np.pi * radius * 0.92
    wall = Surface(around, tall, scale_px=order.scale_px, ground=finery.ground)
    for i, (top, foot) in enumerate(form.friezes):
        run(wall, i, finery, np.array([0, top * tall]), np.array([around, top * tall]), (foot - top) * tall)
        for y in (top, foot):
            wall.paint(_stripe(around, y * tall, 0.012), finery.figure)
    wall.paint(_stripe(around, 0.012, 0.03), finery.figure)
    wall.paint(_stripe(around, tall - 0.01, 0.035), finery.accent)
    share = min(0.32, 0.1 + 0.5 * (form.field[1] - form.field[0]) * tall / around) if len(order.motifs) < 2 else 0.32
    fill_area(
        wall,
        order.motifs,
        ((0.5 - share) * around, form.field[0] * tall, (0.5 + share) * around, form.field[1] * tall),
        finery,
        order.chance,
        most=4,
    )
    if not order.motifs:
        for y in np.linspace(form.field[0], form.field[1], 4)[1:-1]:
            wall.paint(_stripe(around, y * tall, 0.015), finery.accent)
    colour, _ = wall.finished()
    return np.ascontiguousarray(colour.transpose(2, 0, 1), dtype=np.float32)


def _stripe(width: float, y: float, depth: float) -> Outline:
    return np.array([[0, y - depth / 2], [width, y - depth / 2], [width, y + depth / 2], [0, y + depth / 2]])


def _turned(
    order: Order, knots: Outline, wall: Float32[np.ndarray, "3 rows columns"],
    *, frame: tuple[float, float, float, float, float], looks: tuple[float, float],
) -> Image.Image:  # fmt: skip
    """The body in the photo: for each pixel the place of the wall that shows there, its slant and its light.

    Args:
        order: The object.
        knots: Its profile.
        wall: Its painted wall.
        frame: Middle, upper end, height, greatest radius (units), and how far the camera looks down.
        looks: Gloss of the glaze and roughness of the clay.
    """
    centre, above, tall, radius, tilt = frame
    width_px, height_px = max(2, round(order.width * order.scale_px)), max(2, round(order.scale_px))
    x = ((np.arange(width_px, dtype=np.float32) + 0.5) / width_px * order.width - centre)[None]
    row = (np.arange(height_px, dtype=np.float32) + 0.5) / height_px

    fine = np.linspace(0, 1, 200)
    curve = smooth([tuple(knot) for knot in knots], closed=False, n=8)  # type: ignore[misc]
    reach = np.interp(fine, np.maximum.accumulate(curve[:, 0]), curve[:, 1]) * radius
    slope = np.gradient(reach, fine * tall)
    down = (row - above) / tall
    near = np.interp(down, fine, reach)
    place = np.clip(down - tilt * near * 0.6 / tall, 0, 1)
    edge = np.interp(place, fine, reach).astype(np.float32)[:, None]
    lean = np.interp(place, fine, slope).astype(np.float32)[:, None]

    side = np.clip(x / edge, -1, 1)
    front = np.sqrt(1 - side * side)
    height = (row[:, None] - above - tilt * edge * front) / tall
    pixels = order.scale_px
    cover = np.clip((edge - np.abs(x)) * pixels + 0.5, 0, 1)
    cover *= np.clip(height * tall * pixels + 0.5, 0, 1) * np.clip((1 - height) * tall * pixels + 0.5, 0, 1)
    turn = np.mod(0.5 + np.arcsin(side) * np.float32(1 / np.pi) + np.float32(order.spin), 1)
    seen = look_up(wall, turn * (wall.shape[2] - 1), height * (wall.shape[1] - 1))

    steep = 1 / np.sqrt(1 + lean * lean)
    lx, ly = order.light
    lambert = np.maximum(0, (side * lx - 0.7 * lean * ly + 1.1 * front) * steep)
    shade = 0.42 + 0.5 * lambert + looks[1] * grainy((width_px, height_px), "ridged", scale=1.5, place=(7, 3))
    glint = np.exp(-(((side - 0.5 * lx) / 0.1) ** 2)) * np.exp(-((np.clip(lean, -2, 2) + 0.4 * ly) ** 2) * 4) * looks[0]
    seen *= shade
    seen += 255 * glint
    _open(
        seen,
        cover,
        x,
        row[:, None],
        ellipse=(above, knots[0, 1] * radius, tilt, order.scale_px),
        colour=order.finery.ground,
        light=lx,
    )
    np.clip(seen, 0, 255, out=seen)
    planes = [*seen.astype(np.uint8), (cover * 255).astype(np.uint8)]
    return Image.fromarray(np.stack(planes, axis=-1))


def _open(
    seen: Float32[np.ndarray, "3 height width"], cover: Float32[np.ndarray, "height width"],
    x: Float32[np.ndarray, "1 width"], y: Float32[np.ndarray, "height 1"],
    *, ellipse: tuple[float, float, float, float], colour: Colour, light: float,
) -> None:  # fmt: skip
    """Paint the opening into the upper end of a body: a bright lip around the dark inside."""
    middle, reach, tilt, pixels = ellipse
    last = min(len(y), int((middle + tilt * reach) * pixels) + 2)
    far = np.hypot(x / reach, (y[:last] - middle) / max(tilt * reach, 1e-3))
    lip = np.clip((1 - far) * reach * pixels * 0.7 + 0.5, 0, 1)
    inside = np.clip((0.9 - far) * reach * pixels * 0.5 + 0.5, 0, 1)
    depth = 0.28 + 0.3 * np.clip((y[:last] - middle) / max(tilt * reach, 1e-3), -1, 1) - 0.22 * light * x / reach
    for plane, own in zip(seen, colour, strict=True):
        part = plane[:last]
        part += lip * (255 * min(1.0, own * 1.08) - part)
        part += inside * (255 * own * np.clip(depth + 0.2, 0.12, 1) - part)
    cover[:last] = np.maximum(cover[:last], lip)

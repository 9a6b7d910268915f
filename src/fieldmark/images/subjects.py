"""Location of the subject in a photo: boxes, landmarks and mask, the choice of a box, and horizontal flips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fieldmark.images.crops import Box
from fieldmark.images.masks import from_text, to_text
from fieldmark.images.specs import Align, BoxCrop, Crop

Place = tuple[float, float]
"""(x, y) in pixels of the upright image; 0 is the left or upper edge of the first pixel."""


@dataclass(frozen=True)
class Subject:
    """Known location of the subject in a photo.

    Attributes:
        boxes: One box for each source of the crop, in the order of the sources; None for a source without a box.
        points: One point for each landmark of the alignment, in its order; None for an unknown landmark.
        mask: Run-length encoded mask of the subject (see ``images.masks``).
    """

    boxes: tuple[Box | None, ...] = (None,)
    points: tuple[Place | None, ...] = ()
    mask: str | None = None


ANYWHERE = Subject()
"""A subject of unknown location."""


def chosen_box(subject: Subject, crop: Crop, *, rng: np.random.Generator | None) -> Box | None:
    """Return the box for a sample: the box of the first source in use, or one drawn by weight, with jitter.

    Args:
        subject: Location of the subject in the photo.
        crop: Crop rule; only a ``BoxCrop`` uses boxes.
        rng: Random generator of the sample; None makes the choice deterministic.

    Source:
        Happywhale 2022, first place: one source per sample (a source without a box means the full frame). Ours: the
        jitter moves each edge independently.
    """
    if not isinstance(crop, BoxCrop):
        return None
    at = next(number for number, source in enumerate(crop.sources) if source.in_use)
    if rng is not None and len(crop.sources) > 1:
        weights = np.array([source.weight for source in crop.sources])
        at = int(rng.choice(len(weights), p=weights / weights.sum()))
    box = subject.boxes[at] if at < len(subject.boxes) else None
    if box is None or rng is None or crop.jitter == 0:
        return box
    sides = np.tile((box[2] - box[0], box[3] - box[1]), 2)
    left, top, right, bottom = np.array(box) + sides * crop.jitter * rng.uniform(-1, 1, size=4)
    # Each edge moves by at most half a side, so that the area stays positive; rounding may still make it 0.
    return (float(left), float(top), float(max(right, left + 1e-3)), float(max(bottom, top + 1e-3)))


def mirrored(subject: Subject, width: float, *, align: Align | None = None) -> Subject:
    """Return the location of the subject in the horizontally flipped photo.

    Landmarks are swapped with their mirror landmarks: the left tip of the flipped fluke is the former right tip.

    Args:
        subject: Location in the original photo.
        width: Width of the upright image, in px.
        align: Alignment that names the mirror landmarks; None keeps the names of the landmarks.
    """
    boxes = tuple(None if box is None else (width - box[2], box[1], width - box[0], box[3]) for box in subject.boxes)
    points: Sequence[Place | None] = [
        None if point is None else (width - point[0], point[1]) for point in subject.points
    ]
    if align is not None and len(points) == len(align.points):
        names = [point.name for point in align.points]
        points = [points[names.index(point.mirror or point.name)] for point in align.points]
    mask = None if subject.mask is None else to_text(from_text(subject.mask)[:, ::-1])
    return Subject(boxes=boxes, points=tuple(points), mask=mask)

"""Where the subject is on its photo: boxes, landmarks, mask; which of them a sample goes by, and their mirror."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fieldmark.images.crops import Box
from fieldmark.images.masks import from_text, to_text
from fieldmark.images.specs import Align, BoxCrop, Crop

Place = tuple[float, float]
"""(x, y) in pixels of the upright picture; 0 is the left or upper edge of its first pixel."""


@dataclass(frozen=True)
class Subject:
    """What is known of where a photo's subject is.

    Attributes:
        boxes: One for each source of the crop, in its order; None where a source has none.
        points: One for each landmark of the alignment, in its order; None where it is not known.
        mask: The subject's pixels as ``images.masks`` writes them.
    """

    boxes: tuple[Box | None, ...] = (None,)
    points: tuple[Place | None, ...] = ()
    mask: str | None = None


ANYWHERE = Subject()
"""Nothing is known."""


def chosen_box(subject: Subject, crop: Crop, *, rng: np.random.Generator | None) -> Box | None:
    """The box that a sample goes by: the first source's in use, or one drawn by weight and jittered.

    Args:
        subject: Of the photo.
        crop: Only a ``BoxCrop`` asks for boxes.
        rng: The sample's own generator; None leaves nothing to chance.

    Source:
        Happywhale 2022, first place: a source a sample (one without a box means the full frame). Ours: jitter moves
        each edge by itself.
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
    # At most half of a side is moved at each end, so that the box stays one; rounding may still close it.
    return (float(left), float(top), float(max(right, left + 1e-3)), float(max(bottom, top + 1e-3)))


def mirrored(subject: Subject, width: float, *, align: Align | None = None) -> Subject:
    """The subject of the photo mirrored left to right.

    Landmarks change places with their mirror names: the left tip of the mirrored fluke is what was the right one.

    Args:
        subject: Of the photo as it is.
        width: Of the upright picture, px.
        align: Says which landmark each one becomes; without it landmarks keep their names.
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

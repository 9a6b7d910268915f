"""Clicks on photos to a finder of boxes and landmarks that knows how far it is off."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from fieldmark.core.errors import DataError, several
from fieldmark.core.progress import QUIET, Progress
from fieldmark.data.collection import BOX, Collection
from fieldmark.data.marks import Marks, boxes_of, marked, points_of
from fieldmark.images.batches import PhotoSource
from fieldmark.images.specs import TableBoxes, TrainedFinder
from fieldmark.models.pinpoint import PinpointBackbone, save_pinpointer
from fieldmark.models.specs import Backbone
from fieldmark.quality.regions.finding import refuse_outside, square, true_sizes
from fieldmark.training.pinpoint import (
    PinpointLesson,
    PinpointPredictions,
    cross_validate,
    fit_clicks,
    mirrored_coordinates,
    see,
)
from fieldmark.training.ranks import ranks

SIDE_PX = 224


def learn_clicks(
    photos: Collection,
    marks: Marks,
    folder: Path,
    *,
    backbone: Backbone = Backbone(),  # noqa: B008 - a frozen value
    n_steps: int = 400,
    seed: int = 0,
    device: str = "auto",
    n_workers: int = 2,
    progress: Progress = QUIET,
) -> tuple[TrainedFinder, PinpointPredictions]:
    """A finder that has learnt from the clicked photos, and what it says of photos it has not seen (five folds).

    Args:
        photos: All photos; those with a click are learnt from.
        marks: Boxes, landmarks or both.
        folder: Where the finder is written.
        backbone: Frozen; the packaged one by default.
        n_steps: Batches of each training.
        seed: Of folds and orders.
        device: Where the backbone computes.
        n_workers: Threads.
        progress: Told what goes on.

    Returns:
        Its settings, as a plan takes them, and its cross-validated errors.

    Raises:
        DataError: Fewer than ten photos are clicked, nothing is clicked at all, or clicks lie outside of their photos.
    """
    if not (marks.has_boxes or marks.points):
        raise DataError(
            "There is neither a box nor a landmark to learn.",
            got=f"{marks.source}: columns {', '.join(marks.table.columns)}",
            fix="give columns x0, y0, x1, y1, or x_NAME and y_NAME for each landmark.",
        )
    clicked = marked(photos.take(_clicked(photos, marks)), marks)
    _refuse_outside(clicked, marks)
    coordinates = _coordinates(clicked, marks)
    source = PhotoSource(clicked.paths, square(backbone.name, SIDE_PX))
    at = ranks(device).device
    eye = PinpointBackbone(backbone, side_px=SIDE_PX).to(at)
    maps = see(eye, source, items=np.arange(2 * len(clicked)), device=at, n_workers=n_workers, progress=progress)
    both = np.concatenate((coordinates, mirrored_coordinates(coordinates, marks.points, has_box=marks.has_boxes)))
    lesson = PinpointLesson(maps, both, marks.points, marks.has_boxes)
    progress.say(f"learning from {len(clicked)} photos, five folds ...")
    with torch.enable_grad():
        judged = cross_validate(lesson, n_steps=n_steps, seed=seed)
        pinpointer = fit_clicks(lesson, n_steps=n_steps, seed=seed)
    digest = save_pinpointer(pinpointer, folder, backbone=backbone, side_px=SIDE_PX, errors=judged.errors)
    return TrainedFinder(folder=str(folder), sha256=digest), judged


def _clicked(photos: Collection, marks: Marks) -> np.ndarray:
    """Which photos have any coordinate.

    Raises:
        DataError: No click is of these photos.
    """
    all_ = marked(photos, marks)
    has = np.zeros(len(photos), dtype=bool)
    if marks.has_boxes:
        boxes = boxes_of(all_)
        has |= np.isfinite(boxes).all(axis=1) if boxes is not None else False
    if marks.points:
        has |= np.isfinite(points_of(all_, marks.points).sum(axis=2)).any(axis=1)
    return has


def _refuse_outside(photos: Collection, marks: Marks) -> None:
    """Refuse boxes that mark nothing of their pictures, and landmarks more than a pixel outside of theirs.

    Raises:
        DataError: There are some.
    """
    if marks.has_boxes:
        refuse_outside(photos, (TableBoxes(),))
    if not marks.points:
        return
    places, sizes = points_of(photos, marks.points), true_sizes(photos)
    outside = np.argwhere(((places < -1) | (places > sizes[:, None] + 1)).any(axis=2))
    if len(outside):
        raise DataError(
            "Some landmarks lie outside of their photos.",
            got=several(
                [
                    "{}: {} at {:g}, {:g} in {:g} x {:g} pixels".format(
                        photos.images[row], marks.points[at], *places[row, at], *sizes[row]
                    )
                    for row, at in outside.tolist()
                ]
            ),
            fix="write pixels of the upright picture (of width and height, where the table tells those), "
            "or leave these landmarks empty.",
        )


def _coordinates(photos: Collection, marks: Marks) -> np.ndarray:
    """Clicks as shares of the picture: left, top, right, bottom, then x and y of each landmark."""
    sizes = true_sizes(photos)
    parts = []
    if marks.has_boxes:
        boxes = photos.table.select(BOX).fill_null(float("nan")).to_numpy().astype(np.float64)
        boxes[:, 2:] += boxes[:, :2]
        parts.append(boxes / np.tile(sizes, 2))
    if marks.points:
        parts.append((points_of(photos, marks.points) / sizes[:, None]).reshape(len(photos), -1))
    return np.concatenate(parts, axis=1).astype(np.float32)

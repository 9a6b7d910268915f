"""Train a finder of boxes and landmarks on clicked photos, with cross-validated errors."""

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
    """Train a finder on the clicked photos, and evaluate it by five-fold cross-validation.

    Args:
        photos: All photos; those with a click are used for training.
        marks: Clicked boxes, landmarks or both.
        folder: Folder to write the finder to.
        backbone: Frozen backbone; the packaged one by default.
        n_steps: Number of batches of each training.
        seed: Random seed of the folds and the batch order.
        device: Device of the backbone.
        n_workers: Number of image-loading threads.
        progress: Receives progress messages.

    Returns:
        The settings of the finder for use in a plan, and its out-of-fold predictions with their errors.

    Raises:
        DataError: Fewer than ten photos have clicks, no box or landmark column is given, or clicks are outside their
            photos.
    """
    if not (marks.has_boxes or marks.points):
        raise DataError(
            f"{marks.source} has neither boxes nor landmarks to train on.",
            got=f"columns {', '.join(marks.table.columns)}",
            fix="add the columns x0, y0, x1 and y1, or x_NAME and y_NAME for each landmark.",
        )
    clicked = marked(photos.take(_clicked(photos, marks)), marks)
    _refuse_outside(clicked, marks)
    coordinates = _coordinates(clicked, marks)
    source = PhotoSource(clicked.paths, square(backbone.name, SIDE_PX))
    at = ranks(device).device
    network = PinpointBackbone(backbone, side_px=SIDE_PX).to(at)
    maps = see(network, source, items=np.arange(2 * len(clicked)), device=at, n_workers=n_workers, progress=progress)
    both = np.concatenate((coordinates, mirrored_coordinates(coordinates, marks.points, has_box=marks.has_boxes)))
    lesson = PinpointLesson(maps, both, marks.points, marks.has_boxes)
    progress.say(f"training on {len(clicked)} photos in five folds ...")
    with torch.enable_grad():
        out_of_fold = cross_validate(lesson, n_steps=n_steps, seed=seed)
        pinpointer = fit_clicks(lesson, n_steps=n_steps, seed=seed)
    digest = save_pinpointer(pinpointer, folder, backbone=backbone, side_px=SIDE_PX, errors=out_of_fold.errors)
    return TrainedFinder(folder=str(folder), sha256=digest), out_of_fold


def _clicked(photos: Collection, marks: Marks) -> np.ndarray:
    """Return which photos have a click.

    Raises:
        DataError: No click belongs to these photos.
    """
    all_ = marked(photos, marks)
    is_clicked = np.zeros(len(photos), dtype=bool)
    if marks.has_boxes:
        boxes = boxes_of(all_)
        is_clicked |= np.isfinite(boxes).all(axis=1) if boxes is not None else False
    if marks.points:
        is_clicked |= np.isfinite(points_of(all_, marks.points).sum(axis=2)).any(axis=1)
    return is_clicked


def _refuse_outside(photos: Collection, marks: Marks) -> None:
    """Reject boxes that do not overlap their picture, and landmarks more than a pixel outside their picture.

    Raises:
        DataError: There are such boxes or landmarks.
    """
    if marks.has_boxes:
        refuse_outside(photos, (TableBoxes(),))
    if not marks.points:
        return
    places, sizes = points_of(photos, marks.points), true_sizes(photos)
    outside = np.argwhere(((places < -1) | (places > sizes[:, None] + 1)).any(axis=2))
    if len(outside):
        raise DataError(
            f"{len(outside)} landmark(s) are outside their photos.",
            got=several(
                [
                    "{}: {} at {:g}, {:g} in {:g} x {:g} pixels".format(
                        photos.images[row], marks.points[at], *places[row, at], *sizes[row]
                    )
                    for row, at in outside.tolist()
                ]
            ),
            fix="write coordinates in pixels of the upright picture, or of the columns width and height if the table "
            "has them; or leave these landmarks empty.",
        )


def _coordinates(photos: Collection, marks: Marks) -> np.ndarray:
    """Return clicks as fractions of the picture size: left, top, right, bottom, then x and y of each landmark."""
    sizes = true_sizes(photos)
    parts = []
    if marks.has_boxes:
        boxes = photos.table.select(BOX).fill_null(float("nan")).to_numpy().astype(np.float64)
        boxes[:, 2:] += boxes[:, :2]
        parts.append(boxes / np.tile(sizes, 2))
    if marks.points:
        parts.append((points_of(photos, marks.points) / sizes[:, None]).reshape(len(photos), -1))
    return np.concatenate(parts, axis=1).astype(np.float32)

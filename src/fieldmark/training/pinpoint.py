"""A regressor of boxes and landmarks, trained on a few hundred clicked photos, and its cross-validated error.

It has its own training loop. Its targets are coordinates, some of which may be missing, and its inputs are feature maps
that are computed once and held in memory. Training takes seconds, so it needs no phases, samplers or checkpoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import smooth_l1_loss

from fieldmark.core.errors import DataError
from fieldmark.core.progress import QUIET, Progress
from fieldmark.core.seeds import generator
from fieldmark.images.batches import PhotoSource
from fieldmark.images.preprocess import normalise
from fieldmark.models.pinpoint import Maps, PinpointBackbone, Pinpointer

FEWEST = 10
"""Smallest number of clicked photos for training."""
BATCH = 32
ON_CPU = 8
BETA = 0.02
"""Threshold of the smooth L1 loss, as a share of the image side: quadratic below, linear above, to limit outliers."""


@dataclass(frozen=True)
class PinpointLesson:
    """Feature maps and clicked coordinates of photos: first all photos, then all mirrored photos.

    Attributes:
        maps: Feature maps of all photos, then of all mirrored photos.
        coordinates: Coordinates as shares of the image side, in the order of ``Pinpointer``; NaN if not clicked.
        points: Names of the landmarks.
        has_box: Whether the first four coordinates are a box.
    """

    maps: Maps
    coordinates: Float[np.ndarray, "item coordinate"]
    points: tuple[str, ...]
    has_box: bool

    @property
    def n_photos(self) -> int:
        """The number of photos."""
        return len(self.coordinates) // 2


@dataclass(frozen=True)
class PinpointPredictions:
    """Out-of-fold predictions of a regressor.

    Attributes:
        coordinates: Predicted coordinates of the plain photos, as in ``PinpointLesson.coordinates``.
        errors: Values of the error measures by name.
    """

    coordinates: Float[np.ndarray, "photo coordinate"]
    errors: dict[str, float]


def mirror_names(points: Sequence[str]) -> list[int]:
    """Return the index of each landmark's mirror image, by ``left`` and ``right`` in the names.

    Example:
        >>> mirror_names(["left_tip", "notch", "right_tip"])
        [2, 1, 0]
    """
    swap = {"left": "right", "right": "left"}
    other = ["_".join(swap.get(part, part) for part in name.split("_")) for name in points]
    return [points.index(name) if name in points else at for at, name in enumerate(other)]


def mirrored_coordinates(
    coordinates: Float[np.ndarray, "photo coordinate"], points: Sequence[str], *, has_box: bool
) -> Float[np.ndarray, "photo coordinate"]:
    """Return the coordinates in the mirrored photos. Left and right edges and landmarks are exchanged."""
    first = 4 if has_box else 0
    places = coordinates[:, first:].reshape(len(coordinates), len(points), 2)[:, mirror_names(points)].copy()
    places[:, :, 0] = 1 - places[:, :, 0]
    box = coordinates[:, :first].copy()
    if has_box:
        box[:, [0, 2]] = 1 - box[:, [2, 0]]
    return np.concatenate((box, places.reshape(len(coordinates), -1)), axis=1)


def see(
    backbone: PinpointBackbone,
    source: PhotoSource,
    *,
    items: Int[np.ndarray, " item"],
    device: torch.device,
    n_workers: int = 2,
    progress: Progress = QUIET,
) -> Maps:
    """Return the feature maps of some items, in CPU memory and half precision."""
    order = [items[at : at + ON_CPU] for at in range(0, len(items), ON_CPU)]
    batches = source.batches(order, epoch=0, n_workers=n_workers)
    fine, coarse = [], []
    for batch in progress.track(batches, total=len(order), what="feature maps"):
        maps = backbone(normalise(batch.to(device), source.preprocess))
        fine.append(maps.fine.cpu().half())
        coarse.append(maps.coarse.cpu().half())
    return Maps(torch.cat(fine), torch.cat(coarse))


def fit_clicks(
    lesson: PinpointLesson, *, photos: Int[np.ndarray, " photo"] | None = None, n_steps: int = 400, seed: int = 0
) -> Pinpointer:
    """Train a regressor on the clicks of some photos and of the mirrored photos.

    Args:
        lesson: Feature maps and clicks of all photos.
        photos: Training photos; None: all.
        n_steps: Number of batches of 32.
        seed: Random seed of the order.

    Raises:
        DataError: There are fewer than ten clicked photos.
    """
    photos = np.arange(lesson.n_photos) if photos is None else photos
    _check_enough(lesson.n_photos)
    items = np.concatenate((photos, photos + lesson.n_photos))
    pinpointer = Pinpointer(
        (lesson.maps.fine.shape[1], lesson.maps.coarse.shape[1]), points=lesson.points, has_box=lesson.has_box
    )
    pinpointer.measure(Maps(lesson.maps.fine[items], lesson.maps.coarse[items]))
    targets = torch.from_numpy(lesson.coordinates.astype(np.float32))
    rates = [{"params": [*pinpointer.fine.parameters(), *pinpointer.coarse.parameters()], "weight_decay": 0.1}]
    rates += [{"params": [pinpointer.scale, pinpointer.shift], "weight_decay": 0.0, "lr": 0.003}]
    optimiser = torch.optim.AdamW(rates, lr=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, [0.05, 0.003], total_steps=n_steps)
    chance = generator(seed, "pinpoint")
    for _ in range(n_steps):
        some = torch.from_numpy(chance.choice(items, size=min(BATCH, len(items)), replace=False))
        loss = _loss(pinpointer(Maps(lesson.maps.fine[some], lesson.maps.coarse[some])), targets[some])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return pinpointer.eval()


def cross_validate(
    lesson: PinpointLesson, *, n_folds: int = 5, n_steps: int = 400, seed: int = 0
) -> PinpointPredictions:
    """Return out-of-fold coordinates of every photo, and their errors.

    Args:
        lesson: Feature maps and clicks of all photos.
        n_folds: Number of random folds of equal size.
        n_steps: Number of batches per training.
        seed: Random seed of folds and orders.

    Raises:
        DataError: There are too few clicked photos.
    """
    fold = generator(seed, "pinpoint folds").permutation(lesson.n_photos) % n_folds
    predicted = np.zeros((lesson.n_photos, lesson.coordinates.shape[1]), dtype=np.float32)
    for k in range(n_folds):
        pinpointer = fit_clicks(lesson, photos=np.flatnonzero(fold != k), n_steps=n_steps, seed=seed)
        held_out = np.flatnonzero(fold == k)
        predicted[held_out] = predict_coordinates(
            pinpointer, Maps(lesson.maps.fine[held_out], lesson.maps.coarse[held_out])
        )
    return PinpointPredictions(
        predicted, errors(predicted, lesson.coordinates[: lesson.n_photos], lesson.points, has_box=lesson.has_box)
    )


@torch.inference_mode()
def predict_coordinates(pinpointer: Pinpointer, maps: Maps) -> Float[np.ndarray, "photo coordinate"]:
    """Return predicted coordinates. Boxes are clipped to the image, with sides of at least 1 % of the image side."""
    predicted = pinpointer(maps).numpy().copy()
    if pinpointer.has_box:
        low = np.minimum(predicted[:, :2], predicted[:, 2:4])
        high = np.maximum(predicted[:, :2], predicted[:, 2:4])
        low = low.clip(0, 0.99)
        predicted[:, :4] = np.concatenate((low, np.maximum(high.clip(0, 1), low + 0.01)), axis=1)
    return predicted


def errors(
    predicted: Float[np.ndarray, "photo coordinate"],
    truth: Float[np.ndarray, "photo coordinate"],
    points: Sequence[str],
    *,
    has_box: bool,
) -> dict[str, float]:
    """Return the errors: median IoU, share of boxes with IoU above 0.5, and relative distance of each landmark.

    The distance is the mean distance from the true landmark, as a share of the subject's size. The subject's size is
    the square root of the area of its true box. Without boxes, it is the longer side of the bounding box of its
    landmarks. With a single landmark, it is the side of the image.
    """
    first = 4 if has_box else 0
    found: dict[str, float] = {}
    places = truth[:, first:].reshape(len(truth), len(points), 2)
    if has_box:
        both = np.isfinite(truth[:, :4]).all(axis=1)
        overlap = _overlap(predicted[both, :4], truth[both, :4])
        found |= {"median IoU": float(np.median(overlap)), "share of IoU above 0.5": float((overlap > 0.5).mean())}
        size = np.sqrt(np.maximum((truth[:, 2] - truth[:, 0]) * (truth[:, 3] - truth[:, 1]), 1e-9))
    elif len(points) > 1:
        low, high = (np.where(np.isnan(places), other, places) for other in (np.inf, -np.inf))
        size = (high.max(axis=1) - low.min(axis=1)).max(axis=1)
        size = np.where(size > 0, size, np.nan)  # one clicked landmark has no size
    else:
        size = np.ones(len(truth))
    of = "box" if has_box else "landmarks" if len(points) > 1 else "picture"
    predicted_places = predicted[:, first:].reshape(len(predicted), len(points), 2)
    for at, name in enumerate(points):
        distance = np.linalg.norm(predicted_places[:, at] - places[:, at], axis=1) / size
        known = np.isfinite(distance)
        if known.any():
            found[f"error of {name}, share of the {of}"] = float(distance[known].mean())
    return found


def _overlap(one: Float[np.ndarray, "photo 4"], other: Float[np.ndarray, "photo 4"]) -> Float[np.ndarray, " photo"]:
    """Return the intersection over union (IoU) of pairs of boxes."""
    sides = np.minimum(one[:, 2:], other[:, 2:]) - np.maximum(one[:, :2], other[:, :2])
    shared = sides.clip(min=0).prod(axis=1)
    areas = sum((box[:, 2:] - box[:, :2]).prod(axis=1) for box in (one, other))
    return shared / np.maximum(areas - shared, 1e-12)


def _loss(predicted: Tensor, targets: Tensor) -> Tensor:
    known = targets.isfinite()
    if not known.any():
        return predicted.sum() * 0
    return smooth_l1_loss(predicted[known], targets[known], beta=BETA)


def _check_enough(n_photos: int) -> None:
    if n_photos < FEWEST:
        raise DataError(
            "There are too few clicked photos to train a finder.",
            got=f"{n_photos} clicked photos",
            fix=f"click on more photos: at least {FEWEST}, better a few hundred.",
        )

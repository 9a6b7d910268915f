"""A regressor of boxes and landmarks from a few hundred clicks, and how far it is off on photos it has not seen.

It has a loop of its own: it learns coordinates, of which some may be missing, on maps that are looked at once and held
in memory. The training loop knows classes and labels, and its phases, samplers and checkpoints would serve nothing here:
this training takes seconds.
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
"""Photos with clicks below which nothing is learnt."""
BATCH = 32
ON_CPU = 8
BETA = 0.02
"""Errors below this share of the picture count by their square, larger ones by their size: odd clicks pull less."""


@dataclass(frozen=True)
class PinpointLesson:
    """Photos' feature maps and clicked coordinates; the first half as they are, the second half mirrored.

    Attributes:
        maps: Of all photos, then of all mirrored photos.
        coordinates: Shares of the picture, as ``Pinpointer`` tells them; nan where nothing was clicked.
        points: Names of the landmarks.
        has_box: Whether the first four coordinates are a box.
    """

    maps: Maps
    coordinates: Float[np.ndarray, "item coordinate"]
    points: tuple[str, ...]
    has_box: bool

    @property
    def n_photos(self) -> int:
        """How many photos there are."""
        return len(self.coordinates) // 2


@dataclass(frozen=True)
class PinpointPredictions:
    """What a regressor said of photos it had not learnt from.

    Attributes:
        coordinates: As ``PinpointLesson.coordinates``, of the plain photos.
        errors: Names of measures to their values.
    """

    coordinates: Float[np.ndarray, "photo coordinate"]
    errors: dict[str, float]


def mirror_names(points: Sequence[str]) -> list[int]:
    """For each landmark the one it becomes in the mirrored photo, by ``left`` and ``right`` in their names.

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
    """The coordinates of the mirrored photos: left and right edges, and left and right landmarks, change places."""
    first = 4 if has_box else 0
    places = coordinates[:, first:].reshape(len(coordinates), len(points), 2)[:, mirror_names(points)].copy()
    places[:, :, 0] = 1 - places[:, :, 0]
    box = coordinates[:, :first].copy()
    if has_box:
        box[:, [0, 2]] = 1 - box[:, [2, 0]]
    return np.concatenate((box, places.reshape(len(coordinates), -1)), axis=1)


def see(
    eye: PinpointBackbone,
    source: PhotoSource,
    *,
    items: Int[np.ndarray, " item"],
    device: torch.device,
    n_workers: int = 2,
    progress: Progress = QUIET,
) -> Maps:
    """The feature maps of some items, on the processor, in half precision (twice as many fit)."""
    order = [items[at : at + ON_CPU] for at in range(0, len(items), ON_CPU)]
    batches = source.batches(order, epoch=0, n_workers=n_workers)
    fine, coarse = [], []
    for batch in progress.track(batches, total=len(order), what="looking at photos"):
        maps = eye(normalise(batch.to(device), source.preprocess))
        fine.append(maps.fine.cpu().half())
        coarse.append(maps.coarse.cpu().half())
    return Maps(torch.cat(fine), torch.cat(coarse))


def fit_clicks(
    lesson: PinpointLesson, *, photos: Int[np.ndarray, " photo"] | None = None, n_steps: int = 400, seed: int = 0
) -> Pinpointer:
    """A regressor that has learnt the clicks of some photos, as they are and mirrored.

    Args:
        lesson: All photos.
        photos: Those to learn from; None: all.
        n_steps: Batches of 32.
        seed: Of the order.

    Raises:
        DataError: There are fewer than ten photos with clicks.
    """
    photos = np.arange(lesson.n_photos) if photos is None else photos
    _check_enough(lesson.n_photos)
    items = np.concatenate((photos, photos + lesson.n_photos))
    pinpointer = Pinpointer(
        (lesson.maps.fine.shape[1], lesson.maps.coarse.shape[1]), points=lesson.points, has_box=lesson.has_box
    )
    pinpointer.measure(Maps(lesson.maps.fine[items], lesson.maps.coarse[items]))
    wanted = torch.from_numpy(lesson.coordinates.astype(np.float32))
    rates = [{"params": [*pinpointer.fine.parameters(), *pinpointer.coarse.parameters()], "weight_decay": 0.1}]
    rates += [{"params": [pinpointer.scale, pinpointer.shift], "weight_decay": 0.0, "lr": 0.003}]
    optimiser = torch.optim.AdamW(rates, lr=0.05)
    falling = torch.optim.lr_scheduler.OneCycleLR(optimiser, [0.05, 0.003], total_steps=n_steps)
    chance = generator(seed, "pinpoint")
    for _ in range(n_steps):
        some = torch.from_numpy(chance.choice(items, size=min(BATCH, len(items)), replace=False))
        loss = _loss(pinpointer(Maps(lesson.maps.fine[some], lesson.maps.coarse[some])), wanted[some])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        falling.step()
    return pinpointer.eval()


def cross_validate(
    lesson: PinpointLesson, *, n_folds: int = 5, n_steps: int = 400, seed: int = 0
) -> PinpointPredictions:
    """Coordinates of every photo by a regressor that has not learnt from it, and how far they are off.

    Args:
        lesson: All photos.
        n_folds: Parts of equal size, by lot.
        n_steps: Of each training.
        seed: Of the lot and the orders.

    Raises:
        DataError: There are too few photos with clicks.
    """
    fold = generator(seed, "pinpoint folds").permutation(lesson.n_photos) % n_folds
    said = np.zeros((lesson.n_photos, lesson.coordinates.shape[1]), dtype=np.float32)
    for k in range(n_folds):
        judge = fit_clicks(lesson, photos=np.flatnonzero(fold != k), n_steps=n_steps, seed=seed)
        judged = np.flatnonzero(fold == k)
        said[judged] = tell(judge, Maps(lesson.maps.fine[judged], lesson.maps.coarse[judged]))
    return PinpointPredictions(
        said, errors(said, lesson.coordinates[: lesson.n_photos], lesson.points, has_box=lesson.has_box)
    )


@torch.inference_mode()
def tell(pinpointer: Pinpointer, maps: Maps) -> Float[np.ndarray, "photo coordinate"]:
    """The coordinates of pictures; boxes are kept inside the picture and at least a hundredth wide and high."""
    said = pinpointer(maps).numpy().copy()
    if pinpointer.has_box:
        low, high = np.minimum(said[:, :2], said[:, 2:4]), np.maximum(said[:, :2], said[:, 2:4])
        low = low.clip(0, 0.99)
        said[:, :4] = np.concatenate((low, np.maximum(high.clip(0, 1), low + 0.01)), axis=1)
    return said


def errors(
    said: Float[np.ndarray, "photo coordinate"],
    truth: Float[np.ndarray, "photo coordinate"],
    points: Sequence[str],
    *,
    has_box: bool,
) -> dict[str, float]:
    """Median IoU and share of boxes above 0.5; mean distance of each landmark, as a share of the subject's size.

    The subject's size is the root of the area of its true box; without boxes the longer side of its landmarks' bounds,
    and with a single landmark that of the picture, as nothing else is known.
    """
    first = 4 if has_box else 0
    told: dict[str, float] = {}
    places = truth[:, first:].reshape(len(truth), len(points), 2)
    if has_box:
        both = np.isfinite(truth[:, :4]).all(axis=1)
        overlap = _overlap(said[both, :4], truth[both, :4])
        told |= {"median IoU": float(np.median(overlap)), "share of IoU above 0.5": float((overlap > 0.5).mean())}
        size = np.sqrt(np.maximum((truth[:, 2] - truth[:, 0]) * (truth[:, 3] - truth[:, 1]), 1e-9))
    elif len(points) > 1:
        low, high = (np.where(np.isnan(places), other, places) for other in (np.inf, -np.inf))
        size = (high.max(axis=1) - low.min(axis=1)).max(axis=1)
        size = np.where(size > 0, size, np.nan)  # one place clicked: nothing to measure by
    else:
        size = np.ones(len(truth))
    of = "box" if has_box else "landmarks" if len(points) > 1 else "picture"
    theirs = said[:, first:].reshape(len(said), len(points), 2)
    for at, name in enumerate(points):
        distance = np.linalg.norm(theirs[:, at] - places[:, at], axis=1) / size
        known = np.isfinite(distance)
        if known.any():
            told[f"error of {name}, share of the {of}"] = float(distance[known].mean())
    return told


def _overlap(one: Float[np.ndarray, "photo 4"], other: Float[np.ndarray, "photo 4"]) -> Float[np.ndarray, " photo"]:
    sides = np.minimum(one[:, 2:], other[:, 2:]) - np.maximum(one[:, :2], other[:, :2])
    shared = sides.clip(min=0).prod(axis=1)
    areas = sum((box[:, 2:] - box[:, :2]).prod(axis=1) for box in (one, other))
    return shared / np.maximum(areas - shared, 1e-12)


def _loss(said: Tensor, wanted: Tensor) -> Tensor:
    known = wanted.isfinite()
    if not known.any():
        return said.sum() * 0
    return smooth_l1_loss(said[known], wanted[known], beta=BETA)


def _check_enough(n_photos: int) -> None:
    if n_photos < FEWEST:
        raise DataError(
            "There are too few photos with clicks to learn from.",
            got=f"{n_photos} photos to learn from",
            fix=f"click on more: {FEWEST} are the least, some hundreds are good.",
        )

"""Training data: items, ground truth, sampler and losses, and checks that they fit the training settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from fieldmark.core.errors import PlanError, several
from fieldmark.core.progress import QUIET, Progress
from fieldmark.data.samplers import log_weights
from fieldmark.data.specs import LogWeightSampler, Sampler
from fieldmark.images.batches import PhotoSource
from fieldmark.losses.specs import Losses
from fieldmark.models.network import Network
from fieldmark.training.compatibility import incompatible_losses
from fieldmark.training.features import Source
from fieldmark.training.sparse_proba import SparseProba
from fieldmark.training.specs import Phase, Training

ROWS = 8192
"""Rows per block of a large label matrix."""
LEAST_LEFT = 0.1
"""Smallest share of photos that a phase with ``min_photos`` must keep. Below it, the phase uses all photos."""


@dataclass(frozen=True)
class Lesson:
    """Training data: items, ground truth, sampler and losses.

    Attributes:
        source: Source of images by item number (see ``images.batches.PhotoSource``).
        items: Items to train on.
        sampler: Order of the items in an epoch. It counts a soft label as present from 0.5 on.
        losses: Losses whose weighted sum is minimised, in phases without losses of their own.
        classes: Class of *every* item of the source, -1 for unknown individuals; or None.
        truth: Labels of every item of the source, or of every photo; or None. With labels per photo, item
            ``i + len(truth)`` is the mirrored photo and has the labels of photo ``i``. The values are booleans, or 0 to
            1 for soft labels. A memory-mapped file is possible. For a head for questions, NaN marks unlabelled cells.
        taught: Teacher probabilities for items of unknown individuals, for the loss ``distilled``; or None.
        names: Function from an item to its name in errors.
        flip_identity: Whether items ``n ... 2n - 1`` are items ``0 ... n - 1`` mirrored, and a mirrored photo of class
            k has class ``k + N``, where N is half of the network's classes.
        n_photos: Number of photos, if items ``i`` and ``i + n_photos`` show the same photo, the latter mirrored. Each
            photo is then counted once per class. None: each item is a photo.
    """

    source: Source
    items: Int[np.ndarray, " item"]
    sampler: Sampler
    losses: Losses
    classes: Int[np.ndarray, " all_items"] | None = None
    truth: Float[np.ndarray, "row label"] | Bool[np.ndarray, "row label"] | None = None
    taught: SparseProba | None = None
    names: Callable[[int], str] = str
    flip_identity: bool = False
    n_photos: int | None = None

    def members(self, phase: Phase, *, progress: Progress = QUIET) -> Int[np.ndarray, " member"]:
        """Return the items of one phase: without classes that have fewer than ``min_photos`` photos.

        Unknown individuals are kept, and for labels all items are kept. If the classes with enough photos have less
        than a tenth of the photos, all items are used, and this is reported. A recipe thus works on any data set.
        """
        if self.classes is None or phase.min_photos == 1:
            return self.items
        mine = self.classes[self.items]
        counts = self._photos(self.items, 1)
        enough = counts >= phase.min_photos
        if counts[enough].sum() < LEAST_LEFT * counts.sum():
            progress.say(
                f"only {enough.sum():,} of {(counts > 0).sum():,} individuals have min_photos = {phase.min_photos} "
                "photos: this phase uses all individuals"
            )
            return self.items
        return self.items[(mine < 0) | enough[np.maximum(mine, 0)]]

    def sampling(self, members: Int[np.ndarray, " member"]) -> dict[str, np.ndarray]:
        """Return the inputs of ``data.samplers.draw`` for the members; computed once per phase."""
        if self.classes is not None:
            return {"classes": self.classes[members]}
        if self.truth is None or not isinstance(self.sampler, LogWeightSampler):
            return {"weights": np.ones(len(members))}
        has = np.concatenate([rows >= 0.5 for rows in self._rows(members)])
        return {"weights": log_weights(truth=has, over=self.sampler.over)}

    def counts(self, members: Int[np.ndarray, " member"], n_classes: int) -> Int[Tensor, " class"] | None:
        """Return the number of photos of each class among the members. Mirrored photos count for their own class."""
        if self.classes is None:
            return None
        return torch.from_numpy(self._photos(members, n_classes))

    def _photos(self, items: Int[np.ndarray, " item"], n_classes: int) -> Int[np.ndarray, " class"]:
        """Return the number of photos of each class among some items."""
        if self.classes is None:
            raise TypeError("the lesson has no classes")
        named = items[self.classes[items] >= 0]
        photo = named if self.n_photos is None else named % self.n_photos
        once = np.unique(np.stack([self.classes[named], photo]), axis=1)[0]
        return np.bincount(once, minlength=n_classes)

    def classes_of(self, items: Int[np.ndarray, " batch"]) -> Int[Tensor, " batch"] | None:
        """Return the classes of some items."""
        return None if self.classes is None else torch.from_numpy(self.classes[items])

    def truth_of(self, items: Int[np.ndarray, " batch"]) -> Float[Tensor, "batch label"] | None:
        """Return the labels of some items as numbers from 0 to 1."""
        if self.truth is None:
            return None
        return torch.from_numpy(np.asarray(self.truth[items % len(self.truth)], dtype=np.float32))

    def taught_of(self, items: Int[np.ndarray, " batch"]) -> Float[Tensor, "batch class"] | None:
        """Return the teacher probabilities of some items."""
        return None if self.taught is None else self.taught.about(items)

    def check(self, training: Training, network: Network, *, watched: bool) -> None:
        """Raise an error if the training settings do not fit the training data and the network.

        Args:
            training: Training settings.
            network: Network to train.
            watched: Whether a validation metric is measured after each epoch.

        Raises:
            PlanError: Some settings do not fit. The error lists all mistakes.
        """
        mistakes = [
            *self._truth_mistakes(network.n_classes, gaps=network.net.head.kind == "questions"),
            *self._flip_mistakes(network.n_classes),
            *self._phase_mistakes(training),
            *incompatible_losses(
                network.net, [loss for phase in training.phases for loss in phase.losses or self.losses]
            ),
        ]
        if self.truth is None and training.mixup is not None:
            mistakes.append("mixup needs labels, but the training data has none: set mixup = None")
        if training.keep == "best" and not watched and len({phase.losses for phase in training.phases}) > 1:
            mistakes.append(
                "keep = 'best' cannot compare phases with different losses: pass a validation metric, or set "
                "keep = 'last'"
            )
        if mistakes:
            raise PlanError(
                f"The training settings do not fit the training data: {len(mistakes)} mistake(s).",
                got=several(mistakes, most=10),
                fix="change each of these settings as its line says.",
            )

    def _truth_mistakes(self, n_classes: int, *, gaps: bool) -> Iterator[str]:
        truth = self.truth
        if truth is None:
            return
        if self.classes is not None:
            yield "both classes and truth are given: pass only one of them"
        if truth.ndim != 2 or truth.shape[1] != n_classes:
            yield f"truth has shape {truth.shape}, but the network has {n_classes} labels: pass one column per label"
        if isinstance(self.source, PhotoSource) and len(truth) not in {len(self.source), 2 * len(self.source)}:
            yield f"truth has {len(truth)} rows for {len(self.source)} photos: pass one row per photo, or one per item"
        elif truth.dtype != np.bool_ and not all(_fits(rows, gaps=gaps) for rows in self._rows(self.items)):
            yield "truth has values outside 0 to 1: pass booleans, or the probability of each label"

    def _flip_mistakes(self, n_classes: int) -> Iterator[str]:
        if not self.flip_identity:
            return
        if self.classes is None:
            yield "flip_identity needs individuals, but the training data has labels: set flip_identity = False"
        elif n_classes % 2 or len(self.classes) % 2:
            yield (
                f"flip_identity needs pairs of classes and items, but there are {n_classes} classes and "
                f"{len(self.classes)} items: pass an even number of both"
            )
        else:
            plain, mirrored = np.split(self.classes, 2)
            expected = np.where(plain >= 0, plain + n_classes // 2, plain)
            n_wrong = int((mirrored != expected).sum() + (plain >= n_classes // 2).sum())
            if n_wrong:
                yield (
                    f"flip_identity: {n_wrong} mirrored items do not have their photo's class + {n_classes // 2}: "
                    "item i + n must be item i mirrored"
                )

    def _phase_mistakes(self, training: Training) -> Iterator[str]:
        for number, phase in enumerate(training.phases, start=1):
            if phase.hardest is None:
                continue
            if self.truth is None:
                yield f"phase {number}: hardest needs labels, but the training data has none: set hardest = None"
            others = [loss.kind for loss in phase.losses or self.losses if not loss.per_label]
            if others:
                yield f"phase {number}: hardest does not work with the loss {', '.join(others)}: set hardest = None"

    def _rows(self, items: Int[np.ndarray, " item"]) -> Iterator[np.ndarray]:
        """Yield the labels of some items in blocks, because they may be in a file larger than memory."""
        if self.truth is not None:
            for start in range(0, len(items), ROWS):
                yield self.truth[items[start : start + ROWS] % len(self.truth)]


def _fits(rows: np.ndarray, *, gaps: bool) -> bool:
    """Return whether all values are from 0 to 1. With ``gaps``, NaN is allowed too."""
    within = (rows >= 0) & (rows <= 1)
    return bool((within | np.isnan(rows)).all() and within.any()) if gaps else bool(within.all())

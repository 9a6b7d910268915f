"""What is learnt: items, their truth, how they are drawn and judged; and whether it can be learnt as planned."""

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
"""Rows of a large matrix of labels that are looked at together."""
LEAST_LEFT = 0.1
"""Share of the photos of individuals without which a phase for those with many photos is no use."""


@dataclass(frozen=True)
class Lesson:
    """What is learnt: items, their truth, how they are drawn and judged.

    Attributes:
        source: Gives pictures by item number (see ``images.batches.PhotoSource``).
        items: The items that may be drawn.
        classes: Class of *every* item of the source, -1 for unknown; or None.
        truth: Labels of every item of the source, or of every photo (item ``i + len(truth)``, the mirrored photo, then
            has those of photo ``i``); yes or no, or 0 to 1 for soft labels; a memory-mapped file will do. A
            head for questions takes NaN for what is not told of a photo. Or None.
        sampler: How an epoch's order is drawn. A soft label counts from 0.5 on.
        losses: Their weighted sum is minimised, where a phase has none of its own.
        names: What to call an item in an error.
        taught: What teachers say of unknown individuals among the items, for the loss ``distilled``; or None.
        flip_identity: Items ``n ... 2n - 1`` are items ``0 ... n - 1`` mirrored, and a mirrored photo of class k is one
            of class ``k + N``, for N half of the network's classes.
        n_photos: Items ``i`` and ``i + n_photos`` show the same photo, the latter mirrored: a class has so many photos,
            not items. None: each item is a photo.
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
        """The items of one phase: classes with too few photos are left out, unknowns stay; with labels all take part.

        Where next to nobody has so many photos, all take part too, and it is told: a recipe is to run on any catalogue.
        """
        if self.classes is None or phase.min_photos == 1:
            return self.items
        mine = self.classes[self.items]
        counts = self._photos(self.items, 1)
        enough = counts >= phase.min_photos
        if counts[enough].sum() < LEAST_LEFT * counts.sum():
            progress.say(
                f"{enough.sum():,} of {(counts > 0).sum():,} individuals have the {phase.min_photos} photos "
                "that this phase asks for: all take part in it"
            )
            return self.items
        return self.items[(mine < 0) | enough[np.maximum(mine, 0)]]

    def sampling(self, members: Int[np.ndarray, " member"]) -> dict[str, np.ndarray]:
        """What ``data.samplers.draw`` needs to know of the members; worked out once a phase."""
        if self.classes is not None:
            return {"classes": self.classes[members]}
        if self.truth is None or not isinstance(self.sampler, LogWeightSampler):
            return {"weights": np.ones(len(members))}
        has = np.concatenate([rows >= 0.5 for rows in self._rows(members)])
        return {"weights": log_weights(truth=has, over=self.sampler.over)}

    def counts(self, members: Int[np.ndarray, " member"], n_classes: int) -> Int[Tensor, " class"] | None:
        """How many photos each class has among the members; mirrored ones are counted in their own class."""
        if self.classes is None:
            return None
        return torch.from_numpy(self._photos(members, n_classes))

    def _photos(self, items: Int[np.ndarray, " item"], n_classes: int) -> Int[np.ndarray, " class"]:
        """How many photos each class has among some items."""
        if self.classes is None:
            raise TypeError("classes are counted where there are some")
        named = items[self.classes[items] >= 0]
        photo = named if self.n_photos is None else named % self.n_photos
        once = np.unique(np.stack([self.classes[named], photo]), axis=1)[0]
        return np.bincount(once, minlength=n_classes)

    def classes_of(self, items: Int[np.ndarray, " batch"]) -> Int[Tensor, " batch"] | None:
        """The classes of some items."""
        return None if self.classes is None else torch.from_numpy(self.classes[items])

    def truth_of(self, items: Int[np.ndarray, " batch"]) -> Float[Tensor, "batch label"] | None:
        """The labels of some items as numbers from 0 to 1."""
        if self.truth is None:
            return None
        return torch.from_numpy(np.asarray(self.truth[items % len(self.truth)], dtype=np.float32))

    def taught_of(self, items: Int[np.ndarray, " batch"]) -> Float[Tensor, "batch class"] | None:
        """What teachers say of some items."""
        return None if self.taught is None else self.taught.about(items)

    def check(self, training: Training, network: Network, *, watched: bool) -> None:
        """Refuse what this lesson and network cannot do of a training.

        Args:
            training: As planned.
            network: To be trained.
            watched: Whether validation photos are looked at after each epoch.

        Raises:
            PlanError: As said; all mistakes at once.
        """
        told = [
            *self._truth_mistakes(network.n_classes, gaps=network.net.head.kind == "questions"),
            *self._flip_mistakes(network.n_classes),
            *self._phase_mistakes(training),
            *incompatible_losses(
                network.net, [loss for phase in training.phases for loss in phase.losses or self.losses]
            ),
        ]
        if self.truth is None and training.mixup is not None:
            told.append("mixup blends labels, and this lesson has none: set mixup = None")
        if training.keep == "best" and not watched and len({phase.losses for phase in training.phases}) > 1:
            told.append(
                "phases with losses of their own have no common best epoch: watch validation photos, or keep 'last'"
            )
        if told:
            raise PlanError(
                f"This lesson cannot be learnt as planned: {len(told)} mistake(s).",
                got=several(told, most=10),
                fix="mend those settings of the lesson or the training.",
            )

    def _truth_mistakes(self, n_classes: int, *, gaps: bool) -> Iterator[str]:
        truth = self.truth
        if truth is None:
            return
        if self.classes is not None:
            yield "both classes and truth are given: leave out one"
        if truth.ndim != 2 or truth.shape[1] != n_classes:
            yield f"truth {truth.shape} for a network of {n_classes} labels: give a column a label"
        if isinstance(self.source, PhotoSource) and len(truth) not in {len(self.source), 2 * len(self.source)}:
            yield f"truth of {len(truth)} rows for {len(self.source)} photos: give a row a photo, or a row an item"
        elif truth.dtype != np.bool_ and not all(_fits(rows, gaps=gaps) for rows in self._rows(self.items)):
            yield "truth outside 0 to 1: give yes or no, or how likely each label is"

    def _flip_mistakes(self, n_classes: int) -> Iterator[str]:
        if not self.flip_identity:
            return
        if self.classes is None:
            yield "flip_identity is about individuals, and this lesson has labels: set flip_identity = False"
        elif n_classes % 2 or len(self.classes) % 2:
            yield (
                f"flip_identity pairs classes and items, and there are {n_classes} classes and {len(self.classes)} "
                "items: give an even number of both"
            )
        else:
            plain, mirrored = np.split(self.classes, 2)
            expected = np.where(plain >= 0, plain + n_classes // 2, plain)
            n_wrong = int((mirrored != expected).sum() + (plain >= n_classes // 2).sum())
            if n_wrong:
                yield (
                    f"flip_identity: {n_wrong} mirrored items are not of their photo's class + {n_classes // 2}: "
                    "pair them, item i + n with item i"
                )

    def _phase_mistakes(self, training: Training) -> Iterator[str]:
        for number, phase in enumerate(training.phases, start=1):
            if phase.hardest is None:
                continue
            if self.truth is None:
                yield f"phase {number}: only the loss on labels tells which items are hardest: set hardest = None"
            others = [loss.kind for loss in phase.losses or self.losses if not loss.per_label]
            if others:
                yield f"phase {number}: {', '.join(others)} cannot tell which items are hardest: set hardest = None"

    def _rows(self, items: Int[np.ndarray, " item"]) -> Iterator[np.ndarray]:
        """The labels of some items, a block at a time: they may lie in a file larger than memory."""
        if self.truth is not None:
            for start in range(0, len(items), ROWS):
                yield self.truth[items[start : start + ROWS] % len(self.truth)]


def _fits(rows: np.ndarray, *, gaps: bool) -> bool:
    """Whether all values are from 0 to 1, or NaN where there may be gaps."""
    within = (rows >= 0) & (rows <= 1)
    return bool((within | np.isnan(rows)).all() and within.any()) if gaps else bool(within.all())

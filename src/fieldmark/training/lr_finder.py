"""The learning-rate finder: a short training with a rising learning rate, until the loss diverges."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from copy import deepcopy
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from jaxtyping import Float64, Int
from torch import Tensor

from fieldmark.core.errors import PlanError
from fieldmark.models.network import Network
from fieldmark.training.course import Course, NoNumberError
from fieldmark.training.lesson import Lesson
from fieldmark.training.specs import Training
from fieldmark.training.work_directory import WorkDirectory

DIVERGES = 4.0
"""The loss has diverged if its running mean exceeds its minimum by this factor; fastai's number."""

DECAY = 0.9
"""Decay of the running mean of the loss."""


@dataclass(frozen=True)
class LrCurve:
    """The training loss at each tried learning rate.

    Attributes:
        rates: Learning rates of the backbone in ascending order, up to the one at which the loss diverged.
        losses: Loss on the batches of each update, before the update.
        smoothed: Losses averaged with their neighbours.
        suggested: Learning rate at which the smoothed loss fell fastest; None if it never fell.
        ran_away: Whether the loss diverged before the highest learning rate was tried.
    """

    rates: Float64[np.ndarray, " update"]
    losses: Float64[np.ndarray, " update"]
    smoothed: Float64[np.ndarray, " update"]
    suggested: float | None
    ran_away: bool


def find_rate(
    network: Network,
    lesson: Lesson,
    training: Training,
    *,
    low: float = 1e-6,
    high: float = 1.0,
    n_updates: int = 100,
    at: WorkDirectory,
    seed: int,
) -> LrCurve:
    """Run the learning-rate finder: train a copy of the network while the learning rate rises from ``low`` to ``high``.

    The learning rate is multiplied by the same factor after each update. The loss does not change while the rate is too
    low, falls fast at a good rate, and rises steeply when the rate is too high. Frozen stages, batch, accumulation,
    losses and mixup are those of the first training phase.

    Args:
        network: Network; it is not changed.
        lesson: Training data.
        training: Training settings; only the first phase is used.
        low: First learning rate, above 0.
        high: Last learning rate, above ``low``.
        n_updates: Number of learning rates, at least 10. Each uses ``accumulate`` batches.
        at: Device and workers; the folder is not used.
        seed: Random seed of order, dropout and mixup.

    Returns:
        The curve. Plot it before using ``suggested``.

    Raises:
        PlanError: There is no phase, ``low`` is not below ``high``, there are too few updates, or the training settings
            do not fit the training data.

    Source:
        Smith 2017, arXiv:1506.01186, section 3.3; growth by a factor and steepest descent as in fastai's learner.
    """
    if not training.phases or not 0 < low < high or n_updates < 10:
        raise PlanError(
            "The learning-rate finder needs a training phase, 0 < low < high, and n_updates of at least 10.",
            got=f"{len(training.phases)} phases, low {low}, high {high}, n_updates {n_updates}",
            fix="correct these settings, for example low = 1e-6, high = 1.0, n_updates = 100.",
        )
    phase = training.phases[0].model_copy(update={"hardest": None})
    training = training.model_copy(update={"phases": (phase,), "keep": "last"})
    lesson.check(training, network, watched=False)
    copied = deepcopy(network).to(at.group.device).to(memory_format=torch.channels_last)
    course = Course(copied, lesson, training, phase, at=at, seed=seed)
    rates = low * (high / low) ** (np.arange(n_updates) / (n_updates - 1))
    losses = _losses(course, rates, training, at=at)
    ran_away = len(losses) < n_updates
    rates = rates[: len(losses)]
    smoothed = _smoothed(losses)
    return LrCurve(rates, losses, smoothed, _steepest(rates, smoothed), ran_away)


def _losses(
    course: Course, rates: np.ndarray, training: Training, *, at: WorkDirectory
) -> Float64[np.ndarray, " update"]:
    """Return the loss of one update at each learning rate, until it diverges."""
    course.network.train()
    updates = _updates(course, training, at=at)
    losses: list[float] = []
    mean, least = 0.0, np.inf
    for number, lr in enumerate(at.progress.track(rates.tolist(), total=len(rates), what="learning rates")):
        items, batches = next(updates)
        try:
            metrics = course.update(items, batches, lr=lr, number=number)
        except NoNumberError:
            break
        losses.append(at.group.mean(metrics["loss"]).item())
        mean = DECAY * mean + (1 - DECAY) * losses[-1]
        now = mean / (1 - DECAY ** len(losses))
        if now > DIVERGES * least:
            break
        least = min(least, now)
    updates.close()
    return np.array(losses)


def _updates(
    course: Course, training: Training, *, at: WorkDirectory
) -> Generator[tuple[Int[np.ndarray, "step slot"], Iterator[Tensor]], None, None]:
    """Yield the items and batches of each update, epoch after epoch."""
    epoch = 0
    while True:
        order = course.order(epoch)
        mine = order[:, at.group.share(order.shape[1])]
        stream = course.body.source.batches(mine, epoch=epoch, n_workers=at.n_workers)
        for first in range(0, len(order), training.accumulate):
            items = order[first : first + training.accumulate]
            yield items, islice(stream, len(items))
        epoch += 1


def _smoothed(losses: Float64[np.ndarray, " update"]) -> Float64[np.ndarray, " update"]:
    """Return each loss averaged with its neighbours on both sides. Unlike a running mean, this has no lag."""
    reach = max(1, len(losses) // 20)
    offsets = np.arange(-2 * reach, 2 * reach + 1)
    weights = np.exp(-0.5 * (offsets / reach) ** 2)
    known = np.convolve(np.ones(len(losses)), weights, mode="same") if len(losses) >= len(offsets) else None
    if known is None:
        return losses.copy()
    return np.convolve(losses, weights, mode="same") / known


def _steepest(rates: Float64[np.ndarray, " update"], smoothed: Float64[np.ndarray, " update"]) -> float | None:
    """Return the learning rate with the steepest fall of the loss before its minimum."""
    lowest = int(np.argmin(smoothed)) if len(smoothed) else 0
    if lowest < 2:
        return None
    slope = np.gradient(smoothed[: lowest + 1], np.log(rates[: lowest + 1]))
    return float(rates[int(np.argmin(slope))]) if slope.min() < 0 else None

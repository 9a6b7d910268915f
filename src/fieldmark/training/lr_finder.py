"""The learning rate found by trying: a short training whose rate grows until the loss runs away."""

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

RUNS_AWAY = 4.0
"""How many times its least the smoothed loss may become; fastai's number."""

MEMORY = 0.9
"""Decay of the running mean that is watched for running away."""


@dataclass(frozen=True)
class LrCurve:
    """The loss at every learning rate that was tried.

    Attributes:
        rates: Learning rates of the backbone, growing; up to where the loss ran away.
        losses: Of the batches of each update, before it was made.
        smoothed: The same, averaged with its neighbours.
        suggested: The rate at which the smoothed loss fell fastest; None where it never fell.
        ran_away: Whether the loss left all bounds before the highest rate was tried.
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
    """Train a copy of the network while its learning rate grows from ``low`` to ``high``, by the same factor each time.

    Too low a rate leaves the loss where it is, a good one makes it fall fast, too high a one makes it leap. All else is
    as in the first phase of the training: what is frozen, batch, accumulation, losses, mixup.

    Args:
        network: Left untouched.
        lesson: What is learnt.
        training: Settings; of its phases the first counts.
        low: First learning rate, above 0.
        high: Last learning rate, above ``low``.
        n_updates: How many rates are tried, at least 10; each costs ``accumulate`` batches.
        at: By what means; its folder is not used.
        seed: Of order, dropout and mixup.

    Returns:
        The curve; draw it before you believe ``suggested``.

    Raises:
        PlanError: No phase, rates out of order, too few updates, or a lesson that cannot be learnt as planned.

    Source:
        Smith 2017, arXiv:1506.01186, section 3.3; growth by a factor and steepest descent as in fastai's learner.
    """
    if not training.phases or not 0 < low < high or n_updates < 10:
        raise PlanError(
            "The learning rate cannot be looked for like this.",
            got=f"{len(training.phases)} phases, low {low}, high {high}, n_updates {n_updates}",
            fix="use a training with a phase, 0 < low < high, and n_updates of at least 10; 100 is usual.",
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
    """The loss of one update at each rate, until it runs away."""
    course.network.train()
    updates = _updates(course, training, at=at)
    losses: list[float] = []
    mean, least = 0.0, np.inf
    for number, lr in enumerate(at.progress.track(rates.tolist(), total=len(rates), what="learning rates")):
        items, batches = next(updates)
        try:
            told = course.update(items, batches, lr=lr, number=number)
        except NoNumberError:
            break
        losses.append(at.group.mean(told["loss"]).item())
        mean = MEMORY * mean + (1 - MEMORY) * losses[-1]
        now = mean / (1 - MEMORY ** len(losses))
        if now > RUNS_AWAY * least:
            break
        least = min(least, now)
    updates.close()
    return np.array(losses)


def _updates(
    course: Course, training: Training, *, at: WorkDirectory
) -> Generator[tuple[Int[np.ndarray, "step slot"], Iterator[Tensor]], None, None]:
    """Items and batches of one update after the other, epoch after epoch."""
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
    """Each loss averaged with its neighbours on both sides: unlike a running mean it does not lag behind."""
    reach = max(1, len(losses) // 20)
    offsets = np.arange(-2 * reach, 2 * reach + 1)
    weights = np.exp(-0.5 * (offsets / reach) ** 2)
    known = np.convolve(np.ones(len(losses)), weights, mode="same") if len(losses) >= len(offsets) else None
    if known is None:
        return losses.copy()
    return np.convolve(losses, weights, mode="same") / known


def _steepest(rates: Float64[np.ndarray, " update"], smoothed: Float64[np.ndarray, " update"]) -> float | None:
    """The rate of the fastest fall before the lowest place."""
    lowest = int(np.argmin(smoothed)) if len(smoothed) else 0
    if lowest < 2:
        return None
    slope = np.gradient(smoothed[: lowest + 1], np.log(rates[: lowest + 1]))
    return float(rates[int(np.argmin(slope))]) if slope.min() < 0 else None

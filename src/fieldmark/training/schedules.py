"""Learning-rate schedules as functions of the training position. They have no state to save."""

from __future__ import annotations

import math

from fieldmark.training.specs import Constant, Cosine, OneCycle, Plateau, Schedule, StepDown


def rate(schedule: Schedule, *, update: int, updates: int, epoch: int, drops: int = 0) -> float:
    """Return the factor on the phase's learning rate at one update.

    Args:
        schedule: Schedule of the phase.
        update: Number of earlier updates in this phase, 0 to ``updates - 1``.
        updates: Number of updates in the whole phase.
        epoch: Number of finished epochs in this phase.
        drops: Number of reductions by the plateau rule in this phase.

    Returns:
        A factor between 0 and 1.

    Source:
        Step by a factor of 0.2: iMet 2019 first place. Cosine: Loshchilov & Hutter 2017, arXiv:1608.03983, eq. 5, one
        period.
        One cycle: Smith & Topin 2018, arXiv:1708.07120, with cosine arms.
    """
    share = update / max(1, updates)
    match schedule:
        case Constant():
            return 1.0
        case StepDown():
            return schedule.factor ** (epoch // schedule.every_epochs)
        case Plateau():
            return schedule.factor**drops
        case Cosine():
            warm = schedule.warmup
            rising = (update + 1) / (warm * updates + 1)
            return rising if share < warm else _half_cosine(1.0, schedule.floor, _rest(share, warm))
        case OneCycle():
            rising = _half_cosine(1 / 25, 1.0, share / max(1e-12, schedule.rise))
            return rising if share < schedule.rise else _half_cosine(1.0, 1e-4, _rest(share, schedule.rise))


def _half_cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * min(1.0, share))) / 2


def _rest(share: float, past: float) -> float:
    """Return the completed share of the part after ``past``."""
    return (share - past) / max(1e-12, 1 - past)

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from fieldmark.training.schedules import rate
from fieldmark.training.specs import Constant, Cosine, OneCycle, Plateau, StepDown


def test_step_down_multiplies_by_its_factor() -> None:
    rates = [rate(StepDown(every_epochs=2), update=0, updates=60, epoch=epoch) for epoch in range(6)]
    assert rates == pytest.approx([1, 1, 0.2, 0.2, 0.04, 0.04])


def test_plateau_multiplies_once_per_drop() -> None:
    assert rate(Plateau(), update=50, updates=60, epoch=5, drops=0) == 1
    assert rate(Plateau(), update=50, updates=60, epoch=5, drops=2) == pytest.approx(0.04)


def test_cosine_warms_up_then_falls_to_its_floor() -> None:
    schedule = Cosine(warmup=0.1, floor=0.01)
    rates = [rate(schedule, update=u, updates=1000, epoch=0) for u in range(1000)]
    assert rates[0] == pytest.approx(0.01, abs=0.001)
    assert all(a < b for a, b in pairwise(rates[:100]))
    assert rates[100] == pytest.approx(1)
    assert rates[550] == pytest.approx(0.01 + 0.99 * (1 + math.cos(math.pi / 2)) / 2)
    assert rates[-1] == pytest.approx(0.01, abs=1e-4)


def test_one_cycle_peaks_at_the_given_share() -> None:
    schedule = OneCycle(rise=0.3)
    rates = [rate(schedule, update=u, updates=1000, epoch=0) for u in range(1000)]
    assert rates[0] == pytest.approx(1 / 25)
    assert max(range(1000), key=rates.__getitem__) == 300
    assert rates[-1] < 2e-4


def test_constant_is_constant_and_no_schedule_divides_by_zero() -> None:
    assert rate(Constant(), update=9, updates=10, epoch=3) == 1
    for schedule in (Cosine(warmup=0.0), Cosine(warmup=1.0), OneCycle(rise=0.0), OneCycle(rise=1.0)):
        assert 0 <= rate(schedule, update=0, updates=1, epoch=0) <= 1

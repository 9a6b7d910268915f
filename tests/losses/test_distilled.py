"""Distillation of unknown individuals: comparison with slow loops, limiting cases, ignored images."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldmark.core.errors import PlanError, ShapeError
from fieldmark.losses.distillation import distilled
from fieldmark.losses.inputs import Circumstances
from fieldmark.losses.softmax import cross_entropy
from fieldmark.losses.specs import Distilled
from fieldmark.losses.total import total

NUMBERS = st.lists(st.floats(-30, 30), min_size=3, max_size=3)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(NUMBERS, NUMBERS, st.integers(-1, 2)), min_size=1, max_size=5))
def test_slow_loops_agree(rows: list[tuple[list[float], list[float], int]]) -> None:
    logits = torch.tensor([row[0] for row in rows], dtype=torch.float64)
    taught = torch.tensor([row[1] for row in rows], dtype=torch.float64).softmax(dim=1)
    nats = []
    for number, (own, _, c) in enumerate(rows):
        if c == -1:
            log_sum = math.log(sum(math.exp(z) for z in own))
            nats.append(sum(float(taught[number, k]) * (log_sum - z) for k, z in enumerate(own)))
    found = distilled(logits, torch.tensor([row[2] for row in rows]), taught)
    assert found.item() == pytest.approx(sum(nats) / len(nats) if nats else 0.0, rel=1e-6, abs=1e-9)


def test_a_uniform_teacher_is_uniform_unknowns_and_an_equal_one_has_no_gradient() -> None:
    logits = torch.randn(4, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    unknowns = torch.full((4,), -1)
    uniform = distilled(logits, unknowns, torch.full((4, 5), 0.2))
    assert torch.allclose(uniform, cross_entropy(logits, unknowns, uniform_unknowns=True))
    (slope,) = torch.autograd.grad(distilled(logits, unknowns, logits.detach().softmax(dim=1)), logits)
    assert slope.abs().max() < 1e-6


def test_known_individuals_are_ignored() -> None:
    logits = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    taught = torch.full((3, 4), 0.25)
    taught[0] = torch.nan
    (slope,) = torch.autograd.grad(distilled(logits, torch.tensor([2, -1, -1]), taught), logits)
    assert (slope[0] == 0).all()
    assert slope[1:].abs().max() > 0
    assert distilled(logits, torch.tensor([0, 1, 2]), taught).item() == 0


def test_it_needs_a_teacher_of_every_class() -> None:
    logits, classes = torch.zeros(2, 3), torch.tensor([-1, 0])
    with pytest.raises(PlanError) as raised:
        total((Distilled(),), logits=logits, classes=classes)
    assert "name an earlier train stage in taught" in raised.value.fix
    value, parts = total(
        (Distilled(weight=2.0),), logits=logits, classes=classes, about=Circumstances(taught=torch.full((2, 3), 1 / 3))
    )
    assert value.item() == pytest.approx(2 * math.log(3))
    assert parts["distilled"].item() == pytest.approx(math.log(3))
    with pytest.raises(ShapeError):
        distilled(logits, classes, torch.zeros(2, 2))

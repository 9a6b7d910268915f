"""Softmax within each question: comparison with slow loops, limiting cases, unlabelled questions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldmark.core.errors import FieldmarkError, PlanError, ShapeError
from fieldmark.losses.inputs import Circumstances
from fieldmark.losses.questions import question_softmax
from fieldmark.losses.specs import Asymmetric, Bce, Focal, QuestionSoftmax
from fieldmark.losses.total import total

QUESTION_OF = [0, 0, 0, 1, 1, 2, 2, 2]
BELOW = {5: [0], 6: [0, 1], 7: [1, 2]}


def some(seed: int, n: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    logits = torch.tensor(rng.normal(size=(n, len(QUESTION_OF))), dtype=torch.float64)
    truth = np.zeros((n, len(QUESTION_OF)), np.float32)
    for row in range(n):
        for question in range(3):
            columns = np.flatnonzero(np.array(QUESTION_OF) == question)
            if rng.random() < 0.25:
                truth[row, columns] = np.nan
            else:
                truth[row, rng.choice(columns, size=rng.integers(1, 3), replace=False)] = 1
    return logits, torch.tensor(truth)


def slow(logits: torch.Tensor, truth: torch.Tensor, *, below: dict[int, list[int]], smoothing: float) -> float:
    total_nats = 0.0
    for row in range(len(logits)):
        for question in sorted(set(QUESTION_OF)):
            columns = [c for c, q in enumerate(QUESTION_OF) if q == question]
            if any(math.isnan(truth[row, c]) for c in columns):
                continue
            right = [c for c in columns if truth[row, c] > 0]
            others = []
            for c in columns:
                above = below.get(c, [])
                labelled = [a for a in above if not math.isnan(truth[row, a])]
                if c in right or not above or not labelled or any(truth[row, a] > 0 for a in labelled):
                    others.append(c)
            level = math.log(sum(math.exp(logits[row, c]) for c in others))
            for c in others:
                share = (1 - smoothing) * (c in right) / len(right) + smoothing / len(others)
                total_nats += share * (level - float(logits[row, c]))
    return total_nats / len(logits)


@pytest.mark.parametrize("conditional", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_agrees_with_slow_loops(seed, conditional, smoothing):
    logits, truth = some(seed)
    below = None
    if conditional:
        below = torch.zeros(8, 8, dtype=torch.bool)
        for answer, above in BELOW.items():
            below[answer, above] = True
    found = question_softmax(logits, truth, torch.tensor(QUESTION_OF), below=below, smoothing=smoothing)
    wanted = slow(logits, truth, below=BELOW if conditional else {}, smoothing=smoothing)
    assert float(found) == pytest.approx(wanted, abs=1e-5)


def test_one_question_is_cross_entropy():
    logits = torch.randn(6, 4)
    classes = torch.tensor([0, 1, 2, 3, 1, 0])
    truth = torch.nn.functional.one_hot(classes, 4).float()
    found = question_softmax(logits, truth, torch.zeros(4, dtype=torch.long))
    assert float(found) == pytest.approx(float(torch.nn.functional.cross_entropy(logits, classes)), rel=1e-5)


def test_an_unlabelled_question_has_no_gradient():
    logits, truth = some(1)
    truth[:, 3:5] = torch.nan
    logits.requires_grad_()
    question_softmax(logits, truth, torch.tensor(QUESTION_OF)).backward()
    assert torch.all(logits.grad[:, 3:5] == 0)
    assert torch.any(logits.grad[:, :3] != 0)


@pytest.mark.parametrize("loss", [Bce(), Focal(), Asymmetric()])
def test_losses_on_labels_have_no_gradient_for_unlabelled_cells(loss):
    logits, truth = some(2)
    unlabelled = torch.isnan(truth)
    logits = logits.float().requires_grad_()
    value, _ = total([loss], logits=logits, truth=truth)
    value.backward()
    assert torch.isfinite(value)
    assert torch.all(logits.grad[unlabelled] == 0)
    assert torch.all(logits.grad[~unlabelled] != 0)


def test_finite_at_extreme_logits():
    logits = torch.tensor([[200.0, -200.0, 0.0, -200.0, 200.0, 200.0, 200.0, -200.0]], requires_grad=True)
    truth = torch.tensor([[0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]])
    value = question_softmax(logits, truth, torch.tensor(QUESTION_OF))
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(logits.grad).all()
    assert float(value.detach()) == pytest.approx(400 + 400 + 400 + math.log(2), rel=1e-4)


def test_needs_the_questions():
    logits, truth = some(3)
    with pytest.raises(PlanError, match="questions") as refusal:
        total([QuestionSoftmax()], logits=logits, truth=truth)
    assert 'kind = "questions"' in refusal.value.fix
    value, parts = total([QuestionSoftmax(weight=2.0)], logits=logits, truth=truth,
                         about=Circumstances(question_of=torch.tensor(QUESTION_OF)))  # fmt: skip
    assert float(value) == pytest.approx(2 * float(parts["question_softmax"]))


def test_refusals():
    logits, truth = some(4)
    with pytest.raises(ShapeError) as refusal:
        question_softmax(logits, truth, torch.zeros(3, dtype=torch.long))
    assert "one integer per answer" in refusal.value.fix
    with pytest.raises(FieldmarkError) as refusal:
        question_softmax(logits, truth, torch.tensor(QUESTION_OF), smoothing=2.0)
    assert "0 (none) to 1" in refusal.value.fix

"""Losses on pairs: comparison with slow loops, limiting cases, gradients at large logits."""

import math

import pytest
import torch

from fieldmark.core.errors import FieldmarkError, PlanError, ShapeError
from fieldmark.losses.pairs import pair_bce, pair_triplet
from fieldmark.losses.specs import PairBce, PairTriplet
from fieldmark.losses.total import total

CLASSES = torch.tensor([5, 5, 2, 7, 7, 2, -1, -1])


def table(n: int = 8, times: float = 3.0) -> torch.Tensor:
    drawn = torch.randn(n, n, generator=torch.Generator().manual_seed(0)) * times
    return (drawn + drawn.T).requires_grad_()


def compare(logits: torch.Tensor):
    return lambda first, second: logits[first, second]


def nats(logit: float, same: bool) -> float:
    return math.log1p(math.exp(-logit)) if same else math.log1p(math.exp(logit))


def slow_bce(logits: torch.Tensor, pairs: list[tuple[int, int]]) -> float:
    same, other = [], []
    for i, j in pairs:
        if CLASSES[i] == CLASSES[j] == -1:
            continue
        (same if CLASSES[i] == CLASSES[j] else other).append(nats(logits[i, j].item(), bool(CLASSES[i] == CLASSES[j])))
    return (sum(same) / len(same) + sum(other) / len(other)) / 2


def test_bce_uses_the_drawn_pairs_or_all() -> None:
    logits = table()
    drawn = [(0, 1), (2, 3), (4, 5), (6, 7)]
    assert pair_bce(compare(logits), CLASSES).item() == pytest.approx(slow_bce(logits, drawn), rel=1e-5)
    every = [(i, j) for i in range(8) for j in range(i + 1, 8)]
    assert pair_bce(compare(logits), CLASSES, pairs="all").item() == pytest.approx(slow_bce(logits, every), rel=1e-5)


def test_bce_with_as_many_of_either_kind_is_the_plain_mean() -> None:
    logits, classes = table(4), torch.tensor([1, 1, 2, 3])
    plain = (nats(logits[0, 1].item(), True) + nats(logits[2, 3].item(), False)) / 2
    assert pair_bce(compare(logits), classes).item() == pytest.approx(plain, rel=1e-5)


def test_a_batch_of_unknowns_costs_nothing() -> None:
    logits = table(4)
    loss = pair_bce(compare(logits), torch.full((4,), -1), pairs="all")
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()


def slow_triplet(logits: torch.Tensor, margin: float) -> float:
    found = []
    for i in range(8):
        same = [logits[i, j].item() for j in range(8) if j != i and CLASSES[j] == CLASSES[i] != -1]
        other = [logits[i, j].item() for j in range(8) if CLASSES[j] != CLASSES[i]]
        if same and other:
            found.append(max(0.0, margin + max(other) - min(same)))
    return sum(found) / len(found)


@pytest.mark.parametrize("margin", [0.5, 3.0])
def test_triplet_takes_the_hardest_positive_and_negative(margin: float) -> None:
    logits = table()
    assert pair_triplet(compare(logits), CLASSES, margin=margin).item() == pytest.approx(
        slow_triplet(logits, margin), rel=1e-5
    )


@pytest.mark.parametrize("times", [0.0, 200.0])
def test_gradients_stay_finite(times: float) -> None:
    for loss in (PairBce(), PairBce(pairs="all"), PairTriplet()):
        logits = (table(times=1.0).detach().sign() * times).requires_grad_()
        value, parts = total([loss], compare=compare(logits), classes=CLASSES)
        value.backward()
        assert torch.isfinite(value)
        assert torch.isfinite(logits.grad).all()
        assert list(parts) == [loss.kind]


def test_without_negatives_the_triplet_loss_is_0() -> None:
    logits = table(3)
    loss = pair_triplet(compare(logits), torch.tensor([1, 1, 1]))
    loss.backward()
    assert loss.item() == 0
    assert torch.isfinite(logits.grad).all()


def test_a_batch_without_pairs_is_refused() -> None:
    with pytest.raises(ShapeError) as odd:
        pair_bce(compare(table(3)), torch.tensor([1, 1, 2]))
    assert odd.value.fix == "use an even batch of at least 2 photos."
    with pytest.raises(FieldmarkError) as flat:
        pair_triplet(compare(table(3)), torch.tensor([1, 1, 2]), margin=0)
    assert flat.value.fix == "use margin = 1."
    with pytest.raises(PlanError) as lacking:
        total([PairBce()], embedding=torch.eye(4), classes=torch.tensor([1, 1, 2, 2]))
    assert lacking.value.fix == 'use head = {kind = "pair"}; or leave out pair_bce.'

"""Aligned stripes: comparison with all paths, positives and negatives, edge cases."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from fieldmark.core.errors import FieldmarkError, ShapeError
from fieldmark.losses.aligned import aligned_distance, local_triplet


def unit_stripes(seed: int, batch: int = 5, n_stripes: int = 4, dim: int = 6) -> torch.Tensor:
    drawn = torch.randn(batch, n_stripes, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.normalize(drawn, dim=2)


def cheapest_way(one: list[list[float]], other: list[list[float]]) -> float:
    """Return the cost of every monotone path from the first pair of stripes to the last."""
    n = len(one)
    cost = [[math.tanh(math.dist(a, b) / 2) for b in other] for a in one]
    found = math.inf
    for downs in itertools.combinations(range(2 * (n - 1)), n - 1):
        row = column = 0
        spent = cost[0][0]
        for step in range(2 * (n - 1)):
            row, column = (row + 1, column) if step in downs else (row, column + 1)
            spent += cost[row][column]
        found = min(found, spent)
    return found


@pytest.mark.parametrize(("seed", "n_stripes"), [(0, 1), (1, 2), (2, 4), (3, 5)])
def test_the_distance_is_the_cost_of_the_cheapest_path(seed: int, n_stripes: int) -> None:
    stripes = unit_stripes(seed, n_stripes=n_stripes)
    found = aligned_distance(stripes)
    rows = stripes.tolist()
    for i, j in itertools.product(range(5), repeat=2):
        assert found[i, j].item() == pytest.approx(cheapest_way(rows[i], rows[j]), abs=1e-9)
    assert torch.allclose(found, found.T)


def test_a_photo_moved_up_by_a_stripe_is_nearer_than_one_in_another_order() -> None:
    parts = torch.eye(6)[:5]
    here, moved, shuffled = parts[:4], parts[1:5], parts[[2, 0, 3, 1]]
    found = aligned_distance(torch.stack([here, moved, shuffled]))
    assert found[0, 1] < found[0, 2]


def test_the_triplet_rule_by_slow_loops() -> None:
    stripes, classes = unit_stripes(4, batch=6), [0, 0, 1, -1, -1, 0]
    rows, margin, total = stripes.tolist(), 0.3, 0.0
    for i, a in enumerate(classes):
        same = [cheapest_way(rows[i], rows[j]) for j, b in enumerate(classes) if a == b != -1 and i != j]
        other = [cheapest_way(rows[i], rows[j]) for j, b in enumerate(classes) if a != b]
        total += max(0.0, margin + max([0.0, *same]) - min(other))
    found = local_triplet(stripes, torch.tensor(classes), margin=margin)
    assert found.item() == pytest.approx(total / 6, abs=1e-9)


def test_the_distance_of_an_unknown_to_itself_is_0() -> None:
    """The aligned distance of a photo to itself is not 0 and must not count as the distance of a positive."""
    stripes = unit_stripes(5, batch=2)
    distance = aligned_distance(stripes)[0, 1].item()
    found = local_triplet(stripes, torch.tensor([-1, 3]), margin=distance / 2)
    assert found.item() == 0
    assert aligned_distance(stripes)[0, 0].item() > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_are_finite_where_all_stripes_are_one(dtype: torch.dtype) -> None:
    stripes = torch.tensor([0.6, 0.8], dtype=dtype).repeat(4, 3, 1).requires_grad_()
    value = local_triplet(stripes, torch.tensor([0, 0, 1, -1]))
    value.backward()
    assert stripes.grad is not None
    assert stripes.grad.isfinite().all()
    assert value.item() == pytest.approx(0.3)


def test_stripes_get_a_gradient() -> None:
    stripes = unit_stripes(6, batch=4).requires_grad_()
    assert torch.autograd.gradcheck(lambda s: local_triplet(s, torch.tensor([0, 0, 1, 1])), (stripes,))


@pytest.mark.parametrize(
    ("stripes", "classes", "margin", "error", "fix"),
    [
        (torch.zeros(2, 3), [0, 1], 0.3, ShapeError, "stripes = 8 computes"),
        (torch.zeros(2, 0, 3), [0, 1], 0.3, ShapeError, "at least one of each"),
        (torch.zeros(2, 3, 4), [0], 0.3, ShapeError, "as long as the batch"),
        (torch.zeros(2, 3, 4), [0, 1], 0.0, FieldmarkError, "margin = 0.3"),
    ],
)
def test_invalid_arguments_are_refused(stripes, classes, margin, error, fix: str) -> None:
    with pytest.raises(error) as refused:
        local_triplet(stripes, torch.tensor(classes), margin=margin)
    assert fix in refused.value.fix
